//! Records that are larger than the client or the broker accepts.

use std::str::FromStr;

use kc::core::text::{counted, with_sources};
use kc::{BackendError, BackendErrorKind, ProduceError, Producer, Record};
use serde_json::json;

use super::lines::Line;
use crate::error::CliError;
use crate::ui::Ui;

/// The prefix of the policy that names a topic.
const DEAD_LETTER: &str = "dead-letter:";

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

    /// Handles a line whose record is too large.
    ///
    /// # Errors
    /// [`CliError`] if the policy is to fail, or if the dead letter was not sent.
    pub(super) async fn handle(
        &mut self,
        producer: &Producer,
        line: &Line,
        error: BackendError,
    ) -> Result<(), CliError> {
        let number = line.number;
        let topic = match self.policy {
            Policy::Fail => return Err(failure(number, &error)),
            Policy::Skip => None,
            Policy::DeadLetter { topic } => Some(topic),
        };
        self.count += 1;
        if let Some(topic) = topic {
            send_letter(producer, topic, line, &error).await?;
        }
        self.ui.say(format!("line {number} not sent: {error}"));
        Ok(())
    }

    /// Returns the number of records that were not sent.
    pub(super) fn count(&self) -> u64 {
        self.count
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

/// Returns the error of a run that ends because of the line with this number.
fn failure(number: u64, error: &BackendError) -> CliError {
    let general = CliError::from(error.clone());
    let text = format!("line {number}: {}", with_sources(error));
    let advice = general.advice().unwrap_or_default();
    CliError::new(general.exit(), text).advise(format!(
        "{advice}; or leave such lines out with --on-too-large skip"
    ))
}

/// Sends a description of a line to the topic for dead letters. If the letter itself is too large, it is sent without
/// the key and the headers of the line.
async fn send_letter(
    producer: &Producer,
    topic: &str,
    line: &Line,
    error: &BackendError,
) -> Result<(), CliError> {
    let description = json!({
        "line": line.number,
        "bytes": line.len() - 1,
        "error": error.to_string(),
    });
    let letter = || Record::to(topic).value(description.to_string());
    let mut whole = letter().headers(line.headers.clone());
    if let Some(key) = &line.key {
        whole = whole.key(key);
    }
    match producer.send(whole).await {
        Err(ProduceError::Backend(error)) if error.kind() == BackendErrorKind::RecordTooLarge => {
            producer.send(letter()).await?;
        }
        sent => drop(sent?),
    }
    Ok(())
}
