//! What an exchange has done for it, by threads, tokens and brokers that take their time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rand_core::CryptoRng;

use super::reply::{KeyReply, ReceivedKeys, compose_reply};
use super::request::{KeyRequest, NONCE_LEN};
use super::{Refusal, Validity};
use crate::backend::BackendError;
use crate::chain::{ChainError, ToBeSigned, Usage, ValidIdentity, ValidatedChain};
use crate::kem::{DecapsulationKey, Suite};
use crate::ratchet::TopicSecret;
use crate::types::{KeyId, RootTopic, SideTopic, Timestamp};

/// Names a job. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(super) u64);

/// A job for others. Its result comes back as [`Input::Done`](super::Input::Done) with the same ticket; one that does
/// not come by the job's [deadline](Job::deadline) is given up.
#[derive(Debug)]
#[non_exhaustive]
pub enum Job {
    /// Validate a chain for a root topic and a usage, now.
    Validate {
        /// The chain as received.
        chain: Arc<[u8]>,
        /// The root topic that it must grant.
        root_topic: RootTopic,
        /// The usage that it must grant.
        usage: Usage,
    },
    /// Look up the node's own identities whose chains are valid.
    Identities,
    /// Look up whether the node's own chain grants one of these usages for a root topic.
    Grant {
        /// The root topic.
        root_topic: RootTopic,
        /// The usages; one is enough.
        usages: &'static [Usage],
    },
    /// Look up which of these keys are kept here.
    Held {
        /// The root topic.
        root_topic: RootTopic,
        /// The keys.
        ids: Vec<KeyId>,
    },
    /// Compute a key exchange: see [`KemJob::run`].
    Kem(KemJob),
    /// Sign.
    Sign(Arc<ToBeSigned>),
    /// Send a record to partition 0 of a side topic, and wait until it is acknowledged.
    Send(OutRecord),
    /// Read a side topic from now on.
    Read(RootTopic, SideTopic),
}

/// A record for a side topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutRecord {
    /// The root topic.
    pub root_topic: RootTopic,
    /// Which of its side topics.
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
    /// Of [`Job::Validate`].
    Validated(Result<ValidatedChain, ChainError>),
    /// Of [`Job::Identities`].
    Identities(Result<Vec<ValidIdentity>, ChainError>),
    /// Of [`Job::Grant`].
    Grant(Result<(), ChainError>),
    /// Of [`Job::Held`].
    Held(Vec<(KeyId, TopicSecret)>),
    /// Of [`Job::Kem`].
    Kem(KemOutput),
    /// Of [`Job::Sign`]: the signature, then what was signed.
    Signed(Vec<u8>),
    /// Of [`Job::Send`] and [`Job::Read`].
    Done,
}

/// Why a job has no result.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Failure {
    /// Nobody does it now: an actor or a token is away, or did not answer in time.
    Unavailable,
    /// The Kafka client failed.
    Backend(BackendError),
}

impl Failure {
    /// What the Kafka client says, if it said something.
    pub(super) fn into_backend(self) -> Option<BackendError> {
        match self {
            Self::Backend(error) => Some(error),
            Self::Unavailable => None,
        }
    }
}

/// A key exchange to be computed: up to some milliseconds of work.
pub enum KemJob {
    /// Draws a request's ephemeral keys, one for each suite, and its random value.
    Draw(Vec<Suite>),
    /// Encapsulates to a request, and seals these keys to it.
    Answer(Box<AnswerJob>),
    /// Opens a reply with the ephemeral keys of the request that it answers.
    Open {
        /// The root topic.
        root_topic: RootTopic,
        /// The reply.
        reply: Box<KeyReply>,
        /// The ephemeral keys.
        ephemerals: Arc<[DecapsulationKey]>,
    },
}

/// What an answer is made of.
pub struct AnswerJob {
    pub(super) root_topic: RootTopic,
    pub(super) request: Arc<KeyRequest>,
    pub(super) keys: Vec<(KeyId, TopicSecret)>,
    pub(super) suites: Arc<[Suite]>,
    pub(super) validity: Validity,
    pub(super) own: Arc<[ValidIdentity]>,
    pub(super) now: Timestamp,
}

/// What came of a key exchange.
pub enum KemOutput {
    /// Ephemeral keys and a random value.
    Drawn(Arc<[DecapsulationKey]>, [u8; NONCE_LEN]),
    /// A reply for each identity that answers.
    Answered(Result<Vec<ToBeSigned>, Refusal>),
    /// The keys of a reply.
    Opened(Result<ReceivedKeys, Refusal>),
}

impl KemJob {
    /// Computes it. Blocks for up to some milliseconds.
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
            } => KemOutput::Opened(reply.open(&root_topic, &ephemerals)),
        }
    }
}

impl AnswerJob {
    /// The root topic.
    #[must_use]
    pub fn root_topic(&self) -> &RootTopic {
        &self.root_topic
    }

    /// The request that is answered.
    #[must_use]
    pub fn request(&self) -> &KeyRequest {
        &self.request
    }
}

impl Job {
    /// How long it may take; who does it may never answer.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        match self {
            // A topic may have to be created first.
            Self::Send(_) | Self::Read(..) => Duration::from_secs(30),
            _ => Duration::from_secs(15),
        }
    }
}

impl fmt::Debug for KemJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Draw(_) => "Draw",
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
