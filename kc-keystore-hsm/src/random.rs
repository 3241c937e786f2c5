use kc_core::secret::Secret;
use rand::rngs::{StdRng, SysRng};
use rand::{SeedableRng, TryRng};

use crate::HsmError;

/// Returns random bytes for nonces and ids, which are not secret.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], HsmError> {
    let mut bytes = [0; N];
    SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(HsmError::Random)?;
    Ok(bytes)
}

/// Returns a random secret.
pub(crate) fn secret<const N: usize>() -> Result<Secret<N>, HsmError> {
    Ok(Secret::random(&mut generator()?))
}

/// Returns a random number generator whose seed comes from the operating system.
pub(crate) fn generator() -> Result<StdRng, HsmError> {
    StdRng::try_from_rng(&mut SysRng).map_err(HsmError::Random)
}
