use std::fmt;

use scrypt::Params;

use super::{ProvisionError, Provisioner};
use crate::hash::sha256;
use crate::keys::{KeyType, SigningKey, VerifyingKey};
use crate::secret::{Secret, SecretVec};

/// libsodium's interactive limits for scrypt: N = 2^14, r = 8, p = 1.
const SCRYPT: (u8, u32, u32) = (14, 8, 1);

/// A signing key derived from a password.
pub struct DerivedKey {
    /// The key.
    pub key: SigningKey,
    /// The salt of its derivation, 32 bytes. The root's is a plain hash of its password, and as secret.
    pub salt: [u8; 32],
    /// What scrypt gave: 32 bytes for Ed25519; 48 more for SLH-DSA if the key is hybrid.
    pub seed: SecretVec,
}

impl fmt::Debug for DerivedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, .. } = self;
        f.debug_struct("DerivedKey")
            .field("key", key)
            .finish_non_exhaustive()
    }
}

/// The root of trust of a password.
///
/// # Errors
/// [`ProvisionError::Derivation`], which a working scrypt never gives.
pub fn derive_root(password: &[u8], key_type: KeyType) -> Result<DerivedKey, ProvisionError> {
    derive(password, sha256(&[b"Root of Trust", password]), key_type)
}

/// A provisioner of a provisioning password, under a root of trust.
///
/// # Errors
/// [`ProvisionError::Derivation`], which a working scrypt never gives.
pub fn derive_provisioner(
    password: &[u8],
    provisioner: Provisioner,
    root: &VerifyingKey,
    key_type: KeyType,
) -> Result<DerivedKey, ProvisionError> {
    let salt = sha256(&[provisioner.name().as_bytes(), &root.to_bytes()]);
    derive(password, salt, key_type)
}

fn derive(
    password: &[u8],
    salt: [u8; 32],
    key_type: KeyType,
) -> Result<DerivedKey, ProvisionError> {
    let len = match key_type {
        KeyType::Ed25519 => 32,
        KeyType::Hybrid => 80,
    };
    let seed = stretch(password, &salt, len).ok_or(ProvisionError::Derivation)?;
    let halves = seed.expose().split_at_checked(32);
    let (ed25519, slh_dsa) = halves.ok_or(ProvisionError::Derivation)?;
    let ed25519 = Secret::from_slice(ed25519).ok_or(ProvisionError::Derivation)?;
    let key = match key_type {
        KeyType::Ed25519 => SigningKey::from_ed25519_seed(&ed25519),
        KeyType::Hybrid => {
            let slh_dsa = Secret::from_slice(slh_dsa).ok_or(ProvisionError::Derivation)?;
            SigningKey::from_hybrid_seeds(&ed25519, &slh_dsa)
        }
    };
    Ok(DerivedKey { key, salt, seed })
}

fn stretch(password: &[u8], salt: &[u8], len: usize) -> Option<SecretVec> {
    let (log_n, r, p) = SCRYPT;
    let params = Params::new(log_n, r, p).ok()?;
    let mut seed = vec![0; len];
    scrypt::scrypt(password, salt, &params, &mut seed).ok()?;
    Some(seed.into())
}
