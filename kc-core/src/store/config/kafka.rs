use std::fmt;

use zeroize::Zeroizing;

use super::Value;

const GROUP_ID: &str = "group_id";
/// The value of `extra` for the node's own clients, which carry key requests and replies.
const CRYPTO_LAYER: &str = "crypto";

/// The purpose of a Kafka client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KafkaUse {
    /// A consumer. Only consumers have a `group_id`.
    Consumer,
    /// A producer.
    Producer,
    /// An administrative client.
    Admin,
}

impl KafkaUse {
    /// Returns the suffix of the sections for this purpose.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::Producer => "producer",
            Self::Admin => "admin",
        }
    }
}

/// Returns the [suffixes](super::Section::suffix) of the sections that apply to one client. Later sections override
/// earlier sections.
///
/// For the purpose U, they are `kafka` and `kafka-U`. If there is an extra layer X (`extra`), `kafka-X` and `kafka-X-U`
/// follow (protocol §11). For the clients that carry key requests and replies, X is `crypto`.
pub fn kafka_sections(purpose: KafkaUse, extra: Option<&str>) -> Vec<String> {
    let purpose = purpose.suffix();
    let mut sections = vec!["kafka".to_owned(), format!("kafka-{purpose}")];
    if let Some(extra) = extra {
        sections.extend([format!("kafka-{extra}"), format!("kafka-{extra}-{purpose}")]);
    }
    sections
}

/// The settings of one Kafka client, in the order in which they were first set. They have the names of kafka-python's
/// settings, in lower case (`bootstrap_servers`, `security_protocol`, …). Settings with unknown names are kept.
///
/// `Debug` shows only names, because values may be passwords.
#[derive(Default, PartialEq, Eq)]
pub struct KafkaSettings {
    entries: Vec<(String, Zeroizing<String>)>,
}

impl KafkaSettings {
    /// Sets the setting `name`. An empty text removes the setting.
    pub fn apply(&mut self, name: &str, text: &str) {
        let name = name.to_lowercase();
        let place = self.entries.iter().position(|(known, _)| *known == name);
        match (place, text.is_empty()) {
            (Some(place), true) => {
                self.entries.remove(place);
            }
            (Some(place), false) => {
                if let Some((_, value)) = self.entries.get_mut(place) {
                    *value = Zeroizing::new(text.to_owned());
                }
            }
            (None, true) => {}
            (None, false) => self.entries.push((name, Zeroizing::new(text.to_owned()))),
        }
    }

    /// Sets the `group_id` of a consumer that has none. The `group_id` is then the node id, or `<node id>.kafkacrypto`
    /// if `extra` is `crypto`. If the client is not a consumer, removes its `group_id`.
    #[must_use]
    pub fn with_group_id(mut self, node_id: &str, purpose: KafkaUse, extra: Option<&str>) -> Self {
        if purpose != KafkaUse::Consumer {
            self.apply(GROUP_ID, "");
        } else if self.text(GROUP_ID).is_none() {
            let suffix = if extra == Some(CRYPTO_LAYER) {
                ".kafkacrypto"
            } else {
                ""
            };
            self.apply(GROUP_ID, &format!("{node_id}{suffix}"));
        }
        self
    }

    /// Returns the text of a setting. `name` is in lower case.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, text)| text)
    }

    /// Returns the value of a setting, with its type inferred from the text. `name` is in lower case. Returns `None` if
    /// the setting is not set or is invalid base64.
    pub fn value(&self, name: &str) -> Option<Value> {
        self.text(name).and_then(Value::decode)
    }

    /// Returns the names and texts of the settings, in the order in which they were first set.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
    }
}

impl fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.iter().map(|(name, _)| name))
            .finish()
    }
}
