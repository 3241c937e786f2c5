//! The conformance suite of archives: those of retained keys, of lists and chains, and of a chain server's keys.
//!
//! A [`Bench`] opens the archives of a node again and again, as a program does at each start. Each function in
//! [`cases`] checks one promise of the traits in [`kc_core::store`];
//! [`archive_conformance!`](crate::archive_conformance) mounts them as `#[test]`s, and [`CASES`] lists them for
//! harnesses that select cases at run time.

pub mod cases;
#[cfg(test)]
mod tests;

pub use crate::failure::Failure;

use kc_core::chain::{TrustEntry, TrustList};
use kc_core::keys::VerifyingKey;
use kc_core::ratchet::RetainedKeys;
use kc_core::store::{ChainKeyArchive, RetainedKeysArchive, StoreError, TrustArchive};

/// The archives of a node, empty at first, and the values that the node reads from them at each start.
pub trait Bench {
    /// Opens the archive of retained keys.
    ///
    /// # Errors
    /// The [`StoreError`] of the archive.
    fn retained_keys(&self) -> Result<Box<dyn RetainedKeysArchive>, StoreError>;

    /// Reads the retained keys, and the index of the latest used step.
    ///
    /// # Errors
    /// The [`StoreError`] of the archive.
    fn stored_keys(&self) -> Result<(RetainedKeys, Option<u64>), StoreError>;

    /// Opens the archive of lists and chains.
    ///
    /// # Errors
    /// The [`StoreError`] of the archive.
    fn trust(&self) -> Result<Box<dyn TrustArchive>, StoreError>;

    /// Reads the entries of a list.
    ///
    /// # Errors
    /// The [`StoreError`] of the archive.
    fn stored_entries(&self, list: TrustList) -> Result<Vec<TrustEntry>, StoreError>;

    /// Reads the chains of the signing key with this index, in order of preference.
    ///
    /// # Errors
    /// The [`StoreError`] of the archive.
    fn stored_chains(&self, index: usize, key: &VerifyingKey) -> Result<Vec<Vec<u8>>, StoreError>;

    /// Opens the archive of a chain server.
    ///
    /// # Errors
    /// The [`StoreError`] of the archive.
    fn chain_keys(&self) -> Result<Box<dyn ChainKeyArchive>, StoreError>;
}

/// One of the [cases], for harnesses that select cases at run time.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The name of the case: `each_list_keeps_its_entries_once`.
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

/// Mounts the [cases](crate::archive::cases) as tests of the archives on a bench, which the given function makes: `fn()
/// -> impl Bench`. Each case runs on a bench of its own.
#[macro_export]
macro_rules! archive_conformance {
    ($make:expr) => {
        $crate::archive_cases!([$crate::mount_archive_cases] $make);
    };
}

/// Calls a macro with the cases.
#[doc(hidden)]
#[macro_export]
macro_rules! archive_cases {
    ([$($then:tt)*] $($argument:tt)*) => {
        $($then)*!($($argument)*;
            retained_keys_take_the_place_of_those_before,
            the_latest_step_stays_until_another_is_stored,
            each_list_keeps_its_entries_once,
            each_signing_key_keeps_its_latest_chain,
            a_renewed_chain_key_takes_the_place_of_the_one_before,
        );
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! mount_archive_cases {
    ($make:expr; $($case:ident),* $(,)?) => {
        $(
            #[test]
            fn $case() {
                $crate::archive::cases::$case(&$make()).unwrap();
            }
        )*
    };
}

macro_rules! list_cases {
    (; $($case:ident),* $(,)?) => {
        /// All cases.
        pub const CASES: &[Case] = &[$(
            Case {
                name: stringify!($case),
                run: cases::$case,
            },
        )*];
    };
}

archive_cases!([list_cases]);
