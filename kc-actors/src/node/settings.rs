use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use kc_core::chain_server::RenewalPolicy;
use kc_core::exchange::Validity;
use kc_core::types::{ManagementTopics, RootTopics, TopicScheme};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::client::{DEFAULT_PATIENCE, Undecryptable};

/// The minimum of the intervals between searches, and of the interval between requests for a data key. A setting with a
/// smaller value is replaced by this minimum.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

/// The settings in the node's own section. The fields have the names of the settings in the configuration (protocol
/// §10). Times are in seconds. A missing setting has its default.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct NodeSettings {
    /// The separator that ends the root topic in the name of a topic.
    pub topic_separator: String,
    /// The suffix of the side topic for requests to controllers.
    pub topic_suffix_subs: String,
    /// The suffix of the side topic for replies.
    pub topic_suffix_keys: String,
    /// The suffix of the side topic for requests to producers.
    pub topic_suffix_reqs: String,
    /// The topics that are copies of other topics.
    #[serde(deserialize_with = "parsed")]
    pub root_topics: RootTopics,
    /// Maximum age of retained keys.
    pub crypto_max_pgen_age: f64,
    /// The time after which a request for a missing data key is repeated. The second and the third request may come
    /// earlier.
    pub crypto_sub_interval: f64,
    /// The time between two turns of the ratchet. The minimum is one second.
    pub crypto_ratchet_interval: f64,
    /// Selects key ids of 32 bytes. Otherwise a key id is the index of a ratchet step.
    pub mgmt_long_keyindex: bool,
    /// The maximum wait for a missing data key. The value is the number of seconds plus one: 10 means 9 s. Only the
    /// first message that needs the key waits.
    pub deser_initial_wait_intervals: u32,
    /// The name of the management topic for new chains.
    pub mgmt_topic_chains: String,
    /// The name of the management topic for the allowlist.
    pub mgmt_topic_allowlist: String,
    /// The name of the management topic for the denylist.
    pub mgmt_topic_denylist: String,
    /// The time between a controller's searches for new root topics.
    pub mgmt_subscribe_interval: f64,
    /// The time between a chain server's searches for chains to renew.
    pub interval_secs: f64,
    /// The validity of chains that a chain server issues.
    pub lifetime: f64,
    /// A chain server renews a chain when less than this fraction of `lifetime` is left.
    pub refresh_fraction: f64,
    /// The treatment of data keys that only denied nodes have sent.
    pub denied_keys: DeniedKeys,
    /// The time that a record waits for its data key before the policy of `undecryptable` applies.
    pub patience: f64,
    /// The treatment of records that cannot be opened, for all consumers of the node. For its form see
    /// [`Undecryptable`].
    #[serde(deserialize_with = "parsed")]
    pub undecryptable: Undecryptable,
    /// Maximum number of threads that open the records of a consumer. 0 selects one for each processor, at most eight.
    pub threads: usize,
    /// Keeps an Ed25519 root of trust valid even if a hybrid root with the same Ed25519 key is trusted.
    pub allow_classical_root: bool,
}

/// The treatment of received data keys that only denied nodes have sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeniedKeys {
    /// Drops the keys. Messages sealed with them can no longer be opened.
    #[default]
    Drop,
    /// Keeps the keys, so that old messages can still be read.
    Keep,
}

/// The settings of the section `crypto`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct CryptoSettings {
    /// The validity of signed requests and replies, in seconds. 0 selects the default: one day.
    /// The maximum is one week.
    pub maxage: f64,
}

impl Default for NodeSettings {
    fn default() -> Self {
        let scheme = TopicScheme::default();
        let management = ManagementTopics::default();
        let policy = RenewalPolicy::default();
        Self {
            topic_separator: scheme.separator,
            topic_suffix_subs: scheme.subscriptions_suffix,
            topic_suffix_keys: scheme.keys_suffix,
            topic_suffix_reqs: scheme.requests_suffix,
            root_topics: scheme.copies,
            crypto_max_pgen_age: 604_800.0,
            crypto_sub_interval: 60.0,
            crypto_ratchet_interval: 86_400.0,
            mgmt_long_keyindex: true,
            deser_initial_wait_intervals: 10,
            mgmt_topic_chains: management.chains,
            mgmt_topic_allowlist: management.allowlist,
            mgmt_topic_denylist: management.denylist,
            mgmt_subscribe_interval: 10.0,
            interval_secs: 300.0,
            lifetime: policy.lifetime.as_secs_f64(),
            refresh_fraction: policy.refresh_fraction,
            denied_keys: DeniedKeys::default(),
            patience: DEFAULT_PATIENCE.as_secs_f64(),
            undecryptable: Undecryptable::default(),
            threads: 0,
            allow_classical_root: false,
        }
    }
}

impl NodeSettings {
    /// Returns the naming scheme of topics.
    #[must_use]
    pub fn scheme(&self) -> TopicScheme {
        TopicScheme {
            separator: self.topic_separator.clone(),
            requests_suffix: self.topic_suffix_reqs.clone(),
            keys_suffix: self.topic_suffix_keys.clone(),
            subscriptions_suffix: self.topic_suffix_subs.clone(),
            copies: self.root_topics.clone(),
        }
    }

    /// Returns the names of the management topics.
    #[must_use]
    pub fn management_topics(&self) -> ManagementTopics {
        ManagementTopics {
            chains: self.mgmt_topic_chains.clone(),
            allowlist: self.mgmt_topic_allowlist.clone(),
            denylist: self.mgmt_topic_denylist.clone(),
        }
    }

    /// Returns the treatment of records that cannot be opened, with the patience.
    #[must_use]
    pub fn undecryptable(&self) -> Undecryptable {
        let patience = duration(self.patience);
        self.undecryptable.clone().with_patience(patience)
    }

    /// Returns the time between a controller's searches for new root topics.
    #[must_use]
    pub fn discovery_interval(&self) -> Duration {
        duration(self.mgmt_subscribe_interval).max(SHORTEST_INTERVAL)
    }

    /// Returns the time between a chain server's searches for chains to renew.
    #[must_use]
    pub fn renewal_interval(&self) -> Duration {
        duration(self.interval_secs).max(SHORTEST_INTERVAL)
    }

    /// Returns the policy by which a chain server renews chains.
    #[must_use]
    pub fn renewal_policy(&self) -> RenewalPolicy {
        RenewalPolicy {
            lifetime: duration(self.lifetime),
            refresh_fraction: self.refresh_fraction.clamp(0.0, 1.0),
        }
    }

    /// Returns the maximum wait for a missing data key. Only the first message that needs the key waits (protocol
    /// §9).
    #[must_use]
    pub fn first_wait(&self) -> Duration {
        Duration::from_secs(self.deser_initial_wait_intervals.saturating_sub(1).into())
    }

    /// Returns the maximum age of retained keys.
    #[must_use]
    pub fn max_key_age(&self) -> Duration {
        duration(self.crypto_max_pgen_age)
    }

    /// Returns the time after which a request for a missing data key is repeated.
    #[must_use]
    pub fn request_interval(&self) -> Duration {
        duration(self.crypto_sub_interval).max(SHORTEST_INTERVAL)
    }

    /// Returns the time between two turns of the ratchet: at least one second.
    #[must_use]
    pub fn ratchet_interval(&self) -> Duration {
        duration(self.crypto_ratchet_interval).max(Duration::from_secs(1))
    }
}

impl CryptoSettings {
    /// Returns the validity of signed requests and replies.
    #[must_use]
    pub fn validity(&self) -> Validity {
        Validity::from_max_age(duration(self.maxage))
    }
}

fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(from: D) -> Result<T, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

/// Converts seconds to a duration. Negative numbers and NaN become zero, and numbers above 100 years become
/// 100 years.
fn duration(secs: f64) -> Duration {
    const CENTURY: f64 = 3_155_760_000.0;
    Duration::try_from_secs_f64(secs.clamp(0.0, CENTURY)).unwrap_or_default()
}
