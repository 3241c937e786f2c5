use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use kc_core::backend::{BackendError, BackendErrorKind};
use kc_core::types::{ManagementTopics, is_topic_name};
use thiserror::Error;

use crate::handles::{Awaiting, OpenFailure};

/// The time that a record waits for its data key before the policy for its [`Reason`] applies, unless it is set.
pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(30);

/// The reason why a consumer cannot open a record, as policies distinguish it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// The node is asking for the data key.
    NotYet,
    /// No node has answered the requests for the data key. See [`Awaiting::Unanswered`].
    Unanswered,
    /// The node has no valid chain that grants the topic.
    NotAuthorized,
    /// The chain of the node has expired.
    Expired,
    /// Only denied nodes have sent the data key.
    Denied,
    /// Data keys with the id are known, but none of them opens the record.
    Unauthentic,
    /// The record is not sealed.
    Foreign,
}

/// The treatment of a record that a consumer cannot open.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// Waits for the data key as long as it takes. The consumer gets no later record of the partition.
    Hold,
    /// Ends the consumer with an error at the record. The consumer commits no position beyond the record in this
    /// partition.
    Fail,
    /// Leaves out the record, and continues with the next record.
    Skip,
    /// Delivers the record unopened, with the [reason](super::ConsumerRecord::failure).
    Deliver,
    /// Sends the record unopened to the topic of this name, and continues with the next record. The position moves on
    /// when the broker has acknowledged the record. Headers name the group, topic, partition, offset and reason.
    DeadLetter(String),
    /// Sends the record unopened to the topic for parked records of its root topic (`<root>.parked`), and continues with
    /// the next record. The position moves on when the broker has acknowledged the record. The consumers of the group
    /// deliver the record when its data key has arrived. The parked records of one data key and partition are delivered in
    /// the order of their offsets, but records that were not parked may be delivered before them.
    ///
    /// The records need headers, so a backend must have this [capability](kc_core::backend::Capabilities::headers), and
    /// the group must commit positions. Records that are not sealed ([`Reason::Foreign`]) can never be opened, and are not
    /// parked.
    Park,
}

/// The policies of a consumer for records that it cannot open, by [`Reason`], and the consumer's patience.
///
/// By default, a record holds its partition if its data key may still arrive ([`Reason::NotYet`],
/// [`Reason::Unanswered`]), and ends the consumer otherwise.
///
/// The text form is a list of `POLICY` and `REASON=POLICY`, separated by commas. A policy without a reason applies to
/// all reasons; later entries override earlier ones:
///
/// ```
/// use kc_actors::{Policy, Reason, Undecryptable};
///
/// let policies: Undecryptable = "skip, unanswered=dead-letter:lost, foreign=fail".parse()?;
/// assert_eq!(policies.policy(Reason::Unanswered), &Policy::DeadLetter("lost".into()));
/// assert_eq!(policies.policy(Reason::Expired), &Policy::Skip);
/// # Ok::<_, kc_actors::UndecryptableError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecryptable {
    patience: Duration,
    /// A policy for each reason.
    policies: BTreeMap<Reason, Policy>,
}

/// The reason why a text does not describe policies.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UndecryptableError {
    /// A reason is unknown.
    #[error("unknown reason {0:?}: expected {names}", names = Reason::names())]
    Reason(String),
    /// A policy is unknown.
    #[error("unknown policy {0:?}: expected hold, fail, skip, deliver, park or dead-letter:TOPIC")]
    Policy(String),
    /// A record that is not sealed can never be opened, so it is not parked.
    #[error("records that are not sealed cannot be parked: choose another policy for foreign")]
    Parked,
    /// The topic for dead letters has an invalid name.
    #[error("invalid topic for dead letters: {0:?}")]
    Topic(String),
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 7] = [
        Self::NotYet,
        Self::Unanswered,
        Self::NotAuthorized,
        Self::Expired,
        Self::Denied,
        Self::Unauthentic,
        Self::Foreign,
    ];

    /// Returns the name in the configuration and on the command line, for example `not-yet`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotYet => "not-yet",
            Self::Unanswered => "unanswered",
            Self::NotAuthorized => "not-authorized",
            Self::Expired => "expired",
            Self::Denied => "denied",
            Self::Unauthentic => "unauthentic",
            Self::Foreign => "foreign",
        }
    }

    /// Returns the reason of a failure, or `None` if the node is closed.
    #[must_use]
    pub fn of(failure: &OpenFailure) -> Option<Self> {
        Some(match failure {
            OpenFailure::AwaitingKey { why, .. } => match why {
                Awaiting::NotYet => Self::NotYet,
                Awaiting::Unanswered => Self::Unanswered,
                Awaiting::NotAuthorized => Self::NotAuthorized,
                Awaiting::Expired => Self::Expired,
            },
            OpenFailure::Unauthentic { .. } => Self::Unauthentic,
            OpenFailure::Denied { .. } => Self::Denied,
            OpenFailure::Foreign(_) => Self::Foreign,
            OpenFailure::Closed => return None,
        })
    }

    fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Reason {
    type Err = UndecryptableError;

    /// Parses the name of a reason. Ignores case and hyphens.
    fn from_str(text: &str) -> Result<Self, UndecryptableError> {
        let plain = |name: &str| name.replace('-', "").to_ascii_lowercase();
        let mut reasons = Self::ALL.into_iter();
        let found = reasons.find(|reason| plain(reason.name()) == plain(text));
        found.ok_or_else(|| UndecryptableError::Reason(text.to_owned()))
    }
}

impl FromStr for Policy {
    type Err = UndecryptableError;

    fn from_str(text: &str) -> Result<Self, UndecryptableError> {
        let topic = text.strip_prefix("dead-letter:");
        match (text, topic) {
            ("hold", _) => Ok(Self::Hold),
            ("fail", _) => Ok(Self::Fail),
            ("skip", _) => Ok(Self::Skip),
            ("deliver", _) => Ok(Self::Deliver),
            ("park", _) => Ok(Self::Park),
            (_, Some(topic)) if is_topic_name(topic) => Ok(Self::DeadLetter(topic.to_owned())),
            (_, Some(topic)) => Err(UndecryptableError::Topic(topic.to_owned())),
            _ => Err(UndecryptableError::Policy(text.to_owned())),
        }
    }
}

impl Undecryptable {
    /// Returns the policy for a reason.
    #[must_use]
    pub fn policy(&self, reason: Reason) -> &Policy {
        self.policies.get(&reason).unwrap_or(&Policy::Fail)
    }

    /// Returns the patience.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Sets the patience: the time that a record waits for its data key before the policy for its reason applies. For
    /// [`Reason::Unanswered`] the time counts from the fetch of the record, for other reasons from the moment at which
    /// the record was first found to wait for this reason.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets the policy for a reason.
    #[must_use]
    pub fn with(mut self, reason: Reason, policy: Policy) -> Self {
        self.policies.insert(reason, policy);
        self
    }

    /// Applies the entries of a text over these policies. Reasons that the text does not name keep their policies.
    ///
    /// # Errors
    /// Returns [`UndecryptableError`] if a reason or a policy is unknown.
    pub fn with_text(mut self, text: &str) -> Result<Self, UndecryptableError> {
        for entry in text.split(',').map(str::trim) {
            self = match entry.split_once('=') {
                Some((reason, policy)) => {
                    let (reason, policy) = (reason.trim().parse()?, policy.trim().parse()?);
                    if (reason, &policy) == (Reason::Foreign, &Policy::Park) {
                        return Err(UndecryptableError::Parked);
                    }
                    self.with(reason, policy)
                }
                None => self.with_all(&entry.parse()?),
            };
        }
        Ok(self)
    }

    /// Checks that no management topic is a topic for dead letters.
    ///
    /// # Errors
    /// Returns a [`BackendError`] of the kind `Configuration` that names the topic.
    pub fn require_no_letters_to(&self, management: &ManagementTopics) -> Result<(), BackendError> {
        let letters = self.dead_letter_topics();
        match management
            .names()
            .into_iter()
            .find(|name| letters.contains(*name))
        {
            Some(topic) => {
                let context = format!(
                    "{topic} cannot be the topic for dead letters: it is a management topic"
                );
                Err(BackendError::new(BackendErrorKind::Configuration, context))
            }
            None => Ok(()),
        }
    }

    /// Returns whether a policy is [`Policy::Park`].
    #[must_use]
    pub fn parks(&self) -> bool {
        self.policies.values().any(|policy| *policy == Policy::Park)
    }

    /// Returns the topics for dead letters.
    pub(super) fn dead_letter_topics(&self) -> BTreeSet<String> {
        let topics = self.policies.values().filter_map(|policy| match policy {
            Policy::DeadLetter(topic) => Some(topic.clone()),
            _ => None,
        });
        topics.collect()
    }

    /// Sets the policy for all reasons. [`Policy::Park`] is not set for [`Reason::Foreign`], which keeps its policy.
    #[must_use]
    pub fn with_all(mut self, policy: &Policy) -> Self {
        for reason in Reason::ALL {
            if (reason, policy) != (Reason::Foreign, &Policy::Park) {
                self.policies.insert(reason, policy.clone());
            }
        }
        self
    }
}

impl Default for Undecryptable {
    fn default() -> Self {
        let policies = Reason::ALL.map(|reason| match reason {
            Reason::NotYet | Reason::Unanswered => (reason, Policy::Hold),
            _ => (reason, Policy::Fail),
        });
        Self {
            patience: DEFAULT_PATIENCE,
            policies: policies.into(),
        }
    }
}

impl FromStr for Undecryptable {
    type Err = UndecryptableError;

    /// Parses policies, over the defaults. The patience is the default.
    fn from_str(text: &str) -> Result<Self, UndecryptableError> {
        Self::default().with_text(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_entries_override_earlier_ones() {
        let policies: Undecryptable = "foreign=skip,deliver,NotYet=hold".parse().unwrap();
        assert_eq!(policies.policy(Reason::NotYet), &Policy::Hold);
        assert_eq!(policies.policy(Reason::Foreign), &Policy::Deliver);
        assert_eq!(policies.patience(), DEFAULT_PATIENCE);
        let parking: Undecryptable = "park".parse().unwrap();
        assert!(parking.parks());
        assert_eq!(parking.policy(Reason::Denied), &Policy::Park);
        assert_eq!(parking.policy(Reason::Foreign), &Policy::Fail);
    }

    #[test]
    fn by_default_a_record_holds_only_while_its_key_may_arrive() {
        let policies = Undecryptable::default();
        for reason in Reason::ALL {
            let holds = matches!(reason, Reason::NotYet | Reason::Unanswered);
            let expected = if holds { Policy::Hold } else { Policy::Fail };
            assert_eq!(policies.policy(reason), &expected, "{reason}");
        }
    }

    #[test]
    fn unknown_words_are_named() {
        for (text, word) in [
            ("", "\"\""),
            ("drop", "\"drop\""),
            ("late=skip", "\"late\""),
            ("foreign=", "\"\""),
            ("dead-letter:", "\"\""),
            ("dead-letter:a b", "a b"),
            ("foreign=park", "parked"),
            ("skip,,", "\"\""),
        ] {
            let error = text.parse::<Undecryptable>().unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
