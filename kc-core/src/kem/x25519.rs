//! X25519 as libsodium does it: an all-zero result is an error.

use dryoc::classic::crypto_core::{crypto_scalarmult, crypto_scalarmult_base};

use super::KemError;
use crate::secret::Secret;

pub(super) const LEN: usize = 32;

pub(super) fn public_of(secret: &Secret<LEN>) -> [u8; LEN] {
    let mut public = [0; LEN];
    crypto_scalarmult_base(&mut public, secret.expose());
    public
}

pub(super) fn agree(secret: &Secret<LEN>, public: &[u8; LEN]) -> Result<Secret<LEN>, KemError> {
    let mut result = Ok(());
    let shared = Secret::fill_with(|shared| {
        result = crypto_scalarmult(shared, secret.expose(), public);
    });
    result.map(|()| shared).map_err(|_| KemError::LowOrder)
}
