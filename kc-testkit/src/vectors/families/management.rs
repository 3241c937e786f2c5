use kc_core::chain::{
    Identity, TrustEntry, TrustList, TrustStore, UnverifiedChain, UpdateError, accept_chain,
};
use kc_core::exchange::RefusalId;
use kc_core::keys::{Signer, SigningKey, VerifyingKey};
use kc_core::store::config::Name;
use kc_core::types::Timestamp;
use kc_core::wire::Writer;
use serde_json::{Value, json};

use super::convert::{chains, identities, time, trust};
use crate::vectors::{CaseInput, Family, Fields, InputError, Op, Outcome};

pub(super) const FAMILY: Family = Family {
    name: "management",
    ops: &[
        Op::new(
            "list_update",
            &["list", "allowlist", "denylist", "messages", "time"],
            list_update,
        ),
        Op::new(
            "replace_chain",
            &[
                "secret_keys",
                "chains",
                "allowlist",
                "denylist",
                "message",
                "time",
            ],
            replace_chain,
        ),
    ],
};

/// Applies the messages in order; the last decides whether the case is accepted.
fn list_update(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let list = match case.fields.text("list")? {
        "allowlist" => TrustList::Allow,
        "denylist" => TrustList::Deny,
        _ => return Err(case.fields.error("list", "is no list known")),
    };
    let now = time(&case.fields)?;
    let mut trust = trust(&case.fields)?;
    let (mut returned, mut name, mut refusal) = (Vec::new(), None, None);
    for message in case.fields.bytes_list("messages")? {
        match list.judge(&message, &trust, now) {
            Ok(entry) => {
                returned.push(json!(hex::encode(entry.as_bytes())));
                name = Some(Name::of_entry(entry.as_bytes()).to_string());
                trust.add(list, entry);
                refusal = None;
            }
            Err(error) => {
                returned.push(Value::Null);
                refusal = Some(reason(&error));
            }
        }
    }
    let entries = |list: &[TrustEntry]| {
        let entries = list.iter().map(|entry| hex::encode(entry.as_bytes()));
        entries.collect::<Vec<_>>()
    };
    let allowlist = trust.allowlist().map(entries);
    let denylist = entries(trust.denylist());
    Ok(match refusal {
        None => Outcome::Ok(json!({
            "returned": returned,
            "config_entry_name": name,
            "allowlist_after": allowlist,
            "denylist_after": denylist,
        })),
        Some(why) => {
            let state = json!({"allowlist_after": allowlist, "denylist_after": denylist});
            Outcome::reject_with(state, why)
        }
    })
}

fn replace_chain(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let now = time(&case.fields)?;
    let trust = trust(&case.fields)?;
    let keys = keys(&case.fields)?;
    let mut identities = identities(keys.iter(), &chains(&case.fields)?);
    let before = describe(&identities, &trust, now)?;
    let replaced = match case.fields.opt_bytes("message")? {
        Some(chain) => replace(&mut identities, &chain, &trust, now),
        None => Err("there is no chain".to_owned()),
    };
    let state = json!({"before": before, "after": describe(&identities, &trust, now)?});
    Ok(match replaced {
        Ok(()) => Outcome::Ok(state),
        Err(why) => Outcome::reject_with(state, why),
    })
}

/// Gives the chain to the key that it certifies.
fn replace(
    identities: &mut [Identity],
    chain: &[u8],
    trust: &TrustStore,
    now: Timestamp,
) -> Result<(), String> {
    let mut refusal = UpdateError::OtherKey;
    for identity in identities {
        match accept_chain(identity.key(), identity.chain(), chain, trust, now) {
            Ok(()) => {
                *identity = Identity::new(identity.key().clone(), Some(chain.to_vec()));
                return Ok(());
            }
            Err(error) => refusal = error,
        }
        if refusal != UpdateError::OtherKey {
            break;
        }
    }
    Err(reason(&refusal))
}

fn keys(fields: &Fields<'_>) -> Result<Vec<VerifyingKey>, InputError> {
    let keys = fields.bytes_list("secret_keys")?;
    keys.iter().map(|key| public(fields, key)).collect()
}

fn public(fields: &Fields<'_>, secret: &[u8]) -> Result<VerifyingKey, InputError> {
    let key = SigningKey::from_bytes(secret);
    let key = key.map_err(|error| fields.error("secret_keys", &error.to_string()))?;
    Ok(key.verifying_key().clone())
}

/// Each key with its chain, and whether requests under that go to producers, too.
///
/// Without a chain the reference means to ask everybody, under the temporary root; a node of ours then asks nobody,
/// so that no [`ValidIdentity`](kc_core::exchange::ValidIdentity) is there to say it.
fn describe(
    identities: &[Identity],
    trust: &TrustStore,
    now: Timestamp,
) -> Result<Vec<Value>, InputError> {
    let describe = |identity: &Identity| {
        let direct = match identity.chain() {
            None => true,
            Some(_) => {
                let valid = identity.validated(trust, now);
                valid.is_ok_and(|valid| valid.may_request())
            }
        };
        Ok(json!({
            "public": hex::encode(identity.key().to_bytes()),
            "chain": identity.chain().map(repacked).transpose()?,
            "direct_requests": direct,
        }))
    };
    identities.iter().map(describe).collect()
}

/// The array of a chain's links, in hex.
fn repacked(chain: &[u8]) -> Result<String, InputError> {
    let chain = UnverifiedChain::parse(chain);
    let chain = chain.map_err(|error| InputError::new("a chain", error.to_string()))?;
    let mut writer = Writer::new();
    writer.array(chain.links().len());
    for link in chain.links() {
        writer.bytes(link);
    }
    Ok(hex::encode(writer.into_vec()))
}

fn reason(error: &UpdateError) -> String {
    format!("{}: {error}", RefusalId::from(error))
}
