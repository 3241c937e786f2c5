//! Records by which received keys are proven, in memory.

use std::collections::{BTreeMap, HashMap, VecDeque};

use kc_core::message::is_authentic;
use kc_core::ratchet::{Component, DataKey};
use kc_core::types::{KeyId, RootTopic};

/// Maximum size of all samples together, in bytes, with [`OVERHEAD`] for each id. At this size, the samples of the oldest
/// ids are dropped. Records are read again when no sample proves a key.
const MAX_BYTES: usize = 64 << 20;

/// The memory in bytes that an id with a sample needs besides the bytes of the record. It was measured as 340, and is
/// rounded up.
const OVERHEAD: usize = 512;

/// Maximum number of samples of one id. Anyone who can write to a topic can write a record that no key opens, so one
/// sample is not enough.
const MAX_PER_ID: usize = 4;

/// A sealed Kafka key or value of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The part of the record.
    pub component: Component,
    /// The bytes as Kafka holds them.
    pub sealed: Vec<u8>,
}

impl Sample {
    pub(super) fn of(component: Component, sealed: &[u8]) -> Self {
        Self {
            component,
            sealed: sealed.to_vec(),
        }
    }

    /// Returns whether a data key sealed this sample. Makes no plaintext.
    #[must_use]
    pub fn proves(&self, secret: &DataKey) -> bool {
        is_authentic(secret, self.component, &self.sealed)
    }
}

type Id = (RootTopic, KeyId);

/// The samples of ids whose keys are not kept yet.
#[derive(Debug, Default)]
pub(super) struct Samples {
    of: HashMap<Id, OfId>,
    /// The ids by the numbers of their first samples.
    order: BTreeMap<u64, Id>,
    next: u64,
    bytes: usize,
}

#[derive(Debug)]
struct OfId {
    number: u64,
    samples: VecDeque<Sample>,
}

impl Samples {
    /// Adds a sample. If there are already [`MAX_PER_ID`] samples of the id, it replaces the second oldest, because the
    /// oldest one is the least likely to be forged.
    pub(super) fn add(&mut self, root_topic: &RootTopic, id: KeyId, sample: Sample) {
        let id = (root_topic.clone(), id);
        let of_id = self.of.entry(id.clone()).or_insert_with(|| {
            let number = self.next;
            self.next += 1;
            self.order.insert(number, id);
            self.bytes += OVERHEAD;
            OfId {
                number,
                samples: VecDeque::new(),
            }
        });
        if of_id.samples.contains(&sample) {
            return;
        }
        self.bytes += sample.sealed.len();
        of_id.samples.push_back(sample);
        if of_id.samples.len() > MAX_PER_ID
            && let Some(dropped) = of_id.samples.remove(1)
        {
            self.bytes -= dropped.sealed.len();
        }
        while self.bytes > MAX_BYTES
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.drop_of(&oldest);
        }
    }

    /// Returns the samples of an id.
    pub(super) fn get(&self, root_topic: &RootTopic, id: &KeyId) -> impl Iterator<Item = &Sample> {
        let of_id = self.of.get(&(root_topic.clone(), *id));
        of_id.into_iter().flat_map(|of_id| &of_id.samples)
    }

    /// Drops the samples of an id whose key is kept.
    pub(super) fn forget(&mut self, root_topic: &RootTopic, id: &KeyId) {
        self.drop_of(&(root_topic.clone(), *id));
    }

    fn drop_of(&mut self, id: &Id) {
        if let Some(dropped) = self.of.remove(id) {
            self.order.remove(&dropped.number);
            let samples = dropped.samples.iter();
            self.bytes -= OVERHEAD + samples.map(|sample| sample.sealed.len()).sum::<usize>();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(number: u8, len: usize) -> Sample {
        Sample {
            component: Component::Value,
            sealed: vec![number; len],
        }
    }

    fn numbers(samples: &Samples, id: u64) -> Vec<u8> {
        let (root_topic, id) = ("a".into(), KeyId::Short(id));
        let of_id = samples.get(&root_topic, &id);
        of_id.map(|sample| sample.sealed[0]).collect()
    }

    #[test]
    fn the_first_sample_of_an_id_stays() {
        let mut samples = Samples::default();
        for number in [1, 2, 2, 3, 4, 5, 6] {
            samples.add(&"a".into(), KeyId::Short(0), sample(number, 1));
        }
        assert_eq!(numbers(&samples, 0), [1, 4, 5, 6]);
        assert_eq!(samples.bytes, 4 + OVERHEAD);
        samples.forget(&"a".into(), &KeyId::Short(0));
        assert_eq!((samples.bytes, samples.order.len()), (0, 0));
    }

    #[test]
    fn samples_are_bounded_in_bytes() {
        let mut samples = Samples::default();
        for id in 0..100 {
            samples.add(&"a".into(), KeyId::Short(id), sample(1, 1 << 20));
            assert!(samples.bytes <= MAX_BYTES);
        }
        assert_eq!(numbers(&samples, 99), [1]);
        assert!(numbers(&samples, 0).is_empty());
        assert_eq!(samples.of.len(), samples.order.len());
    }
}
