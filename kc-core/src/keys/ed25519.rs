//! Ed25519 (RFC 8032) with libsodium's rules: verification accepts the same signatures as libsodium.

use dryoc::classic::crypto_sign;

use super::{KeyError, SignatureError};
use crate::secret::Secret;
use crate::work;

pub(super) const PUBLIC_LEN: usize = 32;
pub(super) const SECRET_LEN: usize = 64;
pub(super) const SEED_LEN: usize = 32;
pub(super) const SIGNATURE_LEN: usize = 64;

/// Derives the secret key of 64 bytes (the seed, then the public key) from a seed.
pub(super) fn from_seed(seed: &Secret<SEED_LEN>) -> Secret<SECRET_LEN> {
    let mut public = [0; PUBLIC_LEN];
    Secret::fill_with(|secret| {
        crypto_sign::crypto_sign_seed_keypair_inplace(&mut public, secret, seed.expose());
    })
}

/// Reads a secret key of 64 bytes and checks that the public half belongs to the seed.
pub(super) fn parse(bytes: &[u8]) -> Result<Secret<SECRET_LEN>, KeyError> {
    let length = KeyError::Length {
        part: "Ed25519 secret key",
        expected: SECRET_LEN,
        found: bytes.len(),
    };
    let secret = Secret::from_slice(bytes).ok_or(length)?;
    let seed = bytes.get(..SEED_LEN).and_then(Secret::from_slice);
    match seed {
        Some(seed) if from_seed(&seed) == secret => Ok(secret),
        _ => Err(KeyError::Mismatch),
    }
}

pub(super) fn public_of(secret: &Secret<SECRET_LEN>) -> [u8; PUBLIC_LEN] {
    // An array of 64 bytes always has a last chunk of 32.
    secret.expose().last_chunk().copied().unwrap_or_default()
}

/// Returns `signature || message`, the combined form.
pub(super) fn sign(secret: &Secret<SECRET_LEN>, message: &[u8]) -> Vec<u8> {
    let mut signature = [0; SIGNATURE_LEN];
    // Always `Ok`: dryoc returns a `Result` only to match libsodium's API.
    let _ = crypto_sign::crypto_sign_detached(&mut signature, message, secret.expose());
    [&signature, message].concat()
}

pub(super) fn verify<'a>(
    public: &[u8; PUBLIC_LEN],
    signed: &'a [u8],
) -> Result<&'a [u8], SignatureError> {
    let (signature, message) = signed
        .split_first_chunk::<SIGNATURE_LEN>()
        .ok_or(SignatureError)?;
    work::count(|done| done.ed25519 += 1);
    crypto_sign::crypto_sign_verify_detached(signature, message, public)
        .map_err(|_| SignatureError)?;
    Ok(message)
}
