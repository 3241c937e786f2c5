use super::{Bench, Failure, cases};

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
