use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::RootTopics;

/// A root topic: the part of a topic's name before the first separator (protocol §2). Data keys belong to root
/// topics.
///
/// Cloning only increments a reference count.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RootTopic(Arc<str>);

impl RootTopic {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for RootTopic {
    /// Creates a root topic from its name. The name is not checked: the caller must know that it is the name of a root
    /// topic. For the name of any other topic, [`TopicScheme::root_of`] returns the root topic.
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl std::borrow::Borrow<str> for RootTopic {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RootTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RootTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootTopic({:?})", &*self.0)
    }
}

/// Returns whether Kafka permits this name for a topic: 1 to 249 ASCII letters, digits, `.`, `_` and `-`, but
/// neither `.` nor `..`.
///
/// Names from a broker must be checked, because an untrusted broker may list any text.
#[must_use]
pub fn is_topic_name(name: &str) -> bool {
    let legal = |letter: u8| letter.is_ascii_alphanumeric() || b"._-".contains(&letter);
    (1..=249).contains(&name.len()) && !matches!(name, "." | "..") && name.bytes().all(legal)
}

/// One of the three side topics of a root topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SideTopic {
    /// Requests from consumers to producers (`<root>.reqs`).
    Requests,
    /// Replies from producers to consumers (`<root>.keys`).
    Keys,
    /// Requests from consumers to controllers (`<root>.subs`).
    Subscriptions,
}

/// The part after the separator in the name of a topic for parked records.
const PARKED: &str = "parked";

/// The naming scheme of topics: a separator, and the suffixes of the side topics (protocol §2 and §10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicScheme {
    /// The text between the root topic and the rest of a topic's name; `.` by default. If it is empty, each topic is
    /// its own root topic.
    pub separator: String,
    /// The suffix of the side topic with the requests to producers; `.reqs` by default.
    pub requests_suffix: String,
    /// The suffix of the side topic with the replies; `.keys` by default.
    pub keys_suffix: String,
    /// The suffix of the side topic with the requests to controllers; `.subs` by default.
    pub subscriptions_suffix: String,
    /// The topics that are copies of other topics; none by default.
    pub copies: RootTopics,
}

impl Default for TopicScheme {
    fn default() -> Self {
        Self {
            separator: ".".into(),
            requests_suffix: ".reqs".into(),
            keys_suffix: ".keys".into(),
            subscriptions_suffix: ".subs".into(),
            copies: RootTopics::default(),
        }
    }
}

impl TopicScheme {
    /// Returns the name of the root topic of a topic. This is the part of the topic's name before the first separator,
    /// or the whole name if it has no separator. A [copy](RootTopics) has the root topic of its original.
    ///
    /// ```
    /// # use kc_core::types::TopicScheme;
    /// assert_eq!(TopicScheme::default().root_str("sensors.berlin.7"), "sensors");
    /// assert_eq!(TopicScheme::default().root_str("sensors_x.berlin"), "sensors_x");
    /// ```
    #[must_use]
    pub fn root_str<'t>(&'t self, topic: &'t str) -> Cow<'t, str> {
        match self.copies.original(topic) {
            None => Cow::Borrowed(self.first_part(topic)),
            Some(Cow::Borrowed(original)) => Cow::Borrowed(self.first_part(original)),
            Some(Cow::Owned(original)) => Cow::Owned(self.first_part(&original).to_owned()),
        }
    }

    fn first_part<'t>(&self, topic: &'t str) -> &'t str {
        if self.separator.is_empty() {
            return topic;
        }
        topic
            .split_once(&*self.separator)
            .map_or(topic, |(root, _)| root)
    }

    /// Returns the root topic of a topic as a [`RootTopic`].
    #[must_use]
    pub fn root_of(&self, topic: &str) -> RootTopic {
        RootTopic::from(&*self.root_str(topic))
    }

    /// Returns the name of a side topic of `root`.
    #[must_use]
    pub fn side_topic(&self, root: &RootTopic, side: SideTopic) -> String {
        format!("{root}{}", self.suffix(side))
    }

    /// Splits the name of a side topic into its root topic and its kind. Returns `None` for any other topic.
    #[must_use]
    pub fn parse_side_topic(&self, topic: &str) -> Option<(RootTopic, SideTopic)> {
        [
            SideTopic::Requests,
            SideTopic::Keys,
            SideTopic::Subscriptions,
        ]
        .into_iter()
        .find_map(|side| {
            let root = topic.strip_suffix(self.suffix(side))?;
            Some((root.into(), side))
        })
    }

    /// Returns the name of the topic for the parked records of a root topic (`<root>.parked`), or `None` if the separator
    /// is empty: keys of the root topic could not open records of another topic then.
    ///
    /// A consumer parks a record there if it cannot open it yet. The topic has the same root topic, so the same data keys
    /// open the record later.
    #[must_use]
    pub fn parked_topic(&self, root: &RootTopic) -> Option<String> {
        let has_separator = !self.separator.is_empty();
        has_separator.then(|| format!("{root}{}{PARKED}", self.separator))
    }

    /// Returns the root topic of a topic for parked records. Returns `None` for any other topic.
    #[must_use]
    pub fn parse_parked_topic(&self, topic: &str) -> Option<RootTopic> {
        let (root, rest) = topic.split_once(self.separator.as_str())?;
        (!root.is_empty() && rest == PARKED && !self.separator.is_empty()).then(|| root.into())
    }

    /// Returns whether a topic is neither a side topic nor one of parked records. A regular expression selects only such
    /// topics.
    #[must_use]
    pub fn is_data_topic(&self, topic: &str) -> bool {
        self.parse_side_topic(topic).is_none() && self.parse_parked_topic(topic).is_none()
    }

    fn suffix(&self, side: SideTopic) -> &str {
        match side {
            SideTopic::Requests => &self.requests_suffix,
            SideTopic::Keys => &self.keys_suffix,
            SideTopic::Subscriptions => &self.subscriptions_suffix,
        }
    }
}

/// A management topic. Its records change the trust of running nodes (protocol §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ManagementTopic {
    /// New chains for nodes. The key of each Kafka record is the encoded public key that the chain certifies.
    Chains,
    /// Entries for the allowlist.
    Allowlist,
    /// Entries for the denylist.
    Denylist,
}

/// The names of the management topics (protocol §10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagementTopics {
    /// The topic of chains; `chains` by default.
    pub chains: String,
    /// The topic of the allowlist; `allowlist` by default.
    pub allowlist: String,
    /// The topic of the denylist; `denylist` by default.
    pub denylist: String,
}

impl ManagementTopic {
    /// All management topics.
    pub const ALL: [Self; 3] = [Self::Chains, Self::Allowlist, Self::Denylist];
}

impl Default for ManagementTopics {
    fn default() -> Self {
        Self {
            chains: "chains".into(),
            allowlist: "allowlist".into(),
            denylist: "denylist".into(),
        }
    }
}

impl ManagementTopics {
    /// Returns the names of all management topics.
    #[must_use]
    pub fn names(&self) -> [&str; 3] {
        ManagementTopic::ALL.map(|topic| self.name(topic))
    }

    /// Returns the name of one management topic.
    #[must_use]
    pub fn name(&self, topic: ManagementTopic) -> &str {
        match topic {
            ManagementTopic::Chains => &self.chains,
            ManagementTopic::Allowlist => &self.allowlist,
            ManagementTopic::Denylist => &self.denylist,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_topics_are_told_from_other_text() {
        for name in ["a", "plant.north_1-b", &"x".repeat(249)] {
            assert!(is_topic_name(name), "{name}");
        }
        let others = [
            "",
            ".",
            "..",
            "a b",
            "a\nb",
            "plant.\u{1b}[2J",
            "größe",
            "a\0",
        ];
        for other in others.into_iter().chain([&*"x".repeat(250)]) {
            assert!(!is_topic_name(other), "{other:?}");
        }
    }

    #[test]
    fn side_topics_are_named_and_recognised() {
        let scheme = TopicScheme::default();
        let root = scheme.root_of("a.b");
        for (side, name) in [
            (SideTopic::Requests, "a.reqs"),
            (SideTopic::Keys, "a.keys"),
            (SideTopic::Subscriptions, "a.subs"),
        ] {
            assert_eq!(scheme.side_topic(&root, side), name);
            assert_eq!(scheme.parse_side_topic(name), Some((root.clone(), side)));
        }
        assert_eq!(scheme.parse_side_topic("a.b"), None);
    }

    #[test]
    fn a_copy_has_the_root_topic_of_its_original() {
        let scheme = TopicScheme {
            copies: r"^src\.(.+)=$1 dlt=orders.eu".parse().unwrap(),
            ..TopicScheme::default()
        };
        for (topic, root) in [("src.orders.eu", "orders"), ("dlt", "orders"), ("a.b", "a")] {
            assert_eq!(scheme.root_of(topic).as_str(), root);
        }
    }

    #[test]
    fn without_a_separator_each_topic_is_a_root() {
        let scheme = TopicScheme {
            separator: String::new(),
            ..TopicScheme::default()
        };
        assert_eq!(scheme.root_str("a.b"), "a.b");
    }

    #[test]
    fn parked_topics_are_named_and_recognised() {
        let scheme = TopicScheme::default();
        let root: RootTopic = "sensors".into();
        let parked = scheme.parked_topic(&root).unwrap();
        assert_eq!(parked, "sensors.parked");
        assert_eq!(scheme.parse_parked_topic(&parked), Some(root.clone()));
        assert_eq!(scheme.root_of(&parked), root);
        assert!(!scheme.is_data_topic(&parked) && !scheme.is_data_topic("sensors.keys"));
        assert!(scheme.is_data_topic("sensors.a.parked"));
        for other in [
            "sensors",
            "sensors.parked.2",
            "sensors.a.parked",
            ".parked",
            "parked",
        ] {
            assert_eq!(scheme.parse_parked_topic(other), None, "{other}");
        }
        let whole = TopicScheme {
            separator: String::new(),
            ..TopicScheme::default()
        };
        assert_eq!(whole.parked_topic(&root), None);
        assert_eq!(whole.parse_parked_topic("parked"), None);
    }
}
