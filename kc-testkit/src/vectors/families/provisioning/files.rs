//! What provisioning leaves behind, as the cases record it.

use kc_core::chain::{Demand, MaxAge, TrustEntry, TrustStore, UnverifiedChain, ValidatedChain};
use kc_core::provision::ProvisionedNode;
use kc_core::ratchet::Seed;
use kc_core::store::NodeSecrets;
use kc_core::store::config::Section;
use kc_core::types::Timestamp;
use serde_json::{Map, Value, json};

use crate::vectors::families::convert::{CA_FILE, binary_entries, typed, unpack};
use crate::vectors::{InputError, Outcome, Typed};

/// The files, what they prove, and `more`.
pub(super) fn outcome(
    node: &ProvisionedNode,
    now: Timestamp,
    more: Option<(&str, &[u8])>,
) -> Result<Outcome, InputError> {
    let allowlist = binary_entries(&node.config, Section::ALLOWLIST)?;
    let entries = allowlist.iter().map(|(_, entry)| TrustEntry::parse(entry));
    let trust = match entries.collect() {
        // The peers keep a classical root in force beside its hybrid one.
        Ok(entries) => TrustStore::new(Some(entries), Vec::new()).allow_classical_root(true),
        Err(error) => return Ok(Outcome::reject(error)),
    };
    let mut chains = Map::new();
    for (name, chain) in binary_entries(&node.config, Section::CHAINS)? {
        let checked = UnverifiedChain::parse(&chain).and_then(|chain| {
            let validated = chain.validate(&trust, &Demand::at(now))?;
            Ok((chain.links().iter().map(hex::encode).collect(), validated))
        });
        match checked {
            Ok((links, validated)) => {
                chains.insert(name, describe_chain(links, &validated)?);
            }
            Err(error) => return Ok(Outcome::reject(error)),
        }
    }
    let allowlist = allowlist.iter();
    let allowlist = allowlist.map(|(name, entry)| (name.clone(), json!(hex::encode(entry))));
    let mut files = Map::new();
    files.insert("config".to_owned(), json!(node.config.render().as_str()));
    let secret = [
        ("crypto", node.secrets.as_ref().map(NodeSecrets::encode)),
        ("seed", node.seed.as_ref().map(Seed::encode)),
    ];
    for (name, content) in secret {
        let content = content.map(|content| json!(hex::encode(content.expose())));
        files.extend(content.map(|content| (name.to_owned(), content)));
    }
    let mut out = Map::new();
    for (name, value) in [
        ("files", Value::Object(files)),
        ("placeholder", json!(CA_FILE)),
        ("allowlist", Value::Object(allowlist.collect())),
        ("chains_checked", Value::Object(chains)),
    ] {
        out.insert(name.to_owned(), value);
    }
    out.extend(more.map(|(name, bytes)| (name.to_owned(), json!(hex::encode(bytes)))));
    Ok(Outcome::Ok(Value::Object(out)))
}

fn describe_chain(links: Vec<String>, chain: &ValidatedChain) -> Result<Value, InputError> {
    let max_age = match chain.max_age() {
        MaxAge::Int(secs) => Typed::Int(secs),
        MaxAge::Float(secs) => Typed::float(secs),
    };
    let key = chain.keys().signer();
    let key = key.ok_or_else(|| InputError::new("a node's chain", "ends with no signing key"))?;
    let constraints = chain.constraints().encode();
    Ok(json!({
        "max_age": max_age.to_value(),
        "poison_decoded": typed(&unpack(&constraints)?).to_value(),
        "key": {"bytes": hex::encode(key.to_bytes()), "version": key.key_type().version()},
        "links": links,
    }))
}
