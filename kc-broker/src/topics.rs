//! Topics with their names, settings and partitions.

mod config;

use std::collections::BTreeMap;

use kafka_protocol::error::ResponseError;
use thiserror::Error;
use uuid::Uuid;

pub(crate) use config::{ConfigError, Setting, TopicConfig};

use crate::limits::{MAX_PARTITIONS, MAX_TOPIC_NAME_BYTES};
use crate::log::{Memory, Partition};

/// The error of an invalid topic name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "invalid topic name: it must have 1 to 249 characters (a-z, A-Z, 0-9, '.', '_', '-') \
     and must not be \".\" or \"..\""
)]
pub(crate) struct InvalidName;

/// A valid topic name, by the rules of Apache Kafka.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TopicName(String);

impl TopicName {
    pub(crate) fn parse(name: &str) -> Result<Self, InvalidName> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let valid = !matches!(name, "" | "." | "..")
            && name.len() <= MAX_TOPIC_NAME_BYTES
            && name.bytes().all(legal);
        valid.then(|| Self(name.to_owned())).ok_or(InvalidName)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) id: Uuid,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) config: TopicConfig,
}

impl Topic {
    pub(crate) fn partition(&self, index: i32) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index).ok()?)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Topics(BTreeMap<String, Topic>);

impl Topics {
    pub(crate) fn get(&self, name: &str) -> Option<&Topic> {
        self.0.get(name)
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Topic> {
        self.0.get_mut(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Topic)> {
        self.0.iter().map(|(name, topic)| (name.as_str(), topic))
    }

    pub(crate) fn name_of(&self, id: Uuid) -> Option<&str> {
        let mut topics = self.iter();
        topics
            .find(|(_, topic)| topic.id == id)
            .map(|(name, _)| name)
    }

    pub(crate) fn partition(&self, topic: &str, index: i32) -> Option<&Partition> {
        self.get(topic)?.partition(index)
    }

    pub(crate) fn partition_mut(&mut self, topic: &str, index: i32) -> Option<&mut Partition> {
        let partitions = &mut self.get_mut(topic)?.partitions;
        partitions.get_mut(usize::try_from(index).ok()?)
    }

    /// Checks that a topic with this name and `count` partitions can be created.
    pub(crate) fn check_new(&self, name: &TopicName, count: usize) -> Result<(), ResponseError> {
        if self.0.contains_key(name.as_str()) {
            return Err(ResponseError::TopicAlreadyExists);
        }
        self.check_room(count)
    }

    /// Checks that `more` further partitions can be created.
    pub(crate) fn check_room(&self, more: usize) -> Result<(), ResponseError> {
        let present: usize = self.0.values().map(|t| t.partitions.len()).sum();
        if more <= MAX_PARTITIONS.saturating_sub(present) {
            return Ok(());
        }
        tracing::warn!(
            limit = MAX_PARTITIONS,
            "new partitions refused: too many partitions"
        );
        Err(ResponseError::PolicyViolation)
    }

    /// Creates a topic with `count` empty partitions.
    pub(crate) fn create(
        &mut self,
        name: &TopicName,
        count: usize,
        config: TopicConfig,
    ) -> Result<&Topic, ResponseError> {
        self.check_new(name, count)?;
        let topic = Topic {
            id: Uuid::new_v4(),
            partitions: std::iter::repeat_with(Partition::default)
                .take(count)
                .collect(),
            config,
        };
        tracing::info!(topic = name.as_str(), partitions = count, "topic created");
        Ok(self.0.entry(name.as_str().to_owned()).or_insert(topic))
    }

    /// Deletes a topic. Returns false if it does not exist.
    pub(crate) fn delete(&mut self, name: &str, memory: &mut Memory) -> bool {
        let Some(topic) = self.0.remove(name) else {
            return false;
        };
        topic.partitions.into_iter().for_each(|p| p.free(memory));
        tracing::info!(topic = name, "topic deleted");
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_partitions_of_all_topics_are_bounded() {
        let mut topics = Topics::default();
        let [a, b] = ["a", "b"].map(|name| TopicName::parse(name).unwrap());
        let config = TopicConfig::default;
        topics.create(&a, MAX_PARTITIONS - 1, config()).unwrap();
        assert_eq!(topics.check_room(1), Ok(()));
        let refused = topics.create(&b, 2, config()).map(|_| ());
        assert_eq!(refused, Err(ResponseError::PolicyViolation));
        let again = topics.create(&a, 1, config()).map(|_| ());
        assert_eq!(again, Err(ResponseError::TopicAlreadyExists));
        assert!(topics.delete("a", &mut Memory::new(0)));
        assert!(topics.create(&b, 2, config()).is_ok());
    }

    #[test]
    fn names_follow_the_rules() {
        for good in [
            "a",
            "a.b_c-D9",
            "__consumer_offsets",
            "...",
            &"x".repeat(249),
        ] {
            assert_eq!(TopicName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "a b", "a/b", "ä", &"x".repeat(250)] {
            assert_eq!(TopicName::parse(bad), Err(InvalidName), "{bad}");
        }
    }
}
