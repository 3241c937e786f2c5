use kc_core::chain::TrustEntry;
use kc_core::keys::{Signer, VerifyingKey};
use kc_core::provision::{DerivedKey, Provisioner, derive_provisioner, derive_root};
use serde_json::{Map, Value, json};

use super::key_type;
use crate::vectors::{CaseInput, InputError, Outcome};

/// libsodium's limits, which ours come down to.
const LIMITS: [(&str, u64); 2] = [
    ("scrypt_opslimit", 524_288),
    ("scrypt_memlimit", 16_777_216),
];

pub(super) fn password_rot(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let Some(key_type) = key_type(case)? else {
        return Ok(Outcome::reject("no such type of signing keys"));
    };
    check_limits(case)?;
    Ok(
        match derive_root(case.fields.text("password")?.as_bytes(), key_type) {
            Ok(derived) => {
                let entry = TrustEntry::unrestricted(derived.key.verifying_key());
                let mut out = describe(&derived);
                out.insert(
                    "root_entry".to_owned(),
                    json!(hex::encode(entry.as_bytes())),
                );
                Outcome::Ok(Value::Object(out))
            }
            Err(error) => Outcome::reject(error),
        },
    )
}

pub(super) fn password_provisioner(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let Some(key_type) = key_type(case)? else {
        return Ok(Outcome::reject("no such type of signing keys"));
    };
    check_limits(case)?;
    let password = case.fields.text("password")?.as_bytes();
    let root = match VerifyingKey::from_bytes(&case.fields.bytes("root_public")?) {
        Ok(root) => root,
        Err(error) => return Ok(Outcome::reject(error)),
    };
    let mut out = Map::new();
    for provisioner in Provisioner::ALL {
        match derive_provisioner(password, provisioner, &root, key_type) {
            Ok(derived) => {
                let derived = Value::Object(describe(&derived));
                out.insert(provisioner.name().to_owned(), derived);
            }
            Err(error) => return Ok(Outcome::reject(error)),
        }
    }
    Ok(Outcome::Ok(Value::Object(out)))
}

fn describe(derived: &DerivedKey) -> Map<String, Value> {
    let public = derived.key.verifying_key().to_bytes();
    let fields = [
        ("salt", hex::encode(derived.salt)),
        ("seed", hex::encode(derived.seed.expose())),
        ("public", hex::encode(public)),
        ("secret", hex::encode(derived.key.expose_bytes().expose())),
    ];
    let named = fields.map(|(name, text)| (name.to_owned(), json!(text)));
    Map::from_iter(named)
}

fn check_limits(case: &CaseInput<'_>) -> Result<(), InputError> {
    for (name, limit) in LIMITS {
        if case.fields.integer(name)? != limit {
            return Err(case.fields.error(name, "is not the interactive limit"));
        }
    }
    Ok(())
}
