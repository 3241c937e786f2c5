use std::time::Duration;

use kc_core::chain_server::RenewalPolicy;
use kc_core::exchange::Validity;
use kc_core::types::{ManagementTopics, TopicScheme};
use serde::Deserialize;

/// The shortest interval, whatever the configuration says.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

/// The node's own settings, by their names in its configuration (protocol §10); times are in seconds. Missing settings take
/// their defaults.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct NodeSettings {
    /// The separator that ends the root topic in a topic's name.
    pub topic_separator: String,
    /// The suffix of the topic of requests to controllers.
    pub topic_suffix_subs: String,
    /// The suffix of the topic of replies.
    pub topic_suffix_keys: String,
    /// The suffix of the topic of requests to producers.
    pub topic_suffix_reqs: String,
    /// How long retained keys are kept for late consumers.
    pub crypto_max_pgen_age: f64,
    /// The time between requests for one root topic.
    pub crypto_sub_interval: f64,
    /// How often the ratchet turns.
    pub crypto_ratchet_interval: f64,
    /// Whether key ids have 32 bytes, rather than being the ratchet's index.
    pub mgmt_long_keyindex: bool,
    /// The number of seconds, plus one, that the first sight of a key waits.
    pub deser_initial_wait_intervals: u32,
    /// The topic of new chains.
    pub mgmt_topic_chains: String,
    /// The topic of the allowlist.
    pub mgmt_topic_allowlist: String,
    /// The topic of the denylist.
    pub mgmt_topic_denylist: String,
    /// How often a controller looks for new root topics.
    pub mgmt_subscribe_interval: f64,
    /// How often a chain server looks for chains to renew.
    pub interval_secs: f64,
    /// How long the chains of a chain server are valid.
    pub lifetime: f64,
    /// A chain server renews a chain when less than this part of `lifetime` is left of it.
    pub refresh_fraction: f64,
    /// `keep`: keys that only nodes gave which are denied now still open, to read history; `drop` by default.
    pub denied_keys: DeniedKeys,
    /// Keeps an Ed25519 root in force although a hybrid root with the same Ed25519 key is trusted.
    pub allow_classical_root: bool,
}

/// The treatment of opening keys that only denied nodes gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeniedKeys {
    /// They are dropped.
    #[default]
    Drop,
    /// They are kept, to read history.
    Keep,
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
        let management = ManagementTopics::default();
        let policy = RenewalPolicy::default();
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
            mgmt_topic_chains: management.chains,
            mgmt_topic_allowlist: management.allowlist,
            mgmt_topic_denylist: management.denylist,
            mgmt_subscribe_interval: 10.0,
            interval_secs: 300.0,
            lifetime: policy.lifetime.as_secs_f64(),
            refresh_fraction: policy.refresh_fraction,
            denied_keys: DeniedKeys::default(),
            allow_classical_root: false,
        }
    }
}

impl NodeSettings {
    /// Returns how topics are named.
    #[must_use]
    pub fn scheme(&self) -> TopicScheme {
        TopicScheme {
            separator: self.topic_separator.clone(),
            requests_suffix: self.topic_suffix_reqs.clone(),
            keys_suffix: self.topic_suffix_keys.clone(),
            subscriptions_suffix: self.topic_suffix_subs.clone(),
        }
    }

    /// Returns how management topics are named.
    #[must_use]
    pub fn management_topics(&self) -> ManagementTopics {
        ManagementTopics {
            chains: self.mgmt_topic_chains.clone(),
            allowlist: self.mgmt_topic_allowlist.clone(),
            denylist: self.mgmt_topic_denylist.clone(),
        }
    }

    /// Returns how often a controller looks for new root topics.
    #[must_use]
    pub fn discovery_interval(&self) -> Duration {
        duration(self.mgmt_subscribe_interval).max(SHORTEST_INTERVAL)
    }

    /// Returns how often a chain server looks for chains to renew.
    #[must_use]
    pub fn renewal_interval(&self) -> Duration {
        duration(self.interval_secs).max(SHORTEST_INTERVAL)
    }

    /// Returns when a chain server renews chains.
    #[must_use]
    pub fn renewal_policy(&self) -> RenewalPolicy {
        RenewalPolicy {
            lifetime: duration(self.lifetime),
            refresh_fraction: self.refresh_fraction.clamp(0.0, 1.0),
        }
    }

    /// Returns how long the first sight of a key waits (protocol §9).
    #[must_use]
    pub fn first_wait(&self) -> Duration {
        Duration::from_secs(self.deser_initial_wait_intervals.saturating_sub(1).into())
    }

    /// Returns how long retained keys are kept.
    #[must_use]
    pub fn max_key_age(&self) -> Duration {
        duration(self.crypto_max_pgen_age)
    }

    /// Returns the time between requests.
    #[must_use]
    pub fn request_interval(&self) -> Duration {
        duration(self.crypto_sub_interval).max(SHORTEST_INTERVAL)
    }

    /// Returns how often the ratchet turns.
    #[must_use]
    pub fn ratchet_interval(&self) -> Duration {
        duration(self.crypto_ratchet_interval).max(Duration::from_secs(1))
    }
}

impl CryptoSettings {
    /// Returns how long signed requests and replies are valid.
    #[must_use]
    pub fn validity(&self) -> Validity {
        Validity::from_max_age(duration(self.maxage))
    }
}

/// Returns the duration of these seconds, between none and a century.
fn duration(secs: f64) -> Duration {
    const CENTURY: f64 = 3_155_760_000.0;
    Duration::try_from_secs_f64(secs.clamp(0.0, CENTURY)).unwrap_or_default()
}
