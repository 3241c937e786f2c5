//! The secrets of a node that was in files, so that tests can search for them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use kc::core::ratchet::Seed;
use kc::core::store::NodeSecrets;
use memchr::memmem;

use crate::world::World;

/// The number of known steps of the ratchet.
const STEPS: usize = 200;

pub(crate) struct Secrets {
    /// The Ed25519 seed of the signing key.
    pub(crate) ed25519: Vec<u8>,
    /// The secret part of the SLH-DSA seed, if the key has one.
    pub(crate) slh_dsa: Option<Vec<u8>>,
    /// The secrets of the ratchet, from the next step on.
    pub(crate) steps: Vec<Vec<u8>>,
}

impl Secrets {
    /// Reads the secrets of a node in files.
    pub(crate) fn of(world: &World, node: &str) -> Self {
        let file = world.read(&format!("{node}.crypto"));
        let keys = NodeSecrets::decode(&file).unwrap().secrets;
        let key = keys.signing_keys().next().unwrap();
        let ed25519 = key.expose_ed25519_seed().expose().to_vec();
        let half = key.expose_slh_dsa_half();
        // The third part is public.
        let slh_dsa = half.map(|half| half.expose_seed().expose()[..32].to_vec());
        for secret in slh_dsa.iter().chain([&ed25519]) {
            assert!(contains(&file, secret));
        }
        let file = world.read(&format!("{node}.seed"));
        let mut steps = Vec::new();
        let mut seed = Seed::decode(&file).unwrap();
        while steps.len() < STEPS {
            let stored = seed.encode();
            // The secret is at the end.
            steps.push(stored.expose()[stored.expose().len() - 32..].to_vec());
            seed = seed.advance().unwrap().stored().1;
        }
        assert!(contains(&file, &steps[0]));
        Self {
            ed25519,
            slh_dsa,
            steps,
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Vec<u8>> {
        let keys = self.slh_dsa.iter().chain([&self.ed25519]);
        keys.chain(&self.steps)
    }
}

pub(crate) fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    memmem::find(haystack, needle).is_some()
}

pub(crate) fn count(haystack: &[u8], needle: &[u8]) -> usize {
    memmem::find_iter(haystack, needle).count()
}

/// Returns the halves of a secret.
pub(crate) fn halves(secret: &[u8]) -> [&[u8]; 2] {
    let (first, last) = secret.split_at(secret.len() / 2);
    [first, last]
}

/// Returns the spellings of bytes in a log: in hexadecimal, in base64, and as Rust prints them.
pub(crate) fn spellings(bytes: &[u8]) -> [String; 3] {
    let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let base64 = STANDARD_NO_PAD.encode(bytes);
    let list = format!("{bytes:?}");
    [hex, base64, list.trim_matches(['[', ']']).to_owned()]
}

#[test]
fn bytes_are_spelled_in_three_ways() {
    assert_eq!(spellings(&[1, 172]), ["01ac", "Aaw", "1, 172"]);
}
