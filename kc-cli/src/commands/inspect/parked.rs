//! The parked records of a topic.

use std::collections::BTreeMap;

use kc::core::backend::{Backend, Record, TopicPartition};
use kc::core::text::counted;
use kc::{BackendError, Origin};
use serde::Serialize;

use super::DEADLINE;

/// The parked records of a data topic, by group and by partition of the data topic.
#[derive(Debug, Default)]
pub(super) struct ParkedRecords {
    found: BTreeMap<(String, i32), Vec<Place>>,
}

/// The place of a parked record.
#[derive(Debug)]
struct Place {
    /// Among the parked records.
    at: TopicPartition,
    offset: i64,
    /// The offset in the data topic.
    from: i64,
}

/// The parked records of a group from its position on, as `--json` prints them. The group has delivered all before it.
#[derive(Debug, Serialize)]
pub(super) struct Parked {
    pub(super) partition: i32,
    kind: &'static str,
    group: String,
    records: usize,
    /// The first and the last offset in the data topic.
    first: i64,
    last: i64,
}

impl ParkedRecords {
    /// Adds a record of the topic of parked records, if it was parked from `topic`.
    pub(super) fn add(&mut self, topic: &str, record: &Record) {
        let Some(origin) = Origin::of(&record.headers).filter(|origin| origin.at.topic == topic)
        else {
            return;
        };
        let place = Place {
            at: record.at(),
            offset: record.offset,
            from: origin.offset,
        };
        let of_group = self.found.entry((origin.group, origin.at.partition));
        of_group.or_default().push(place);
    }

    /// Returns the records that their groups may not have delivered: those from their positions on. If the broker does not show the positions of a group,
    /// all its records count.
    pub(super) async fn waiting(self, backend: &dyn Backend, topic: &str) -> Vec<Parked> {
        let mut positions = BTreeMap::new();
        let mut waiting = Vec::new();
        for ((group, partition), places) in self.found {
            if !positions.contains_key(&group) {
                let committed = committed(backend, &group, topic).await;
                positions.insert(group.clone(), committed.unwrap_or_default());
            }
            let committed = positions.get(&group);
            let position = |at: &TopicPartition| committed.and_then(|it| it.get(at).copied());
            let offsets = places.iter();
            let offsets = offsets.filter(|place| position(&place.at) <= Some(place.offset));
            let offsets: Vec<i64> = offsets.map(|place| place.from).collect();
            if let (Some(&first), Some(&last)) = (offsets.iter().min(), offsets.iter().max()) {
                waiting.push(Parked {
                    partition,
                    kind: "parked",
                    group,
                    records: offsets.len(),
                    first,
                    last,
                });
            }
        }
        waiting
    }
}

async fn committed(
    backend: &dyn Backend,
    group: &str,
    topic: &str,
) -> Result<BTreeMap<TopicPartition, i64>, BackendError> {
    let mut reader = backend.log_reader(Some(group)).await?;
    let committed = reader.committed(&[topic.to_owned()], DEADLINE).await;
    reader.close().await;
    let positions = committed?.into_iter();
    Ok(positions.map(|it| (it.at(), it.offset)).collect())
}

impl std::fmt::Display for Parked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let records = counted(self.records as u64, "record");
        let Self {
            group, first, last, ..
        } = self;
        write!(
            f,
            "{records} parked for group {group}: offsets {first} to {last}"
        )
    }
}
