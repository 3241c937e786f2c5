//! The role of the key table: publishes the keys that the handles seal and open with, and learns which they miss.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Message, ResponseFuture, WrapFuture};
use kc_core::chain::TrustList;
use kc_core::exchange::{MissingKeys, ReceivedKeys};
use kc_core::message::MAX_CANDIDATES;
use kc_core::ratchet::{Giver, OpeningKey, SealingKey};
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

/// How often missing keys are signalled again, so that the exchange learns which are still wanted.
const RESIGNAL_INTERVAL: Duration = Duration::from_secs(5);

/// The longest time without asking whether the ratchet is due: a key that was prepared meanwhile sets its time.
const LONGEST_TURN_WAIT: Duration = Duration::from_secs(1);

/// The number of missing keys that are remembered as seen; beyond, all are forgotten, and may be waited for once more.
const MAX_FIRST_SIGHTS: usize = 4096;

/// The number of first sights of one root topic that are waited for at once: invented ids must not hold everything up.
const MAX_WAITS_PER_ROOT: usize = 8;

role! {
    /// The slots of the key table.
    ///
    /// The [handles](crate::CryptoTables) read its tables without a message; the messages change the tables, and wait
    /// for them to change.
    pub struct KeyTableRole {
        /// Prepares a root topic for sealing.
        prepare: PrepareRoot,
        /// Turns the ratchet because the application asks for it.
        rotate: Rotate,
        /// Takes keys that come in.
        received: ReceivedOpeningKeys,
        /// Takes why keys are missing.
        awaited: AwaitedKeys,
        /// Waits for a key.
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

/// Why a root topic cannot be prepared for sealing.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// The ratchet gave no key.
    #[error(transparent)]
    Ratchet(#[from] RatchetError),
    /// The node is closed.
    #[error("the node is closed")]
    Closed(#[from] SlotClosed),
}

/// Turns the ratchet now, and seals with the new keys from then on. Returns the number of root topics that have one.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<usize, PrepareError>")]
pub struct Rotate;

/// Hands over keys that came through the exchange.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ReceivedOpeningKeys {
    /// The root topic.
    pub root_topic: RootTopic,
    /// The keys.
    pub keys: ReceivedKeys,
    /// The node that gave them; `None` if they are this node's own.
    pub giver: Option<Giver>,
}

/// Reports why keys are missing, for all root topics with missing keys.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct AwaitedKeys(pub Vec<MissingKeys>);

/// Waits for a key. Returns whether it came in time.
#[derive(Clone, Debug, Message)]
#[rtype(result = "bool")]
pub struct AwaitKey {
    /// The root topic.
    pub root_topic: RootTopic,
    /// The key.
    pub id: KeyId,
    /// The longest time to wait.
    pub wait: Duration,
}

/// The parts of a key table actor.
#[derive(Clone, Debug)]
pub struct KeyTableParts {
    /// Makes keys to seal with.
    pub ratchet: RatchetRole,
    /// Asks for missing keys, and answers requests for those in use.
    pub exchange: ExchangeRole,
    /// Judges the givers of keys when the denylist changes.
    pub chain: ChainRole,
    /// Whether keys of denied givers are kept, to read history (`denied_keys : keep`).
    pub keeps_denied: bool,
    /// Where changes of the lists are learned from.
    pub events: Events,
}

/// The node's own key table: keeps the tables that the handles seal and open with, passes on to the exchange which keys
/// they miss, and turns the ratchet when it is due.
#[derive(Debug)]
pub struct KeyTableActor {
    parts: KeyTableParts,
    tables: Arc<CryptoTables>,
    signals: Signals,
    first_sights: HashSet<(RootTopic, KeyId)>,
    waits: HashMap<RootTopic, Arc<Semaphore>>,
}

impl KeyTableActor {
    /// Returns an actor over the tables that handles read, and the missing keys that they signal.
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
            // Sealing needs no broker: requests that come before they are read wait in their topic.
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
                tracing::debug!(target: "kc::crypto", %root_topic, %id, ?added, "opening key");
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
            // Waits that go on keep their places.
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

/// Puts new keys into the tables. A node also opens what it sealed itself.
fn publish_sealing(tables: &CryptoTables, keys: &[(RootTopic, Arc<SealingKey>)]) {
    tables.publish_opening(|ring| {
        for (root_topic, key) in keys {
            ring.add(root_topic, key.id(), key.topic_secret().expose_copy(), None);
        }
    });
    tables.publish_sealing(keys);
}

/// Passes on to the exchange which keys the handles miss.
async fn forward_signals(signals: Signals, exchange: ExchangeRole, tables: Arc<CryptoTables>) {
    let (want, tables) = (&exchange.want, &tables);
    let pass_on = |root_topic: RootTopic, id| async move {
        let known = tables.known(root_topic.as_str(), &id);
        // Keys that opened nothing make room for others.
        if known.len() < MAX_CANDIDATES || !known.iter().all(OpeningKey::is_proven) {
            // Without an exchange the key is signalled again later.
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

/// Follows denials: keys that only denied givers gave open nothing any more, keys that a denied consumer has seal
/// nothing any more, and a node that is denied itself seals nothing.
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
        turn(&parts, &tables, TurnReason::Denied { in_use }).await;
        if in_use && !parts.keeps_denied {
            review(&parts, &tables).await;
        }
    }
}

/// Drops the keys that only denied givers gave. Records that need them ask for them once more: others may have them.
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
    tracing::warn!(target: "kc::crypto", givers = denied.len(), ids = dropped, "keys of denied givers dropped");
}

/// Turns the ratchet when it is due.
async fn turn_ratchet(parts: KeyTableParts, tables: Arc<CryptoTables>) {
    loop {
        let next = turn(&parts, &tables, TurnReason::Due).await;
        sleep(next.min(LONGEST_TURN_WAIT)).await;
    }
}

/// Turns the ratchet if there is a reason to. Returns the time after which to ask again.
async fn turn(parts: &KeyTableParts, tables: &CryptoTables, reason: TurnReason) -> Duration {
    let Ok(Turned { keys, next }) = parts.ratchet.turn.send(TurnRatchet(reason)).await else {
        // The ratchet may be restarted.
        return LONGEST_TURN_WAIT;
    };
    match keys {
        Ok(keys) => publish_sealing(tables, &keys),
        Err(error) => {
            tracing::debug!(target: "kc::ratchet", %error, "ratchet not turned: the keys in use stay in use");
        }
    }
    next
}
