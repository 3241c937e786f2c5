//! The key file and what is sealed under its opaque key.

use std::time::Duration;

use kc_core::keys::KeyType;
use kc_core::ratchet::{KeyIdForm, RetainedKeys};
use kc_core::store::{
    Decoded, KeyStore, MemoryKeyStore, NodeSecrets, NodeSecretsError, StoreError, StoreErrorKind,
    opaque, retained_keys,
};
use serde_json::{Map, Value, json};

use crate::vectors::families::convert::{secret, time, typed_key_id};
use crate::vectors::{CaseInput, Draws, InputError, Outcome, Source, Typed};

/// `CRYPTO_MAX_PGEN_AGE`.
const MAX_AGE: Duration = Duration::from_secs(604_800);

pub(super) fn crypto_open(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let file = case.fields.opt_bytes("file")?;
    let key_types = key_types(case)?;
    let (opened, file_after) = match open(file.as_deref(), &key_types, case) {
        Ok(opened) => opened,
        Err(error) => {
            let state = json!({"file_after": file.map(hex::encode)});
            return Ok(Outcome::reject_with(state, error));
        }
    };
    let opaque_key = hex::encode(opened.opaque_key().expose());
    let none = || Err(StoreError::new(StoreErrorKind::Other, "draws"));
    let store = MemoryKeyStore::new(opened, None, Box::new(none));
    let keys = store.verifying_keys();
    let KeyIdForm::Long { identity } = KeyIdForm::long(&keys) else {
        return Err(InputError::new("node identity", "is not long"));
    };
    let suites: Vec<_> = store.suites().iter().map(|suite| suite.version()).collect();
    Ok(Outcome::Ok(json!({
        "file_after": hex::encode(file_after),
        "public_keys": keys.iter().map(|key| hex::encode(key.to_bytes())).collect::<Vec<_>>(),
        "node_identity": hex::encode(identity),
        "legacy_requests": Typed::Bool(store.legacy_requests()).to_value(),
        "usable_ephemeral_types": suites,
        "opaque_key": opaque_key,
    })))
}

/// The secrets, and the file as it is after they have been opened.
fn open(
    file: Option<&[u8]>,
    key_types: &[KeyType],
    case: &CaseInput<'_>,
) -> Result<(NodeSecrets, Vec<u8>), NodeSecretsError> {
    let (mut secrets, outdated) = match file {
        None => (NodeSecrets::generate(&mut case.draws()), true),
        Some(bytes) => {
            let Decoded {
                secrets, outdated, ..
            } = NodeSecrets::decode(bytes)?;
            (secrets, outdated)
        }
    };
    // Where the reference refuses, nothing is recorded; what is drawn shows in the file.
    let mut rng = without_ephemerals(case.draws(), &secrets, file.is_none()).or_filler();
    let mut changed = outdated;
    for key_type in key_types {
        changed |= secrets.ensure_key(*key_type, &mut rng);
    }
    let file_after = match file {
        Some(file) if !changed => file.to_vec(),
        _ => secrets.encode().expose().to_vec(),
    };
    Ok((secrets, file_after))
}

/// The draws for signing keys: before them the reference draws the opaque key of a new file, and a throw-away
/// ephemeral key for each key exchange.
fn without_ephemerals(draws: Draws, secrets: &NodeSecrets, created: bool) -> Draws {
    let side_effects = secrets.suites().count() + usize::from(created);
    draws
        .keep(|source, len, before| (source, len) != (Source::Sodium, 32) || before >= side_effects)
}

fn key_types(case: &CaseInput<'_>) -> Result<Vec<KeyType>, InputError> {
    if !case.fields.has("keytypes") {
        return Ok(Vec::new());
    }
    let versions = case.fields.raw("keytypes")?.as_array();
    let key_type = |version: &Value| KeyType::from_version(version.as_i64()?.into());
    let key_types = versions.and_then(|versions| versions.iter().map(key_type).collect());
    key_types.ok_or_else(|| {
        case.fields
            .error("keytypes", "is no list of signing key types")
    })
}

pub(super) fn opaque_wrap(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let plain = case.fields.bytes("plain")?;
    Ok(match secret(&case.fields, "opaque_key")? {
        Ok(key) => {
            let wrapped = opaque::wrap(&plain, &key, &mut case.draws());
            Outcome::Ok(json!({"wrapped": hex::encode(wrapped)}))
        }
        Err(why) => Outcome::reject(why),
    })
}

pub(super) fn opaque_unwrap(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    Ok(match unwrapped(case)? {
        Some(plain) => Outcome::Ok(json!({"plain": plain})),
        None => Outcome::reject("does not open"),
    })
}

fn unwrapped(case: &CaseInput<'_>) -> Result<Option<String>, InputError> {
    let wrapped = case.fields.bytes("wrapped")?;
    let key = secret(&case.fields, "opaque_key")?;
    let plain = key.ok().and_then(|key| opaque::unwrap(&wrapped, &key));
    Ok(plain.map(|plain| hex::encode(plain.expose())))
}

/// What is sealed stands in the input, too.
pub(super) fn oldkeys_recorded(case: &CaseInput<'_>) -> Result<Map<String, Value>, InputError> {
    let plain = case.fields.raw("plain")?.clone();
    Ok(Map::from_iter([("plain".to_owned(), plain)]))
}

pub(super) fn oldkeys_load(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let now = time(&case.fields)?;
    let Some(plain) = unwrapped(case)? else {
        return Ok(Outcome::reject("does not open"));
    };
    let content = hex::decode(&plain).unwrap_or_default().into();
    let mut keys = match retained_keys::decode(&content) {
        Ok(keys) => keys,
        Err(error) => return Ok(Outcome::reject_with(json!({"plain": plain}), error)),
    };
    keys.prune(now, MAX_AGE, None);
    Ok(Outcome::Ok(json!({"plain": plain, "keys": by_root(&keys)})))
}

/// Each birth as the number of seconds that it is, whatever its type.
pub(in crate::vectors) fn normalise_births(
    _: &CaseInput<'_>,
    out: &mut Value,
) -> Result<(), InputError> {
    let keys = out.get_mut("keys").and_then(Value::as_array_mut);
    let roots = keys.into_iter().flatten();
    let keys = roots.filter_map(|root| root.get_mut(1)?.as_array_mut());
    for birth in keys
        .flatten()
        .filter_map(|key| key.get_mut(1)?.get_mut("birth"))
    {
        let secs = match Typed::from_value(birth) {
            Some(Typed::Float(bits)) => Some(f64::from_bits(bits)),
            Some(Typed::Int(secs)) => u32::try_from(secs).ok().map(f64::from),
            _ => None,
        };
        *birth = json!(secs.ok_or_else(|| InputError::new("birth", "is no time"))?);
    }
    Ok(())
}

fn by_root(keys: &RetainedKeys) -> Vec<Value> {
    let mut roots: Vec<(&str, Vec<Value>)> = Vec::new();
    for key in keys.iter() {
        let birth = Typed::float(key.birth.as_secs()).to_value();
        let secret = hex::encode(key.secret.expose());
        let entry = json!([typed_key_id(&key.id), {"secret": secret, "birth": birth}]);
        let root = key.root_topic.as_str();
        match roots.iter_mut().find(|(known, _)| *known == root) {
            Some((_, entries)) => entries.push(entry),
            None => roots.push((root, vec![entry])),
        }
    }
    roots
        .iter()
        .map(|(root, keys)| json!([root, keys]))
        .collect()
}
