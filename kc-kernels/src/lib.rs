//! The encryption of many short messages at once (protocol §3): each lane of a vector works for another message.
//!
//! A message is sealed in three steps: BLAKE2b derives its key and nonce from the data key and the salt, XSalsa20 encrypts
//! it, and Poly1305 makes its tag. With AVX-512, sixteen messages go through these steps together; with AVX2, eight through
//! the first two. The results are those of libsodium's `crypto_generichash_blake2b_salt_personal` and
//! `crypto_secretbox_easy`, to the byte.
//!
//! | module | contents |
//! |---|---|
//! | crate root | [`Engine`], which chooses the instructions that this processor has |
//! | `lanes` | the steps, for vectors of any size |
//! | `keccak` | Keccak-f of eight states, for the signatures of SLH-DSA |
//! | `avx2`, `avx512` | the operations on vectors; Poly1305 of eight messages |
//! | `poly1305` | Poly1305 of one message |
//!
//! This is the only crate of kc with `unsafe` code: loads and stores of vectors, calls of functions that need instructions
//! of the processor, and the wiping of secrets. Each block states why it is sound. No branch and no address depends on a
//! key, a plaintext or a keystream; both depend on lengths and on whether a tag verified. Derived keys, states of XSalsa20
//! and of Poly1305, and the blocks of keystream in memory are wiped; registers and what the compiler spills are not.
//!
//! ```
//! use kc_kernels::{Engine, Message, TAG_LEN};
//!
//! let Some(engine) = Engine::detect() else { return };
//! let salts = [[1; 16], [2; 16], [3; 16]];
//! let mut sealed = [[0; TAG_LEN + 5]; 3];
//! let outputs = salts.iter().zip(&mut sealed);
//! let mut messages: Vec<_> = outputs.map(|(salt, output)| Message {
//!     data_key: &[7; 32],
//!     context: b"value\0\0\0\0\0\0\0\0\0\0\0",
//!     salt,
//!     input: b"hello",
//!     output,
//! }).collect();
//! engine.seal(&mut messages);
//! ```

#![cfg_attr(
    not(target_arch = "x86_64"),
    allow(
        unreachable_code,
        unused_mut,
        unused_variables,
        reason = "an engine has no values on other processors"
    )
)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod keccak;
#[cfg(target_arch = "x86_64")]
mod lanes;
#[cfg(target_arch = "x86_64")]
mod poly1305;

/// Length of a data key, in bytes.
pub const KEY_LEN: usize = 32;
/// Length of the nonce of a message, in bytes.
pub const NONCE_LEN: usize = 24;
/// The maximum length of a message that [`Engine::seal_short`] seals, in bytes.
pub const MAX_SHORT_LEN: usize = 224;
/// Length of a salt, in bytes.
pub const SALT_LEN: usize = 16;
/// Length of the tag in front of the ciphertext, in bytes.
pub const TAG_LEN: usize = 16;
/// Length of a context, in bytes.
pub const CONTEXT_LEN: usize = 16;

/// A message to seal or to open.
#[derive(Debug)]
pub struct Message<'m> {
    /// The data key, from which the key of the message is derived.
    pub data_key: &'m [u8; KEY_LEN],
    /// What the key is for: the personalisation of BLAKE2b.
    pub context: &'m [u8; CONTEXT_LEN],
    /// The salt of the message.
    pub salt: &'m [u8; SALT_LEN],
    /// The plaintext to seal, or the sealed box to open: a tag of [`TAG_LEN`] bytes and the ciphertext.
    pub input: &'m [u8],
    /// The place of the result. It is [`TAG_LEN`] bytes longer than a plaintext, or shorter than a box.
    pub output: &'m mut [u8],
}

impl Default for Message<'_> {
    /// Returns a message that is neither a plaintext nor a box.
    fn default() -> Self {
        Self {
            data_key: &[0; KEY_LEN],
            context: &[0; CONTEXT_LEN],
            salt: &[0; SALT_LEN],
            input: &[],
            output: &mut [],
        }
    }
}

/// The instructions with which messages are sealed and opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Engine {
    /// Eight messages at once.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// Sixteen messages at once.
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

/// A proof that the processor has AVX2 and BMI2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx2(());

/// A proof that the processor has AVX-512F, AVX-512 IFMA and BMI2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx512(());

/// The number of states that [`Engine::keccak_f`] permutes.
pub const KECCAK_LANES: usize = 8;

/// The maximum of [`Engine::lanes`].
pub const MAX_LANES: usize = 16;

impl Engine {
    /// Returns the fastest engine for this processor, or `None` if it has neither AVX2 nor AVX-512 with IFMA.
    #[must_use]
    pub fn detect() -> Option<Self> {
        Self::all().next()
    }

    /// Returns all engines for this processor, the fastest first.
    pub fn all() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let engines = {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2");
            let avx512 =
                is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512ifma");
            [
                (avx2 && avx512).then_some(Self::Avx512(Avx512(()))),
                avx2.then_some(Self::Avx2(Avx2(()))),
            ]
        };
        #[cfg(not(target_arch = "x86_64"))]
        let engines = [None];
        engines.into_iter().flatten()
    }

    /// Returns the number of messages that are sealed or opened at once. Fewer messages take the same time.
    #[must_use]
    pub fn lanes(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => avx512::LANES,
        }
    }

    /// Applies Keccak-f\[1600\] (FIPS 202) to eight states at once: `words[i][j]` is word `i` of state `j`.
    pub fn keccak_f(self, words: &mut [[u64; KECCAK_LANES]; 25]) {
        match self {
            // SAFETY: `Avx2` proves that the processor has the instructions.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(Avx2(())) => unsafe { avx2::keccak_f(words) },
            // SAFETY: `Avx512` proves that the processor has the instructions.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(Avx512(())) => unsafe { avx512::keccak_f(words) },
        }
    }

    /// Seals one message of at most [`MAX_SHORT_LEN`] bytes with its key and nonce. Writes the tag and the ciphertext to
    /// `output`.
    ///
    /// # Panics
    /// Panics if the message is too long, or `output` is not [`TAG_LEN`] bytes longer.
    pub fn seal_short(
        self,
        key: &[u8; KEY_LEN],
        nonce: &[u8; NONCE_LEN],
        input: &[u8],
        output: &mut [u8],
    ) {
        assert!(input.len() <= MAX_SHORT_LEN);
        assert_eq!(output.len(), input.len() + TAG_LEN);
        match self {
            // SAFETY: `Avx2` proves that the processor has the instructions.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(Avx2(())) => unsafe { avx2::seal_short(key, nonce, input, output) },
            // SAFETY: `Avx512` proves that the processor has the instructions.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(Avx512(())) => unsafe { avx512::seal_short(key, nonce, input, output) },
        }
    }

    /// Opens one ciphertext of at most [`MAX_SHORT_LEN`] bytes in place. Returns whether its tag verified; if not, the
    /// ciphertext is unchanged.
    ///
    /// # Panics
    /// Panics if the ciphertext is too long.
    pub fn open_short(
        self,
        key: &[u8; KEY_LEN],
        nonce: &[u8; NONCE_LEN],
        tag: &[u8; TAG_LEN],
        text: &mut [u8],
    ) -> bool {
        assert!(text.len() <= MAX_SHORT_LEN);
        match self {
            // SAFETY: `Avx2` proves that the processor has the instructions.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(Avx2(())) => unsafe { avx2::open_short(key, nonce, tag, text) },
            // SAFETY: `Avx512` proves that the processor has the instructions.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(Avx512(())) => unsafe { avx512::open_short(key, nonce, tag, text) },
        }
    }

    /// Seals messages: writes the tag and the ciphertext of each to its output. Messages of similar lengths are sealed
    /// fastest, because a group of [`lanes`](Self::lanes) messages takes as long as its longest one.
    ///
    /// # Panics
    /// Panics if an output is not [`TAG_LEN`] bytes longer than its input.
    pub fn seal(self, messages: &mut [Message<'_>]) {
        for message in &*messages {
            assert_eq!(message.output.len(), message.input.len() + TAG_LEN);
        }
        for group in messages.chunks_mut(self.lanes()) {
            match self {
                // SAFETY: `Avx2` proves that the processor has the instructions.
                #[cfg(target_arch = "x86_64")]
                Self::Avx2(Avx2(())) => unsafe { avx2::seal(group) },
                // SAFETY: `Avx512` proves that the processor has the instructions.
                #[cfg(target_arch = "x86_64")]
                Self::Avx512(Avx512(())) => unsafe { avx512::seal(group) },
            }
        }
    }

    /// Opens messages: writes the plaintext of each message whose tag verifies to its output. Calls `opened` with the
    /// index of each message, in order, and whether its tag verified. The output of a message that is not authentic is
    /// unchanged.
    ///
    /// # Panics
    /// Panics if an output is not [`TAG_LEN`] bytes shorter than its input.
    pub fn open(self, messages: &mut [Message<'_>], mut opened: impl FnMut(usize, bool)) {
        for message in &*messages {
            assert_eq!(message.input.len(), message.output.len() + TAG_LEN);
        }
        let mut index = 0;
        for group in messages.chunks_mut(self.lanes()) {
            let verified: &[bool] = match self {
                // SAFETY: `Avx2` proves that the processor has the instructions.
                #[cfg(target_arch = "x86_64")]
                Self::Avx2(Avx2(())) => &unsafe { avx2::open(group) },
                // SAFETY: `Avx512` proves that the processor has the instructions.
                #[cfg(target_arch = "x86_64")]
                Self::Avx512(Avx512(())) => &unsafe { avx512::open(group) },
            };
            for (_, verified) in group.iter().zip(verified) {
                opened(index, *verified);
                index += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests;
