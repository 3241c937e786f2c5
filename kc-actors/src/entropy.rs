use std::fmt;
use std::sync::Arc;

use kc_core::store::{StoreError, StoreErrorKind};
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use rand_core::CryptoRng;

/// The source of random numbers for actors: the operating system, or a source that a test sets. With the operating
/// system as the source, each use gets a new seed, so that copies of a process, such as forks, draw different numbers.
#[derive(Clone)]
pub struct Entropy(Arc<Draw>);

type Draw = dyn Fn() -> Result<Box<dyn CryptoRng + Send>, StoreError> + Send + Sync;

impl Entropy {
    /// Returns the source of the operating system.
    #[must_use]
    pub fn system() -> Self {
        Self::new(|| match StdRng::try_from_rng(&mut SysRng) {
            Ok(rng) => Ok(Box::new(rng)),
            Err(error) => {
                let context = "get random numbers from the operating system";
                Err(StoreError::new(StoreErrorKind::Io, context).with_source(error))
            }
        })
    }

    /// Returns a source whose generators are the results of `draw`.
    #[must_use]
    pub fn new(
        draw: impl Fn() -> Result<Box<dyn CryptoRng + Send>, StoreError> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(draw))
    }

    /// Returns a random number generator for one use.
    ///
    /// # Errors
    /// Returns [`StoreError`] if the source gives no random numbers.
    pub fn generator(&self) -> Result<Box<dyn CryptoRng + Send>, StoreError> {
        (self.0)()
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy")
    }
}
