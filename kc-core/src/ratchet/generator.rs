use std::hint::black_box;

use blake2b_simd::Params;
use thiserror::Error;

use crate::secret::Secret;

/// The longest output of one derivation, in bytes.
pub const MAX_OUTPUT_LEN: usize = 64;

/// What derived bytes are for: BLAKE2b's personalisation, zero-padded to 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context(pub [u8; 16]);

impl Context {
    /// Keys for Kafka keys.
    pub const KEY: Self = Self(*b"key\0\0\0\0\0\0\0\0\0\0\0\0\0");
    /// Keys for Kafka values.
    pub const VALUE: Self = Self(*b"value\0\0\0\0\0\0\0\0\0\0\0");
    /// The ratchet's next secret.
    pub const RATCHET: Self = Self(*b"ratchet\0\0\0\0\0\0\0\0\0");
    /// Anything else.
    pub const GENERATOR: Self = Self(*b"generator\0\0\0\0\0\0\0");
}

/// Why a generator gives nothing. Always the caller's misuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GeneratorError {
    /// All 2^128 counter values are used up.
    #[error("counter exhausted")]
    Exhausted,
    /// The output asked for is empty or longer than [`MAX_OUTPUT_LEN`].
    #[error("{0} bytes of output are not possible")]
    OutputLength(usize),
    /// The new secret is the one in use, which would repeat every output.
    #[error("the secret is in use already")]
    SameSecret,
}

/// A keyed generator of bytes: BLAKE2b with a secret, a counter as salt, and a context (protocol §1).
#[derive(Debug)]
pub struct KeyGenerator {
    secret: Secret<32>,
    context: Context,
    counter: u128,
}

impl KeyGenerator {
    /// Starts with counter 0.
    #[must_use]
    pub fn new(secret: Secret<32>, context: Context) -> Self {
        Self::starting_at(secret, context, 0)
    }

    /// Starts with another counter: for the one who knows that the ones before are used.
    #[must_use]
    pub fn starting_at(secret: Secret<32>, context: Context, counter: u128) -> Self {
        Self {
            secret,
            context,
            counter,
        }
    }

    /// The next salt: the counter, little-endian.
    #[must_use]
    pub fn salt(&self) -> [u8; 16] {
        self.counter.to_le_bytes()
    }

    /// Fills `output` under the counter, and counts.
    ///
    /// # Errors
    /// [`GeneratorError::Exhausted`], [`GeneratorError::OutputLength`].
    pub fn generate(&mut self, output: &mut [u8]) -> Result<(), GeneratorError> {
        let salt = self.salt();
        self.generate_with(output, &salt, self.context, &[])
    }

    /// Fills `output` under another salt, context and message; counts all the same.
    ///
    /// # Errors
    /// [`GeneratorError::Exhausted`], [`GeneratorError::OutputLength`].
    pub fn generate_with(
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

    /// Goes on with another secret, from counter 0.
    ///
    /// # Errors
    /// [`GeneratorError::SameSecret`]; the generator is as it was.
    pub fn rekey(&mut self, secret: Secret<32>) -> Result<(), GeneratorError> {
        if secret == self.secret {
            return Err(GeneratorError::SameSecret);
        }
        self.secret = secret;
        self.counter = 0;
        Ok(())
    }
}

/// How many bytes of stack [`hash`] uses at most: 2.5 KiB unoptimized, 1.8 KiB optimized, rounded up.
const HASH_STACK: usize = 3072;

/// Keyed BLAKE2b of `message`; `output` is from 1 to 64 bytes long. Leaves no copy of the secret on the stack.
pub(super) fn derive(
    output: &mut [u8],
    secret: &[u8; 32],
    salt: &[u8; 16],
    context: Context,
    message: &[u8],
) {
    hash(output, secret, salt, context, message);
    wipe_stack();
}

/// Not inlined, so that all that it leaves behind is below its caller's part of the stack.
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

/// Overwrites what [`hash`] has left on the stack below the caller. Zeroizing byte by byte would take as long as
/// hashing; tests look at the stack to see that the compiler leaves this in.
#[inline(never)]
fn wipe_stack() {
    black_box(&mut [0_u8; HASH_STACK]);
}
