//! The data keys that records need, as their envelopes say.

use std::collections::HashMap;
use std::time::Duration;

use kc_core::backend::Record;
use kc_core::custody::{Day, Place, Sighting};
use kc_core::message::Envelope;
use kc_core::ratchet::Component;
use kc_core::types::{KeyId, RootTopic, Timestamp, TopicScheme};

use super::{Sample, SightedKey};

/// Maximum number of ids that are remembered because their keys are kept. The custody actor does not get further
/// records of the same day that need them.
const MAX_KEPT_SEEN: usize = 65_536;

/// Returns the data keys that records need, each once, without those that are known to be kept.
pub(super) fn sightings(
    records: &[Record],
    scheme: &TopicScheme,
    kept: &KeptSeen,
    now: Timestamp,
) -> Vec<SightedKey> {
    let mut seen: HashMap<(RootTopic, KeyId), Seen<'_>> = HashMap::new();
    for record in records {
        let at = time_of(record, now);
        for (id, component, sealed) in sealed_parts(record) {
            let key = (scheme.root_of(&record.topic), id);
            if kept.contain(&key, at) {
                continue;
            }
            let part = (component, sealed);
            let seen = seen.entry(key).or_insert_with(|| Seen {
                place: record,
                is_likely: false,
                at,
                first: part,
                smallest: part,
                last: part,
            });
            seen.is_likely |= !std::ptr::eq(seen.place, record);
            seen.at = later(seen.at, at);
            seen.last = part;
            if sealed.len() < seen.smallest.1.len() {
                seen.smallest = part;
            }
        }
    }
    let seen = seen.into_iter();
    seen.map(|(key, seen)| seen.into_sighted(key)).collect()
}

/// The records of one poll that need the same data key.
struct Seen<'r> {
    /// The first of them.
    place: &'r Record,
    is_likely: bool,
    at: Timestamp,
    first: (Component, &'r [u8]),
    smallest: (Component, &'r [u8]),
    last: (Component, &'r [u8]),
}

impl Seen<'_> {
    fn into_sighted(self, (root_topic, id): (RootTopic, KeyId)) -> SightedKey {
        let mut samples = Vec::new();
        for (component, sealed) in [self.first, self.smallest, self.last] {
            let sample = Sample::of(component, sealed);
            if !samples.contains(&sample) {
                samples.push(sample);
            }
        }
        SightedKey {
            sighting: Sighting {
                root_topic,
                id,
                place: Place {
                    topic: self.place.topic.to_string(),
                    partition: self.place.partition,
                    offset: self.place.offset,
                },
                at: self.at,
                is_likely: self.is_likely,
            },
            samples,
        }
    }
}

/// Returns the sealed parts of a record, each with the id of its data key. Leaves out parts that no key can open.
pub(super) fn sealed_parts(record: &Record) -> impl Iterator<Item = (KeyId, Component, &[u8])> {
    let parts = [
        (Component::Key, &record.key),
        (Component::Value, &record.value),
    ];
    parts.into_iter().filter_map(|(component, part)| {
        let sealed = part.as_deref()?;
        let envelope = Envelope::parse(sealed).ok()?;
        envelope.body?;
        Some((envelope.key_id, component, sealed))
    })
}

/// The age from which records count as equally old. It bounds the number of days that a broker can invent, each of which
/// has a key of its own.
const OLDEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Returns the broker's time of a record, but never a time later than now or more than ten years ago.
#[expect(clippy::cast_precision_loss, reason = "times fit a double's 53 bits")]
fn time_of(record: &Record, now: Timestamp) -> Timestamp {
    let millis = record.timestamp.map(|millis| millis as f64);
    let at = millis.and_then(|millis| Timestamp::from_secs(millis / 1000.0));
    match at {
        Some(at) if now.since(at) > OLDEST => now.minus(OLDEST),
        Some(at) if at.as_secs() < now.as_secs() => at,
        _ => now,
    }
}

fn later(one: Timestamp, other: Timestamp) -> Timestamp {
    if other > one { other } else { one }
}

/// The ids whose keys are kept, each with the last day that the custody actor knows.
#[derive(Debug, Default)]
pub(super) struct KeptSeen(HashMap<(RootTopic, KeyId), Day>);

impl KeptSeen {
    fn contain(&self, key: &(RootTopic, KeyId), at: Timestamp) -> bool {
        self.0.get(key).is_some_and(|day| *day >= Day::of(at))
    }

    pub(super) fn add(&mut self, sighting: Sighting) {
        if self.0.len() >= MAX_KEPT_SEEN {
            self.0.clear();
        }
        let key = (sighting.root_topic, sighting.id);
        self.0.insert(key, Day::of(sighting.at));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kc_core::ratchet::{KeyIdForm, SealingKey, Seed, StepKeys};

    use super::*;
    use crate::entropy::Entropy;

    const NOW: f64 = 1_796_000_000.0;

    fn key() -> Arc<SealingKey> {
        let mut rng = Entropy::system().generator().unwrap();
        let (step, _) = Seed::generate(&mut *rng).advance().unwrap().stored();
        StepKeys::new(step, &KeyIdForm::Short).sealing_key(&"a".into(), &mut *rng)
    }

    fn sealed(key: &SealingKey, component: Component, plaintext: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = Vec::new();
        kc_core::message::seal(key, component, plaintext, &mut sealed).unwrap();
        Some(sealed)
    }

    /// Returns an envelope that no key can open.
    fn without_body(key: &SealingKey) -> Vec<u8> {
        let mut writer = kc_core::wire::Writer::append_to(vec![1]);
        writer.array(3).key_id(&key.id()).bytes(b"").bytes(b"");
        writer.into_vec()
    }

    fn record(offset: i64, secs: f64, key: Option<Vec<u8>>, value: Option<Vec<u8>>) -> Record {
        #[expect(clippy::cast_possible_truncation, reason = "a time")]
        let millis = (secs * 1000.0) as i64;
        Record {
            topic: "a.b".into(),
            partition: 1,
            offset,
            timestamp: Some(millis),
            key: key.map(Into::into),
            value: value.map(Into::into),
            headers: Vec::new(),
        }
    }

    fn seen(records: &[Record], kept: &KeptSeen) -> Vec<SightedKey> {
        let now = Timestamp::from_secs(NOW).unwrap();
        sightings(records, &TopicScheme::default(), kept, now)
    }

    #[test]
    fn each_key_is_seen_once_with_its_first_place_and_some_of_its_records() {
        let key = key();
        let records = [
            record(0, NOW - 9.0, None, sealed(&key, Component::Value, &[0; 50])),
            record(1, NOW - 5.0, sealed(&key, Component::Key, b""), None),
            record(
                2,
                NOW - 7.0,
                Some(vec![1]),
                sealed(&key, Component::Value, &[0; 90]),
            ),
            record(3, NOW - 1.0, Some(b"not sealed".to_vec()), None),
            record(4, NOW - 1.0, Some(without_body(&key)), None),
        ];
        let seen = seen(&records, &KeptSeen::default());
        let [SightedKey { sighting, samples }] = seen.as_slice() else {
            panic!("{seen:?}");
        };
        assert_eq!((sighting.root_topic.as_str(), sighting.id), ("a", key.id()));
        assert_eq!((sighting.place.partition, sighting.place.offset), (1, 0));
        assert_eq!(sighting.at.as_secs(), NOW - 5.0);
        assert!(sighting.is_likely);
        let sealed: Vec<_> = samples.iter().map(|sample| &sample.sealed).collect();
        let [first, smallest, last] = [&records[0].value, &records[1].key, &records[2].value];
        assert_eq!(
            sealed,
            [first, smallest, last].map(|part| part.as_ref().unwrap())
        );
        assert!(samples.iter().all(|sample| sample.proves(key.data_key())));
    }

    #[test]
    fn one_record_makes_no_key_likely_even_if_both_its_parts_need_it() {
        let key = key();
        let parts = [Component::Key, Component::Value].map(|part| sealed(&key, part, b"x"));
        let [of_key, of_value] = parts;
        let seen = seen(&[record(0, NOW, of_key, of_value)], &KeptSeen::default());
        assert_eq!(seen.len(), 1);
        assert!(!seen[0].sighting.is_likely);
    }

    #[test]
    fn times_that_a_broker_invents_are_bounded() {
        let key = key();
        let at = |secs| {
            let value = sealed(&key, Component::Value, b"x");
            let seen = seen(&[record(0, secs, None, value)], &KeptSeen::default());
            seen[0].sighting.at.as_secs()
        };
        assert_eq!(at(NOW + 1e9), NOW);
        assert_eq!(at(0.0), NOW - OLDEST.as_secs_f64());
        assert_eq!(at(-1e12), NOW - OLDEST.as_secs_f64());
        assert_eq!(at(NOW - 1e6), NOW - 1e6);
    }

    #[test]
    fn a_kept_key_is_seen_again_on_a_later_day() {
        let key = key();
        let value = || sealed(&key, Component::Value, b"x");
        let mut kept = KeptSeen::default();
        let yesterday = NOW - 86_400.0;
        let first = seen(&[record(0, yesterday, None, value())], &kept);
        kept.add(first[0].sighting.clone());
        assert!(seen(&[record(1, yesterday, None, value())], &kept).is_empty());
        assert_eq!(seen(&[record(2, NOW, None, value())], &kept).len(), 1);
    }
}
