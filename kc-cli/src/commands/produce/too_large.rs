//! Records that are larger than the client or the broker accepts.

use std::str::FromStr;

use kc::core::text::{counted, with_sources};
use kc::{BackendError, Producer, Record};

use super::deliveries::Sent;
use crate::error::CliError;
use crate::ui::Ui;

/// The prefix of the policy that names a topic.
const DEAD_LETTER: &str = "dead-letter:";
/// The header of a dead letter with the number of the line.
const LINE: &str = "kc.line";
/// The header of a dead letter with the length of the record's key and value, in bytes.
const LENGTH: &str = "kc.bytes";

/// The policy for records that are too large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    Fail,
    Skip,
    DeadLetter {
        /// The topic.
        topic: String,
    },
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix(DEAD_LETTER)) {
            ("fail", _) => Ok(Self::Fail),
            ("skip", _) => Ok(Self::Skip),
            (_, Some(topic)) if !topic.is_empty() => Ok(Self::DeadLetter {
                topic: topic.to_owned(),
            }),
            _ => Err("expected fail, skip or dead-letter:TOPIC".to_owned()),
        }
    }
}

impl Policy {
    /// Returns the topic for dead letters.
    pub(super) fn topic(&self) -> Option<&str> {
        match self {
            Self::DeadLetter { topic } => Some(topic),
            Self::Fail | Self::Skip => None,
        }
    }
}

/// Applies the policy, and counts the records that were not sent.
pub(super) struct TooLarge<'a> {
    policy: &'a Policy,
    ui: Ui,
    count: u64,
}

impl<'a> TooLarge<'a> {
    pub(super) fn new(policy: &'a Policy, ui: Ui) -> Self {
        Self {
            policy,
            ui,
            count: 0,
        }
    }

    /// Handles a record that is too large.
    ///
    /// # Errors
    /// [`CliError`] if the policy is to fail, or if the dead letter was not sent.
    pub(super) async fn handle(
        &mut self,
        producer: &Producer,
        sent: Sent,
        error: BackendError,
    ) -> Result<(), CliError> {
        let place = format!("line {}", sent.number);
        let topic = match self.policy {
            Policy::Fail => {
                let advice = CliError::from(error.clone());
                let failed =
                    CliError::new(advice.exit(), format!("{place}: {}", with_sources(&error)));
                let advice = advice.advice().unwrap_or_default();
                return Err(failed.advise(format!(
                    "{advice}; or leave such lines out with --on-too-large skip"
                )));
            }
            Policy::Skip => None,
            Policy::DeadLetter { topic } => Some(topic),
        };
        self.count += 1;
        if let Some(topic) = topic {
            let mut letter = Record::to(topic)
                .headers(sent.headers)
                .header(LINE, sent.number.to_string())
                .header(LENGTH, sent.length.to_string());
            if let Some(key) = sent.key {
                letter = letter.key(key);
            }
            producer.send(letter).await?;
        }
        self.ui.say(format!("{place} not sent: {error}"));
        Ok(())
    }

    /// Prints the number of records that were not sent.
    pub(super) fn summary(&self) {
        if self.count == 0 {
            return;
        }
        let count = counted(self.count, "record");
        self.ui.say(match self.policy.topic() {
            Some(topic) => format!("{count} too large: described in {topic}"),
            None => format!("{count} too large: left out"),
        });
    }
}
