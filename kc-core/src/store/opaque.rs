//! Values sealed under a node's opaque key (protocol §11): 24 bytes of nonce, then the box.

use rand_core::CryptoRng;

use crate::secret::{Secret, SecretVec};
use crate::secretbox::{self, NONCE_LEN};

/// Seals a value under a fresh nonce.
#[must_use]
pub fn wrap(plaintext: &[u8], key: &Secret<32>, rng: &mut dyn CryptoRng) -> Vec<u8> {
    let mut nonce = [0; NONCE_LEN];
    rng.fill_bytes(&mut nonce);
    let sealed = secretbox::seal(plaintext, &nonce, key.expose());
    [&nonce, sealed.as_slice()].concat()
}

/// Opens a value; `None` if it is too short, altered, or sealed under another key.
#[must_use]
pub fn unwrap(wrapped: &[u8], key: &Secret<32>) -> Option<SecretVec> {
    let (nonce, sealed) = wrapped.split_first_chunk()?;
    secretbox::open(sealed, nonce, key.expose())
}
