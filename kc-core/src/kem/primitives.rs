//! The primitives of the suites: X25519, Streamlined NTRU Prime 761 and ML-KEM-1024.

/// X25519 (RFC 7748) with libsodium's rule: an all-zero result is an error.
pub(super) mod x25519 {
    use dryoc::classic::crypto_core::{crypto_scalarmult, crypto_scalarmult_base};

    use crate::kem::KemError;
    use crate::secret::Secret;

    pub(in crate::kem) const LEN: usize = 32;

    pub(in crate::kem) fn public_of(secret: &Secret<LEN>) -> [u8; LEN] {
        let mut public = [0; LEN];
        crypto_scalarmult_base(&mut public, secret.expose());
        public
    }

    pub(in crate::kem) fn agree(
        secret: &Secret<LEN>,
        public: &[u8; LEN],
    ) -> Result<Secret<LEN>, KemError> {
        let mut result = Ok(());
        let shared = Secret::fill_with(|shared| {
            result = crypto_scalarmult(shared, secret.expose(), public);
        });
        result.map(|()| shared).map_err(|_| KemError::LowOrder)
    }
}

/// Streamlined NTRU Prime 761, in the variant that OpenSSH uses.
pub(super) mod sntrup761 {
    use rand_core::CryptoRng;
    use sntrup::sntrup761::{Ciphertext, DecapsulationKey, EncapsulationKey, generate_key};

    use crate::kem::{KemError, Suite};
    use crate::secret::{Secret, SecretVec};

    pub(in crate::kem) const PUBLIC_LEN: usize = 1158;
    #[cfg(feature = "vectors")]
    pub(in crate::kem) const SECRET_LEN: usize = 1763;
    pub(in crate::kem) const CIPHERTEXT_LEN: usize = 1039;

    const INVALID: KemError = KemError::InvalidKey(Suite::Sntrup761);

    pub(in crate::kem) fn generate(mut rng: &mut dyn CryptoRng) -> (SecretVec, Vec<u8>) {
        let (public, secret) = generate_key(&mut rng);
        let secret = SecretVec::from(AsRef::<[u8]>::as_ref(&secret).to_vec());
        (secret, AsRef::<[u8]>::as_ref(&public).to_vec())
    }

    pub(in crate::kem) fn encapsulate(
        public: &[u8],
        mut rng: &mut dyn CryptoRng,
    ) -> Result<(Vec<u8>, Secret<32>), KemError> {
        let public = EncapsulationKey::try_from(public).map_err(|_| INVALID)?;
        let (ciphertext, shared) = public.encapsulate(&mut rng);
        let shared = Secret::from_slice(shared.as_ref()).ok_or(INVALID)?;
        Ok((AsRef::<[u8]>::as_ref(&ciphertext).to_vec(), shared))
    }

    pub(in crate::kem) fn decapsulate(
        secret: &[u8],
        ciphertext: &[u8],
    ) -> Result<Secret<32>, KemError> {
        let secret = DecapsulationKey::try_from(secret).map_err(|_| INVALID)?;
        let ciphertext = Ciphertext::try_from(ciphertext).map_err(|_| INVALID)?;
        Secret::from_slice(secret.decapsulate(&ciphertext).as_ref()).ok_or(INVALID)
    }
}

/// ML-KEM-1024 (FIPS 203), with the check of encapsulation keys that the standard requires.
pub(super) mod ml_kem {
    use libcrux_ml_kem::mlkem1024::{
        self, MlKem1024Ciphertext, MlKem1024PrivateKey, MlKem1024PublicKey,
    };
    use rand_core::CryptoRng;
    use zeroize::Zeroize;

    use crate::kem::{KemError, Suite};
    use crate::secret::{Secret, SecretVec};

    pub(in crate::kem) const PUBLIC_LEN: usize = 1568;
    pub(in crate::kem) const SECRET_LEN: usize = 3168;
    pub(in crate::kem) const CIPHERTEXT_LEN: usize = 1568;

    const INVALID: KemError = KemError::InvalidKey(Suite::MlKem1024);

    /// Draws 64 bytes (d, then z). Returns the secret key and the public key.
    pub(in crate::kem) fn generate(rng: &mut dyn CryptoRng) -> (SecretVec, Vec<u8>) {
        let mut seed = [0; 64];
        rng.fill_bytes(&mut seed);
        let pair = mlkem1024::generate_key_pair(seed);
        seed.zeroize();
        let (mut private, public) = pair.into_parts();
        let secret = SecretVec::from(private.as_ref().to_vec());
        private[..SECRET_LEN].zeroize();
        (secret, public.as_ref().to_vec())
    }

    /// Draws 32 bytes. Returns the ciphertext and the shared secret.
    pub(in crate::kem) fn encapsulate(
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

    pub(in crate::kem) fn decapsulate(
        secret: &[u8],
        ciphertext: &[u8],
    ) -> Result<Secret<32>, KemError> {
        let mut private = MlKem1024PrivateKey::try_from(secret).map_err(|_| INVALID)?;
        let ciphertext = MlKem1024Ciphertext::try_from(ciphertext).map_err(|_| INVALID)?;
        let mut shared = mlkem1024::decapsulate(&private, &ciphertext);
        private[..SECRET_LEN].zeroize();
        let secret = Secret::fill_with(|secret| *secret = shared);
        shared.zeroize();
        Ok(secret)
    }
}
