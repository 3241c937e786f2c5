//! Topic settings. Clients can change and read them, but only `max.message.bytes` has an effect.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::limits::{MAX_BATCH_BYTES, MAX_CONFIG_VALUE_BYTES};

/// The reason why a setting is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub(crate) enum ConfigError {
    #[error("unknown topic setting {0:?}")]
    Unknown(String),
    #[error("invalid value for the topic setting {0}")]
    Value(&'static str),
    #[error("topic setting {0} is not a list")]
    NotAList(&'static str),
    #[error("a topic setting in the request has no value")]
    NoValue,
}

/// The type of a value. The numbers are those that `DescribeConfigs` uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
enum Type {
    Boolean = 1,
    Text = 2,
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

/// A known topic setting, with Apache Kafka's default.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) default: &'static str,
    kind: Type,
}

const fn setting(name: &'static str, kind: Type, default: &'static str) -> Setting {
    Setting {
        name,
        default,
        kind,
    }
}

const CLEANUP_POLICY: &str = "cleanup.policy";
const MAX_MESSAGE_BYTES: &str = "max.message.bytes";

static SETTINGS: [Setting; 24] = [
    setting(CLEANUP_POLICY, Type::List, "delete"),
    setting("compression.type", Type::Text, "producer"),
    setting("delete.retention.ms", Type::Long, "86400000"),
    setting("file.delete.delay.ms", Type::Long, "60000"),
    setting("flush.messages", Type::Long, "9223372036854775807"),
    setting("flush.ms", Type::Long, "9223372036854775807"),
    setting("index.interval.bytes", Type::Int, "4096"),
    setting("max.compaction.lag.ms", Type::Long, "9223372036854775807"),
    setting(MAX_MESSAGE_BYTES, Type::Int, "1048588"),
    setting("message.timestamp.after.max.ms", Type::Long, "3600000"),
    setting(
        "message.timestamp.before.max.ms",
        Type::Long,
        "9223372036854775807",
    ),
    setting("message.timestamp.type", Type::Text, "CreateTime"),
    setting("min.cleanable.dirty.ratio", Type::Double, "0.5"),
    setting("min.compaction.lag.ms", Type::Long, "0"),
    setting("min.insync.replicas", Type::Int, "1"),
    setting("preallocate", Type::Boolean, "false"),
    setting("retention.bytes", Type::Long, "-1"),
    setting("retention.ms", Type::Long, "604800000"),
    setting("segment.bytes", Type::Int, "1073741824"),
    setting("segment.index.bytes", Type::Int, "10485760"),
    setting("segment.jitter.ms", Type::Long, "0"),
    setting("segment.ms", Type::Long, "604800000"),
    setting("unclean.leader.election.enable", Type::Boolean, "false"),
    setting("message.downconversion.enable", Type::Boolean, "true"),
];

impl Setting {
    pub(crate) fn all() -> &'static [Self] {
        &SETTINGS
    }

    pub(crate) fn find(name: &str) -> Result<&'static Self, ConfigError> {
        let mut settings = SETTINGS.iter();
        settings
            .find(|s| s.name == name)
            .ok_or_else(|| ConfigError::Unknown(name.to_owned()))
    }

    /// Returns the number of the value's type in `DescribeConfigs`.
    pub(crate) fn type_code(&self) -> i8 {
        self.kind as i8
    }

    fn accepts(&self, value: &str) -> bool {
        let typed = match self.kind {
            Type::Boolean => matches!(value, "true" | "false"),
            Type::Text | Type::List => true,
            Type::Int => value.parse::<i32>().is_ok(),
            Type::Long => value.parse::<i64>().is_ok(),
            Type::Double => value.parse::<f64>().is_ok(),
        };
        let known_policy = |p: &str| matches!(p, "compact" | "delete");
        typed
            && value.len() <= MAX_CONFIG_VALUE_BYTES
            && (self.name != CLEANUP_POLICY || items(value).all(known_policy))
    }
}

/// The settings that were set for one topic. All other settings have their defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TopicConfig(BTreeMap<&'static str, String>);

impl TopicConfig {
    /// Returns the value of a setting, if it was set.
    pub(crate) fn get(&self, setting: &Setting) -> Option<&str> {
        self.0.get(setting.name).map(String::as_str)
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let setting = Setting::find(name)?;
        if !setting.accepts(value) {
            return Err(ConfigError::Value(setting.name));
        }
        self.0.insert(setting.name, value.to_owned());
        Ok(())
    }

    /// Resets a setting to its default.
    pub(crate) fn reset(&mut self, name: &str) -> Result<(), ConfigError> {
        self.0.remove(Setting::find(name)?.name);
        Ok(())
    }

    /// Adds the items of `value` to a list setting, except items that it has already.
    pub(crate) fn append(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let present = self.list(name)?;
        let missing = items(value).filter(|v| !present.iter().any(|p| p == v));
        let joined: Vec<&str> = present.iter().map(String::as_str).chain(missing).collect();
        self.set(name, &joined.join(","))
    }

    /// Removes the items of `value` from a list setting.
    pub(crate) fn subtract(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let mut present = self.list(name)?;
        present.retain(|p| items(value).all(|v| v != p));
        self.set(name, &present.join(","))
    }

    /// Returns the maximum size of a record batch in bytes.
    pub(crate) fn max_batch_bytes(&self) -> usize {
        let set = self.0.get(MAX_MESSAGE_BYTES);
        set.and_then(|v| v.parse().ok()).unwrap_or(MAX_BATCH_BYTES)
    }

    fn list(&self, name: &str) -> Result<Vec<String>, ConfigError> {
        let setting = Setting::find(name)?;
        if setting.kind != Type::List {
            return Err(ConfigError::NotAList(setting.name));
        }
        let value = self.get(setting).unwrap_or(setting.default);
        Ok(items(value).map(str::to_owned).collect())
    }
}

fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_typed_and_known() {
        let mut config = TopicConfig::default();
        assert_eq!(config.set("cleanup.policy", "compact"), Ok(()));
        assert_eq!(config.set("cleanup.policy", "compact,delete"), Ok(()));
        let bad_policy = config.set("cleanup.policy", "shred");
        assert_eq!(bad_policy, Err(ConfigError::Value("cleanup.policy")));
        let bad_number = config.set("retention.ms", "soon");
        assert_eq!(bad_number, Err(ConfigError::Value("retention.ms")));
        let unknown = config.set("colour", "red");
        assert_eq!(unknown, Err(ConfigError::Unknown("colour".into())));
        let long = "x".repeat(MAX_CONFIG_VALUE_BYTES + 1);
        assert!(config.set("compression.type", &long).is_err());
    }

    #[test]
    fn every_default_is_acceptable() {
        for setting in Setting::all() {
            assert!(setting.accepts(setting.default), "{}", setting.name);
        }
    }

    #[test]
    fn lists_grow_and_shrink() {
        let mut config = TopicConfig::default();
        let policy = Setting::find("cleanup.policy").unwrap();
        config.append("cleanup.policy", "compact,delete").unwrap();
        assert_eq!(config.get(policy), Some("delete,compact"));
        config.subtract("cleanup.policy", "delete").unwrap();
        assert_eq!(config.get(policy), Some("compact"));
        config.reset("cleanup.policy").unwrap();
        assert_eq!(config.get(policy), None);
        let scalar = config.append("retention.ms", "1");
        assert_eq!(scalar, Err(ConfigError::NotAList("retention.ms")));
    }

    #[test]
    fn the_batch_limit_can_be_set() {
        let mut config = TopicConfig::default();
        assert_eq!(config.max_batch_bytes(), MAX_BATCH_BYTES);
        config.set("max.message.bytes", "100").unwrap();
        assert_eq!(config.max_batch_bytes(), 100);
        config.set("max.message.bytes", "-1").unwrap();
        assert_eq!(config.max_batch_bytes(), MAX_BATCH_BYTES);
    }
}
