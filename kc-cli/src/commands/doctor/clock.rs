//! The clock of this host, compared with the times of records.

use std::time::Duration;

use kc::Clock;
use kc::core::text::with_sources;
use kc::core::types::Timestamp;

use super::broker::Cluster;
use super::finding::{Check, Findings};
use super::tail;
use crate::args::shown_duration;
use crate::error::CliError;

/// The difference that delays explain: those of a network, and of the log of the broker.
const SMALL: Duration = Duration::from_secs(10);
/// The difference from which nodes refuse what is signed.
const LARGE: Duration = Duration::from_secs(60);

const SYNCHRONISE: &str =
    "synchronise the clocks of this host, of the producers and of the brokers (NTP)";

/// The difference between two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    Small,
    Noticeable,
    Large,
}

impl Gap {
    fn of(difference: Duration) -> Self {
        match difference {
            difference if difference > LARGE => Self::Large,
            difference if difference > SMALL => Self::Noticeable,
            _ => Self::Small,
        }
    }
}

/// Compares the clock of this host with the latest records of the topics. Kafka has no request for the time of a broker,
/// but each record has a time: that of its producer, or, with `message.timestamp.type=LogAppendTime`, that of the broker.
/// A record from the future shows that this clock is late, or that another one is early. That this clock is early cannot be
/// seen in this way.
pub(super) async fn check(
    cluster: &Cluster,
    topics: &[String],
    findings: &mut Findings,
) -> Result<(), CliError> {
    let check = Check::ClockRecords;
    let mut latest: Option<(i64, String)> = None;
    let backend = cluster.connection.backend.as_ref();
    let read = tail::read(backend, topics, |record| {
        if let Some(timestamp) = record.timestamp
            && latest.as_ref().is_none_or(|(known, _)| timestamp > *known)
        {
            latest = Some((timestamp, record.topic.to_string()));
        }
    });
    if let Err(error) = read.await {
        let advice = error
            .advice()
            .unwrap_or("the right Read on the topics is needed");
        return findings.skip(check, "clock", with_sources(&error), advice);
    }
    let found = latest.and_then(|(millis, topic)| Some((u64::try_from(millis).ok()?, topic)));
    let Some((millis, topic)) = found else {
        let detail = "no record of the topics has a time to compare with";
        return findings.skip(
            check,
            "clock",
            detail,
            "run kc doctor again when records have been sent",
        );
    };
    let (record, now) = (
        Timestamp::from_unix(Duration::from_millis(millis)),
        Clock::system().now(),
    );
    let ahead = record.since(now);
    let ahead_shown = shown_duration(Duration::from_secs(ahead.as_secs()));
    let detail =
        format!("the latest record of {topic} is of {record}, {ahead_shown} in the future");
    match Gap::of(ahead) {
        Gap::Large => findings.fail(check, "clock", detail, SYNCHRONISE),
        Gap::Noticeable => findings.warn(check, "clock", detail, SYNCHRONISE),
        Gap::Small => {
            let detail = format!("the latest record of {topic} is of {record}, not in the future");
            findings.ok(check, "clock", detail)
        }
    }
}

/// Compares the clock of this host at the time `now` of an answer with the time in milliseconds of the latest record in the
/// side topic for answers. An answer that seems old shows that this clock is early, or that the clock of the node that
/// answered (or of the broker) is late.
pub(super) fn of_answer(
    millis: Option<i64>,
    now: Timestamp,
    topic: &str,
    findings: &mut Findings,
) -> Result<(), CliError> {
    let check = Check::ClockAnswers;
    let Some(millis) = millis.and_then(|millis| u64::try_from(millis).ok()) else {
        let detail = "the records of the topic have no time";
        let advice = "compare the clock of this host with a reliable one";
        return findings.skip(check, topic, detail, advice);
    };
    let answer = Timestamp::from_unix(Duration::from_millis(millis));
    let old = now.since(answer);
    let detail = format!(
        "the answer that has just come is of {answer}: by the clock of this host, that was {} ago",
        shown_duration(Duration::from_secs(old.as_secs()))
    );
    match Gap::of(old) {
        Gap::Large => findings.fail(check, topic, detail, SYNCHRONISE),
        Gap::Noticeable => findings.warn(check, topic, detail, SYNCHRONISE),
        Gap::Small => findings.ok(check, topic, detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_judged_by_their_size() {
        for (secs, gap) in [
            (0, Gap::Small),
            (10, Gap::Small),
            (11, Gap::Noticeable),
            (60, Gap::Noticeable),
            (61, Gap::Large),
            (u64::MAX, Gap::Large),
        ] {
            assert_eq!(Gap::of(Duration::from_secs(secs)), gap, "{secs}");
        }
    }
}
