//! A node's own chains in its configuration (protocol §11): the entries `chain0`, `chain1`, … of the section
//! `chains`.
//!
//! A chain belongs to the signing key that its last certificate names, whatever the name of its entry. A new chain is
//! written to the entry whose number is the position of its key: `chain0` for the first signing key. The node's own
//! file is trusted, so nothing is verified here.

use crate::chain::{Certificate, MaxAge, UnverifiedChain, intersect};
use crate::keys::VerifyingKey;
use crate::store::config::{ConfigError, Name, NodeConfig, Section, Value};

/// The chains in a node's configuration, in the order of the file.
#[derive(Clone, Debug)]
pub struct OwnChains(Vec<OwnChain>);

/// One chain of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnChain {
    /// The name of the chain's entry.
    pub name: Name,
    /// The chain, as stored.
    pub bytes: Vec<u8>,
    /// The signing key that the last certificate names. It is `None` if the certificate does not name a single
    /// signing key, or the chain is malformed.
    pub key: Option<VerifyingKey>,
}

impl OwnChains {
    /// Reads the chains of a configuration.
    ///
    /// # Errors
    /// Returns a [`ConfigError`] if an entry contains a reference that cannot be resolved.
    pub fn load(config: &NodeConfig) -> Result<Self, ConfigError> {
        let settings = config.own_settings(Section::CHAINS)?.into_iter();
        let chains = settings.filter_map(|setting| match setting.value() {
            Some(Value::Bytes(bytes)) => Some((setting.name, bytes)),
            _ => None,
        });
        Ok(chains.collect())
    }

    /// Returns the chains of `key`, the node's signing key at `position` (from 0). If the entry with the number
    /// `position` holds one of these chains, that chain is the first.
    #[must_use]
    pub fn of_key(&self, position: usize, key: &VerifyingKey) -> Vec<&OwnChain> {
        let chains = self
            .0
            .iter()
            .filter(|chain| chain.key.as_ref() == Some(key));
        let mut chains: Vec<_> = chains.collect();
        let own = entry_name(position);
        chains.sort_by_key(|chain| chain.name != own);
        chains
    }

    /// Returns the chains that do not belong to any of `keys`.
    pub fn of_none(&self, keys: &[VerifyingKey]) -> impl Iterator<Item = &OwnChain> {
        let belongs = |chain: &OwnChain| chain.key.as_ref().is_some_and(|key| keys.contains(key));
        self.0.iter().filter(move |chain| !belongs(chain))
    }

    /// Returns all chains.
    pub fn iter(&self) -> impl Iterator<Item = &OwnChain> {
        self.0.iter()
    }
}

impl OwnChain {
    /// Returns the topics that all certificates of the chain grant, as names and regular expressions. Returns `None` if
    /// no certificate lists topics, or the chain is malformed. Nothing is verified.
    #[must_use]
    pub fn topics(&self) -> Option<Vec<String>> {
        let chain = UnverifiedChain::parse(&self.bytes).ok()?;
        let mut granted = None;
        for link in chain.links() {
            let restrictions = Certificate::parse_signed(link).ok()?.restrictions;
            granted = intersect(granted, restrictions.evaluate().ok()?.topics).ok()?;
        }
        granted
    }
}

impl FromIterator<(Name, Vec<u8>)> for OwnChains {
    fn from_iter<I: IntoIterator<Item = (Name, Vec<u8>)>>(entries: I) -> Self {
        let chain = |(name, bytes): (Name, Vec<u8>)| OwnChain {
            name,
            key: named_key(&bytes),
            bytes,
        };
        Self(entries.into_iter().map(chain).collect())
    }
}

/// Writes a chain to the entry whose number is `position`, the position of the chain's key. The new chain replaces the
/// key's present chain, even if that chain is in another entry.
///
/// If the entry with the number `position` holds another key's chain, the other chain moves to the entry of the
/// replaced chain, or to the first free entry if no chain is replaced.
///
/// # Errors
/// Returns a [`ConfigError`] if an entry contains a reference that cannot be resolved.
pub fn store_chain(
    config: &mut NodeConfig,
    position: usize,
    chain: &[u8],
) -> Result<(), ConfigError> {
    let (chains, target, key) = (
        OwnChains::load(config)?,
        entry_name(position),
        named_key(chain),
    );
    let replaced = key.and_then(|key| Some(chains.of_key(position, &key).first()?.name.clone()));
    if replaced.as_ref() != Some(&target) {
        match (chains.iter().find(|other| other.name == target), replaced) {
            (Some(other), replaced) => {
                let name = replaced.map_or_else(|| free_entry(config), Ok)?;
                config.set(Section::CHAINS, name, &Value::from(other.bytes.as_slice()))?;
            }
            (None, Some(replaced)) => drop(config.remove(Section::CHAINS, replaced)),
            (None, None) => {}
        }
    }
    config.set(Section::CHAINS, target, &Value::from(chain))?;
    Ok(())
}

fn entry_name(position: usize) -> Name {
    Name::Text(format!("chain{position}"))
}

/// Returns the name of the first entry `chain<n>` that is not set.
///
/// # Errors
/// Returns a [`ConfigError`] if an entry contains a reference that cannot be resolved.
pub(crate) fn free_entry(config: &NodeConfig) -> Result<Name, ConfigError> {
    let mut position = 0;
    while config
        .load_text(Section::CHAINS, entry_name(position))?
        .is_some()
    {
        position += 1;
    }
    Ok(entry_name(position))
}

/// Returns the end of a chain's validity: the earliest end of its certificates. Returns `None` if the chain is
/// malformed.
pub(crate) fn end_of(chain: &[u8]) -> Option<MaxAge> {
    let chain = UnverifiedChain::parse(chain).ok()?;
    let ends = chain
        .links()
        .iter()
        .map(|link| Some(Certificate::parse_signed(link).ok()?.max_age));
    ends.reduce(|first, next| Some(first?.earlier(next?)))?
}

fn named_key(chain: &[u8]) -> Option<VerifyingKey> {
    let chain = UnverifiedChain::parse(chain).ok()?;
    let last = Certificate::parse_signed(chain.links().last()?).ok()?;
    last.keys.signer().cloned()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::chain::{MaxAge, encode_certificate, encode_chain};
    use crate::keys::{KeyType, Signer, SigningKey};
    use crate::wire::Writer;

    /// Two keys of a node: an Ed25519 key and a hybrid key.
    struct Keys([VerifyingKey; 2]);

    impl Keys {
        fn new() -> Self {
            let key = |seed, key_type| {
                let key = SigningKey::generate(key_type, &mut StdRng::seed_from_u64(seed));
                key.verifying_key().clone()
            };
            Self([key(1, KeyType::Ed25519), key(2, KeyType::Hybrid)])
        }

        /// Returns a chain for one of the keys, signed by the parent of its type. `n` distinguishes issues.
        fn chain(&self, key: usize, n: i128) -> Vec<u8> {
            let key = &self.0[key];
            signed(key.key_type(), n, |writer| key.write_to(writer))
        }
    }

    fn signed(parent: KeyType, max_age: i128, key: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut rng = StdRng::seed_from_u64(3);
        let certificate = encode_certificate(MaxAge::Int(max_age), &[0x90], key, (0, |_| {}));
        let parent = SigningKey::generate(parent, &mut rng);
        encode_chain(&[&parent.sign(&certificate, &mut rng).unwrap()])
    }

    fn config(chains: &[(&str, &[u8])]) -> NodeConfig {
        let mut config = NodeConfig::create("n").unwrap();
        for (name, chain) in chains {
            let chain = Value::from(*chain);
            config.set(Section::CHAINS, *name, &chain).unwrap();
        }
        config
    }

    fn entries(config: &NodeConfig) -> Vec<(String, Vec<u8>)> {
        let chains = OwnChains::load(config).unwrap();
        let entry = |chain: &OwnChain| (chain.name.to_string(), chain.bytes.clone());
        let mut entries: Vec<_> = chains.iter().map(entry).collect();
        entries.sort();
        entries
    }

    fn of_key(config: &NodeConfig, position: usize, key: &VerifyingKey) -> Vec<Vec<u8>> {
        let chains = OwnChains::load(config).unwrap();
        let chains = chains.of_key(position, key).into_iter();
        chains.map(|chain| chain.bytes.clone()).collect()
    }

    #[test]
    fn a_chain_belongs_to_the_key_that_it_names() {
        let keys = Keys::new();
        let [first, second] = [keys.chain(0, 1), keys.chain(1, 1)];
        let swapped = config(&[("chain0", &second), ("chain1", &first)]);
        assert_eq!(of_key(&swapped, 0, &keys.0[0]), [first.as_slice()]);
        assert_eq!(of_key(&swapped, 1, &keys.0[1]), [second]);
        let chains = OwnChains::load(&swapped).unwrap();
        assert_eq!(chains.of_none(&keys.0).count(), 0);
        let of_none: Vec<_> = chains.of_none(&keys.0[1..]).collect();
        assert_eq!(of_none.len(), 1);
        assert_eq!(of_none[0].bytes, first);
    }

    #[test]
    fn of_several_chains_that_of_the_keys_position_is_first() {
        let keys = Keys::new();
        let [old, new] = [keys.chain(0, 1), keys.chain(0, 2)];
        let config = config(&[("a", &old), ("chain1", &new)]);
        assert_eq!(of_key(&config, 1, &keys.0[0]), [new.clone(), old.clone()]);
        assert_eq!(of_key(&config, 0, &keys.0[0]), [old, new]);
    }

    #[test]
    fn what_names_no_signing_key_belongs_to_none() {
        let keys = Keys::new();
        let good = keys.chain(0, 1);
        let of_list = signed(KeyType::Ed25519, 1, |writer| {
            keys.0[0].write_to(writer.array(1));
        });
        let mut odd = vec![of_list, b"".to_vec(), vec![0x90], vec![0x91, 0xc0]];
        odd.push(encode_chain(&[b"short"]));
        odd.extend((0..good.len()).map(|len| good[..len].to_vec()));
        for chain in odd {
            let chains = OwnChains::load(&config(&[("chain0", &chain)])).unwrap();
            assert!(chains.of_key(0, &keys.0[0]).is_empty(), "{chain:?}");
            assert_eq!(chains.of_none(&keys.0).count(), 1, "{chain:?}");
        }
    }

    /// Returns the entries that `store_chain` makes of `before` with a new chain for the second key.
    fn stored(before: &[(&str, &[u8])], new: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut config = config(before);
        store_chain(&mut config, 1, new).unwrap();
        entries(&config)
    }

    #[test]
    fn a_new_chain_takes_its_keys_position_and_no_other_keys_chain_is_lost() {
        let keys = Keys::new();
        let [first, old, new] = [keys.chain(0, 1), keys.chain(1, 1), keys.chain(1, 2)];
        let named = |entries: &[(&str, &[u8])]| {
            let named = entries
                .iter()
                .map(|(name, chain)| ((*name).to_owned(), chain.to_vec()));
            named.collect::<Vec<_>>()
        };
        let (first, old, new) = (first.as_slice(), old.as_slice(), new.as_slice());
        let both = named(&[("chain0", first), ("chain1", new)]);

        assert_eq!(stored(&[("chain0", first), ("chain1", old)], new), both);
        assert_eq!(stored(&[("chain0", old), ("chain1", first)], new), both);
        assert_eq!(stored(&[("chain1", first)], new), both);
        assert_eq!(stored(&[("chain0", first)], new), both);
        assert_eq!(stored(&[("chain0", old)], new), named(&[("chain1", new)]));
        assert_eq!(
            stored(&[("chain0", b"?"), ("chain1", first)], new),
            named(&[("chain0", b"?"), ("chain1", new), ("chain2", first)])
        );
        assert_eq!(
            stored(&[("chain0", first), ("chain1", b"?")], new),
            named(&[("chain0", first), ("chain1", new), ("chain2", b"?")])
        );
    }
}
