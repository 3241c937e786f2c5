//! Jobs that an exchange delegates to threads, tokens and brokers, and their results.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rand_core::CryptoRng;

use super::reply::{KeyReply, ReceivedKeys, compose_reply};
use super::request::{KeyRequest, NONCE_LEN};
use super::seed::RequestSeed;
use super::{Refusal, Validity};
use crate::backend::BackendError;
use crate::chain::{ChainError, ToBeSigned, Usage, ValidIdentity, ValidatedChain};
use crate::kem::{DecapsulationKey, Suite};
use crate::ratchet::DataKey;
use crate::types::{KeyId, RootTopic, SideTopic, Timestamp};

/// The number of a job. An exchange never uses a number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(super) u64);

/// A job for the caller to run.
///
/// The caller returns the result as [`Input::Done`](super::Input::Done) with the same ticket. The exchange gives a job
/// up if it has no result at the job's [deadline](Job::deadline).
#[derive(Debug)]
#[non_exhaustive]
pub enum Job {
    /// Validate a chain at the present time. The chain must grant a usage for a root topic.
    Validate {
        /// The chain as received.
        chain: Arc<[u8]>,
        /// The root topic that the chain must grant.
        root_topic: RootTopic,
        /// The usage that the chain must grant.
        usage: Usage,
    },
    /// Look up the node's own identities with valid chains.
    Identities,
    /// Check that one of the node's own chains grants one of these usages for a root topic.
    Grant {
        /// The root topic.
        root_topic: RootTopic,
        /// The usages, of which one is sufficient.
        usages: &'static [Usage],
    },
    /// Look up which of these data keys this node holds as their producer.
    Held {
        /// The root topic.
        root_topic: RootTopic,
        /// The requested keys.
        ids: Vec<KeyId>,
    },
    /// Compute a key exchange; see [`KemJob::run`].
    Kem(KemJob),
    /// Sign a message.
    Sign(Arc<ToBeSigned>),
    /// Send a record to partition 0 of a side topic and wait for its acknowledgement.
    Send(OutRecord),
    /// Begin to read a side topic.
    Read(RootTopic, SideTopic),
}

/// A record for a side topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutRecord {
    /// The root topic.
    pub root_topic: RootTopic,
    /// The side topic.
    pub side: SideTopic,
    /// The Kafka key.
    pub kafka_key: Arc<[u8]>,
    /// The Kafka value.
    pub value: Arc<[u8]>,
}

/// The result of a job.
#[derive(Debug)]
#[non_exhaustive]
pub enum Output {
    /// The result of [`Job::Validate`].
    Validated(Result<ValidatedChain, ChainError>),
    /// The result of [`Job::Identities`].
    Identities(Result<Vec<ValidIdentity>, ChainError>),
    /// The result of [`Job::Grant`].
    Grant(Result<(), ChainError>),
    /// The result of [`Job::Held`].
    Held(Vec<(KeyId, DataKey)>),
    /// The result of [`Job::Kem`].
    Kem(KemOutput),
    /// The result of [`Job::Sign`]: the signature followed by the signed bytes.
    Signed(Vec<u8>),
    /// The result of [`Job::Send`] and [`Job::Read`].
    Done,
}

/// A reason why a job has no result.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Failure {
    /// The job cannot be done at present: an actor or a token is absent or did not answer in time.
    Unavailable,
    /// The Kafka client failed.
    Backend(BackendError),
}

impl Failure {
    /// Returns the error of the Kafka client, or `None` for [`Unavailable`](Self::Unavailable).
    pub(super) fn into_backend(self) -> Option<BackendError> {
        match self {
            Self::Backend(error) => Some(error),
            Self::Unavailable => None,
        }
    }
}

/// A computation of a key exchange, which takes up to some milliseconds.
pub enum KemJob {
    /// Draw the ephemeral keys of a request, one for each suite, and its random value.
    Draw(Vec<Suite>),
    /// Draw the random value of a request, and derive its ephemeral keys, one for each suite.
    Derive {
        /// The root topic.
        root_topic: RootTopic,
        /// The seed of the request.
        seed: Arc<RequestSeed>,
        /// The suites.
        suites: Vec<Suite>,
    },
    /// Encapsulate to a key-exchange key of a request, and seal data keys for the requester.
    Answer(Box<AnswerJob>),
    /// Open a reply with the ephemeral keys of its request.
    Open {
        /// The root topic.
        root_topic: RootTopic,
        /// The reply.
        reply: Box<KeyReply>,
        /// The ephemeral keys.
        ephemerals: EphemeralKeys,
    },
}

/// The ephemeral keys of a request.
pub enum EphemeralKeys {
    /// The keys are in memory.
    Known(Arc<[DecapsulationKey]>),
    /// The keys must be derived again.
    Derived {
        /// The seed of the request.
        seed: Arc<RequestSeed>,
        /// The random value of the request.
        random0: [u8; NONCE_LEN],
        /// The suites.
        suites: Vec<Suite>,
    },
}

/// The parts from which the answer to a request is made.
pub struct AnswerJob {
    pub(super) root_topic: RootTopic,
    pub(super) request: Arc<KeyRequest>,
    pub(super) keys: Vec<(KeyId, DataKey)>,
    pub(super) suites: Arc<[Suite]>,
    pub(super) validity: Validity,
    pub(super) own: Arc<[ValidIdentity]>,
    pub(super) now: Timestamp,
}

/// The result of a [`KemJob`].
pub enum KemOutput {
    /// The ephemeral keys and the random value of a request.
    Drawn(Arc<[DecapsulationKey]>, [u8; NONCE_LEN]),
    /// The replies to sign: one for each identity that answers.
    Answered(Result<Vec<ToBeSigned>, Refusal>),
    /// The keys in a reply.
    Opened(Result<ReceivedKeys, Refusal>),
}

impl KemJob {
    /// Returns the parts of an answer, if this job makes one.
    #[must_use]
    pub fn as_answer(&self) -> Option<&AnswerJob> {
        match self {
            Self::Answer(answer) => Some(answer),
            _ => None,
        }
    }

    /// Computes the result. Blocks for up to some milliseconds.
    #[must_use]
    pub fn run(self, rng: &mut dyn CryptoRng) -> KemOutput {
        match self {
            Self::Draw(suites) => {
                let suites = suites.into_iter();
                let ephemerals = suites
                    .map(|suite| DecapsulationKey::generate(suite, rng))
                    .collect();
                let mut random0 = [0; NONCE_LEN];
                rng.fill_bytes(&mut random0);
                KemOutput::Drawn(ephemerals, random0)
            }
            Self::Derive {
                root_topic,
                seed,
                suites,
            } => {
                let random0 = seed.draw(&root_topic, rng);
                KemOutput::Drawn(seed.ephemerals(&root_topic, &random0, &suites), random0)
            }
            Self::Answer(answer) => KemOutput::Answered(compose_reply(
                &answer.request,
                &answer.root_topic,
                &answer.keys,
                (&answer.suites, answer.validity),
                (&answer.own, answer.now),
                rng,
            )),
            Self::Open {
                root_topic,
                reply,
                ephemerals,
            } => {
                let ephemerals = match ephemerals {
                    EphemeralKeys::Known(ephemerals) => ephemerals,
                    EphemeralKeys::Derived {
                        seed,
                        random0,
                        suites,
                    } => seed.ephemerals(&root_topic, &random0, &suites),
                };
                KemOutput::Opened(reply.open(&root_topic, &ephemerals))
            }
        }
    }
}

impl AnswerJob {
    /// Returns the root topic.
    #[must_use]
    pub fn root_topic(&self) -> &RootTopic {
        &self.root_topic
    }

    /// Returns the request that this job answers.
    #[must_use]
    pub fn request(&self) -> &KeyRequest {
        &self.request
    }

    /// Returns the ids of the data keys in the answer.
    pub fn ids(&self) -> impl Iterator<Item = &KeyId> {
        self.keys.iter().map(|(id, _)| id)
    }
}

impl Job {
    /// Returns the maximum duration of the job. After this time, the exchange no longer waits for the result.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        match self {
            // The topic may have to be created first.
            Self::Send(_) | Self::Read(..) => Duration::from_secs(30),
            _ => Duration::from_secs(15),
        }
    }
}

impl fmt::Debug for KemJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Draw(_) => "Draw",
            Self::Derive { .. } => "Derive",
            Self::Answer(_) => "Answer",
            Self::Open { .. } => "Open",
        })
    }
}

impl fmt::Debug for KemOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drawn(..) => "Drawn",
            Self::Answered(_) => "Answered",
            Self::Opened(_) => "Opened",
        })
    }
}
