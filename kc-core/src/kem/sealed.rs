//! Values sealed to a recipient's public key (protocol §13), such as the first secret of a ratchet for escrow.

use dryoc::classic::crypto_box::crypto_box_seal_open;
use rand_core::CryptoRng;
use thiserror::Error;

use super::{DecapsulationKey, EncapsulationKey, KemError, PublicKey, Suite};
use crate::secret::{Secret, SecretVec};
use crate::symmetric::{self, NONCE_LEN, sha256};

/// The number of bytes that libsodium's sealed box adds to a message: 32 for an ephemeral key, and 16 for a tag.
const LIBSODIUM_OVERHEAD: usize = 48;

/// A reason why a sealed value does not open.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SealedError {
    /// The value does not have the layout that the protocol requires.
    #[error("malformed sealed value")]
    Malformed,
    /// The ephemeral key in front of the box is malformed, is of another suite than the recipient's key, or is a point
    /// of low order.
    #[error(transparent)]
    Exchange(#[from] KemError),
    /// The value was sealed to another key, or altered.
    #[error(
        "the sealed value does not open with this key: it was altered, or sealed to another key"
    )]
    Unauthentic,
}

/// Seals `message` to `recipient`.
///
/// The result consists of the lengths of the ephemeral key and of the nonce (2 bytes each, big-endian), the ephemeral
/// key, the nonce (24 bytes), and the sealed bytes. The function takes from `rng`, in this order: the X25519 secret,
/// the nonce, and the random bytes of the KEM, if the suite has one.
///
/// # Errors
/// Returns a [`KemError`] if `recipient` is invalid.
pub fn seal(
    message: &[u8],
    recipient: &EncapsulationKey,
    rng: &mut dyn CryptoRng,
) -> Result<Vec<u8>, KemError> {
    let x25519 = Secret::random(rng);
    let mut nonce = [0; NONCE_LEN];
    rng.fill_bytes(&mut nonce);
    let (reply, shared) = recipient.encapsulate_with(&x25519, rng)?;
    let ephemeral = PublicKey::from(reply).to_bytes();

    let header = [length(ephemeral.len()), length(NONCE_LEN)].concat();
    let key = box_key(&header, recipient, &ephemeral, &nonce, &shared);
    let sealed = symmetric::seal(message, &nonce, key.expose());
    Ok([header.as_slice(), &ephemeral, &nonce, &sealed].concat())
}

/// Opens a sealed value. If `key` is of version 1 (X25519), also opens values that libsodium's `crypto_box_seal` made.
///
/// # Errors
/// Returns [`SealedError::Malformed`] if the value does not have the required layout, [`SealedError::Exchange`] if
/// its ephemeral key cannot be used, and [`SealedError::Unauthentic`] if it was sealed to another key or altered.
pub fn open(sealed: &[u8], key: &DecapsulationKey) -> Result<SecretVec, SealedError> {
    open_own(sealed, key).or_else(|error| match key.encapsulation_key().suite() {
        Suite::X25519 => open_libsodium(sealed, key).ok_or(error),
        _ => Err(error),
    })
}

fn open_own(sealed: &[u8], key: &DecapsulationKey) -> Result<SecretVec, SealedError> {
    let (header, rest) = sealed.split_at_checked(4).ok_or(SealedError::Malformed)?;
    let [e0, e1, n0, n1] = header else {
        return Err(SealedError::Malformed);
    };
    let (ephemeral, rest) = rest
        .split_at_checked(u16::from_be_bytes([*e0, *e1]).into())
        .ok_or(SealedError::Malformed)?;
    if usize::from(u16::from_be_bytes([*n0, *n1])) != NONCE_LEN {
        return Err(SealedError::Malformed);
    }
    let (nonce, sealed) = rest
        .split_first_chunk::<NONCE_LEN>()
        .ok_or(SealedError::Malformed)?;

    let reply = PublicKey::from_bytes(ephemeral)
        .map_err(KemError::from)?
        .into_reply()
        .ok_or(SealedError::Malformed)?;
    let shared = key.decapsulate(&reply)?;
    let box_key = box_key(header, key.encapsulation_key(), ephemeral, nonce, &shared);
    symmetric::open(sealed, nonce, box_key.expose()).ok_or(SealedError::Unauthentic)
}

fn open_libsodium(sealed: &[u8], key: &DecapsulationKey) -> Option<SecretVec> {
    let mut message = vec![0; sealed.len().checked_sub(LIBSODIUM_OVERHEAD)?];
    crypto_box_seal_open(
        &mut message,
        sealed,
        key.x25519_public(),
        key.x25519_secret().expose(),
    )
    .ok()?;
    Some(message.into())
}

fn box_key(
    header: &[u8],
    recipient: &EncapsulationKey,
    ephemeral: &[u8],
    nonce: &[u8; NONCE_LEN],
    shared: &SecretVec,
) -> Secret<32> {
    let recipient = PublicKey::from(recipient.clone()).to_bytes();
    let parts = [header, &recipient, ephemeral, nonce, shared.expose()];
    Secret::fill_with(|key| *key = sha256(&parts))
}

fn length(len: usize) -> [u8; 2] {
    // The longest ephemeral key has 1608 bytes.
    u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes()
}
