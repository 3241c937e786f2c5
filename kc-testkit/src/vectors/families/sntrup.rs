//! What can be compared of a result that sntrup761 encapsulated to: its randomness is not recorded.

use kc_core::kem::{PublicKey, SecretKey, Suite, sealed};
use kc_core::wire;
use serde_json::{Value, json};

use super::convert::{typed, unpack};
use crate::vectors::{CaseInput, InputError, Typed};

/// Length in bytes of the X25519 part of a key.
const CLASSICAL_LEN: usize = 32;

/// Whether `peer` is a key to encapsulate to.
pub(super) fn is_offer(peer: &PublicKey) -> bool {
    matches!(peer, PublicKey::Offer(offer) if offer.suite() == Suite::Sntrup761)
}

/// Of a completed exchange: the classical half of the shared secret, all keys but the ciphertext, the same
/// ciphertext in both keys.
pub(in crate::vectors) fn normalise_completed(
    case: &CaseInput<'_>,
    out: &mut Value,
) -> Result<(), InputError> {
    if !encapsulates(case, "peer_public")? || out.get("shared").is_none() {
        return Ok(());
    }
    let shared = bytes(out, "shared")?;
    let secret_after = bytes(out, "secret_after")?;
    let public_after = bytes(out, "public_after")?;
    let (secret, in_secret) = without_ciphertext(&unpack(&secret_after)?)?;
    let (public, in_public) = without_ciphertext(&unpack(&public_after)?)?;
    if let Value::Object(fields) = out {
        let classical = shared.get(..32).map(hex::encode);
        let shared = json!({"classical": classical, "len": shared.len()});
        fields.insert("shared".to_owned(), shared);
        fields.insert("secret_after".to_owned(), secret);
        fields.insert("public_after".to_owned(), public);
        let agree = in_secret == in_public;
        fields.insert("ciphertexts_agree".to_owned(), json!(agree));
    }
    Ok(())
}

/// Of a sealed value: the lengths, the classical half of the ephemeral key, the nonce.
pub(in crate::vectors) fn normalise_sealed(
    case: &CaseInput<'_>,
    out: &mut Value,
) -> Result<(), InputError> {
    if !encapsulates(case, "public")? {
        return Ok(());
    }
    let sealed = bytes(out, "sealed")?;
    let malformed = || InputError::new("sealed", "is not laid out as the README says");
    let (lengths, rest) = sealed.split_first_chunk::<4>().ok_or_else(malformed)?;
    let [e0, e1, n0, n1] = *lengths;
    let length = |high, low| usize::from(u16::from_be_bytes([high, low]));
    let (ephemeral, rest) = rest
        .split_at_checked(length(e0, e1))
        .ok_or_else(malformed)?;
    let (nonce, sealed_box) = rest
        .split_at_checked(length(n0, n1))
        .ok_or_else(malformed)?;
    let (ephemeral, _) = without_ciphertext(&unpack(ephemeral)?)?;
    let normalised = json!({
        "lengths": hex::encode(lengths),
        "ephemeral": ephemeral,
        "nonce": hex::encode(nonce),
        "box_len": sealed_box.len(),
    });
    if let Value::Object(fields) = out {
        fields.insert("sealed".to_owned(), normalised);
    }
    Ok(())
}

/// Of a generated key: the classical part, the lengths of the rest, and whether the secret key opens what is sealed
/// to the public one.
pub(in crate::vectors) fn normalise_generated(
    case: &CaseInput<'_>,
    out: &mut Value,
) -> Result<(), InputError> {
    let version = i128::from(Suite::Sntrup761.version());
    if case.fields.typed("value")? != Typed::Int(version) {
        return Ok(());
    }
    let public = out.get_mut("public");
    let public = public.ok_or_else(|| InputError::new("public", "is missing"))?;
    let offer = PublicKey::from_bytes(&bytes(public, "bytes")?);
    let offer = offer.ok().and_then(PublicKey::into_offer);
    described_by_lengths(public)?;
    let secret = SecretKey::from_bytes(&bytes(out, "bytes")?);
    let (Some(offer), Ok(SecretKey::Fresh(secret))) = (offer, secret) else {
        return Err(InputError::new("bytes", "is no key to be generated"));
    };
    let sealed = sealed::seal(b"to oneself", &offer, &mut case.draws().or_filler());
    let opened = sealed.map(|sealed| sealed::open(&sealed, &secret).is_ok());
    described_by_lengths(out)?;
    if let Value::Object(fields) = out {
        fields.insert("opens".to_owned(), json!(opened.unwrap_or(false)));
    }
    Ok(())
}

/// The forms of a described key, which must be of one key, with lengths in place of what sntrup761 draws.
fn described_by_lengths(key: &mut Value) -> Result<(), InputError> {
    let (alone, in_array) = (bytes(key, "bytes")?, bytes(key, "in_array_msgpack")?);
    let forms = (unpack(&alone)?, unpack(&in_array)?);
    let keys = key.get("keys").and_then(Typed::from_value);
    let (wire::Value::Array(parts), wire::Value::Array(only)) = &forms else {
        return Err(InputError::new("a key", "is no array"));
    };
    if only.as_slice() != std::slice::from_ref(&forms.0) || keys != parts.last().map(typed) {
        return Err(InputError::new("a key", "has forms of two keys"));
    }
    let shape = classical_with_lengths(typed(&forms.0)).to_value();
    if let Value::Object(fields) = key {
        fields.insert("bytes".to_owned(), shape);
        fields.remove("in_array_msgpack");
        fields.remove("keys");
    }
    Ok(())
}

fn classical_with_lengths(value: Typed) -> Typed {
    match value {
        Typed::Bytes(bytes) if bytes.len() > CLASSICAL_LEN => {
            Typed::Int(i128::try_from(bytes.len()).unwrap_or(i128::MAX))
        }
        Typed::List(parts) => Typed::List(parts.into_iter().map(classical_with_lengths).collect()),
        other => other,
    }
}

fn encapsulates(case: &CaseInput<'_>, public: &str) -> Result<bool, InputError> {
    let public = PublicKey::from_bytes(&case.fields.bytes(public)?);
    Ok(public.is_ok_and(|public| is_offer(&public)))
}

fn bytes(out: &Value, name: &str) -> Result<Vec<u8>, InputError> {
    let text = out.get(name).and_then(Value::as_str);
    text.and_then(|text| hex::decode(text).ok())
        .ok_or_else(|| InputError::new(name, "is not hex"))
}

/// A key `[version, [x25519, …]]` with the length of its ciphertext, the last element at whatever depth, in place of
/// the ciphertext; and the ciphertext.
fn without_ciphertext(key: &wire::Value<'_>) -> Result<(Value, Vec<u8>), InputError> {
    let mut key = key.clone();
    let mut last = &mut key;
    while let wire::Value::Array(elements) = last {
        let malformed = || InputError::new("a key", "is empty");
        last = elements.last_mut().ok_or_else(malformed)?;
    }
    let ciphertext = match last {
        wire::Value::Bytes(bytes) => bytes.to_vec(),
        _ => return Err(InputError::new("a key", "does not end in a ciphertext")),
    };
    *last = wire::Value::Int(i128::try_from(ciphertext.len()).unwrap_or(i128::MAX));
    Ok((typed(&key).to_value(), ciphertext))
}
