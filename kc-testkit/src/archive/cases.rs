//! Each function checks one promise on a new [`Bench`]. Archives are opened again before each step, as at the start of
//! a node.

use std::time::Duration;

use kc_core::chain::{Constraints, TrustEntry, TrustList, UnverifiedChain, encode_chain};
use kc_core::chain_server::ChainKey;
use kc_core::keys::{KeyType, Signer, SigningKey, VerifyingKey};
use kc_core::provision::{NewNode, Role, provision_node};
use kc_core::ratchet::{DataKey, RetainedKey, RetainedKeys};
use kc_core::secret::Secret;
use kc_core::store::config::{Section, Value};
use kc_core::types::{KeyId, Timestamp, TopicScheme};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::{Bench, Failure};
use crate::failure::{ensure, ensure_eq};

/// Saved retained keys can be read, and replace those that were saved before.
///
/// # Errors
/// [`Failure::Broken`] if the archive breaks this promise; [`Failure::Store`] if another call fails.
pub fn retained_keys_take_the_place_of_those_before(bench: &dyn Bench) -> Result<(), Failure> {
    for ids in [vec![1, 2, 3], vec![2, 4], vec![]] {
        bench.retained_keys()?.save(&retained(&ids), Some(7))?;
        let (stored, _) = bench.stored_keys()?;
        ensure(stored == retained(&ids), || {
            format!("saved {ids:?}, stored {stored:?}")
        })?;
    }
    Ok(())
}

/// The saved index of the latest step can be read, and stays when retained keys are saved without an index.
///
/// # Errors
/// [`Failure::Broken`] if the archive breaks this promise; [`Failure::Store`] if another call fails.
pub fn the_latest_step_stays_until_another_is_stored(bench: &dyn Bench) -> Result<(), Failure> {
    ensure_eq("first step", bench.stored_keys()?.1, None)?;
    for (used, stored) in [
        (Some(0), Some(0)),
        (Some(u64::from(u32::MAX) + 1), Some(u64::from(u32::MAX) + 1)),
        (None, Some(u64::from(u32::MAX) + 1)),
    ] {
        bench.retained_keys()?.save(&retained(&[1]), used)?;
        ensure_eq("latest step", bench.stored_keys()?.1, stored)?;
    }
    Ok(())
}

/// An entry is in the list to which it was added, exactly once, and in no other list.
///
/// # Errors
/// [`Failure::Broken`] if the archive breaks this promise; [`Failure::Store`] if another call fails.
pub fn each_list_keeps_its_entries_once(bench: &dyn Bench) -> Result<(), Failure> {
    let lists = [(TrustList::Allow, [1, 2]), (TrustList::Deny, [3, 4])];
    for _ in 0..2 {
        for (list, keys) in lists {
            for key in keys {
                bench.trust()?.add_entry(list, &entry(key))?;
            }
        }
    }
    for (list, keys) in lists {
        let mut stored = bench.stored_entries(list)?;
        stored.sort_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
        let mut added: Vec<_> = keys.into_iter().map(entry).collect();
        added.sort_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
        ensure_eq(list.name(), stored, added)?;
    }
    Ok(())
}

/// A new chain replaces the earlier chain of its key, and no other chain.
///
/// # Errors
/// [`Failure::Broken`] if the archive breaks this promise; [`Failure::Store`] if another call fails.
pub fn each_signing_key_keeps_its_latest_chain(bench: &dyn Bench) -> Result<(), Failure> {
    let nodes = [Node::new(1)?, Node::new(2)?];
    let rounds: [fn(&Node) -> &Vec<u8>; 2] = [|node| &node.first, |node| &node.second];
    for chain in rounds {
        for (index, node) in nodes.iter().enumerate() {
            bench.trust()?.replace_chain(index, chain(node))?;
        }
        for (index, node) in nodes.iter().enumerate() {
            let stored = bench.stored_chains(index, &node.key)?;
            ensure_eq("chains of a key", stored, vec![chain(node).clone()])?;
        }
    }
    Ok(())
}

/// A stored chain key is found under its name. A renewed chain key replaces it, and no other chain key.
///
/// # Errors
/// [`Failure::Broken`] if the archive breaks this promise; [`Failure::Store`] if another call fails.
pub fn a_renewed_chain_key_takes_the_place_of_the_one_before(
    bench: &dyn Bench,
) -> Result<(), Failure> {
    let key = |seed, secs| {
        let now = Timestamp::from_unix(Duration::from_secs(secs));
        ChainKey::due_at(now, &signing_key(seed), &Constraints::default())
    };
    ensure_eq("chain keys", bench.chain_keys()?.load()?, vec![])?;
    for (first, second) in [(10, 10), (20, 10), (20, 30)] {
        bench.chain_keys()?.store("first", &key(1, first))?;
        bench.chain_keys()?.store("second", &key(2, second))?;
        let mut stored = bench.chain_keys()?.load()?;
        stored.sort_by(|(one, _), (other, _)| one.cmp(other));
        let expected = [("first", key(1, first)), ("second", key(2, second))];
        let expected = expected.map(|(name, key)| (name.to_owned(), key));
        ensure_eq("chain keys", stored, expected.into())?;
    }
    Ok(())
}

/// A signing key, and two chains that certify it.
struct Node {
    key: VerifyingKey,
    first: Vec<u8>,
    second: Vec<u8>,
}

impl Node {
    fn new(seed: u64) -> Result<Self, Failure> {
        let scheme = TopicScheme::default();
        let new = NewNode::new("n", Role::Producer, &scheme);
        let now = Timestamp::from_unix(Duration::from_secs(1));
        let mut rng = StdRng::seed_from_u64(seed);
        let broken = |what: &str| Failure::Broken(format!("node {seed}: {what}"));
        let made = provision_node(&new, b"root", b"provisioning", now, &mut rng);
        let made = made.map_err(|error| broken(&error.to_string()))?;
        let secrets = made.secrets.ok_or_else(|| broken("no secrets"))?;
        let key = secrets.signing_keys().next();
        let key = key.ok_or_else(|| broken("no key"))?.verifying_key().clone();
        let chain = made.config.load_value(Section::CHAINS, "chain0");
        let Ok(Some(Value::Bytes(chain))) = chain else {
            return Err(broken("no chain"));
        };
        let parsed = UnverifiedChain::parse(&chain);
        let parsed = parsed.map_err(|error| broken(&error.to_string()))?;
        let last = parsed.links().last().ok_or_else(|| broken("no link"))?;
        Ok(Self {
            key,
            second: encode_chain(&[last]),
            first: chain,
        })
    }
}

fn signing_key(seed: u64) -> VerifyingKey {
    let key = SigningKey::generate(KeyType::Ed25519, &mut StdRng::seed_from_u64(seed));
    key.verifying_key().clone()
}

fn entry(seed: u64) -> TrustEntry {
    TrustEntry::unrestricted(&signing_key(seed))
}

fn retained(ids: &[u64]) -> RetainedKeys {
    let mut keys = RetainedKeys::default();
    for id in ids {
        keys.insert(RetainedKey {
            root_topic: "topic".into(),
            id: KeyId::Short(*id),
            secret: DataKey::from(Secret::fill_with(|secret| {
                secret.fill(u8::try_from(*id).unwrap_or_default());
            })),
            birth: Timestamp::from_unix(Duration::from_secs(*id)),
        });
    }
    keys
}
