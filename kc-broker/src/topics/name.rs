//! Topic names, by the rules of Apache Kafka.

use thiserror::Error;

use crate::limits::MAX_TOPIC_NAME_BYTES;

/// Not a topic name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a topic name has 1 to 249 of a-z, A-Z, 0-9, '.', '_', '-' and is not \".\" or \"..\"")]
pub(crate) struct InvalidName;

/// A valid topic name.
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

#[cfg(test)]
mod tests {
    use super::*;

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
