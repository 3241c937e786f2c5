use std::time::Duration;

use kc_core::exchange::Validity;
use kc_core::types::TopicScheme;
use serde::Deserialize;

/// The node's own settings, by the names that its configuration has (protocol §10); seconds where not
/// told otherwise. What is missing takes its default.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct NodeSettings {
    /// Ends the root in a topic's name.
    pub topic_separator: String,
    /// Suffix of the topic of requests to controllers.
    pub topic_suffix_subs: String,
    /// Suffix of the topic of replies.
    pub topic_suffix_keys: String,
    /// Suffix of the topic of requests to producers.
    pub topic_suffix_reqs: String,
    /// How long past keys are kept for late consumers.
    pub crypto_max_pgen_age: f64,
    /// The time between requests for one root topic.
    pub crypto_sub_interval: f64,
    /// How often the ratchet turns.
    pub crypto_ratchet_interval: f64,
    /// Whether keys are named by 32 bytes rather than the ratchet's index.
    pub mgmt_long_keyindex: bool,
    /// The first sight of a key waits for so many intervals of one second, less one.
    pub deser_initial_wait_intervals: u32,
    /// Keeps an Ed25519 root in force although a hybrid root with the same Ed25519 key is trusted.
    pub allow_classical_root: bool,
}

/// The settings of the section `crypto`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct CryptoSettings {
    /// How long signed requests and replies are valid, in seconds; 0 takes the default.
    pub maxage: f64,
}

impl Default for NodeSettings {
    fn default() -> Self {
        let scheme = TopicScheme::default();
        Self {
            topic_separator: scheme.separator,
            topic_suffix_subs: scheme.subscriptions_suffix,
            topic_suffix_keys: scheme.keys_suffix,
            topic_suffix_reqs: scheme.requests_suffix,
            crypto_max_pgen_age: 604_800.0,
            crypto_sub_interval: 60.0,
            crypto_ratchet_interval: 86_400.0,
            mgmt_long_keyindex: true,
            deser_initial_wait_intervals: 10,
            allow_classical_root: false,
        }
    }
}

impl NodeSettings {
    /// How topics are named.
    #[must_use]
    pub fn scheme(&self) -> TopicScheme {
        TopicScheme {
            separator: self.topic_separator.clone(),
            requests_suffix: self.topic_suffix_reqs.clone(),
            keys_suffix: self.topic_suffix_keys.clone(),
            subscriptions_suffix: self.topic_suffix_subs.clone(),
        }
    }

    /// How long the first sight of a key waits (protocol §9).
    #[must_use]
    pub fn first_wait(&self) -> Duration {
        Duration::from_secs(self.deser_initial_wait_intervals.saturating_sub(1).into())
    }

    /// How long past keys are kept.
    #[must_use]
    pub fn max_key_age(&self) -> Duration {
        duration(self.crypto_max_pgen_age)
    }

    /// The time between requests.
    #[must_use]
    pub fn request_interval(&self) -> Duration {
        duration(self.crypto_sub_interval).max(Duration::from_millis(10))
    }

    /// How often the ratchet turns.
    #[must_use]
    pub fn ratchet_interval(&self) -> Duration {
        duration(self.crypto_ratchet_interval).max(Duration::from_secs(1))
    }
}

impl CryptoSettings {
    /// How long signed requests and replies are valid.
    #[must_use]
    pub fn validity(&self) -> Validity {
        Validity::from_max_age(duration(self.maxage))
    }
}

/// Seconds that a person wrote: no less than none, no more than a century.
fn duration(secs: f64) -> Duration {
    const CENTURY: f64 = 3_155_760_000.0;
    Duration::try_from_secs_f64(secs.clamp(0.0, CENTURY)).unwrap_or_default()
}
