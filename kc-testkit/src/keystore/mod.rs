//! What every keystore and every ratchet store must do, as tests.
//!
//! A [`Bench`] opens the stores of a node again and again, as a program that starts does. Each function in [`cases`]
//! checks one promise of the traits in [`kc_core::store`]; [`keystore_conformance!`](crate::keystore_conformance)
//! mounts them as `#[test]`s, and [`CASES`] lists them for harnesses that choose at run time.
//!
//! ```no_run
//! # use kc_core::store::{KeyStore, RatchetStore, StoreError};
//! # struct OnFiles;
//! # fn files() -> OnFiles { unimplemented!() }
//! impl kc_testkit::keystore::Bench for OnFiles {
//!     # fn key_store(&self) -> Result<Box<dyn KeyStore>, StoreError> { unimplemented!() }
//!     # fn other_key_store(&self) -> Result<Box<dyn KeyStore>, StoreError> { unimplemented!() }
//!     # fn ratchet_store(&self) -> Result<Box<dyn RatchetStore>, StoreError> { unimplemented!() }
//!     // ...
//! }
//!
//! mod conformance {
//!     kc_testkit::keystore_conformance!(super::files);
//! }
//! # fn main() {}
//! ```

pub mod cases;
mod mount;
#[cfg(test)]
mod tests;

pub use crate::failure::Failure;
pub use mount::{CASES, Case};

use kc_core::store::{KeyStore, RatchetStore, StoreError};

/// The stores of a node with at least one signing key and a ratchet, and beside it another node.
pub trait Bench {
    /// Opens the node's keystore.
    ///
    /// # Errors
    /// [`StoreError`].
    fn key_store(&self) -> Result<Box<dyn KeyStore>, StoreError>;

    /// Opens the keystore of another node, which has other keys.
    ///
    /// # Errors
    /// [`StoreError`].
    fn other_key_store(&self) -> Result<Box<dyn KeyStore>, StoreError>;

    /// Opens the node's ratchet.
    ///
    /// # Errors
    /// [`StoreError`]; `InUse` if it is open.
    fn ratchet_store(&self) -> Result<Box<dyn RatchetStore>, StoreError>;
}
