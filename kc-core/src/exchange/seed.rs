use std::convert::Infallible;
use std::sync::Arc;

use rand_core::utils::next_word_via_fill;
use rand_core::{CryptoRng, TryCryptoRng, TryRng};
use subtle::ConstantTimeEq;

use super::request::NONCE_LEN;
use crate::kem::{DecapsulationKey, Suite};
use crate::ratchet::{Context, KeyGenerator, MAX_OUTPUT_LEN, derive};
use crate::secret::Secret;
use crate::types::RootTopic;

/// Length of the random half of a random value, in bytes.
const DRAWN_LEN: usize = NONCE_LEN / 2;

/// A seed from which the random values and the ephemeral keys of requests are derived.
///
/// A node that must not lose a reply derives both from a stored seed. It can then open a reply that the broker has
/// acknowledged even if it crashed after its request: the reply contains the random value of the request, and the
/// ephemeral keys follow from the seed and the random value. Half of a random value is random; the other half is a
/// keyed hash of the first half and the root topic. The node therefore knows the replies to its requests without a list
/// of the requests. To others, a random value looks random.
#[derive(Debug, PartialEq, Eq)]
pub struct RequestSeed(Secret<32>);

impl From<Secret<32>> for RequestSeed {
    fn from(secret: Secret<32>) -> Self {
        Self(secret)
    }
}

impl RequestSeed {
    /// Draws a new seed of 32 bytes.
    #[must_use]
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        Self(Secret::random(rng))
    }

    /// Returns the 32 secret bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// Draws the random value of a request: one call of `fill_bytes` for 16 bytes.
    pub fn draw(&self, root_topic: &RootTopic, rng: &mut dyn CryptoRng) -> [u8; NONCE_LEN] {
        let mut random0 = [0; NONCE_LEN];
        let (drawn, proof) = random0.split_at_mut(DRAWN_LEN);
        rng.fill_bytes(drawn);
        proof.copy_from_slice(&self.proof(drawn, root_topic));
        random0
    }

    /// Returns whether this seed made a random value for a root topic. Costs one hash.
    #[must_use]
    pub fn made(&self, root_topic: &RootTopic, random0: &[u8]) -> bool {
        let parts = random0.split_at_checked(DRAWN_LEN);
        parts.is_some_and(|(drawn, proof)| self.proof(drawn, root_topic).ct_eq(proof).into())
    }

    /// Derives the ephemeral keys of the request with this random value: one for each suite.
    #[must_use]
    pub fn ephemerals(
        &self,
        root_topic: &RootTopic,
        random0: &[u8; NONCE_LEN],
        suites: &[Suite],
    ) -> Arc<[DecapsulationKey]> {
        let (salt, proof) = random0.split_at(DRAWN_LEN);
        let message = [proof, root_topic.as_str().as_bytes()].concat();
        let suites = suites.iter();
        let keys = suites.map(|suite| {
            let secret = Secret::fill_with(|secret| {
                self.derive(secret, salt, context_of(*suite), &message);
            });
            DecapsulationKey::generate(*suite, &mut Derived::from(secret))
        });
        keys.collect()
    }

    /// Returns a number that differs between the nodes that see the same random value.
    pub(super) fn jitter(&self, random0: &[u8]) -> u8 {
        let mut jitter = [0];
        let context = Context(*b"request jitter\0\0");
        self.derive(&mut jitter, &[0; DRAWN_LEN], context, random0);
        let [jitter] = jitter;
        jitter
    }

    fn proof(&self, drawn: &[u8], root_topic: &RootTopic) -> [u8; NONCE_LEN - DRAWN_LEN] {
        let mut proof = [0; NONCE_LEN - DRAWN_LEN];
        let context = Context(*b"request proof\0\0\0");
        self.derive(&mut proof, drawn, context, root_topic.as_str().as_bytes());
        proof
    }

    fn derive(&self, output: &mut [u8], drawn: &[u8], context: Context, message: &[u8]) {
        let mut salt = [0; DRAWN_LEN];
        salt.copy_from_slice(drawn);
        derive(output, self.expose(), &salt, context, message);
    }
}

fn context_of(suite: Suite) -> Context {
    Context(match suite {
        Suite::X25519 => *b"request x25519\0\0",
        Suite::Sntrup761 => *b"request sntrup\0\0",
        Suite::MlKem1024 => *b"request ml-kem\0\0",
    })
}

/// A generator whose output follows from a secret: keyed BLAKE2b in counter mode.
#[derive(Debug)]
struct Derived(KeyGenerator);

impl From<Secret<32>> for Derived {
    fn from(secret: Secret<32>) -> Self {
        Self(KeyGenerator::new(secret, Context(*b"request stream\0\0")))
    }
}

impl TryRng for Derived {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        next_word_via_fill(self)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        next_word_via_fill(self)
    }

    fn try_fill_bytes(&mut self, output: &mut [u8]) -> Result<(), Infallible> {
        for block in output.chunks_mut(MAX_OUTPUT_LEN) {
            // An error would need an empty block or 2^128 blocks.
            let _ = self.0.generate(block);
        }
        Ok(())
    }
}

impl TryCryptoRng for Derived {}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const SUITES: [Suite; 3] = [Suite::X25519, Suite::Sntrup761, Suite::MlKem1024];

    #[test]
    fn only_the_seed_that_made_a_random_value_knows_it() {
        let mut rng = StdRng::seed_from_u64(1);
        let [seed, other] = [(); 2].map(|()| RequestSeed::generate(&mut rng));
        let root: RootTopic = "a".into();
        let random0 = seed.draw(&root, &mut rng);
        assert!(seed.made(&root, &random0));
        assert!(!other.made(&root, &random0));
        assert!(!seed.made(&"b".into(), &random0));
        for place in 0..NONCE_LEN {
            let mut altered = random0;
            *altered.get_mut(place).unwrap() ^= 1;
            assert!(!seed.made(&root, &altered));
        }
        for len in [0, 1, DRAWN_LEN, NONCE_LEN - 1] {
            assert!(!seed.made(&root, random0.get(..len).unwrap()));
        }
        assert_ne!(random0, seed.draw(&root, &mut rng));
    }

    #[test]
    fn the_ephemeral_keys_of_a_request_can_be_derived_again() {
        let mut rng = StdRng::seed_from_u64(2);
        let seed = RequestSeed::generate(&mut rng);
        let root: RootTopic = "a".into();
        let public = |seed: &RequestSeed, root: &RootTopic, random0| -> Vec<_> {
            let keys = seed.ephemerals(root, random0, &SUITES);
            keys.iter()
                .map(|key| key.encapsulation_key().clone())
                .collect()
        };
        let random0 = seed.draw(&root, &mut rng);
        let keys = public(&seed, &root, &random0);
        let copy = RequestSeed::from(Secret::from_slice(seed.expose()).unwrap());
        assert_eq!(public(&copy, &root, &random0), keys);
        let others = [
            public(&seed, &root, &seed.draw(&root, &mut rng)),
            public(&seed, &"b".into(), &random0),
            public(&RequestSeed::generate(&mut rng), &root, &random0),
        ];
        for other in others {
            assert!(keys.iter().zip(&other).all(|(key, other)| key != other));
        }
        // A suite that is no longer in use does not change the keys of the others.
        let last = seed.ephemerals(&root, &random0, &[Suite::MlKem1024]);
        assert_eq!(Some(last[0].encapsulation_key()), keys.last());
    }
}
