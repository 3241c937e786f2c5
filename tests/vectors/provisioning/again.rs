//! A node that is provisioned a second time: its files stay, and missing parts are added.

use kc_core::chain::{MaxAge, TrustEntry};
use kc_core::keys::{KeyType, Signer, VerifyingKey};
use kc_core::own_chains::store_chain;
use kc_core::provision::{Grant, IssuedChain, ProvisionedNode, issue_chain};
use kc_core::ratchet::Seed;
use kc_core::store::NodeSecrets;
use kc_core::store::config::{ConfigError, NodeConfig, Section, Value};
use kc_core::types::Timestamp;

use super::files::{Files, Provisioned};
use super::{Asked, without_exchange_keys, without_other_provisioners};
use crate::draws::Draws;
use crate::operation::{Invalid, Outcome, invalid, refuse};

pub(super) fn provision(
    before: &Files,
    asked: &Asked<'_>,
    key_type: KeyType,
    [root_password, password]: [&[u8]; 2],
    now: Timestamp,
    draws: Draws,
) -> Outcome<Provisioned> {
    let missing = || Invalid::new("`files_before` lacks a file");
    let config = before.config.as_ref().ok_or_else(missing)?;
    let mut config = NodeConfig::parse(config).map_err(invalid("files_before.config"))?;
    let seed = before.seed.as_ref().ok_or_else(missing)?;
    let seed = Seed::decode(seed).map_err(invalid("files_before.seed"))?;
    let mut secrets = crate::nodes::secrets(before.crypto.as_ref().ok_or_else(missing)?)?;

    let mut rng = without_other_provisioners(without_exchange_keys(draws, 0), asked.role);
    secrets.ensure_key(key_type, &mut rng);
    let (position, key) = key_of(&secrets, key_type).ok_or_else(|| refuse("no such key"))?;
    let constraints = asked
        .role
        .constraints(&asked.topics, &asked.scheme, asked.path_length);
    let end = asked
        .lifetime
        .map(|lifetime| MaxAge::until(now.plus(lifetime)));
    let grant = Grant {
        role: asked.role,
        constraints: constraints.map_err(refuse)?,
        expires: end.unwrap_or(MaxAge::UNLIMITED),
    };
    let issued = issue_chain(key, &grant, root_password, password, now, &mut rng);
    let IssuedChain { chain, root } = issued.map_err(refuse)?;
    store_chain(&mut config, position, &chain).map_err(refuse)?;
    trust(&mut config, &root).map_err(refuse)?;
    let node = ProvisionedNode {
        config,
        secrets: Some(secrets),
        seed: Some(seed),
        escrow: None,
        root,
        expires: end.and_then(MaxAge::timestamp),
    };
    Provisioned::new(&node, now)
}

fn key_of(secrets: &NodeSecrets, key_type: KeyType) -> Option<(usize, &VerifyingKey)> {
    let keys = secrets.signing_keys().map(Signer::verifying_key);
    keys.enumerate().find(|(_, key)| key.key_type() == key_type)
}

/// Adds a root under the first free name `rot<n>`, if the list does not have it.
fn trust(config: &mut NodeConfig, root: &VerifyingKey) -> Result<(), ConfigError> {
    let entry = Value::from(TrustEntry::unrestricted(root).as_bytes());
    for number in 0.. {
        let name = format!("rot{number}");
        match config.load_value(Section::ALLOWLIST, name.as_str())? {
            Some(known) if known == entry => break,
            Some(_) => {}
            None => {
                config.set(Section::ALLOWLIST, name.as_str(), &entry)?;
                break;
            }
        }
    }
    Ok(())
}
