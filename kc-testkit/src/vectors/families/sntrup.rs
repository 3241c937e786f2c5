//! What can be compared of a result that sntrup761 encapsulated to: its randomness is not recorded.

use kc_core::kem::{PublicKey, Suite};
use kc_core::wire;
use serde_json::{Value, json};

use super::convert::{typed, unpack};
use crate::vectors::{CaseInput, InputError};

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
    if !encapsulates(case, "peer_public")? {
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
