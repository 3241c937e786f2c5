//! The key file, and the values that are sealed under its opaque key.

use std::time::Duration;

use kc_core::keys::KeyType;
use kc_core::ratchet::{KeyIdForm, RetainedKeys};
use kc_core::store::{
    Decoded, KeyStore, MemoryKeyStore, NodeSecrets, StoreError, StoreErrorKind, opaque,
    retained_keys,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::draws::{Draws, Source};
use crate::operation::{Context, Invalid, Outcome, Stop, refuse};
use crate::values::{Hex, Typed, hex_list};

/// `CRYPTO_MAX_PGEN_AGE`.
const MAX_AGE: Duration = Duration::from_secs(604_800);

input! {
    struct Open { file: Option<Hex>, keytypes: Option<Vec<i64>> }
}

output! {
    struct Opened {
        file_after: Hex, public_keys: Vec<Hex>, node_identity: Hex, legacy_requests: Typed,
        usable_ephemeral_types: Vec<u8>, opaque_key: Hex,
    }
    struct FileAfter { file_after: Option<Hex> }
}

impl Open {
    pub(super) fn run(&self, case: &Context) -> Outcome<Opened, FileAfter> {
        let (secrets, file_after) = self.open(case).map_err(|why| {
            let file_after = self.file.clone();
            Stop::Refused(FileAfter { file_after }, why)
        })?;
        let opaque_key = secrets.opaque_key().expose().into();
        let none = || Err(StoreError::new(StoreErrorKind::Other, "draws"));
        let store = MemoryKeyStore::new(secrets, None, Box::new(none));
        let keys = store.verifying_keys();
        let KeyIdForm::Long { identity } = KeyIdForm::long(&keys) else {
            return Err(Invalid::new("a node identity is not long").into());
        };
        let suites = store.suites();
        Ok(Opened {
            file_after,
            public_keys: hex_list(keys.iter().map(|key| key.to_bytes())),
            node_identity: identity.into(),
            legacy_requests: Typed::Bool {
                v: store.legacy_requests(),
            },
            usable_ephemeral_types: suites.iter().map(|suite| suite.version()).collect(),
            opaque_key,
        })
    }
}

impl Open {
    /// Returns the secrets, and the file after they have been opened.
    fn open(&self, case: &Context) -> Result<(NodeSecrets, Hex), String> {
        let (mut secrets, mut changed) = match &self.file {
            None => (NodeSecrets::generate(&mut case.draws()), true),
            Some(bytes) => {
                let decoded = NodeSecrets::decode(bytes).map_err(|error| error.to_string())?;
                let Decoded {
                    secrets, outdated, ..
                } = decoded;
                (secrets, outdated)
            }
        };
        // Where the reference refuses, no draws are recorded; the file shows the drawn values.
        let draws = without_ephemerals(case.draws(), &secrets, self.file.is_none());
        let mut rng = draws.or_filler();
        for version in self.keytypes.iter().flatten() {
            let key_type = KeyType::from_version((*version).into());
            let key_type = key_type.ok_or_else(|| format!("no signing keys {version}"))?;
            changed |= secrets.ensure_key(key_type, &mut rng);
        }
        let file_after = match &self.file {
            Some(file) if !changed => file.clone(),
            _ => secrets.encode().expose().into(),
        };
        Ok((secrets, file_after))
    }
}

/// Returns the draws for signing keys. Before them the reference draws the opaque key of a new file, and an unused
/// ephemeral key for each key exchange.
fn without_ephemerals(draws: Draws, secrets: &NodeSecrets, created: bool) -> Draws {
    let side_effects = secrets.suites().count() + usize::from(created);
    draws
        .keep(|source, len, before| (source, len) != (Source::Sodium, 32) || before >= side_effects)
}

input! {
    struct Wrap { opaque_key: Hex, plain: Hex }
}

output! {
    struct Wrapped { wrapped: Hex }
}

impl Wrap {
    pub(super) fn run(&self, case: &Context) -> Outcome<Wrapped> {
        let key = self.opaque_key.secret().map_err(refuse)?;
        let wrapped = opaque::wrap(&self.plain, &key, &mut case.draws()).into();
        Ok(Wrapped { wrapped })
    }
}

input! {
    struct Unwrap { opaque_key: Hex, wrapped: Hex }
}

output! {
    struct Plain { plain: Hex }
}

impl Unwrap {
    pub(super) fn run(&self, _: &Context) -> Outcome<Plain> {
        let plain = unwrap(&self.wrapped, &self.opaque_key)?;
        Ok(Plain { plain })
    }
}

fn unwrap(wrapped: &[u8], opaque_key: &Hex) -> Outcome<Hex> {
    let key = opaque_key.secret().map_err(refuse)?;
    let plain = opaque::unwrap(wrapped, &key).ok_or_else(|| refuse("does not open"))?;
    Ok(plain.expose().into())
}

input! {
    struct OldKeys {
        opaque_key: Hex, wrapped: Hex,
        /// The wrapped value.
        plain: Option<Hex>,
        time: Option<f64>,
    }
}

output! {
    struct Kept {
        /// The retained keys by root topic.
        keys: Vec<(String, Vec<(Typed, KeptKey)>)>,
    }
    struct KeptKey { secret: Hex, birth: Typed }
}

impl OldKeys {
    pub(super) fn run(&self, case: &Context) -> Outcome<Kept> {
        let now = case.now(self.time)?;
        let plain = unwrap(&self.wrapped, &self.opaque_key)?;
        if self
            .plain
            .as_ref()
            .is_some_and(|recorded| plain != *recorded)
        {
            return Err(Invalid(format!("`wrapped` holds {}", hex::encode(&plain.0))).into());
        }
        let mut keys = retained_keys::decode(&plain.0.into()).map_err(refuse)?;
        keys.prune(now, MAX_AGE, None);
        Ok(Kept {
            keys: by_root(&keys),
        })
    }

    /// Replaces each birth by its number of seconds, because an integer and a float are the same time.
    pub(super) fn normalise(&self, _: &Context, body: &mut Value) -> Result<(), Invalid> {
        let roots = body.get_mut("keys").and_then(Value::as_array_mut);
        let roots = roots.into_iter().flatten();
        let keys = roots.filter_map(|root| root.get_mut(1)?.as_array_mut());
        let births = keys.flatten();
        for birth in births.filter_map(|key| key.get_mut(1)?.get_mut("birth")) {
            let secs = match Typed::deserialize(&*birth).map_err(Invalid::new)? {
                Typed::Float(float) => float.value(),
                int => int.as_int().map(|secs| secs as f64),
            };
            *birth = json!(secs.ok_or_else(|| Invalid::new("a birth is no time"))?);
        }
        Ok(())
    }
}

fn by_root(keys: &RetainedKeys) -> Vec<(String, Vec<(Typed, KeptKey)>)> {
    let mut roots: Vec<(String, Vec<_>)> = Vec::new();
    for key in keys.iter() {
        let kept = KeptKey {
            secret: key.secret.expose().into(),
            birth: Typed::float(key.birth.as_secs()),
        };
        let entry = (Typed::from(&key.id), kept);
        let root = key.root_topic.as_str();
        match roots.iter_mut().find(|(known, _)| known == root) {
            Some((_, entries)) => entries.push(entry),
            None => roots.push((root.to_owned(), vec![entry])),
        }
    }
    roots
}
