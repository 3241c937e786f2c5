//! SHA-256 of several parts, one after the other.

use dryoc::classic::crypto_hash::{
    crypto_hash_sha256_final, crypto_hash_sha256_init, crypto_hash_sha256_update,
};

pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut state = crypto_hash_sha256_init();
    for part in parts {
        crypto_hash_sha256_update(&mut state, part);
    }
    let mut digest = [0; 32];
    crypto_hash_sha256_final(state, &mut digest);
    digest
}
