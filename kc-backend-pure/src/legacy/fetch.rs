//! One fetch of records from several partitions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka::client::{FetchPartition, fetch as answer};
use kafka::error::{Error, KafkaCode, Result};
use kc_core::backend::{Record, TopicPartition};

use super::client::{Client, RETRY_PAUSE};
use super::error::{breaks_connection, code, is_transient};

/// The maximum time to look up the beginning of a log.
const BEGINNING_WAIT: Duration = Duration::from_secs(5);

/// The start and the size of a fetch from one partition.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) at: TopicPartition,
    pub(super) offset: i64,
    /// The maximum size of the answer, in bytes. The broker does not return a batch that is larger.
    pub(super) limit: i32,
}

/// The result of a fetch from one partition.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) at: TopicPartition,
    /// The offset that was requested.
    pub(super) offset: i64,
    pub(super) found: Found,
}

#[derive(Debug)]
pub(super) enum Found {
    /// Records in the order of their offsets. The list is empty if the log has no more records yet.
    Records(Vec<Record>),
    /// The broker returned no records although the log has more: the next batch is larger than the limit, or there is
    /// no record at the requested offset.
    Nothing,
    /// The log does not contain the requested offset. The value is the first offset of the log.
    Elsewhere(i64),
    /// Another error of this partition.
    Failed(Error),
}

/// Fetches records that exist already or arrive within `wait`. The result leaves out partitions that must be fetched
/// again later: those that are unknown, have no leader, or have an error that may pass.
pub(super) fn fetch(
    client: &mut Client,
    wanted: &[Wanted],
    wait: Duration,
) -> Result<Vec<Fetched>> {
    match request(client, wanted, wait) {
        Err(error) if !breaks_connection(&error) => one_by_one(client, wanted, error),
        result => result,
    }
}

/// Fetches from each partition separately. This is done after a fetch from all of them failed with `error`, because one
/// batch that cannot be read makes the whole fetch fail.
fn one_by_one(client: &mut Client, wanted: &[Wanted], error: Error) -> Result<Vec<Fetched>> {
    if let [one] = wanted {
        return Ok(vec![one.found(Found::Failed(error))]);
    }
    let mut all = Vec::new();
    for one in wanted {
        match request(client, std::slice::from_ref(one), Duration::ZERO) {
            Ok(fetched) => all.extend(fetched),
            Err(error) if breaks_connection(&error) => return Err(error),
            Err(error) => all.push(one.found(Found::Failed(error))),
        }
    }
    Ok(all)
}

fn request(client: &mut Client, wanted: &[Wanted], wait: Duration) -> Result<Vec<Fetched>> {
    let leaders = client.leaders(wanted.iter().map(|one| &one.at))?;
    let leaders: BTreeSet<String> = leaders.into_iter().flatten().collect();
    let count = u32::try_from(leaders.len()).unwrap_or(1).max(1);
    let responses = client.with(|kafka| {
        // The requests to the leaders are made one after the other, so each request may use only a part of the time.
        kafka.set_fetch_max_wait_time(wait / count)?;
        kafka.fetch_messages(wanted.iter().map(|one| {
            FetchPartition::new(&one.at.topic, one.at.partition, one.offset)
                .with_max_bytes(one.limit)
        }))
    })?;
    let mut all = Vec::new();
    for topic in responses.iter().flat_map(answer::Response::topics) {
        for partition in topic.partitions() {
            let asked = wanted.iter().find(|one| {
                one.at.topic == topic.topic() && one.at.partition == partition.partition()
            });
            let Some(one) = asked else { continue };
            if let Some(found) = found(client, one, partition)? {
                all.push(one.found(found));
            }
        }
    }
    if all.len() < wanted.len() {
        client.forget_leaders();
        if !all.iter().any(Fetched::has_records) {
            sleep(RETRY_PAUSE.min(wait));
        }
    }
    Ok(all)
}

/// Returns the result of one partition. Returns `None` if the fetch must be repeated later, perhaps from another
/// broker.
fn found(
    client: &mut Client,
    one: &Wanted,
    partition: &answer::Partition<'_>,
) -> Result<Option<Found>> {
    let error = match partition.data() {
        Ok(data) => {
            let records = records(&one.at, data.messages());
            let goes_on = data.highwatermark_offset() > one.offset;
            return Ok(Some(if records.is_empty() && goes_on {
                Found::Nothing
            } else {
                Found::Records(records)
            }));
        }
        Err(error) => Error::ArcSelf(error),
    };
    match code(&error) {
        Some(KafkaCode::OffsetOutOfRange) => {
            let partitions = std::slice::from_ref(&one.at);
            let have = client.watermarks(partitions, Instant::now() + BEGINNING_WAIT)?;
            Ok(have.get(&one.at).map(|have| Found::Elsewhere(have.low)))
        }
        Some(KafkaCode::UnknownTopicOrPartition) => Ok(None),
        _ if is_transient(&error) => Ok(None),
        _ => Ok(Some(Found::Failed(error))),
    }
}

/// Converts messages to records. Drops repeated messages: a broker that converts messages for old clients sends the
/// first message after a transaction marker twice. Empty keys and values become null, because the crate does not
/// distinguish empty from null.
fn records(at: &TopicPartition, messages: &[answer::Message<'_>]) -> Vec<Record> {
    let topic: Arc<str> = at.topic.as_str().into();
    let bytes = |bytes: &[u8]| (!bytes.is_empty()).then(|| Bytes::copy_from_slice(bytes));
    let mut records: Vec<Record> = Vec::with_capacity(messages.len());
    for message in messages {
        if records
            .last()
            .is_some_and(|last| last.offset >= message.offset)
        {
            continue;
        }
        records.push(Record {
            topic: Arc::clone(&topic),
            partition: at.partition,
            offset: message.offset,
            timestamp: None,
            key: bytes(message.key),
            value: bytes(message.value),
            headers: Vec::new(),
        });
    }
    records
}

impl Wanted {
    fn found(&self, found: Found) -> Fetched {
        Fetched {
            at: self.at.clone(),
            offset: self.offset,
            found,
        }
    }
}

impl Fetched {
    fn has_records(&self) -> bool {
        matches!(&self.found, Found::Records(records) if !records.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(offset: i64, value: &[u8]) -> answer::Message<'_> {
        let key = &[];
        answer::Message { offset, key, value }
    }

    #[test]
    fn each_message_is_one_record_and_empty_is_null() {
        let at = TopicPartition {
            topic: "t".to_owned(),
            partition: 3,
        };
        let messages = [message(7, b"a"), message(7, b"a"), message(9, b"")];
        let records = records(&at, &messages);
        let offsets: Vec<i64> = records.iter().map(|record| record.offset).collect();
        assert_eq!(offsets, [7, 9]);
        assert_eq!(records[0].value.as_deref(), Some(&b"a"[..]));
        assert_eq!(records[1].value, None);
        assert!(
            records
                .iter()
                .all(|record| record.key.is_none() && record.partition == 3)
        );
    }
}
