use kc_core::chain::{CertificateKey, CertificateKeys};
use kc_core::kem::{DecapsulationKey, PublicKey, SecretKey, Suite, sealed};
use kc_core::keys::{KeyError, KeyType, Signer, SigningKey, VerifyingKey};
use kc_core::wire::{self, Writer};
use serde_json::{Value, json};

use super::convert::{pack, public_key, typed_content, unpack};
use super::sntrup;
use crate::vectors::{CaseInput, Draws, Family, Fields, InputError, Op, Outcome, Typed};

pub(super) const FAMILY: Family = Family {
    name: "keys",
    ops: &[
        Op::new("parse", &["kind", "value typed"], parse),
        Op::new("get_pks", &["value typed"], get_pks),
        Op::new("sign", &["secret", "message"], sign),
        Op::new("sign_open", &["public", "signed"], sign_open),
        Op::new("complete_kem", &["secret", "peer_public"], complete_kem),
        Op::new("seal", &["public", "message"], seal),
        Op::new("seal_open", &["secret", "sealed"], seal_open),
        Op::new("equal", &["a.kind", "a.bytes", "b.kind", "b.bytes"], equal),
    ],
};

/// A key of any of the four kinds.
enum Key {
    SignPublic(VerifyingKey),
    SignSecret(SigningKey),
    KemPublic(PublicKey),
    KemSecret(SecretKey),
}

fn parse(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let kind = case.fields.text("kind")?;
    let key = match case.fields.typed("value")? {
        Typed::Int(version) => generate(kind, version, case.draws()),
        value => Key::read(kind, &unpack(&pack(&value)?)?),
    };
    match key.ok_or_else(|| case.fields.error("kind", "is no kind of key"))? {
        Ok(key) => key.describe().map(Outcome::Ok),
        Err(error) => Ok(Outcome::reject(error)),
    }
}

/// `None` for an unknown kind.
fn generate(kind: &str, version: i128, mut rng: Draws) -> Option<Result<Key, KeyError>> {
    let unknown = KeyError::Version(version);
    match kind {
        "sign_secret" => Some(match KeyType::from_version(version) {
            Some(key_type) => Ok(Key::SignSecret(SigningKey::generate(key_type, &mut rng))),
            None => Err(unknown),
        }),
        "kem_secret" => Some(match Suite::from_version(version) {
            Some(suite) => {
                let key = match suite {
                    Suite::Sntrup761 => DecapsulationKey::generate(suite, &mut rng.or_filler()),
                    _ => DecapsulationKey::generate(suite, &mut rng),
                };
                Ok(Key::KemSecret(SecretKey::Fresh(key)))
            }
            None => Err(unknown),
        }),
        _ => None,
    }
}

fn get_pks(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let packed = pack(&case.fields.typed("value")?)?;
    let keys = match CertificateKeys::from_value(&unpack(&packed)?) {
        Ok(keys) => keys,
        Err(error) => return Ok(Outcome::reject(error)),
    };
    let value = match keys {
        CertificateKeys::Single(key) => describe_certified(key)?,
        CertificateKeys::List(keys) => {
            let keys: Result<Vec<_>, _> = keys.into_iter().map(describe_certified).collect();
            Value::Array(keys?)
        }
    };
    Ok(Outcome::Ok(json!({"value": value})))
}

fn describe_certified(key: CertificateKey) -> Result<Value, InputError> {
    let kind = public_key(&key).0;
    let mut described = match key {
        CertificateKey::Signing(key) => Key::SignPublic(key),
        CertificateKey::Exchange(key) => Key::KemPublic(key),
    }
    .describe()?;
    if let Value::Object(fields) = &mut described {
        fields.insert("kind".to_owned(), json!(kind));
    }
    Ok(described)
}

fn sign(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let message = case.fields.bytes("message")?;
    let signed = SigningKey::from_bytes(&case.fields.bytes("secret")?).and_then(|key| {
        let signed = key.sign(&message, &mut case.draws())?;
        Ok((signed, key.verifying_key().to_bytes()))
    });
    Ok(match signed {
        Ok((signed, public)) => {
            Outcome::Ok(json!({"signed": hex::encode(signed), "public": hex::encode(public)}))
        }
        Err(error) => Outcome::reject(error),
    })
}

fn sign_open(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let signed = case.fields.bytes("signed")?;
    Ok(
        match VerifyingKey::from_bytes(&case.fields.bytes("public")?) {
            Ok(key) => match key.verify(&signed) {
                Ok(message) => Outcome::Ok(json!({"message": hex::encode(message)})),
                Err(error) => Outcome::reject(error),
            },
            Err(error) => Outcome::reject(error),
        },
    )
}

fn complete_kem(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let peer = match PublicKey::from_bytes(&case.fields.bytes("peer_public")?) {
        Ok(peer) => peer,
        Err(error) => return Ok(Outcome::reject(error)),
    };
    let secret = match SecretKey::from_bytes(&case.fields.bytes("secret")?) {
        Ok(secret) => secret,
        Err(error) => return Ok(Outcome::reject(error)),
    };
    let group = secret.public_key().suite().version();
    Ok(match secret.complete(&peer, &mut draws(case, &peer)) {
        Ok((shared, after)) => Outcome::Ok(json!({
            "shared": hex::encode(shared.expose()),
            "secret_after": hex::encode(after.expose_bytes().expose()),
            "public_after": hex::encode(after.public_key().to_bytes()),
            "esk_group": group,
        })),
        Err(error) => Outcome::reject(error),
    })
}

fn seal(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let message = case.fields.bytes("message")?;
    let public = match PublicKey::from_bytes(&case.fields.bytes("public")?) {
        Ok(public) => public,
        Err(error) => return Ok(Outcome::reject(error)),
    };
    let mut rng = draws(case, &public);
    let Some(recipient) = public.into_offer() else {
        return Ok(Outcome::reject("a reply is no key to seal to"));
    };
    Ok(match sealed::seal(&message, &recipient, &mut rng) {
        Ok(sealed) => Outcome::Ok(json!({"sealed": hex::encode(sealed)})),
        Err(error) => Outcome::reject(error),
    })
}

/// What sntrup761 draws is not recorded.
fn draws(case: &CaseInput<'_>, peer: &PublicKey) -> Draws {
    match sntrup::is_offer(peer) {
        true => case.draws().or_filler(),
        false => case.draws(),
    }
}

fn seal_open(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let sealed = case.fields.bytes("sealed")?;
    Ok(match SecretKey::from_bytes(&case.fields.bytes("secret")?) {
        Ok(SecretKey::Fresh(key)) => match sealed::open(&sealed, &key) {
            Ok(message) => Outcome::Ok(json!({"message": hex::encode(message.expose())})),
            Err(error) => Outcome::reject(error),
        },
        Ok(SecretKey::Completed(_)) => Outcome::reject("the key is used up"),
        Err(error) => Outcome::reject(error),
    })
}

fn equal(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let key = |name| -> Result<Key, InputError> {
        let fields: Fields<'_> = case.fields.object(name)?;
        let bytes = fields.bytes("bytes")?;
        let key = Key::read(fields.text("kind")?, &wire::Value::Bytes(&bytes));
        let key = key.ok_or_else(|| fields.error("kind", "is no kind of key"))?;
        key.map_err(|error| fields.error("bytes", &error.to_string()))
    };
    let (a, b) = (key("a")?, key("b")?);
    let same_type = (a.kind() == b.kind()).then(|| a.version() == b.version());
    let equal = match (&a, &b) {
        (Key::SignPublic(a), Key::SignPublic(b)) => a == b,
        (Key::KemPublic(a), Key::KemPublic(b)) => a == b,
        (Key::SignSecret(a), Key::SignSecret(b)) => a.expose_bytes() == b.expose_bytes(),
        (Key::KemSecret(a), Key::KemSecret(b)) => a.expose_bytes() == b.expose_bytes(),
        _ => false,
    };
    Ok(Outcome::Ok(json!({"equal": equal, "same_type": same_type})))
}

impl Key {
    /// Reads a key of this kind; `None` for an unknown kind.
    fn read(kind: &str, value: &wire::Value<'_>) -> Option<Result<Self, KeyError>> {
        match kind {
            "sign_public" => Some(VerifyingKey::from_value(value).map(Self::SignPublic)),
            "sign_secret" => Some(SigningKey::from_value(value).map(Self::SignSecret)),
            "kem_public" => Some(PublicKey::from_value(value).map(Self::KemPublic)),
            "kem_secret" => Some(SecretKey::from_value(value).map(Self::KemSecret)),
            _ => None,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::SignPublic(_) => "sign_public",
            Self::SignSecret(_) => "sign_secret",
            Self::KemPublic(_) => "kem_public",
            Self::KemSecret(_) => "kem_secret",
        }
    }

    fn version(&self) -> u8 {
        match self {
            Self::SignPublic(key) => key.key_type().version(),
            Self::SignSecret(key) => key.verifying_key().key_type().version(),
            Self::KemPublic(key) => key.version(),
            Self::KemSecret(key) => key.version(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::SignPublic(key) => key.to_bytes(),
            Self::SignSecret(key) => key.expose_bytes().expose().to_vec(),
            Self::KemPublic(key) => key.to_bytes(),
            Self::KemSecret(key) => key.expose_bytes().expose().to_vec(),
        }
    }

    fn public(&self) -> Option<Self> {
        match self {
            Self::SignSecret(key) => Some(Self::SignPublic(key.verifying_key().clone())),
            Self::KemSecret(key) => Some(Self::KemPublic(key.public_key())),
            Self::SignPublic(_) | Self::KemPublic(_) => None,
        }
    }

    /// MessagePack of an array that holds the key alone.
    fn in_array(&self) -> Result<Vec<u8>, InputError> {
        let mut writer = Writer::new();
        writer.array(1);
        match self {
            Self::SignPublic(key) => key.write_to(&mut writer),
            Self::KemPublic(key) => key.write_to(&mut writer),
            // Secret keys stand in no array of the protocol.
            Self::SignSecret(_) | Self::KemSecret(_) if self.version() == 1 => {
                writer.bytes(&self.bytes());
            }
            Self::SignSecret(_) | Self::KemSecret(_) => {
                writer.value(&unpack(&self.bytes())?);
            }
        }
        Ok(writer.into_vec())
    }

    fn describe(&self) -> Result<Value, InputError> {
        let bytes = self.bytes();
        let mut described = json!({
            "version": self.version(),
            "bytes": hex::encode(&bytes),
            "in_array_msgpack": hex::encode(self.in_array()?),
            "keys": typed_content(self.version(), &bytes)?.to_value(),
        });
        if let (Some(public), Value::Object(fields)) = (self.public(), &mut described) {
            fields.insert("public".to_owned(), public.describe()?);
        }
        Ok(described)
    }
}
