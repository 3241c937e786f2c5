use kc_core::chain::{Demand, Identity, TrustEntry, TrustList, TrustStore};
use kc_core::keys::VerifyingKey;
use kc_core::own_chains::{OwnChain, OwnChains};
use kc_core::store::config::{ConfigError, Name, NodeConfig, Section, Value};
use kc_core::types::Timestamp;

use super::{NodeError, NodeSettings};

/// Returns the allowlist and the denylist of a configuration.
///
/// # Errors
/// Returns [`NodeError::Entry`] if an entry of a list is not a certificate, and [`NodeError::Value`] if an entry refers
/// to another entry that cannot be resolved.
pub fn stored_trust(config: &NodeConfig, settings: &NodeSettings) -> Result<TrustStore, NodeError> {
    let entries = |list| -> Result<Option<Vec<TrustEntry>>, NodeError> {
        let entries = stored_entries(config, list)?;
        Ok(entries.map(|entries| entries.into_iter().map(|(_, entry)| entry).collect()))
    };
    let denylist = entries(TrustList::Deny)?.unwrap_or_default();
    let trust = TrustStore::new(entries(TrustList::Allow)?, denylist);
    Ok(trust.allow_classical_root(settings.allow_classical_root))
}

/// Returns the signing keys of a node, each with the chain that certifies it. If a key has several chains, the first
/// valid chain is taken. If none of its chains is valid, the first chain is taken.
pub(super) fn identities(
    config: &NodeConfig,
    keys: Vec<VerifyingKey>,
    trust: &TrustStore,
    now: Timestamp,
) -> Result<Vec<Identity>, NodeError> {
    let chains = OwnChains::load(config)?;
    for OwnChain { name, key, .. } in chains.of_none(&keys) {
        let key = key.as_ref().map(VerifyingKey::fingerprint);
        tracing::warn!(target: "kc::chain", %name, key, "stored chain ignored: it certifies no signing key in use");
    }
    let certified = |(position, key): (usize, VerifyingKey)| {
        let chains = chains.of_key(position, &key).into_iter();
        let identities: Vec<_> = chains
            .map(|chain| Identity::new(key.clone(), Some(chain.bytes.clone())))
            .collect();
        let valid = |identity: &&Identity| identity.validate(trust, &Demand::at(now)).is_ok();
        let found = identities.iter().find(valid).or(identities.first());
        found.cloned().unwrap_or_else(|| Identity::new(key, None))
    };
    Ok(keys.into_iter().enumerate().map(certified).collect())
}

/// Returns the entries of a list in a configuration, each with its name. Returns `None` if the configuration has no
/// section for that list.
///
/// # Errors
/// Returns [`NodeError::Entry`] if an entry is not a certificate, and [`NodeError::Value`] if an entry refers to
/// another entry that cannot be resolved.
pub fn stored_entries(
    config: &NodeConfig,
    list: TrustList,
) -> Result<Option<Vec<(Name, TrustEntry)>>, NodeError> {
    let Some(values) = byte_values(config, Section::named(list.name()))? else {
        return Ok(None);
    };
    let entry = |(name, bytes): Labelled| match TrustEntry::parse(&bytes) {
        Ok(entry) => Ok((name, entry)),
        Err(problem) => Err(NodeError::Entry {
            section: list.name(),
            name: name.to_string(),
            problem,
        }),
    };
    let entries: Result<_, _> = values.into_iter().map(entry).collect();
    entries.map(Some)
}

/// A binary value with its name.
type Labelled = (Name, Vec<u8>);

/// Returns the binary values of a section. Returns `None` if the configuration has no such section.
fn byte_values(
    config: &NodeConfig,
    section: Section<'_>,
) -> Result<Option<Vec<Labelled>>, ConfigError> {
    if !config
        .document()
        .has_section(&section.name(config.node_id()))
    {
        return Ok(None);
    }
    let settings = config.own_settings(section)?.into_iter();
    let bytes = settings.filter_map(|setting| match setting.value() {
        Some(Value::Bytes(bytes)) => Some((setting.name.clone(), bytes)),
        _ => None,
    });
    Ok(Some(bytes.collect()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kc_core::chain::{ChainError, UnverifiedChain};
    use kc_core::keys::Signer;
    use kc_core::provision::{NewNode, Role, provision_node};
    use kc_core::types::TopicScheme;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn now() -> Timestamp {
        Timestamp::from_unix(HOUR * 24 * 365)
    }

    /// The key and the configuration of a node whose chain is valid for an hour.
    fn node(seed: u64) -> (VerifyingKey, NodeConfig) {
        let scheme = TopicScheme::default();
        let node = NewNode {
            lifetime: Some(HOUR),
            ..NewNode::new("n", Role::Producer, &scheme)
        };
        let mut rng = StdRng::seed_from_u64(seed);
        let node = provision_node(&node, b"root", b"provisioning", now(), &mut rng).unwrap();
        let secrets = node.secrets.unwrap();
        let key = secrets.signing_keys().next().unwrap();
        (key.verifying_key().clone(), node.config)
    }

    fn chain(config: &NodeConfig) -> Value {
        let chain = config.load_value(Section::CHAINS, "chain0");
        chain.unwrap().unwrap()
    }

    fn identities_of(config: &NodeConfig, keys: &[VerifyingKey], now: Timestamp) -> Vec<Identity> {
        let trust = stored_trust(config, &NodeSettings::default()).unwrap();
        identities(config, keys.to_vec(), &trust, now).unwrap()
    }

    #[test]
    fn each_key_has_the_chain_that_names_it_valid_or_not() {
        let ((first, mut config), (second, other)) = (node(1), node(2));
        let chains = [chain(&config), chain(&other)];
        let keys = [first, second];
        for (name, chain) in ["chain1", "chain0"].into_iter().zip(&chains) {
            config.set(Section::CHAINS, name, chain).unwrap();
        }
        let trust = stored_trust(&config, &NodeSettings::default()).unwrap();
        for late in [false, true] {
            let now = now().plus(if late { HOUR * 2 } else { Duration::ZERO });
            for (identity, chain) in identities_of(&config, &keys, now).iter().zip(&chains) {
                assert_eq!(identity.chain().map(Value::from).as_ref(), Some(chain));
                let valid = identity.validate(&trust, &Demand::at(now));
                assert_eq!(valid.is_err(), late);
                assert!(!late || matches!(valid, Err(ChainError::Expired { .. })));
            }
        }
    }

    #[test]
    fn of_a_keys_chains_the_valid_one_is_taken() {
        let (key, mut config) = node(1);
        let Value::Bytes(good) = chain(&config) else {
            panic!("no chain");
        };
        // The same certificate, without the one that certifies it.
        let last = UnverifiedChain::parse(&good).unwrap().links()[1].to_vec();
        let bad = kc_core::chain::encode_chain(&[&last]);
        config
            .set(Section::CHAINS, "chain0", &Value::Bytes(bad))
            .unwrap();
        let good = Value::Bytes(good);
        config.set(Section::CHAINS, "other", &good).unwrap();
        let identities = identities_of(&config, &[key], now());
        assert_eq!(identities[0].chain().map(Value::from), Some(good));
    }

    #[test]
    fn a_chain_of_another_key_is_no_keys() {
        let ((_, config), (other, _)) = (node(1), node(2));
        let identities = identities_of(&config, &[other], now());
        assert_eq!(identities[0].chain(), None);
    }
}
