//! A node that is provisioned once more: its files stay, and what they lack is added.

use kc_core::chain::{MaxAge, TrustEntry};
use kc_core::keys::{KeyType, Signer, VerifyingKey};
use kc_core::own_chains::store_chain;
use kc_core::provision::{Grant, IssuedChain, ProvisionedNode, issue_chain};
use kc_core::ratchet::Seed;
use kc_core::store::NodeSecrets;
use kc_core::store::config::{ConfigError, NodeConfig, Section, Value};

use super::files::outcome;
use super::{Asked, without_exchange_keys, without_other_provisioners};
use crate::vectors::families::convert::time;
use crate::vectors::{CaseInput, Fields, InputError, Outcome};

pub(super) fn provision(
    case: &CaseInput<'_>,
    before: &Fields<'_>,
    asked: &Asked<'_>,
    key_type: KeyType,
) -> Result<Outcome, InputError> {
    let (fields, now) = (&case.fields, time(&case.fields)?);
    let config = NodeConfig::parse(before.text("config")?);
    let mut config = config.map_err(|error| before.error("config", &error.to_string()))?;
    let seed = Seed::decode(&before.bytes("seed")?);
    let seed = seed.map_err(|error| before.error("seed", &error.to_string()))?;
    let secrets = NodeSecrets::decode(&before.bytes("crypto")?);
    let secrets = secrets.map_err(|error| before.error("crypto", &error.to_string()))?;
    let mut secrets = secrets.secrets;

    let mut rng = without_other_provisioners(without_exchange_keys(case.draws(), 0), asked.role);
    secrets.ensure_key(key_type, &mut rng);
    let keys = secrets.signing_keys().map(Signer::verifying_key);
    let key = keys.enumerate().find(|(_, key)| key.key_type() == key_type);
    let (position, key) = key.ok_or_else(|| fields.error("keytype", "is that of no key"))?;

    let root_password = fields.text("rot_password")?.as_bytes();
    let password = fields.text("provisioning_password")?.as_bytes();
    let constraints = asked
        .role
        .constraints(&asked.topics, &asked.scheme, asked.path_length);
    let end = asked
        .lifetime
        .map(|lifetime| MaxAge::until(now.plus(lifetime)));
    let issued = constraints.and_then(|constraints| {
        let grant = Grant {
            role: asked.role,
            constraints,
            expires: end.unwrap_or(MaxAge::UNLIMITED),
        };
        issue_chain(key, &grant, root_password, password, now, &mut rng)
    });
    let IssuedChain { chain, root } = match issued {
        Ok(issued) => issued,
        Err(error) => return Ok(Outcome::reject(error)),
    };
    let stored = store_chain(&mut config, position, &chain);
    if let Err(error) = stored.and_then(|()| trust(&mut config, &root)) {
        return Ok(Outcome::reject(error));
    }
    let node = ProvisionedNode {
        config,
        secrets: Some(secrets),
        seed: Some(seed),
        escrow: None,
        root,
        expires: end.and_then(MaxAge::timestamp),
    };
    outcome(&node, now, None)
}

/// Adds a root under the first free name `rot<n>`, unless the list has it.
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
