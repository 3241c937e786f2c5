use std::hint::black_box;

use blake2b_simd::Params;
use thiserror::Error;

use crate::secret::Secret;

/// The maximum output of one derivation, in bytes: the limit of BLAKE2b. Test: `outputs_are_bounded`.
pub const MAX_OUTPUT_LEN: usize = 64;

/// The purpose of derived bytes: the 16 bytes of BLAKE2b's personalisation. The constants are names, padded with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context(pub [u8; 16]);

impl Context {
    /// Message keys that seal the keys of Kafka records.
    pub const KEY: Self = Self(*b"key\0\0\0\0\0\0\0\0\0\0\0\0\0");
    /// Message keys that seal the values of Kafka records.
    pub const VALUE: Self = Self(*b"value\0\0\0\0\0\0\0\0\0\0\0");
    /// The next secret of a ratchet.
    pub const RATCHET: Self = Self(*b"ratchet\0\0\0\0\0\0\0\0\0");
    /// Any other purpose.
    #[cfg(feature = "vectors")]
    pub const GENERATOR: Self = Self(*b"generator\0\0\0\0\0\0\0");
}

/// A reason why a generator has no output. The caller is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GeneratorError {
    /// The counter has reached its last value, 2^128 - 1.
    #[error("all counter values are used up")]
    Exhausted,
    /// The requested output is empty or longer than [`MAX_OUTPUT_LEN`].
    #[error("the requested output has {0} bytes, but must have 1 to {max}", max = MAX_OUTPUT_LEN)]
    OutputLength(usize),
    /// The new secret is the same as the current one, so that all outputs would repeat.
    #[cfg(feature = "vectors")]
    #[error("the new secret is the same as the current one")]
    SameSecret,
}

/// A keyed generator of bytes: BLAKE2b with a secret, a counter as its salt, and a context (protocol §1).
#[derive(Debug)]
pub struct KeyGenerator {
    secret: Secret<32>,
    context: Context,
    counter: u128,
}

impl KeyGenerator {
    /// Creates a generator with counter 0.
    #[must_use]
    pub fn new(secret: Secret<32>, context: Context) -> Self {
        Self {
            secret,
            context,
            counter: 0,
        }
    }

    /// Creates a generator that continues at `counter`. The caller must make sure that no output with this or a
    /// higher counter value was generated before.
    #[cfg(feature = "vectors")]
    #[must_use]
    pub fn starting_at(secret: Secret<32>, context: Context, counter: u128) -> Self {
        Self {
            secret,
            context,
            counter,
        }
    }

    /// Returns the next salt: the counter in little-endian byte order.
    #[must_use]
    pub fn salt(&self) -> [u8; 16] {
        self.counter.to_le_bytes()
    }

    /// Fills `output` with derived bytes. The counter is the salt of the derivation. Increments the counter.
    ///
    /// # Errors
    /// Returns [`GeneratorError::Exhausted`] if no counter value is left, and [`GeneratorError::OutputLength`] if
    /// `output` is empty or longer than [`MAX_OUTPUT_LEN`].
    pub fn generate(&mut self, output: &mut [u8]) -> Result<(), GeneratorError> {
        let salt = self.salt();
        self.fill(output, &salt, self.context, &[])
    }

    /// Fills `output` with bytes that are derived with this salt, context and message. Increments the counter.
    ///
    /// # Errors
    /// Returns the same errors as [`generate`](Self::generate).
    #[cfg(feature = "vectors")]
    pub fn generate_with(
        &mut self,
        output: &mut [u8],
        salt: &[u8; 16],
        context: Context,
        message: &[u8],
    ) -> Result<(), GeneratorError> {
        self.fill(output, salt, context, message)
    }

    fn fill(
        &mut self,
        output: &mut [u8],
        salt: &[u8; 16],
        context: Context,
        message: &[u8],
    ) -> Result<(), GeneratorError> {
        let next = self.counter.checked_add(1);
        let next = next.ok_or(GeneratorError::Exhausted)?;
        if !(1..=MAX_OUTPUT_LEN).contains(&output.len()) {
            return Err(GeneratorError::OutputLength(output.len()));
        }
        derive(output, self.secret.expose(), salt, context, message);
        self.counter = next;
        Ok(())
    }

    /// Continues with another secret and counter 0.
    ///
    /// # Errors
    /// Returns [`GeneratorError::SameSecret`] if the secret is the same as the current one; the generator is then
    /// unchanged.
    #[cfg(feature = "vectors")]
    pub fn rekey(&mut self, secret: Secret<32>) -> Result<(), GeneratorError> {
        if secret == self.secret {
            return Err(GeneratorError::SameSecret);
        }
        self.secret = secret;
        self.counter = 0;
        Ok(())
    }
}

/// The maximum stack use of [`hash`], in bytes. It was measured as 2.5 KiB in unoptimized and 1.8 KiB in optimized
/// builds, and is rounded up.
const HASH_STACK: usize = 3072;

/// Computes the keyed BLAKE2b hash of `message` into `output`, which has 1 to 64 bytes. Leaves no copy of the secret
/// on the stack.
pub(crate) fn derive(
    output: &mut [u8],
    secret: &[u8; 32],
    salt: &[u8; 16],
    context: Context,
    message: &[u8],
) {
    hash(output, secret, salt, context, message);
    wipe_stack();
}

/// Computes the hash. Not inlined, so that all its data is below its caller's part of the stack.
#[inline(never)]
fn hash(output: &mut [u8], secret: &[u8; 32], salt: &[u8; 16], context: Context, message: &[u8]) {
    let hash = Params::new()
        .hash_length(output.len())
        .key(secret)
        .salt(salt)
        .personal(&context.0)
        .hash(message);
    output.copy_from_slice(hash.as_bytes());
}

/// Overwrites the data that [`hash`] left on the stack below the caller.
///
/// Zeroizing byte by byte would take as long as hashing. Tests inspect the stack to prove that the compiler does not
/// remove this code.
#[inline(never)]
fn wipe_stack() {
    black_box(&mut [0_u8; HASH_STACK]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_bounded() {
        let mut generator = KeyGenerator::new(Secret::fill_with(|_| {}), Context::RATCHET);
        assert_eq!(generator.generate(&mut [0; MAX_OUTPUT_LEN]), Ok(()));
        for len in [0, MAX_OUTPUT_LEN + 1] {
            let refused = generator.generate(&mut vec![0; len]);
            assert_eq!(refused, Err(GeneratorError::OutputLength(len)));
        }
    }
}
