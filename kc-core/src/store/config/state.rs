//! The state of a node whose configuration cannot be written: the entries that the node changes while it runs. They are
//! stored in another place, and are combined with the configuration when it is loaded.

use zeroize::Zeroizing;

use super::{ConfigError, Document, Name, NodeConfig, Section, Setting, Value};
use crate::own_chains::{OwnChain, OwnChains, end_of};

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
    pub fn empty_state(&self) -> Result<Self, ConfigError> {
        Self::open(Document::default(), Some(self.node_id()))
    }

    /// Adds the state of the node to this configuration:
    ///
    /// - The lists are united. If both have an entry with the same name, the entry of the configuration counts.
    /// - Of two chains for the same key, the chain that ends later counts.
    /// - The retained data keys and the last used index of the state replace those of the configuration.
    ///
    /// # Errors
    /// Returns a [`ConfigError`] if an entry contains a reference that cannot be resolved or cannot be written.
    pub fn add_state(&mut self, state: &Self) -> Result<(), ConfigError> {
        for section in LISTS {
            for Setting { name, text } in state.own_settings(section)? {
                if self.load_text(section, name.clone())?.is_none()
                    && let Some(value) = Value::decode(&text)
                {
                    self.set(section, name, &value)?;
                }
            }
        }
        for name in [RETAINED_KEYS, RATCHET_USED] {
            if let Some(value) = state.load_value(Section::CRYPTO, name)? {
                self.set(Section::CRYPTO, name, &value)?;
            }
        }
        let known = OwnChains::load(self)?;
        for chain in OwnChains::load(state)?.iter() {
            let is_same = |known: &&OwnChain| known.key.is_some() && known.key == chain.key;
            let same = known.iter().find(is_same);
            if same.is_some_and(|same| !ends_later(&chain.bytes, &same.bytes)) {
                continue;
            }
            let name = same.map_or(&chain.name, |same| &same.name);
            let bytes = Value::from(chain.bytes.as_slice());
            self.set(Section::CHAINS, name.clone(), &bytes)?;
        }
        Ok(())
    }

    /// Returns the state that, added to `base`, gives this configuration. Returns `None` if no state can: an entry was
    /// removed, or another entry than those of [`add_state`](Self::add_state) differs.
    ///
    /// # Errors
    /// Returns a [`ConfigError`] if an entry contains a reference that cannot be resolved or cannot be written.
    pub fn state_beyond(&self, base: &Self) -> Result<Option<Self>, ConfigError> {
        let mut state = base.empty_state()?;
        for section in LISTS.into_iter().chain([Section::CHAINS]) {
            for Setting { name, text } in self.own_settings(section)? {
                if base.load_text(section, name.clone())?.as_ref() != Some(&text)
                    && let Some(value) = Value::decode(&text)
                {
                    state.set(section, name, &value)?;
                }
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
        let mut again = Self::parse(&base.render())?;
        again.add_state(&state)?;
        Ok(again.same_entries(self)?.then_some(state))
    }

    /// Returns whether two configurations have the same entries, in any order.
    fn same_entries(&self, other: &Self) -> Result<bool, ConfigError> {
        Ok(self.sorted_entries()? == other.sorted_entries()?)
    }

    fn sorted_entries(&self) -> Result<Vec<Entry<'_>>, ConfigError> {
        let mut entries = Vec::new();
        for section in self.document().sections() {
            for entry in self.document().own(section) {
                let (name, text) = entry?;
                entries.push((section, name, text));
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
        assert!(again.same_entries(&edited).unwrap());
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

    #[test]
    fn an_entry_of_the_configuration_counts_and_of_chains_the_one_that_ends_later() {
        let mut state = base().empty_state().unwrap();
        let other = Value::Bytes(vec![1]);
        state.set(Section::ALLOWLIST, "a", &other).unwrap();
        let (short, long, endless) = (chain(1, 100), chain(1, 200), chain(1, 0));
        for (ours, theirs, counts) in [
            (&short, &long, &long),
            (&long, &short, &long),
            (&long, &endless, &endless),
            (&endless, &long, &endless),
        ] {
            let mut config = base();
            config.set(Section::CHAINS, "chain0", ours).unwrap();
            state.set(Section::CHAINS, "chain5", theirs).unwrap();
            config.add_state(&state).unwrap();
            let chains = OwnChains::load(&config).unwrap();
            let chains: Vec<_> = chains
                .iter()
                .map(|it| Value::from(it.bytes.as_slice()))
                .collect();
            assert!(chains == [counts.clone()]);
            let allowed = config.load_value(Section::ALLOWLIST, "a").unwrap();
            assert!(allowed == Some(Value::Bytes(vec![0; 3])));
        }
    }
}
