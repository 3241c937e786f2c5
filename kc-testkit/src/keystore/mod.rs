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

/// The promises of [`kc_core::store`], one function each, on a fresh [`Bench`].
pub mod cases {
    pub mod keys;
    pub mod opaque;
    pub mod ratchet;

    /// Lengths of messages and values that stores must take, in bytes.
    const LENGTHS: &[usize] = &[0, 1, 15, 16, 17, 255, 4096, 65_536];

    /// Bytes that do not repeat soon.
    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 131 + i / 256) as u8).collect()
    }
}

use kc_core::store::{KeyStore, RatchetStore, StoreError};

pub use crate::failure::Failure;

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

/// Mounts the [cases](crate::keystore::cases) as tests of the stores that a function makes a bench of:
/// `fn() -> impl Bench`. Each runs on a bench of its own.
#[macro_export]
macro_rules! keystore_conformance {
    ($make:expr) => {
        $crate::keystore_cases!([$crate::mount_keystore_cases] $make);
    };
}

/// Calls a macro with the cases.
#[doc(hidden)]
#[macro_export]
macro_rules! keystore_cases {
    ([$($then:tt)*] $($argument:tt)*) => {
        $($then)*!($($argument)*;
            keys { signatures, unknown_key, same_after_reopening, threads }
            opaque { round_trip, altered, foreign, nonces, after_reopening }
            ratchet { counts, after_reopening, in_use }
        );
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! mount_keystore_cases {
    ($make:expr; $($module:ident { $($case:ident),* $(,)? })*) => {
        $(mod $module {
            #[allow(unused_imports)]
            use super::*;
            $(
                #[test]
                fn $case() {
                    $crate::keystore::cases::$module::$case(&$make()).unwrap();
                }
            )*
        })*
    };
}

/// One of the [cases](crate::keystore::cases), for harnesses that choose at run time.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its module and name: `ratchet::counts`.
    pub name: &'static str,
    run: fn(&dyn Bench) -> Result<(), Failure>,
}

impl Case {
    /// Runs it.
    ///
    /// # Errors
    /// [`Failure`]: what the store did wrong.
    pub fn run(&self, bench: &dyn Bench) -> Result<(), Failure> {
        (self.run)(bench)
    }
}

macro_rules! list_cases {
    (; $($module:ident { $($case:ident),* $(,)? })*) => {
        /// All cases.
        pub const CASES: &[Case] = &[$($(
            Case {
                name: concat!(stringify!($module), "::", stringify!($case)),
                run: cases::$module::$case,
            },
        )*)*];
    };
}

keystore_cases!([list_cases]);

#[cfg(test)]
mod tests;
