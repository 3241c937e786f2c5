use kc_core::backend::{Header, OutgoingRecord, Record, TopicPartition};

use super::undecryptable::Reason;

/// The prefix of the names of the headers that name an origin. The writer of a record cannot set them, because they are
/// replaced when the record is moved.
const PREFIX: &str = "kc.";

/// The position of a dead letter or parked record before a consumer moved it. The headers of the record contain it in
/// clear: the broker can change it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// The group of the consumer (`kc.group`).
    pub group: String,
    /// The topic and the partition (`kc.topic`, `kc.partition`).
    pub at: TopicPartition,
    /// The offset (`kc.offset`).
    pub offset: i64,
    /// The time of the record in milliseconds since the Unix epoch (`kc.timestamp`), if it had one.
    pub timestamp: Option<i64>,
    /// The name of the [`Reason`](super::Reason) why the record was moved (`kc.reason`).
    pub reason: String,
    /// The number of times that the record was parked again (`kc.again`).
    pub again: u32,
}

impl Origin {
    /// Returns the origin of a record of a data topic, which a consumer of the group moves for this reason.
    pub(super) fn new(group: &str, reason: Reason, record: &Record) -> Self {
        Self {
            group: group.to_owned(),
            at: record.at(),
            offset: record.offset,
            timestamp: record.timestamp,
            reason: reason.to_string(),
            again: 0,
        }
    }

    /// Reads the origin from the headers of a moved record. Returns `None` if a header is missing or malformed.
    #[must_use]
    pub fn of(headers: &[Header]) -> Option<Self> {
        let text = |name: &str| {
            let mut headers = headers.iter();
            let found = headers.find(|header| header.name.strip_prefix(PREFIX) == Some(name))?;
            str::from_utf8(found.value.as_deref()?).ok()
        };
        Some(Self {
            group: text("group")?.to_owned(),
            at: TopicPartition {
                topic: text("topic")?.to_owned(),
                partition: text("partition")?.parse().ok()?,
            },
            offset: text("offset")?.parse().ok()?,
            timestamp: text("timestamp").and_then(|time| time.parse().ok()),
            reason: text("reason").unwrap_or_default().to_owned(),
            again: text("again").map_or(Some(0), |again| again.parse().ok())?,
        })
    }

    /// Takes the content of a record of this origin that was not opened, for a record of the topic `topic`.
    pub(super) fn letter(&self, topic: &str, record: &mut Record) -> OutgoingRecord {
        let origin = [
            ("group", Some(self.group.clone())),
            ("topic", Some(self.at.topic.clone())),
            ("partition", Some(self.at.partition.to_string())),
            ("offset", Some(self.offset.to_string())),
            ("timestamp", self.timestamp.map(|time| time.to_string())),
            ("reason", Some(self.reason.clone())),
            (
                "again",
                Some(self.again)
                    .filter(|again| *again > 0)
                    .map(|again| again.to_string()),
            ),
        ];
        let mut headers = without_origin(std::mem::take(&mut record.headers));
        let origin = origin.into_iter();
        headers.extend(origin.filter_map(|(name, value)| {
            Some(Header {
                name: format!("{PREFIX}{name}"),
                value: Some(value?.into_bytes()),
            })
        }));
        OutgoingRecord {
            topic: topic.to_owned(),
            key: record.key.take().map(Vec::from),
            value: record.value.take().map(Vec::from),
            headers,
            ..OutgoingRecord::default()
        }
    }
}

/// Removes the headers that name an origin.
pub(super) fn without_origin(mut headers: Vec<Header>) -> Vec<Header> {
    headers.retain(|header| !header.name.starts_with(PREFIX));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, value: &str) -> Header {
        Header {
            name: name.to_owned(),
            value: Some(value.into()),
        }
    }

    #[test]
    fn a_moved_record_names_its_origin_and_keeps_its_other_headers() {
        let origin = Origin {
            group: "g".into(),
            at: TopicPartition {
                topic: "t.a".into(),
                partition: 3,
            },
            offset: 7,
            timestamp: Some(1_800_000_000_000),
            reason: "unanswered".into(),
            again: 2,
        };
        let mut record = Record {
            topic: "t.a".into(),
            partition: 3,
            offset: 7,
            timestamp: Some(1_800_000_000_000),
            key: Some("key".into()),
            value: Some("value".into()),
            headers: vec![header("trace", "1"), header("kc.offset", "9")],
        };
        let letter = origin.letter("t.parked", &mut record);
        assert_eq!(Origin::of(&letter.headers), Some(origin));
        assert_eq!(letter.headers[0], header("trace", "1"));
        assert_eq!(letter.headers.len(), 8);
        assert_eq!(letter.value.as_deref(), Some(&b"value"[..]));
        assert_eq!(without_origin(letter.headers), [header("trace", "1")]);
    }

    #[test]
    fn incomplete_and_malformed_origins_are_none() {
        let good = [
            header("kc.group", "g"),
            header("kc.topic", "t"),
            header("kc.partition", "0"),
            header("kc.offset", "1"),
        ];
        assert!(Origin::of(&good).is_some());
        for left_out in 0..good.len() {
            let mut headers = good.to_vec();
            headers.remove(left_out);
            assert_eq!(Origin::of(&headers), None);
        }
        for (index, value) in [(2, "x"), (3, "1.5"), (2, "4294967296")] {
            let mut headers = good.to_vec();
            headers[index].value = Some(value.into());
            assert_eq!(Origin::of(&headers), None, "{value}");
        }
    }
}
