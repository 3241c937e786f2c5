//! Secrets in memory: wiped when dropped, never cloned, never printed, compared in constant time.
//!
//! Only methods with names that begin with `expose` give access to a secret's bytes, so that a text search finds
//! all such places.

use std::fmt;

use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A secret of `N` bytes, on the heap so that a move leaves no copy.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Secret<const N: usize>(Box<[u8; N]>);

impl<const N: usize> Secret<N> {
    /// Draws a new secret: one call of `fill_bytes` for `N` bytes.
    #[must_use]
    pub fn random(rng: &mut dyn CryptoRng) -> Self {
        Self::fill_with(|bytes| rng.fill_bytes(bytes))
    }

    /// Creates a secret in place: `fill` receives `N` zero bytes to overwrite.
    pub fn fill_with(fill: impl FnOnce(&mut [u8; N])) -> Self {
        let mut secret = Self(Box::new([0; N]));
        fill(&mut secret.0);
        secret
    }

    /// Copies a secret from a slice. Returns `None` if its length is not `N`. The caller must wipe the source.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == N).then(|| Self::fill_with(|secret| secret.copy_from_slice(bytes)))
    }

    /// Returns the secret bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// Copies the secret for a second owner. The type does not implement `Clone`, so that each copy is deliberate.
    #[must_use]
    pub fn expose_copy(&self) -> Self {
        Self::fill_with(|secret| secret.copy_from_slice(self.expose()))
    }
}

impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl<const N: usize> Eq for Secret<N> {}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret<{N}>(redacted)")
    }
}

/// A secret of any length, such as a decrypted payload or an encoded key file.
pub struct SecretVec(Zeroizing<Vec<u8>>);

impl SecretVec {
    /// Returns the secret bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for SecretVec {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl PartialEq for SecretVec {
    fn eq(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }
}

impl Eq for SecretVec {}

impl fmt::Debug for SecretVec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretVec({} bytes, redacted)", self.0.len())
    }
}

/// A secret in text form, such as a password.
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Returns the secret text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl PartialEq for SecretText {
    fn eq(&self, other: &Self) -> bool {
        self.expose()
            .as_bytes()
            .ct_eq(other.expose().as_bytes())
            .into()
    }
}

impl Eq for SecretText {}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_nothing() {
        let secret = Secret::<4>::fill_with(|bytes| bytes.copy_from_slice(b"hush"));
        assert_eq!(format!("{secret:?}"), "Secret<4>(redacted)");
        let secret = SecretVec::from(b"hush".to_vec());
        assert_eq!(format!("{secret:?}"), "SecretVec(4 bytes, redacted)");
        let secret = SecretText::from("hush".to_owned());
        assert_eq!(format!("{secret:?}"), "SecretText(redacted)");
    }

    #[test]
    fn lengths_are_checked_and_equality_compares_content() {
        assert!(Secret::<4>::from_slice(b"123").is_none());
        let one = Secret::<4>::from_slice(b"1234").unwrap();
        assert_eq!(one, one.expose_copy());
        assert_ne!(one, Secret::<4>::from_slice(b"1235").unwrap());
    }
}
