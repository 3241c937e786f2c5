//! The role of the key table. Its actor publishes data keys to the handles, and receives the signals of the handles
//! about missing data keys.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Message, ResponseFuture, WrapFuture};
use kc_core::chain::TrustList;
use kc_core::exchange::{MissingKeys, ReceivedKeys};
use kc_core::message::MAX_CANDIDATES;
use kc_core::ratchet::{Giver, OpeningKey, SealingKey};
use kc_core::text::with_sources;
use kc_core::types::{KeyId, RootTopic};
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::chain::{ChainRole, JudgeGivers};
use super::exchange::{ExchangeRole, KeyWanted, ServeRoot};
use super::ratchet::{RatchetError, RatchetRole, SealingKeyFor, TurnRatchet, TurnReason, Turned};
use crate::events::{Events, NodeEvent};
use crate::handles::{CryptoTables, Signals};
use crate::role::role;
use crate::slot::SlotClosed;
use crate::stores::{Store, ask_in_time};

/// Time after which handles signal missing keys again, so that the exchange learns which keys are still needed.
const RESIGNAL_INTERVAL: Duration = Duration::from_secs(5);

/// Maximum time between two checks whether the ratchet must turn. A key that is prepared between two checks can change
/// the time of the next turn.
const LONGEST_TURN_WAIT: Duration = Duration::from_secs(1);

/// Maximum number of missing keys that are remembered because a message has already waited for them. No further message
/// waits for a remembered key. When this number is reached, all keys are forgotten, and the next message that needs one
/// of them may wait again.
const MAX_FIRST_SIGHTS: usize = 4096;

/// Maximum number of messages of one root topic that wait for their data keys at the same time. The limit keeps an
/// attacker that invents key ids from blocking all callers.
const MAX_WAITS_PER_ROOT: usize = 8;

role! {
    /// The messages that the key table actor answers: one [`Slot`](crate::Slot) for each.
    ///
    /// The [handles](crate::CryptoTables) read the tables without sending a message. Messages change the tables, or
    /// wait for a change.
    pub struct KeyTableRole {
        /// Prepares a root topic for sealing.
        prepare: PrepareRoot,
        /// Turns the ratchet on request of the application.
        rotate: Rotate,
        /// Adds data keys that this node received.
        received: ReceivedOpeningKeys,
        /// Stores the reasons why data keys are missing.
        awaited: AwaitedKeys,
        /// Waits for a data key.
        await_key: AwaitKey,
    }
}

/// Prepares a root topic, so that handles can seal for it without waiting.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), PrepareError>")]
pub struct PrepareRoot {
    /// The root topic.
    pub root_topic: RootTopic,
}

/// The reason why a root topic cannot be prepared for sealing, or why the ratchet was not turned on request.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// The ratchet gave no data key.
    #[error(transparent)]
    Ratchet(#[from] RatchetError),
    /// The node is closed, or an actor of the node died before it answered.
    #[error("the node is closed")]
    Closed(#[from] SlotClosed),
}

/// Turns the ratchet now, and seals with the new data keys from then on. Returns the number of root topics that have
/// a new data key. If no root topic was prepared for sealing, the ratchet does not turn, and the number is 0.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<usize, PrepareError>")]
pub struct Rotate;

/// Adds data keys for opening. The key exchange sends this message when another node has sent data keys.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ReceivedOpeningKeys {
    /// The root topic.
    pub root_topic: RootTopic,
    /// The data keys.
    pub keys: ReceivedKeys,
    /// The node that sent the data keys; `None` if the data keys are this node's own.
    pub giver: Option<Giver>,
}

/// Stores the reasons why data keys are missing, for all root topics with missing keys.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct AwaitedKeys(pub Vec<MissingKeys>);

/// Waits for a data key. Returns whether the key arrived in time. Only the first message for a missing key waits, and
/// only if fewer than 8 messages of the same root topic are waiting. For other messages, the answer comes at once.
#[derive(Clone, Debug, Message)]
#[rtype(result = "bool")]
pub struct AwaitKey {
    /// The root topic.
    pub root_topic: RootTopic,
    /// The id of the data key.
    pub id: KeyId,
    /// The maximum time to wait.
    pub wait: Duration,
}

/// The parts of a key table actor.
#[derive(Clone, Debug)]
pub struct KeyTableParts {
    /// The role that gives data keys for sealing.
    pub ratchet: RatchetRole,
    /// The role that requests missing data keys, and answers requests for the data keys of this node.
    pub exchange: ExchangeRole,
    /// The role that checks whether nodes that sent data keys are denied.
    pub chain: ChainRole,
    /// Set if the setting `denied_keys` is `keep`. Data keys that only denied nodes have sent are then kept, so that
    /// old messages can be read.
    pub keeps_denied: bool,
    /// The source of events about changes of the lists.
    pub events: Events,
}

/// The default actor of the key table. It writes the tables that the handles read, forwards the signals of the handles
/// to the exchange, and turns the ratchet when a turn is due.
#[derive(Debug)]
pub struct KeyTableActor {
    parts: KeyTableParts,
    tables: Arc<CryptoTables>,
    signals: Signals,
    first_sights: HashSet<(RootTopic, KeyId)>,
    waits: HashMap<RootTopic, Arc<Semaphore>>,
}

impl KeyTableActor {
    /// Returns an actor that writes `tables` and receives `signals` about missing data keys.
    #[must_use]
    pub fn new(parts: KeyTableParts, tables: Arc<CryptoTables>, signals: Signals) -> Self {
        Self {
            parts,
            tables,
            signals,
            first_sights: HashSet::new(),
            waits: HashMap::new(),
        }
    }
}

impl Actor for KeyTableActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (signals, exchange) = (self.signals.clone(), self.parts.exchange.clone());
        let forward = forward_signals(signals, exchange, Arc::clone(&self.tables));
        ctx.spawn(forward.into_actor(self));
        ctx.run_interval(RESIGNAL_INTERVAL, |actor, _| {
            actor.tables.forget_signalled()
        });
        let turn = turn_ratchet(self.parts.clone(), Arc::clone(&self.tables));
        ctx.spawn(turn.into_actor(self));
        let follow = follow_trust(self.parts.clone(), Arc::clone(&self.tables));
        ctx.spawn(follow.into_actor(self));
    }
}

impl Handler<PrepareRoot> for KeyTableActor {
    type Result = ResponseFuture<Result<(), PrepareError>>;

    fn handle(
        &mut self,
        PrepareRoot { root_topic }: PrepareRoot,
        _: &mut Self::Context,
    ) -> Self::Result {
        let (parts, tables) = (self.parts.clone(), Arc::clone(&self.tables));
        Box::pin(async move {
            // A node can seal without a broker: requests for the key stay in their side topic until this node reads
            // them.
            let serve = ServeRoot {
                root_topic: root_topic.clone(),
            };
            parts.exchange.serve.send(serve).await?;
            let wanted = SealingKeyFor {
                root_topic: root_topic.clone(),
            };
            let key = ask_in_time(Store::Ratchet, &parts.ratchet.sealing_key, wanted).await;
            let key = key.map_err(|silent| RatchetError::Ratchet(Arc::new(silent)))???;
            publish_sealing(&tables, &[(root_topic, key)]);
            Ok(())
        })
    }
}

impl Handler<Rotate> for KeyTableActor {
    type Result = ResponseFuture<Result<usize, PrepareError>>;

    fn handle(&mut self, _: Rotate, _: &mut Self::Context) -> Self::Result {
        let (parts, tables) = (self.parts.clone(), Arc::clone(&self.tables));
        Box::pin(async move {
            let turn = TurnRatchet(TurnReason::Requested);
            let turned = parts.ratchet.turn.send(turn).await?;
            let keys = turned.keys?;
            publish_sealing(&tables, &keys);
            Ok(keys.len())
        })
    }
}

impl Handler<ReceivedOpeningKeys> for KeyTableActor {
    type Result = ();

    fn handle(&mut self, message: ReceivedOpeningKeys, _: &mut Self::Context) {
        let ReceivedOpeningKeys {
            root_topic,
            keys,
            giver,
        } = message;
        self.tables.publish_opening(|ring| {
            for (id, secret) in keys {
                let added = ring.add(&root_topic, id, secret, giver.clone());
                tracing::debug!(target: "kc::crypto", %root_topic, %id, ?added, "data key received");
            }
        });
    }
}

impl Handler<AwaitedKeys> for KeyTableActor {
    type Result = ();

    fn handle(&mut self, AwaitedKeys(roots): AwaitedKeys, _: &mut Self::Context) {
        self.tables.publish_awaiting(roots);
    }
}

impl Handler<AwaitKey> for KeyTableActor {
    type Result = ResponseFuture<bool>;

    fn handle(
        &mut self,
        AwaitKey {
            root_topic,
            id,
            wait,
        }: AwaitKey,
        _: &mut Self::Context,
    ) -> Self::Result {
        if self.first_sights.len() >= MAX_FIRST_SIGHTS {
            self.first_sights.clear();
            // Messages that are waiting now still count against the limit of their root topic.
            self.waits
                .retain(|_, room| room.available_permits() < MAX_WAITS_PER_ROOT);
        }
        let first = self.first_sights.insert((root_topic.clone(), id));
        let room = self.waits.entry(root_topic.clone());
        let room = room.or_insert_with(|| Arc::new(Semaphore::new(MAX_WAITS_PER_ROOT)));
        let room = Arc::clone(room).try_acquire_owned().ok();
        let tables = Arc::clone(&self.tables);
        Box::pin(async move {
            let mut arrivals = tables.arrivals();
            let came = async {
                while !tables.ring().knows(root_topic.as_str(), &id) {
                    if arrivals.changed().await.is_err() {
                        return false;
                    }
                }
                true
            };
            let wait = if first && room.is_some() {
                wait
            } else {
                Duration::ZERO
            };
            timeout(wait, came).await.unwrap_or(false)
        })
    }
}

/// Publishes new data keys for sealing. They are also published for opening, so that a node can open its own
/// messages.
fn publish_sealing(tables: &CryptoTables, keys: &[(RootTopic, Arc<SealingKey>)]) {
    tables.publish_opening(|ring| {
        for (root_topic, key) in keys {
            ring.add(root_topic, key.id(), key.data_key().expose_copy(), None);
        }
    });
    tables.publish_sealing(keys);
}

/// Receives the signals of the handles about missing data keys, and requests these data keys from the exchange.
async fn forward_signals(signals: Signals, exchange: ExchangeRole, tables: Arc<CryptoTables>) {
    let (want, tables) = (&exchange.want, &tables);
    let pass_on = |root_topic: RootTopic, id| async move {
        let known = tables.known(root_topic.as_str(), &id);
        // A further key with the same id is accepted only if there is room, or if a known key that has opened nothing
        // can be replaced.
        if known.len() < MAX_CANDIDATES || !known.iter().all(OpeningKey::is_proven) {
            // If the exchange has died, the missing key is signalled again later.
            let _ = want
                .send(KeyWanted {
                    root_topic,
                    id,
                    known,
                })
                .await;
        }
    };
    signals.forward(pass_on).await;
}

/// Reacts to changes of the denylist. If another node has received a data key of the step in use, the ratchet turns, at
/// once or when the minimum time since the last such turn has passed. A denied consumer then does not have the data
/// keys with which this node seals. If the denied key was in use, data keys that only denied nodes have sent are
/// dropped, unless `denied_keys : keep` is set.
///
/// If the last valid chain of this node is denied, the node no longer seals. Later changes of the denylist then do not
/// turn its ratchet, because other nodes would not accept the data keys of a new step.
async fn follow_trust(parts: KeyTableParts, tables: Arc<CryptoTables>) {
    let mut events = parts.events.listen();
    while let Some(event) = events.next().await {
        let in_use = match event {
            NodeEvent::Listed {
                list: TrustList::Deny,
                in_use,
                ..
            } => in_use,
            NodeEvent::Missed(_) => true,
            NodeEvent::Denied {
                others_left: false, ..
            } => {
                tables.deny();
                continue;
            }
            _ => continue,
        };
        if !tables.is_denied() {
            turn(&parts, &tables, TurnReason::Denied { in_use }).await;
        }
        if in_use && !parts.keeps_denied {
            review(&parts, &tables).await;
        }
    }
}

/// Drops the data keys that only denied nodes have sent. If a record needs a dropped key, the key is requested again,
/// because a node that is not denied may have it.
async fn review(parts: &KeyTableParts, tables: &CryptoTables) {
    let givers: Vec<_> = tables.ring().givers().into_iter().collect();
    let Ok(denied) = parts.chain.judge.send(JudgeGivers(givers.clone())).await else {
        return;
    };
    let denied: HashSet<_> = givers
        .into_iter()
        .zip(denied)
        .filter_map(|(giver, denied)| denied.then_some(giver))
        .collect();
    if denied.is_empty() {
        return;
    }
    let mut dropped = 0;
    tables.publish_opening(|ring| dropped = ring.revise(|giver| denied.contains(giver)));
    if dropped == 0 {
        return;
    }
    tracing::warn!(
        target: "kc::crypto", givers = denied.len(), ids = dropped,
        "data keys that only denied nodes have sent were dropped"
    );
}

/// Turns the ratchet whenever a turn is due.
async fn turn_ratchet(parts: KeyTableParts, tables: Arc<CryptoTables>) {
    loop {
        let next = turn(&parts, &tables, TurnReason::Due).await;
        sleep(next.min(LONGEST_TURN_WAIT)).await;
    }
}

/// Turns the ratchet if `reason` requires it. Returns the time to wait before the next check.
async fn turn(parts: &KeyTableParts, tables: &CryptoTables, reason: TurnReason) -> Duration {
    let Ok(Turned { keys, next }) = parts.ratchet.turn.send(TurnRatchet(reason)).await else {
        // The ratchet actor has died, and will be restarted.
        return LONGEST_TURN_WAIT;
    };
    match keys {
        Ok(keys) => publish_sealing(tables, &keys),
        Err(error) => {
            tracing::debug!(target: "kc::ratchet", error = %with_sources(&error), "ratchet not turned: the keys in use stay in use");
        }
    }
    next
}
