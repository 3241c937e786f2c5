//! SLH-DSA-SHAKE-128f (FIPS 205) in its pure form, with an empty context and hedged signatures.

mod lanes;

use fips205::slh_dsa_shake_128f::{KG, PrivateKey, PublicKey, SIG_LEN};
use fips205::traits::{KeyGen, SerDes, Signer, Verifier};
use kc_kernels::Engine;
use rand_core::CryptoRng;
use zeroize::Zeroize;

use super::{KeyError, SignatureError};
use crate::secret::Secret;
use crate::work;

pub(super) const PUBLIC_LEN: usize = 32;
pub(super) const SECRET_LEN: usize = 64;
pub(super) const SEED_LEN: usize = 48;
pub(super) const SIGNATURE_LEN: usize = SIG_LEN;
const HEDGE_LEN: usize = 16;

/// Derives the secret key of 64 bytes (secret seed, PRF key, public seed, root) from its three seeds.
pub(super) fn from_seed(seed: &Secret<SEED_LEN>) -> Secret<SECRET_LEN> {
    from_seed_with(Engine::detect(), seed)
}

fn from_seed_with(engine: Option<Engine>, seed: &Secret<SEED_LEN>) -> Secret<SECRET_LEN> {
    let mut parts = [[0; 16]; 3];
    for (part, chunk) in parts.iter_mut().zip(seed.expose().chunks_exact(16)) {
        part.copy_from_slice(chunk);
    }
    let [sk_seed, sk_prf, pk_seed] = &parts;
    let secret = Secret::fill_with(|secret: &mut [u8; SECRET_LEN]| match engine {
        Some(engine) => {
            let root = lanes::root(engine, sk_seed, pk_seed);
            let all = parts.iter().chain([&root]).flatten();
            secret
                .iter_mut()
                .zip(all)
                .for_each(|(to, from)| *to = *from);
        }
        None => {
            let (_, private) = KG::keygen_from_seed(sk_seed, sk_prf, pk_seed);
            let mut bytes = private.into_bytes();
            secret.copy_from_slice(&bytes);
            bytes.zeroize();
        }
    });
    parts.zeroize();
    secret
}

/// Reads a secret key of 64 bytes and checks that its root belongs to its seeds.
pub(super) fn parse(bytes: &[u8]) -> Result<Secret<SECRET_LEN>, KeyError> {
    let length = KeyError::Length {
        part: "SLH-DSA secret key",
        expected: SECRET_LEN,
        found: bytes.len(),
    };
    let secret = Secret::from_slice(bytes).ok_or(length)?;
    match bytes.get(..SEED_LEN).and_then(Secret::from_slice) {
        Some(seed) if from_seed(&seed) == secret => Ok(secret),
        _ => Err(KeyError::Mismatch),
    }
}

pub(super) fn public_of(secret: &Secret<SECRET_LEN>) -> [u8; PUBLIC_LEN] {
    // An array of 64 bytes always has a last chunk of 32.
    secret.expose().last_chunk().copied().unwrap_or_default()
}

/// Returns `signature || message`. Draws 16 bytes to hedge the signature.
pub(super) fn sign(
    secret: &Secret<SECRET_LEN>,
    message: &[u8],
    rng: &mut dyn CryptoRng,
) -> Result<Vec<u8>, KeyError> {
    let mut hedge = [0; HEDGE_LEN];
    rng.fill_bytes(&mut hedge);
    let mut signed = sign_with(Engine::detect(), secret, message, hedge)?;
    signed.extend_from_slice(message);
    Ok(signed)
}

fn sign_with(
    engine: Option<Engine>,
    secret: &Secret<SECRET_LEN>,
    message: &[u8],
    hedge: [u8; HEDGE_LEN],
) -> Result<Vec<u8>, KeyError> {
    if let Some(engine) = engine {
        return Ok(lanes::sign(engine, secret.expose(), message, &hedge));
    }
    let private = PrivateKey::try_from_bytes(*secret.expose()).map_err(|_| KeyError::Mismatch)?;
    let signature = private.try_sign_with_rng(&mut Hedge(hedge), message, &[], true);
    Ok(signature.map_err(|_| KeyError::Mismatch)?.to_vec())
}

pub(super) fn verify<'a>(
    public: &[u8; PUBLIC_LEN],
    signed: &'a [u8],
) -> Result<&'a [u8], SignatureError> {
    let (signature, message) = signed
        .split_first_chunk::<SIG_LEN>()
        .ok_or(SignatureError)?;
    work::count(|done| done.slh_dsa += 1);
    let verifies = verify_with(Engine::detect(), public, message, signature);
    verifies.then_some(message).ok_or(SignatureError)
}

fn verify_with(
    engine: Option<Engine>,
    public: &[u8; PUBLIC_LEN],
    message: &[u8],
    signature: &[u8; SIGNATURE_LEN],
) -> bool {
    match engine {
        Some(engine) => lanes::verify(engine, public, message, signature),
        None => PublicKey::try_from_bytes(*public)
            .is_ok_and(|public| public.verify(message, signature, &[])),
    }
}

/// A random number generator of `rand_core` 0.6, the version that `fips205` requires. It yields the bytes that were
/// drawn to hedge the signature.
struct Hedge([u8; HEDGE_LEN]);

impl rand_core_06::CryptoRng for Hedge {}

impl rand_core_06::RngCore for Hedge {
    fn next_u32(&mut self) -> u32 {
        rand_core_06::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core_06::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        for (to, from) in out.iter_mut().zip(self.0.iter().cycle()) {
            *to = *from;
        }
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core_06::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

/// The SLH-DSA half of a version-4 key, for a keystore that holds the Ed25519 half elsewhere, such as on a token.
///
/// The token makes `signed = ed25519_signature || message`. The combined version-4 signature is
/// `slh_dsa_signature || signed` (protocol §5), and [`complete`](Self::complete) makes it. A token
/// that holds both halves makes the combined signature itself.
pub struct SlhDsaHalf(Secret<{ SECRET_LEN }>);

impl SlhDsaHalf {
    /// Creates the half from a seed of 48 bytes: secret seed, PRF key, public seed.
    #[must_use]
    pub fn from_seed(seed: &Secret<48>) -> Self {
        Self(from_seed(seed))
    }

    pub(super) fn new(secret: Secret<{ SECRET_LEN }>) -> Self {
        Self(secret)
    }

    /// Returns the public key.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        public_of(&self.0)
    }

    /// Returns the seed of 48 bytes: secret seed, PRF key, public seed.
    #[must_use]
    pub fn expose_seed(&self) -> Secret<48> {
        Secret::fill_with(|seed| {
            for (to, from) in seed.iter_mut().zip(self.0.expose()) {
                *to = *from;
            }
        })
    }

    /// Returns the private key of FIPS 205: 64 bytes, the three seeds followed by the root. Tokens import this
    /// form.
    #[must_use]
    pub fn expose_private_key(&self) -> &Secret<64> {
        &self.0
    }

    /// Puts the SLH-DSA signature in front of a message that Ed25519 has already signed.
    ///
    /// # Errors
    /// Returns [`KeyError::Mismatch`] if the bytes of the secret key are not a valid key.
    pub fn complete(&self, signed: &[u8], rng: &mut dyn CryptoRng) -> Result<Vec<u8>, KeyError> {
        sign(&self.0, signed, rng)
    }
}

impl std::fmt::Debug for SlhDsaHalf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SlhDsaHalf(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(6))]

        #[test]
        fn all_engines_sign_and_verify_as_fips205_does(
            seed: [u8; 32],
            prf: [u8; 16],
            message in prop::collection::vec(any::<u8>(), 0..500),
            hedge: [u8; HEDGE_LEN],
            places in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 12),
        ) {
            let seed = Secret::fill_with(|secret: &mut [u8; SEED_LEN]| {
                secret[..32].copy_from_slice(&seed);
                secret[32..].copy_from_slice(&prf);
            });
            let secret = from_seed_with(None, &seed);
            let public = public_of(&secret);
            let signature = sign_with(None, &secret, &message, hedge).unwrap();
            let signature: [u8; SIGNATURE_LEN] = signature.try_into().unwrap();
            for engine in Engine::all() {
                let engine = Some(engine);
                prop_assert!(from_seed_with(engine, &seed) == secret);
                let ours = sign_with(engine, &secret, &message, hedge).unwrap();
                prop_assert!(ours == signature, "{:?}", engine);
                prop_assert!(verify_with(engine, &public, &message, &signature));
                for (place, bit) in &places {
                    let mut altered = signature;
                    altered[place.index(SIGNATURE_LEN)] ^= 1 << bit;
                    prop_assert!(!verify_with(engine, &public, &message, &altered));
                }
                let mut other = public;
                other[places[0].0.index(PUBLIC_LEN)] ^= 1;
                prop_assert!(!verify_with(engine, &other, &message, &signature));
                let longer = [message.as_slice(), b"x"].concat();
                prop_assert!(!verify_with(engine, &public, &longer, &signature));
            }
        }
    }
}
