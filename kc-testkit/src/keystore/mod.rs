//! The conformance suite of keystores and ratchet stores.
//!
//! A [`Bench`] opens the stores of a node again and again, as a program does at each start. Each function in [`cases`]
//! checks one promise of the traits in [`kc_core::store`]; [`keystore_conformance!`](crate::keystore_conformance)
//! mounts them as `#[test]`s, and [`CASES`] lists them for harnesses that select cases at run time.
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

    /// The lengths of messages and values that stores must accept, in bytes.
    const LENGTHS: &[usize] = &[0, 1, 15, 16, 17, 255, 4096, 65_536];

    /// Returns `len` bytes with a long period.
    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 131 + i / 256) as u8).collect()
    }
}

use kc_core::store::{KeyStore, RatchetStore, StoreError};

pub use crate::failure::Failure;

/// The stores of a node with at least one signing key and a ratchet, and the keystore of another node.
pub trait Bench {
    /// Opens the node's keystore.
    ///
    /// # Errors
    /// The [`StoreError`] of the store.
    fn key_store(&self) -> Result<Box<dyn KeyStore>, StoreError>;

    /// Opens the keystore of another node, which has other keys.
    ///
    /// # Errors
    /// The [`StoreError`] of the store.
    fn other_key_store(&self) -> Result<Box<dyn KeyStore>, StoreError>;

    /// Opens the node's ratchet.
    ///
    /// # Errors
    /// The [`StoreError`] of the store; its kind is `InUse` if the ratchet is open.
    fn ratchet_store(&self) -> Result<Box<dyn RatchetStore>, StoreError>;
}

/// Mounts the [cases](crate::keystore::cases) as tests of the stores on a bench, which the given function makes:
/// `fn() -> impl Bench`. Each case runs on a bench of its own.
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

/// One of the [cases], for harnesses that select cases at run time.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The module and the name of the case: `ratchet::counts`.
    pub name: &'static str,
    run: fn(&dyn Bench) -> Result<(), Failure>,
}

impl Case {
    /// Runs the case.
    ///
    /// # Errors
    /// The [`Failure`] of the case.
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
