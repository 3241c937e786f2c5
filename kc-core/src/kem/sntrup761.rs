//! Streamlined NTRU Prime 761, as OpenSSH uses it.

use rand_core::CryptoRng;
use sntrup::sntrup761::{Ciphertext, DecapsulationKey, EncapsulationKey, generate_key};

use super::{KemError, Suite};
use crate::secret::{Secret, SecretVec};

pub(super) const PUBLIC_LEN: usize = 1158;
pub(super) const SECRET_LEN: usize = 1763;
pub(super) const CIPHERTEXT_LEN: usize = 1039;

const INVALID: KemError = KemError::InvalidKey(Suite::Sntrup761);

pub(super) fn generate(mut rng: &mut dyn CryptoRng) -> (SecretVec, Vec<u8>) {
    let (public, secret) = generate_key(&mut rng);
    let secret = SecretVec::from(AsRef::<[u8]>::as_ref(&secret).to_vec());
    (secret, AsRef::<[u8]>::as_ref(&public).to_vec())
}

pub(super) fn encapsulate(
    public: &[u8],
    mut rng: &mut dyn CryptoRng,
) -> Result<(Vec<u8>, Secret<32>), KemError> {
    let public = EncapsulationKey::try_from(public).map_err(|_| INVALID)?;
    let (ciphertext, shared) = public.encapsulate(&mut rng);
    let shared = Secret::from_slice(shared.as_ref()).ok_or(INVALID)?;
    Ok((AsRef::<[u8]>::as_ref(&ciphertext).to_vec(), shared))
}

pub(super) fn decapsulate(secret: &[u8], ciphertext: &[u8]) -> Result<Secret<32>, KemError> {
    let secret = DecapsulationKey::try_from(secret).map_err(|_| INVALID)?;
    let ciphertext = Ciphertext::try_from(ciphertext).map_err(|_| INVALID)?;
    Secret::from_slice(secret.decapsulate(&ciphertext).as_ref()).ok_or(INVALID)
}
