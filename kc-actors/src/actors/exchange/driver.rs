//! The driver of an exchange: it passes inputs to the machine, and executes its effects.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kc_core::backend::BackendError;
use kc_core::custody::{Day, Given, KeptKey};
use kc_core::exchange::{
    Effect, Exchange, ExchangeEvent, Failure, Input, Job, KeyTableChange, Output, Party, Position,
    RefusalId, Sender,
};
use kc_core::failure_log::{FailureLog, OUTAGE_INTERVAL};
use kc_core::ratchet::{DataKey, Giver, MAX_RETAINED_KEYS};
use kc_core::text::with_sources;
use kc_core::types::{KeyId, Now, RootTopic, SideTopic};
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};

use super::{ExchangeParts, ExchangeStatus, GivenKeys, RefusedSender, SideRecord};
use crate::actors::chain::{JudgeGivers, OwnGrant, OwnIdentities, ValidateChain};
use crate::actors::custody::{CustodyRole, KeptKeysFor, KeysGiven, KeysReceived, RequestSeeds};
use crate::actors::gateway::{ControlTopic, SendRecord, Watch};
use crate::actors::key_table::{AwaitedKeys, ReceivedOpeningKeys};
use crate::actors::keystore::Sign;
use crate::actors::ratchet::RetainedKeysFor;
use crate::events::{EventListener, NodeEvent, warn_of};
use crate::slot::{Slot, SlotClosed};
use crate::stores::{Store, ask_in_time};

/// Time between two checks for due effects while the machine plans no effect.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// Time between two looks at the seeds of a custodian's requests.
const SEEDS_INTERVAL: Duration = Duration::from_secs(60);
/// Maximum number of ids of a request that are looked up among the kept keys. Nothing in the request is verified then, and
/// each found key costs an access to the disk.
const MAX_CUSTODY_IDS: usize = 1024;
/// Time to wait after a failed use of custody.
const CUSTODY_RETRY_DELAY: Duration = Duration::from_secs(1);

/// An exchange machine with the roles that execute its effects. Cheap to clone.
#[derive(Clone)]
pub(in crate::actors) struct Driver {
    parts: Arc<ExchangeParts>,
    /// Selects the log target of refusals: `kc::controller` if set, else `kc::exchange`.
    is_controller: bool,
    state: Arc<Mutex<State>>,
    /// Wakes `run`, because an effect may now be due earlier than before.
    changed: Arc<Notify>,
}

struct State {
    exchange: Exchange,
    /// The events about changes of trust.
    events: EventListener,
    /// The batch of each record that the machine has not processed completely.
    unsettled: HashMap<Position, Arc<Batch>>,
    positions: u64,
    counts: Counts,
    /// The failures of each root topic. An entry with a side topic is a failure to read that side topic. An entry
    /// without a side topic is a failure to send a request for data keys.
    failures: FailureLog<(RootTopic, Option<SideTopic>), String>,
}

#[derive(Debug, Default)]
struct Counts {
    answered: u64,
    forwarded: u64,
    bounds_hit: u64,
    refused: BTreeMap<RefusalId, u64>,
    refusals: Vec<RefusedSender>,
    given: Vec<GivenKeys>,
}

/// Maximum number of entries in the list of refused senders, and in the list of nodes that received keys. In a full
/// list, a new entry replaces the oldest.
const MAX_LISTED: usize = 64;

/// Maximum number of ids that are listed for a node that received keys of a root topic.
const MAX_GIVEN_IDS: usize = MAX_RETAINED_KEYS;

/// The state of the records that arrived in one message: the number of records that are not processed yet, and the
/// channel that reports when all of them are processed.
struct Batch {
    left: AtomicUsize,
    done: Mutex<Option<oneshot::Sender<()>>>,
}

impl Driver {
    pub(in crate::actors) fn new(parts: ExchangeParts, is_controller: bool) -> Self {
        let state = State {
            exchange: Exchange::new(parts.config.clone()),
            events: parts.events.listen(),
            unsettled: HashMap::new(),
            positions: 0,
            counts: Counts::default(),
            failures: FailureLog::new(OUTAGE_INTERVAL),
        };
        Self {
            parts: Arc::new(parts),
            is_controller,
            state: Arc::new(Mutex::new(state)),
            changed: Arc::default(),
        }
    }

    /// Executes effects when they are due, until the node ends or the future is dropped.
    pub(in crate::actors) async fn run(self) {
        let mut events = self.parts.events.listen();
        loop {
            let now = self.parts.clock.both();
            let wait = self.with(|state| state.exchange.next_timeout(now));
            let wait = wait.unwrap_or(LONGEST_SLEEP);
            tokio::select! {
                _ = timeout(wait.max(Duration::from_millis(1)), self.changed.notified()) => {}
                changed = trust_changed(&mut events) => if !changed { return },
            }
            self.pump();
        }
    }

    /// Passes the seeds of a custodian's requests to the machine: now, when keys were forgotten, because the seeds are
    /// then replaced, and regularly, because they change each day.
    pub(super) async fn renew_seeds(self, custody: CustodyRole) {
        let mut events = self.parts.events.listen();
        loop {
            let today = Day::of(self.parts.clock.now());
            let renewed = custody.seeds.send(RequestSeeds { today }).await;
            let delay = match renewed {
                Ok(Ok(seeds)) => {
                    let wait = super::CUSTODY_WAIT;
                    self.input(Input::Custody { seeds, wait });
                    SEEDS_INTERVAL
                }
                Ok(Err(error)) => {
                    tracing::warn!(target: "kc::custody", error = %with_sources(&error), "request seeds cannot be stored");
                    CUSTODY_RETRY_DELAY
                }
                // The actor has died, and will be restarted.
                Err(_) => CUSTODY_RETRY_DELAY,
            };
            let forgotten = async {
                while let Some(event) = events.next().await {
                    if matches!(event, NodeEvent::Forgotten { .. } | NodeEvent::Missed(_)) {
                        return;
                    }
                }
                // The node has ended.
                std::future::pending().await
            };
            // The result does not matter: either way, the seeds may have changed.
            let _ = timeout(delay, forgotten).await;
        }
    }

    /// Passes an input to the machine, and executes its effects.
    pub(in crate::actors) fn input(&self, input: Input) {
        let now = self.parts.clock.both();
        self.with(|state| {
            state.note_trust(now);
            state.exchange.handle(input, now);
        });
        self.pump();
        self.changed.notify_one();
    }

    /// Passes records to the machine. The returned future resolves when the machine has processed all of them.
    pub(in crate::actors) fn records(
        &self,
        records: Vec<SideRecord>,
    ) -> impl Future<Output = ()> + use<> {
        let (done, settled) = oneshot::channel();
        let batch = Arc::new(Batch {
            left: AtomicUsize::new(records.len()),
            done: Mutex::new(Some(done)),
        });
        let is_empty = records.is_empty();
        let now = self.parts.clock.both();
        self.with(|state| {
            state.note_trust(now);
            for record in records {
                let position = Position(state.positions);
                state.positions += 1;
                state.unsettled.insert(position, Arc::clone(&batch));
                let SideRecord {
                    root_topic,
                    side,
                    kafka_key,
                    value,
                } = record;
                let input = Input::Record {
                    position,
                    root_topic,
                    side,
                    kafka_key,
                    value,
                };
                state.exchange.handle(input, now);
            }
        });
        self.pump();
        self.changed.notify_one();
        async move {
            if !is_empty {
                // Receiving fails if the exchange was dropped.
                let _ = settled.await;
            }
        }
    }

    pub(in crate::actors) fn status(&self) -> ExchangeStatus {
        let now = self.parts.clock.both();
        self.with(|state| ExchangeStatus {
            wanted: state.exchange.wanted(),
            missing: state.exchange.missing(now),
            bounds_hit: state.counts.bounds_hit,
            outstanding: state.exchange.outstanding(),
            answered: state.counts.answered,
            forwarded: state.counts.forwarded,
            refused: state.counts.refused.clone(),
            refusals: state.counts.refusals.clone(),
            given: state.counts.given.clone(),
        })
    }

    fn with<T>(&self, use_state: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        use_state(&mut state)
    }

    /// Executes the effects that are due.
    fn pump(&self) {
        let (mut arrived, mut reported) = (None, None);
        loop {
            let now = self.parts.clock.both();
            let effect = self.with(|state| {
                state.note_trust(now);
                state.exchange.poll_effect(now)
            });
            match effect {
                None => break,
                Some(Effect::Run(ticket, job)) => {
                    let driver = self.clone();
                    actix::spawn(async move {
                        let result = driver.work(job).await;
                        driver.input(Input::Done(ticket, result));
                    });
                }
                Some(Effect::Table(change)) => arrived = Some(change),
                Some(Effect::Missing(missing)) => {
                    let awaited = self.parts.key_table.awaited.clone();
                    // A key table that has died gets the next change after its restart.
                    actix::spawn(async move { awaited.send(AwaitedKeys(missing)).await });
                }
                Some(Effect::Settled(position)) => match reported.take() {
                    Some((change, event)) => self.add_keys(change, event, position),
                    None => self.settle(position),
                },
                Some(Effect::Report(event)) => match arrived.take() {
                    Some(change) => reported = Some((change, event)),
                    None => self.report(event),
                },
                Some(_) => {}
            }
        }
    }

    fn settle(&self, position: Position) {
        let batch = self.with(|state| state.unsettled.remove(&position));
        batch.iter().for_each(|batch| batch.settle_one());
    }

    /// Adds keys to the key table. Then reports the event, and settles the reply that brought the keys.
    fn add_keys(&self, change: KeyTableChange, event: ExchangeEvent, position: Position) {
        let driver = self.clone();
        let KeyTableChange {
            root_topic,
            keys,
            giver,
        } = change;
        actix::spawn(async move {
            if let Some(custody) = &driver.parts.custody {
                driver.entrust(custody, &root_topic, &keys, &giver).await;
            }
            let message = ReceivedOpeningKeys {
                root_topic,
                keys,
                giver: Some(giver),
            };
            if driver.parts.key_table.received.send(message).await.is_ok() {
                driver.report(event);
            }
            driver.settle(position);
        });
    }

    /// Gives received keys to custody. Repeats this until they are stored, because the reply that brought them is settled
    /// afterwards, and may be the only one.
    async fn entrust(
        &self,
        custody: &CustodyRole,
        root_topic: &RootTopic,
        keys: &[(KeyId, DataKey)],
        giver: &Giver,
    ) {
        let copy = |(id, key): &(KeyId, DataKey)| (*id, key.expose_copy());
        let mut failures = FailureLog::new(OUTAGE_INTERVAL);
        loop {
            let message = KeysReceived {
                root_topic: root_topic.clone(),
                keys: keys.iter().map(copy).collect(),
                giver: Arc::clone(giver),
            };
            match custody.received.send(message).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => {
                    let now = self.parts.clock.both().mono;
                    if failures.fail((), error.to_string(), now).is_some() {
                        tracing::error!(target: "kc::custody", error = %with_sources(&error), "received data keys cannot be stored; the node waits");
                    }
                }
                // The actor has died, and will be restarted, or the node ends.
                Err(_) => {}
            }
            sleep(CUSTODY_RETRY_DELAY).await;
        }
    }

    async fn work(&self, job: Job) -> Result<Output, Failure> {
        let parts = &self.parts;
        match job {
            Job::Validate {
                chain,
                root_topic,
                usage,
            } => {
                let chain = chain.to_vec();
                let message = ValidateChain {
                    chain,
                    root_topic,
                    usage,
                };
                answered(&parts.chain.validate, message)
                    .await
                    .map(Output::Validated)
            }
            Job::Identities => answered(&parts.chain.identities, OwnIdentities)
                .await
                .map(Output::Identities),
            Job::Grant { root_topic, usages } => {
                let usages = usages.to_vec();
                let message = OwnGrant { root_topic, usages };
                answered(&parts.chain.grants, message)
                    .await
                    .map(Output::Grant)
            }
            Job::Held { root_topic, ids } => {
                let kept = self.kept(&root_topic, &ids).await?;
                let message = RetainedKeysFor { root_topic, ids };
                let keys = ask_in_time(Store::Ratchet, &parts.ratchet.retained, message).await;
                let mut keys = keys.map_err(unavailable)?.map_err(gone)?;
                let of_others = kept
                    .into_iter()
                    .filter(|key| keys.iter().all(|(id, _)| *id != key.id));
                let of_others: Vec<_> = of_others.map(|key| (key.id, key.secret)).collect();
                keys.extend(of_others);
                Ok(Output::Held(keys))
            }
            Job::Kem(job) => {
                if let Some(answer) = job.as_answer()
                    && let Some(requester) = Party::of(answer.request().chain())
                {
                    let ids = answer.ids().copied().collect();
                    self.log_given(answer.root_topic(), ids, requester).await?;
                }
                let mut rng = parts.entropy.generator().map_err(unavailable)?;
                let computing = tokio::task::spawn_blocking(move || job.run(&mut *rng));
                // There is no result if the computation panicked, or if the runtime is shutting down.
                let computed = computing.await;
                computed.map(Output::Kem).map_err(|_| Failure::Unavailable)
            }
            Job::Sign(message) => {
                let message = Sign {
                    key: message.signer().clone(),
                    message: message.certificate().to_vec(),
                };
                let signed = ask_in_time(Store::Keys, &parts.keystore.sign, message).await;
                let signed = signed.map_err(unavailable)?.map_err(gone)?;
                signed.map(Output::Signed).map_err(|error| {
                    tracing::debug!(target: "kc::keystore", error = %with_sources(&error), "signing failed");
                    Failure::Unavailable
                })
            }
            Job::Send(record) => {
                let message = SendRecord {
                    topic: ControlTopic::Side(record.root_topic, record.side),
                    kafka_key: record.kafka_key.to_vec(),
                    value: record.value.to_vec(),
                };
                let sent = answered(&parts.gateway.send_record, message).await?;
                sent.map(|()| Output::Done).map_err(Failure::Backend)
            }
            Job::Read(root_topic, side) => {
                let topic = ControlTopic::Side(root_topic, side);
                let begun = answered(&parts.gateway.watch, Watch { topic }).await?;
                begun.map(|()| Output::Done).map_err(Failure::Backend)
            }
            _ => Err(Failure::Unavailable),
        }
    }

    /// Returns the kept data keys with these ids, without those that a node gave that is denied now.
    async fn kept(&self, root_topic: &RootTopic, ids: &[KeyId]) -> Result<Vec<KeptKey>, Failure> {
        let Some(custody) = &self.parts.custody else {
            return Ok(Vec::new());
        };
        let message = KeptKeysFor {
            root_topic: root_topic.clone(),
            ids: ids.iter().take(MAX_CUSTODY_IDS).copied().collect(),
        };
        // If the store fails, this node still answers with its own keys.
        let kept = answered(&custody.kept, message).await?.unwrap_or_default();
        let givers: Vec<_> = kept.iter().map(|key| Arc::clone(&key.giver)).collect();
        if givers.is_empty() {
            return Ok(kept);
        }
        let denied = answered(&self.parts.chain.judge, JudgeGivers(givers)).await?;
        let kept = kept.into_iter().zip(denied);
        Ok(kept
            .filter_map(|(key, is_denied)| (!is_denied).then_some(key))
            .collect())
    }

    /// Adds an answer that is about to be made to the audit log of a custodian.
    async fn log_given(
        &self,
        root_topic: &RootTopic,
        ids: Vec<KeyId>,
        requester: Party,
    ) -> Result<(), Failure> {
        let Some(custody) = &self.parts.custody else {
            return Ok(());
        };
        let given = Given {
            at: self.parts.clock.now(),
            root_topic: root_topic.clone(),
            ids,
            requester: requester.key,
            root: requester.root,
        };
        let logged = answered(&custody.given, KeysGiven(given)).await?;
        logged.map_err(|error| {
            tracing::warn!(target: "kc::custody", error = %with_sources(&error), "answer not given: it cannot be logged");
            Failure::Unavailable
        })
    }

    /// Logs an event, and sends it to listeners.
    fn report(&self, event: ExchangeEvent) {
        let event = match event {
            ExchangeEvent::Requested {
                root_topic,
                ids,
                direct,
            } => {
                self.with(|state| state.failures.succeed(&(root_topic.clone(), None)));
                tracing::info!(target: "kc::exchange", %root_topic, keys = ids.len(), direct, "keys requested");
                NodeEvent::Requested {
                    root_topic,
                    ids,
                    direct,
                }
            }
            ExchangeEvent::NotSent { root_topic, error } => {
                tracing::debug!(target: "kc::exchange", %root_topic, "request not sent yet");
                let kind = error.as_ref().map(BackendError::kind);
                let reason = error.as_ref().map(ToString::to_string);
                if let Some(error) = error
                    && self.logs_failure(&root_topic, None, &error)
                {
                    warn_of(&error, root_topic.as_str(), "keys cannot be requested");
                }
                NodeEvent::NotSent {
                    root_topic,
                    kind,
                    reason,
                }
            }
            ExchangeEvent::NotRead {
                root_topic,
                side,
                error,
            } => {
                if let Some(error) = error
                    && self.logs_failure(&root_topic, Some(side), &error)
                {
                    warn_of(
                        &error,
                        &format!("{root_topic} {side:?}"),
                        "side topic cannot be read yet",
                    );
                }
                return;
            }
            ExchangeEvent::Received {
                root_topic,
                ids,
                giver,
                after,
            } => {
                let from = giver.key.fingerprint();
                tracing::info!(target: "kc::exchange", %root_topic, keys = ids.len(), from, ?after, "keys received");
                NodeEvent::Received {
                    root_topic,
                    ids,
                    giver,
                    after,
                }
            }
            ExchangeEvent::Answered {
                root_topic,
                ids,
                requester,
            } => {
                self.with(|state| state.counts.note_given(&root_topic, &ids, &requester));
                let (to, under) = (requester.key.fingerprint(), requester.root.fingerprint());
                tracing::info!(target: "kc::exchange", %root_topic, keys = ids.len(), to, root_of_trust = under, "keys handed out");
                NodeEvent::Answered {
                    root_topic,
                    ids,
                    requester,
                }
            }
            ExchangeEvent::Forwarded {
                root_topic,
                ids,
                requester,
            } => {
                self.with(|state| state.counts.forwarded += 1);
                let (of, under) = (requester.key.fingerprint(), requester.root.fingerprint());
                tracing::info!(target: "kc::controller", %root_topic, keys = ids.len(), of, root_of_trust = under, "request vouched for");
                NodeEvent::Forwarded {
                    root_topic,
                    ids,
                    requester,
                }
            }
            ExchangeEvent::Refused {
                root_topic,
                side,
                sender,
                refusal,
                report,
            } => {
                let check = refusal.id();
                self.with(|state| state.counts.note_refused(&root_topic, side, &sender, check));
                let Some(times) = report else {
                    return;
                };
                let event = NodeEvent::Refused {
                    root_topic,
                    side,
                    sender,
                    check,
                    reason: refusal.to_string(),
                    times,
                };
                self.log_refusal(&event);
                event
            }
            ExchangeEvent::Unanswered { root_topic, ids } => {
                tracing::warn!(target: "kc::exchange", %root_topic, keys = ids.len(), "no producer has answered");
                NodeEvent::Unanswered { root_topic, ids }
            }
            ExchangeEvent::NoValidChain { error, report } => {
                if let Some(times) = report {
                    tracing::error!(
                        target: "kc::chain", check = %error.check(), times, error = %with_sources(&error),
                        "chain of this node is not valid"
                    );
                }
                NodeEvent::no_valid_chain(&error)
            }
            ExchangeEvent::BoundHit => {
                self.with(|state| state.counts.bounds_hit += 1);
                return;
            }
            _ => return,
        };
        self.parts.events.tell(event);
    }

    /// Records a failure. Returns whether it should be logged.
    fn logs_failure(
        &self,
        root_topic: &RootTopic,
        side: Option<SideTopic>,
        error: &BackendError,
    ) -> bool {
        let now = self.parts.clock.both().mono;
        let failed = (root_topic.clone(), side);
        let times = self.with(|state| state.failures.fail(failed, error.to_string(), now));
        times.is_some()
    }

    fn log_refusal(&self, event: &NodeEvent) {
        let NodeEvent::Refused {
            root_topic,
            side,
            sender,
            check,
            reason,
            times,
        } = event
        else {
            return;
        };
        let key = match sender {
            Sender::Verified(party) => Some(party.key.fingerprint()),
            Sender::Claimed(key) => Some(format!("{} (claimed)", key.fingerprint())),
            Sender::Unknown => None,
        };
        let under = match sender {
            Sender::Verified(party) => Some(party.root.fingerprint()),
            _ => None,
        };
        if self.is_controller {
            tracing::warn!(target: "kc::controller", %root_topic, ?side, %check, key, root_of_trust = under, times, refusal = reason, "request refused");
        } else {
            tracing::warn!(target: "kc::exchange", %root_topic, ?side, %check, key, root_of_trust = under, times, refusal = reason, "record refused");
        }
    }
}

impl Counts {
    fn note_given(&mut self, root_topic: &RootTopic, ids: &[KeyId], requester: &Party) {
        self.answered += 1;
        let mut given = self.given.iter();
        let known = given
            .position(|given| given.root_topic == *root_topic && given.requester == *requester);
        let mut given = match known {
            Some(place) => self.given.remove(place),
            None => {
                make_room(&mut self.given);
                GivenKeys {
                    root_topic: root_topic.clone(),
                    requester: requester.clone(),
                    times: 0,
                    ids: BTreeSet::new(),
                }
            }
        };
        given.times += 1;
        let room = MAX_GIVEN_IDS.saturating_sub(given.ids.len());
        given.ids.extend(ids.iter().take(room).copied());
        self.given.push(given);
    }

    fn note_refused(
        &mut self,
        root_topic: &RootTopic,
        side: SideTopic,
        sender: &Sender,
        check: RefusalId,
    ) {
        *self.refused.entry(check).or_default() += 1;
        let same = |listed: &&mut RefusedSender| {
            (
                &listed.root_topic,
                listed.side,
                &listed.sender,
                listed.check,
            ) == (root_topic, side, sender, check)
        };
        match self.refusals.iter_mut().find(same) {
            Some(listed) => listed.times += 1,
            None => {
                make_room(&mut self.refusals);
                self.refusals.push(RefusedSender {
                    root_topic: root_topic.clone(),
                    side,
                    sender: sender.clone(),
                    check,
                    times: 1,
                });
            }
        }
    }
}

fn make_room<T>(listed: &mut Vec<T>) {
    if listed.len() >= MAX_LISTED {
        listed.remove(0);
    }
}

impl State {
    /// Reports changes of trust to the machine, which then validates chains again.
    fn note_trust(&mut self, now: Now) {
        let mut changed = false;
        while let Some(event) = self.events.try_next() {
            changed |= changes_trust(&event);
        }
        if changed {
            self.exchange.handle(Input::TrustChanged, now);
        }
    }
}

impl Batch {
    fn settle_one(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(done) = done.take() {
                // Sending fails if the caller dropped its future.
                let _ = done.send(());
            }
        }
    }
}

/// Waits until trust has changed. Returns `false` if the node has ended.
async fn trust_changed(events: &mut EventListener) -> bool {
    while let Some(event) = events.next().await {
        if changes_trust(&event) {
            return true;
        }
    }
    false
}

fn changes_trust(event: &NodeEvent) -> bool {
    matches!(
        event,
        NodeEvent::Listed { .. } | NodeEvent::ChainAdopted { .. } | NodeEvent::Missed(_)
    )
}

async fn answered<M>(slot: &Slot<M>, message: M) -> Result<M::Result, Failure>
where
    M: actix::Message + Send + 'static,
    M::Result: Send,
{
    slot.send(message).await.map_err(gone)
}

fn gone(_: SlotClosed) -> Failure {
    Failure::Unavailable
}

fn unavailable<E>(_: E) -> Failure {
    Failure::Unavailable
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}
