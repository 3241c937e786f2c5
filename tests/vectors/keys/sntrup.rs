//! The comparable parts of a result of sntrup761: its randomness is not recorded.

use kc_core::kem::{PublicKey, SecretKey, Suite, sealed};
use kc_core::wire;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Completed, Described, Sealed};
use crate::draws::Draws;
use crate::operation::{Context, Invalid, write};
use crate::values::{Typed, unpack};

/// The length of the X25519 part of a key, and of a shared secret, in bytes.
const CLASSICAL_LEN: usize = 32;

fn is_offer(peer: &PublicKey) -> bool {
    matches!(peer, PublicKey::Offer(offer) if offer.suite() == Suite::Sntrup761)
}

/// Returns whether these bytes are a public key of sntrup761.
pub(super) fn encapsulates_to(public: &[u8]) -> bool {
    PublicKey::from_bytes(public).is_ok_and(|public| is_offer(&public))
}

/// Returns the draws for a use of the peer's key.
pub(super) fn draws(case: &Context, peer: &PublicKey) -> Draws {
    match is_offer(peer) {
        true => case.draws().or_filler(),
        false => case.draws(),
    }
}

/// Reads a body; `None` for a refusal.
fn read<T: for<'d> Deserialize<'d>>(body: &Value) -> Option<T> {
    T::deserialize(body).ok()
}

/// Replaces the result by the classical half of the shared secret, all keys except the ciphertext, and whether both
/// keys have the same ciphertext.
pub(super) fn normalise_completed(body: &mut Value) -> Result<(), Invalid> {
    let Some(completed) = read::<Completed>(body) else {
        return Ok(());
    };
    let (secret, in_secret) = without_ciphertext(&completed.secret_after)?;
    let (public, in_public) = without_ciphertext(&completed.public_after)?;
    *body = json!({
        "shared": {"classical": completed.shared.get(..CLASSICAL_LEN), "len": completed.shared.len()},
        "secret_after": secret,
        "public_after": public,
        "ciphertexts_agree": in_secret == in_public,
        "esk_group": completed.esk_group,
    });
    Ok(())
}

/// Replaces the result by the lengths, the classical half of the ephemeral key, and the nonce.
pub(super) fn normalise_sealed(body: &mut Value) -> Result<(), Invalid> {
    let Some(Sealed { sealed }) = read(body) else {
        return Ok(());
    };
    let malformed = || Invalid::new("`sealed` is not laid out as the README says");
    let (lengths, rest) = sealed.split_first_chunk::<4>().ok_or_else(malformed)?;
    let [e0, e1, n0, n1] = *lengths;
    let length = |high, low| usize::from(u16::from_be_bytes([high, low]));
    let (ephemeral, rest) = rest
        .split_at_checked(length(e0, e1))
        .ok_or_else(malformed)?;
    let (nonce, sealed_box) = rest
        .split_at_checked(length(n0, n1))
        .ok_or_else(malformed)?;
    *body = json!({"sealed": {
        "lengths": lengths,
        "ephemeral": without_ciphertext(ephemeral)?.0,
        "nonce": nonce,
        "box_len": sealed_box.len(),
    }});
    Ok(())
}

/// Replaces the result by the classical part, the lengths of the other parts, and whether the secret key opens values
/// that are sealed to the public key.
pub(super) fn normalise_generated(case: &Context, body: &mut Value) -> Result<(), Invalid> {
    let Some(key) = read::<Described>(body) else {
        return Ok(());
    };
    let public = key
        .public
        .as_deref()
        .ok_or_else(|| Invalid::new("`public` is missing"))?;
    let offer = PublicKey::from_bytes(&public.bytes)
        .ok()
        .and_then(PublicKey::into_offer);
    let (Some(offer), Ok(SecretKey::Fresh(secret))) = (offer, SecretKey::from_bytes(&key.bytes))
    else {
        return Err(Invalid::new("no key to be generated"));
    };
    let sealed = sealed::seal(b"to oneself", &offer, &mut case.draws().or_filler());
    let opens = sealed.is_ok_and(|sealed| sealed::open(&sealed, &secret).is_ok());
    *body = json!({
        "secret": by_lengths(&key)?,
        "public": by_lengths(public)?,
        "opens": opens,
    });
    Ok(())
}

/// Returns the forms of a described key, which must all be of one key, with lengths in place of the parts that
/// sntrup761 draws.
fn by_lengths(key: &Described) -> Result<Value, Invalid> {
    let (alone, in_array) = (
        Typed::from(&unpack(&key.bytes)?),
        unpack(&key.in_array_msgpack)?,
    );
    let keys = Typed::list([Typed::int(key.version.into()), key.keys.clone()]);
    if alone != keys || Typed::list([alone.clone()]) != Typed::from(&in_array) {
        return Err(Invalid::new("a key has forms of two keys"));
    }
    write(&classical_with_lengths(alone))
}

fn classical_with_lengths(value: Typed) -> Typed {
    match value {
        Typed::Bytes { hex } if hex.len() > CLASSICAL_LEN => Typed::int(hex.len() as i128),
        Typed::List { v } => Typed::list(v.into_iter().map(classical_with_lengths)),
        other => other,
    }
}

/// Returns a key `[version, [x25519, ...]]` with the length of its ciphertext (the last element at any depth) in place
/// of the ciphertext; and the ciphertext.
fn without_ciphertext(key: &[u8]) -> Result<(Value, Vec<u8>), Invalid> {
    let mut key = unpack(key)?;
    let mut last = &mut key;
    while let wire::Value::Array(elements) = last {
        last = elements
            .last_mut()
            .ok_or_else(|| Invalid::new("a key is empty"))?;
    }
    let wire::Value::Bytes(ciphertext) = *last else {
        return Err(Invalid::new("a key does not end in a ciphertext"));
    };
    *last = wire::Value::Int(ciphertext.len() as i128);
    let ciphertext = ciphertext.to_vec();
    Ok((write(&Typed::from(&key))?, ciphertext))
}
