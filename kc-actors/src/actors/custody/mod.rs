//! The role of custody. Its actor keeps the data keys of other nodes, so that this node can answer in place of producers
//! that are gone.

mod collector;
mod expected;
mod samples;
mod sightings;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use actix::{Actor, Handler, Message, SyncContext};
use kc_core::custody::{CustodyArchive, Day, Given, KeptKey, RootCustody, Sighting, Unproven};
use kc_core::exchange::{ReceivedKeys, RequestSeed};
use kc_core::ratchet::Giver;
use kc_core::store::StoreError;
use kc_core::types::{KeyId, RootTopic};

pub use self::collector::{CloseCollector, CollectorActor, CollectorParts, CollectorRole};
use self::expected::Expected;
pub use self::samples::Sample;
use self::samples::Samples;
use crate::events::{Events, NodeEvent};
use crate::role::role;

role! {
    /// The messages that the custody actor answers: one [`Slot`](crate::Slot) for each. The slots are empty in a node
    /// that is not a custodian.
    pub struct CustodyRole {
        /// Notes which data keys records need.
        sighted: KeysSighted,
        /// Returns ids whose data keys must be requested.
        pending: NextPending,
        /// Stores data keys that other nodes have sent.
        received: KeysReceived,
        /// Returns the ids for which data keys were received, but no record proves one of them.
        unproven: UnprovenKeys,
        /// Proves a received data key by a record.
        sample: FoundSample,
        /// Returns kept data keys.
        kept: KeptKeysFor,
        /// Adds an entry to the audit log.
        given: KeysGiven,
        /// Returns the seeds of this custodian's requests.
        seeds: RequestSeeds,
        /// Forgets data keys whose records no longer exist.
        expire: ExpireKeys,
        /// Returns the state of custody.
        status: AskCustody,
    }
}

/// Notes which data keys the records of one poll need. Returns, for each of them, whether its id is pending: it is then
/// not kept yet.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Vec<bool>, StoreError>")]
pub struct KeysSighted(pub Vec<SightedKey>);

/// A data key that records need.
#[derive(Clone, Debug, PartialEq)]
pub struct SightedKey {
    /// The sighting.
    pub sighting: Sighting,
    /// Some of the records: the first, the smallest and the last. Anyone can forge a record, so one is not enough.
    pub samples: Vec<Sample>,
}

/// Returns at most `max` ids of each root topic whose data keys must be requested next.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Vec<(RootTopic, Vec<KeyId>)>, StoreError>")]
pub struct NextPending {
    /// The maximum number of ids of one root topic.
    pub max: usize,
}

/// Stores data keys that another node has sent. They are kept when a record proves them.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct KeysReceived {
    /// The root topic.
    pub root_topic: RootTopic,
    /// The data keys.
    pub keys: ReceivedKeys,
    /// The node that sent them.
    pub giver: Giver,
}

/// Returns the ids for which data keys were received, but no record has proven one of them. Their records must be read
/// again.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Vec<Unproven>, StoreError>")]
pub struct UnprovenKeys;

/// Proves a received data key by a record that was read again.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct FoundSample {
    /// The root topic.
    pub root_topic: RootTopic,
    /// The id of the data key.
    pub id: KeyId,
    /// The record.
    pub sample: Sample,
}

/// Returns the kept data keys of a root topic that have one of the given ids.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Vec<KeptKey>, StoreError>")]
pub struct KeptKeysFor {
    /// The root topic.
    pub root_topic: RootTopic,
    /// The ids.
    pub ids: Vec<KeyId>,
}

/// Adds an entry to the audit log. The keys must not be given if this fails.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct KeysGiven(pub Given);

/// Returns the seeds of this custodian's requests, the one for new requests first.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Vec<RequestSeed>, StoreError>")]
pub struct RequestSeeds {
    /// The present day.
    pub today: Day,
}

/// Forgets the kept data keys of a root topic that no record has needed since the day `before`, because their records no
/// longer exist. Returns the number of forgotten keys.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<u64, StoreError>")]
pub struct ExpireKeys {
    /// The root topic.
    pub root_topic: RootTopic,
    /// The first day that is not forgotten.
    pub before: Day,
}

/// Returns the state of custody of each root topic.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Vec<RootCustody>, StoreError>")]
pub struct AskCustody;

/// The default actor of custody. It runs on a thread of its own, because it waits for a disk.
///
/// Clones share the store, so that a restarted actor continues with the same state.
#[derive(Clone, Debug)]
pub struct CustodyActor {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    archive: Box<dyn CustodyArchive>,
    samples: Samples,
    expected: Expected,
    /// The ids with offers. `None` until they were read from the archive.
    unproven: Option<HashSet<(RootTopic, KeyId)>>,
    events: Events,
}

impl CustodyActor {
    /// Returns an actor that keeps data keys in `archive`, and reports each kept key to `events`.
    #[must_use]
    pub fn new(archive: Box<dyn CustodyArchive>, events: Events) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                archive,
                samples: Samples::default(),
                expected: Expected::default(),
                unproven: None,
                events,
            })),
        }
    }

    fn with_state<T>(&self, use_state: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        use_state(&mut state)
    }
}

impl Actor for CustodyActor {
    type Context = SyncContext<Self>;
}

/// Lets the custody actor handle a message by a function of its state.
macro_rules! handle {
    ($($message:ident => $handle:expr;)+) => {
        $(impl Handler<$message> for CustodyActor {
            type Result = <$message as Message>::Result;

            fn handle(&mut self, message: $message, _: &mut Self::Context) -> Self::Result {
                self.with_state(|state| $handle(state, message))
            }
        })+
    };
}

handle! {
    KeysSighted => |state: &mut State, KeysSighted(seen)| state.note(seen);
    NextPending => |state: &mut State, NextPending { max }| state.next_pending(max);
    KeysReceived => State::receive;
    UnprovenKeys => |state: &mut State, _| state.archive.unproven();
    FoundSample => |state: &mut State, message: FoundSample| {
        let FoundSample { root_topic, id, sample } = message;
        state.samples.add(&root_topic, id, sample);
        state.prove(&root_topic, &id)
    };
    KeptKeysFor => |state: &mut State, message: KeptKeysFor| {
        state.archive.kept(&message.root_topic, &message.ids)
    };
    KeysGiven => |state: &mut State, KeysGiven(given)| state.archive.log_given(&given);
    RequestSeeds => |state: &mut State, RequestSeeds { today }| state.archive.request_seeds(today);
    ExpireKeys => |state: &mut State, ExpireKeys { root_topic, before }| {
        state.archive.expire(&root_topic, before)
    };
    AskCustody => |state: &mut State, _| state.archive.roots();
}

impl State {
    fn note(&mut self, seen: Vec<SightedKey>) -> Result<Vec<bool>, StoreError> {
        let sightings: Vec<_> = seen
            .iter()
            .map(|SightedKey { sighting, .. }| Sighting {
                is_likely: sighting.is_likely
                    || self.expected.contains(&sighting.root_topic, &sighting.id),
                ..sighting.clone()
            })
            .collect();
        let pending = self.archive.note(&sightings)?;
        for (SightedKey { sighting, samples }, is_pending) in seen.into_iter().zip(&pending) {
            if *is_pending {
                let Sighting { root_topic, id, .. } = sighting;
                for sample in samples {
                    self.samples.add(&root_topic, id, sample);
                }
                self.prove(&root_topic, &id)?;
            }
        }
        Ok(pending)
    }

    fn next_pending(&mut self, max: usize) -> Result<Vec<(RootTopic, Vec<KeyId>)>, StoreError> {
        let roots = self.archive.roots()?.into_iter();
        let roots = roots.filter(|root| root.pending > 0);
        let ids = roots.map(|RootCustody { root_topic, .. }| {
            let ids = self.archive.next_pending(&root_topic, max)?;
            Ok((root_topic, ids))
        });
        ids.collect()
    }

    fn receive(&mut self, message: KeysReceived) -> Result<(), StoreError> {
        let KeysReceived {
            root_topic,
            keys,
            giver,
        } = message;
        for id in self.archive.offer(&root_topic, &keys, &giver)? {
            self.unproven()?.insert((root_topic.clone(), id));
            self.prove(&root_topic, &id)?;
        }
        Ok(())
    }

    /// Returns the ids with offers.
    fn unproven(&mut self) -> Result<&mut HashSet<(RootTopic, KeyId)>, StoreError> {
        let unproven = match self.unproven.take() {
            Some(unproven) => unproven,
            None => {
                let unproven = self.archive.unproven()?.into_iter();
                unproven.map(|it| (it.root_topic, it.id)).collect()
            }
        };
        Ok(self.unproven.insert(unproven))
    }

    /// Keeps the offered key that one of the samples of its id proves.
    fn prove(&mut self, root_topic: &RootTopic, id: &KeyId) -> Result<(), StoreError> {
        let entry = (root_topic.clone(), *id);
        if !self.unproven()?.contains(&entry) {
            return Ok(());
        }
        let offers = self.archive.offers(root_topic, id)?;
        if offers.is_empty() {
            // The id was displaced, or its key is kept already.
            self.unproven()?.remove(&entry);
        }
        let proven = offers.into_iter().find(|offer| {
            let mut samples = self.samples.get(root_topic, id);
            samples.any(|sample| sample.proves(&offer.secret))
        });
        let Some(offer) = proven else {
            return Ok(());
        };
        if self.archive.keep(root_topic, id, &offer.secret)? {
            self.expected.follow(root_topic, id, &offer.giver);
            tracing::info!(target: "kc::custody", %root_topic, %id, "data key kept");
            self.events.tell(NodeEvent::Kept {
                root_topic: root_topic.clone(),
                id: *id,
            });
        }
        self.samples.forget(root_topic, id);
        self.unproven()?.remove(&entry);
        Ok(())
    }
}
