//! ML-KEM-1024 (FIPS 203), with the input check on encapsulation keys that the standard asks for.

use libcrux_ml_kem::mlkem1024::{
    self, MlKem1024Ciphertext, MlKem1024PrivateKey, MlKem1024PublicKey,
};
use rand_core::CryptoRng;
use zeroize::Zeroize;

use super::{KemError, Suite};
use crate::secret::{Secret, SecretVec};

pub(super) const PUBLIC_LEN: usize = 1568;
pub(super) const SECRET_LEN: usize = 3168;
pub(super) const CIPHERTEXT_LEN: usize = 1568;

const INVALID: KemError = KemError::InvalidKey(Suite::MlKem1024);

/// Draws 64 bytes (d, then z) and gives the secret and the public key.
pub(super) fn generate(rng: &mut dyn CryptoRng) -> (SecretVec, Vec<u8>) {
    let mut seed = [0; 64];
    rng.fill_bytes(&mut seed);
    let pair = mlkem1024::generate_key_pair(seed);
    seed.zeroize();
    let (mut private, public) = pair.into_parts();
    let secret = SecretVec::from(private.as_ref().to_vec());
    private[..SECRET_LEN].zeroize();
    (secret, public.as_ref().to_vec())
}

/// Draws 32 bytes and gives the ciphertext and the shared secret.
pub(super) fn encapsulate(
    public: &[u8],
    rng: &mut dyn CryptoRng,
) -> Result<(Vec<u8>, Secret<32>), KemError> {
    let public = MlKem1024PublicKey::try_from(public).map_err(|_| INVALID)?;
    if !mlkem1024::validate_public_key(&public) {
        return Err(INVALID);
    }
    let mut message = [0; 32];
    rng.fill_bytes(&mut message);
    let (ciphertext, mut shared) = mlkem1024::encapsulate(&public, message);
    message.zeroize();
    let secret = Secret::fill_with(|secret| *secret = shared);
    shared.zeroize();
    Ok((ciphertext.as_ref().to_vec(), secret))
}

pub(super) fn decapsulate(secret: &[u8], ciphertext: &[u8]) -> Result<Secret<32>, KemError> {
    let mut private = MlKem1024PrivateKey::try_from(secret).map_err(|_| INVALID)?;
    let ciphertext = MlKem1024Ciphertext::try_from(ciphertext).map_err(|_| INVALID)?;
    let mut shared = mlkem1024::decapsulate(&private, &ciphertext);
    private[..SECRET_LEN].zeroize();
    let secret = Secret::fill_with(|secret| *secret = shared);
    shared.zeroize();
    Ok(secret)
}
