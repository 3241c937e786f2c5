//! The state of a node whose configuration cannot be written: the entries that the node changes while it runs. They are
//! stored in another place, and are combined with the configuration when it is loaded.

use zeroize::Zeroizing;

use super::{ConfigError, Document, Name, NodeConfig, Section, Setting, Value};
use crate::own_chains::{OwnChain, OwnChains, end_of, free_entry};

/// The lists of keys. The lists of the state are united with those of the configuration.
const LISTS: [Section<'static>; 3] = [Section::ALLOWLIST, Section::DENYLIST, Section::CHAIN_KEYS];

/// The entry of [`Section::CRYPTO`] with the retained data keys, sealed under the opaque key of the node.
pub const RETAINED_KEYS: &str = "oldkeys";

/// The entry of [`Section::CRYPTO`] with the index of the last step of the ratchet that the node used.
pub const RATCHET_USED: &str = "ratchet_used";

impl NodeConfig {
    /// Returns an empty state of this node.
    ///
    /// # Errors
    /// Returns a [`ConfigError`] if the syntax of the file cannot express the node id.
    fn empty_state(&self) -> Result<Self, ConfigError> {
        Self::open(Document::default(), Some(self.node_id()))
    }

    /// Adds the state of the node to this configuration:
    ///
    /// - The lists are united. If both have an entry with the same name, the entry of the configuration counts.
    /// - Chains are united. Of two chains for the same key, the one that ends later comes first. The other one remains,
    ///   because the root of trust of the first one may have been denied.
    /// - The retained data keys of the state replace those of the configuration, and the larger index of the last used
    ///   step counts.
    ///
    /// # Errors
    /// Returns [`ConfigError::NodeIdMismatch`] if the state belongs to another node, and another [`ConfigError`] if an
    /// entry contains a reference that cannot be resolved or cannot be written.
    pub fn add_state(&mut self, state: &Self) -> Result<(), ConfigError> {
        if state.node_id() != self.node_id() {
            return Err(ConfigError::NodeIdMismatch {
                found: state.node_id().to_owned(),
                wanted: self.node_id().to_owned(),
            });
        }
        for section in LISTS {
            let own = self.own_settings(section)?;
            for Setting { name, text } in state.own_settings(section)? {
                if !own.iter().any(|known| known.name == name)
                    && let Some(value) = Value::decode(&text)
                {
                    self.set(section, name, &value)?;
                }
            }
        }
        if let Some(value) = state.load_value(Section::CRYPTO, RETAINED_KEYS)? {
            self.set(Section::CRYPTO, RETAINED_KEYS, &value)?;
        }
        if let Some(Value::Int(used)) = state.load_value(Section::CRYPTO, RATCHET_USED)? {
            let known = match self.load_value(Section::CRYPTO, RATCHET_USED)? {
                Some(Value::Int(known)) => known,
                _ => used,
            };
            self.set(Section::CRYPTO, RATCHET_USED, &Value::Int(used.max(known)))?;
        }
        for chain in OwnChains::load(state)?.iter() {
            self.add_chain(chain)?;
        }
        Ok(())
    }

    /// Adds a chain of the state. No chain is lost.
    fn add_chain(&mut self, chain: &OwnChain) -> Result<(), ConfigError> {
        let known = OwnChains::load(self)?;
        if known.iter().any(|known| known.bytes == chain.bytes) {
            return Ok(());
        }
        let is_same = |known: &&OwnChain| known.key.is_some() && known.key == chain.key;
        let earlier = known
            .iter()
            .find(is_same)
            .filter(|same| ends_later(&chain.bytes, &same.bytes));
        let mut added = &chain.bytes;
        if let Some(earlier) = earlier {
            let bytes = Value::from(chain.bytes.as_slice());
            self.set(Section::CHAINS, earlier.name.clone(), &bytes)?;
            added = &earlier.bytes;
        }
        let is_free = self
            .load_text(Section::CHAINS, chain.name.clone())?
            .is_none();
        let name = if is_free {
            chain.name.clone()
        } else {
            free_entry(self)?
        };
        self.set(Section::CHAINS, name, &Value::from(added.as_slice()))?;
        Ok(())
    }

    /// Returns the state of this configuration: its entries that are not in `base`. Returns `None` if this
    /// configuration changes or removes an entry of a list in `base`, or differs from `base` in an entry that cannot be
    /// part of a state (see [`add_state`](Self::add_state)).
    ///
    /// # Errors
    /// Returns a [`ConfigError`] if an entry contains a reference that cannot be resolved or cannot be written.
    pub fn state_beyond(&self, base: &Self) -> Result<Option<Self>, ConfigError> {
        let mut state = base.empty_state()?;
        for section in LISTS {
            let (own, base) = (self.own_settings(section)?, base.own_settings(section)?);
            if base.iter().any(|entry| !own.contains(entry)) {
                return Ok(None);
            }
            for entry in own.into_iter().filter(|entry| !base.contains(entry)) {
                if let Some(value) = entry.value() {
                    state.set(section, entry.name, &value)?;
                }
            }
        }
        let known = OwnChains::load(base)?;
        for chain in OwnChains::load(self)?.iter() {
            if !known.iter().any(|known| known.bytes == chain.bytes) {
                let bytes = Value::from(chain.bytes.as_slice());
                state.set(Section::CHAINS, chain.name.clone(), &bytes)?;
            }
        }
        for name in [RETAINED_KEYS, RATCHET_USED] {
            let value = self.load_value(Section::CRYPTO, name)?;
            if let Some(value) = value
                && base.load_value(Section::CRYPTO, name)?.as_ref() != Some(&value)
            {
                state.set(Section::CRYPTO, name, &value)?;
            }
        }
        let same = self.other_entries()? == base.other_entries()?;
        Ok(same.then_some(state))
    }

    /// Returns the sorted entries that are not part of a state.
    fn other_entries(&self) -> Result<Vec<Entry<'_>>, ConfigError> {
        let of_state = LISTS.into_iter().chain([Section::CHAINS]);
        let of_state: Vec<String> = of_state
            .map(|section| section.name(self.node_id()))
            .collect();
        let crypto = Section::CRYPTO.name(self.node_id());
        let written = [RETAINED_KEYS, RATCHET_USED].map(Name::from);
        let mut entries = Vec::new();
        for section in self.document().sections() {
            if of_state.iter().any(|name| name == section) {
                continue;
            }
            for entry in self.document().own(section) {
                let (name, text) = entry?;
                if section != crypto || !written.contains(name) {
                    entries.push((section, name, text));
                }
            }
        }
        entries.sort_by(|(a, b, _), (c, d, _)| (a, b).cmp(&(c, d)));
        Ok(entries)
    }
}

/// The section, the name and the text of an entry.
type Entry<'c> = (&'c str, &'c Name, Zeroizing<String>);

/// Returns whether the chain `new` ends later than the chain `old`. A malformed chain ends before all others.
fn ends_later(new: &[u8], old: &[u8]) -> bool {
    match (end_of(new), end_of(old)) {
        (Some(new), Some(old)) => old.is_before(new),
        (new, None) => new.is_some(),
        (None, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::chain::{MaxAge, encode_certificate, encode_chain};
    use crate::keys::{KeyType, Signer, SigningKey};
    use crate::wire::Writer;

    const BASE: &str = "[DEFAULT]\nnode_id : n\n\n[n]\nbackend : pure\n\n[n-allowlist]\na : base64#AAAA\n\n\
                        [n-crypto]\nmaxage : 60\noldkeys : base64#AQ==\n\n";

    fn base() -> NodeConfig {
        NodeConfig::parse(BASE).unwrap()
    }

    fn chain(seed: u64, end: i128) -> Value {
        let mut rng = StdRng::seed_from_u64(seed);
        let key = SigningKey::generate(KeyType::Ed25519, &mut rng);
        let key = key.verifying_key();
        let write = |writer: &mut Writer| key.write_to(writer);
        let certificate = encode_certificate(MaxAge::Int(end), &[0x90], write, (0, |_| {}));
        let signed = [&[0; 64][..], &certificate].concat();
        Value::Bytes(encode_chain(&[&signed]))
    }

    #[test]
    fn what_a_node_writes_is_state_and_comes_back() {
        let mut edited = base();
        let bytes = |byte| Value::Bytes(vec![byte]);
        edited.set(Section::DENYLIST, "d", &bytes(7)).unwrap();
        edited.set(Section::CHAIN_KEYS, "k", &bytes(8)).unwrap();
        edited
            .set(Section::CRYPTO, RETAINED_KEYS, &bytes(9))
            .unwrap();
        edited
            .set(Section::CRYPTO, RATCHET_USED, &Value::Int(5))
            .unwrap();
        edited
            .set(Section::CHAINS, "chain0", &chain(1, 100))
            .unwrap();
        let state = edited.state_beyond(&base()).unwrap().unwrap();
        assert!(!state.render().contains("backend"));
        let mut again = base();
        again.add_state(&state).unwrap();
        assert!(again.state_beyond(&edited).unwrap().is_some());
        for section in LISTS.into_iter().chain([Section::CHAINS, Section::CRYPTO]) {
            let sorted = |config: &NodeConfig| {
                let mut entries = config.own_settings(section).unwrap();
                entries.sort_by(|one, other| one.name.cmp(&other.name));
                entries
            };
            assert_eq!(sorted(&again), sorted(&edited));
        }
    }

    #[test]
    fn other_changes_are_no_state() {
        let mut set = base();
        set.set(Section::NODE, "backend", &Value::from("rdkafka"))
            .unwrap();
        let mut removed = base();
        removed.remove(Section::ALLOWLIST, "a");
        for edited in [set, removed] {
            assert!(edited.state_beyond(&base()).unwrap().is_none());
        }
    }

    /// Returns the chains of a configuration in the order in which a node tries them.
    fn chains(config: &NodeConfig) -> Vec<Value> {
        let chains = OwnChains::load(config).unwrap();
        let key = chains.iter().next().unwrap().key.clone().unwrap();
        let chains = chains.of_key(0, &key).into_iter();
        chains
            .map(|chain| Value::from(chain.bytes.as_slice()))
            .collect()
    }

    #[test]
    fn of_two_chains_of_a_key_the_one_that_ends_later_comes_first_and_none_is_lost() {
        let (short, long, endless) = (chain(1, 100), chain(1, 200), chain(1, 0));
        for (ours, theirs, order) in [
            (&short, &long, [&long, &short]),
            (&long, &short, [&long, &short]),
            (&long, &endless, [&endless, &long]),
            (&endless, &long, [&endless, &long]),
        ] {
            for name in ["chain0", "chain5"] {
                let mut state = base().empty_state().unwrap();
                state.set(Section::CHAINS, name, theirs).unwrap();
                let mut config = base();
                config.set(Section::CHAINS, "chain0", ours).unwrap();
                let before = config.render();
                config.add_state(&state).unwrap();
                assert!(chains(&config) == order.map(Clone::clone), "{name}");
                let again = NodeConfig::parse(&before).unwrap();
                let stored = config.state_beyond(&again).unwrap().unwrap();
                assert_eq!(OwnChains::load(&stored).unwrap().iter().count(), 1);
            }
        }
    }

    #[test]
    fn a_chain_of_another_key_takes_no_place_of_the_configuration() {
        let mut state = base().empty_state().unwrap();
        state.set(Section::CHAINS, "chain0", &chain(1, 0)).unwrap();
        let mut config = base();
        config
            .set(Section::CHAINS, "chain0", &chain(2, 100))
            .unwrap();
        config.add_state(&state).unwrap();
        let first = config.load_value(Section::CHAINS, "chain0").unwrap();
        assert!(first == Some(chain(2, 100)));
        assert_eq!(OwnChains::load(&config).unwrap().iter().count(), 2);
    }

    #[test]
    fn an_entry_of_the_configuration_counts_and_the_last_step_never_goes_back() {
        let mut state = base().empty_state().unwrap();
        let other = Value::Bytes(vec![1]);
        state.set(Section::ALLOWLIST, "a", &other).unwrap();
        state
            .set(Section::CRYPTO, RATCHET_USED, &Value::Int(5))
            .unwrap();
        for (known, counts) in [(3, 5), (9, 9)] {
            let mut config = base();
            config
                .set(Section::CRYPTO, RATCHET_USED, &Value::Int(known))
                .unwrap();
            config.add_state(&state).unwrap();
            let allowed = config.load_value(Section::ALLOWLIST, "a").unwrap();
            assert!(allowed == Some(Value::Bytes(vec![0; 3])));
            let used = config.load_value(Section::CRYPTO, RATCHET_USED).unwrap();
            assert!(used == Some(Value::Int(counts)));
        }
        let stranger = NodeConfig::create("m").unwrap();
        let refused = base().add_state(&stranger).unwrap_err();
        assert!(matches!(refused, ConfigError::NodeIdMismatch { .. }));
    }
}
