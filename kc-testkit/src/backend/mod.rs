//! The conformance suite of Kafka backends.
//!
//! A [`Bench`] combines the backend under test with a broker: kc-broker in this process, or any broker by its address.
//! Each function in [`cases`] checks one promise of the traits in [`kc_core::backend`] on a bench;
//! [`backend_conformance!`](crate::backend_conformance) mounts them as `#[tokio::test]`s, and [`PORTABLE`] lists those
//! that run on any broker. [`Broken`] is a backend with a selected fault, to show that the cases detect it.
//!
//! ```no_run
//! # use kc_core::backend::Backend;
//! # fn make_backend(_: &str) -> Box<dyn Backend> { unimplemented!() }
//! mod conformance {
//!     kc_testkit::backend_conformance!(super::make_backend);
//! }
//! # fn main() {}
//! ```
//!
//! The given function makes a backend for a bootstrap address. Its producers must give up within seconds on a missing
//! topic and on a broker that does not answer, or the cases take minutes: [`impatient`] returns suitable settings.
//! Cases about features that a backend's [`Capabilities`](kc_core::backend::Capabilities) exclude pass without a check.

mod bench;
mod broken;

/// The promises of [`kc_core::backend`], one function each: `async fn(&Bench) -> Result<(), Failure>`.
///
/// Dropping the future of a case stops the case; its topics and groups remain on the broker.
pub mod cases {
    pub mod endless;
    pub mod groups;
    pub mod logs;
    pub mod new_brokers;
    pub mod outages;
    pub mod records;
    pub mod topics;
    pub mod unreachable;
}

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub use crate::failure::Failure;
pub use bench::{Bench, impatient};
pub use broken::{Broken, Fault};

/// The maximum time of a case.
const LIMIT: Duration = Duration::from_mins(2);

/// Runs a case. Dropping the future stops the case; its topics and groups remain on the broker.
///
/// # Errors
/// The [`Failure`] of the case; [`Failure::Hung`] if it did not end within two minutes.
pub async fn run(
    bench: &Bench,
    case: impl AsyncFn(&Bench) -> Result<(), Failure>,
) -> Result<(), Failure> {
    tokio::time::timeout(LIMIT, case(bench))
        .await
        .unwrap_or(Err(Failure::Hung(LIMIT)))
}

/// Mounts the [cases](crate::backend::cases) as tests of a backend, which the given function makes for a bootstrap
/// address: `fn(&str) -> Box<dyn Backend>`. Each case runs on a kc-broker of its own.
///
/// The calling crate needs `tokio` with the features `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! backend_conformance {
    ($make:expr) => {
        $crate::portable_cases!([$crate::mount_cases] $make);
        $crate::mount_cases!($make;
            outages { stopped, started_anew, advertised_elsewhere }
            new_brokers {
                coordinator_loads, coordinator_not_available, not_coordinator, without_member_id
            }
        );
    };
}

/// Calls a macro with the cases that run on any broker.
#[doc(hidden)]
#[macro_export]
macro_rules! portable_cases {
    ([$($then:tt)*] $($argument:tt)*) => {
        $($then)*!($($argument)*;
            records { order, nulls, headers, large, many, deliveries, too_large }
            logs {
                starts, out_of_range, commit_and_resume, without_group, watermarks, late_topic, all_partitions,
                nothing_comes, unassign
            }
            groups {
                commit_and_resume_in_group, commit_on_close, latest, late_topic_in_group, pattern, rebalance,
                start_is_kept, start_is_taken_over, start_of_late_topic_is_kept, out_of_range_in_group, pause_and_resume,
                pause_across_rebalance, seek, store_across_rebalance, nothing_comes_to_group, added_partitions,
                processed_at_rebalance
            }
            endless { administering, sending, reading, sharing }
            topics { missing, auto_creation, created_twice, specs, invalid_name, retention }
            unreachable { nobody_listens }
        );
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! mount_cases {
    ($make:expr; $($module:ident { $($case:ident),* $(,)? })*) => {
        $(mod $module {
            #[allow(unused_imports)]
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let bench = $crate::backend::Bench::embedded($make).await.unwrap();
                    $crate::backend::run(&bench, $crate::backend::cases::$module::$case)
                        .await
                        .unwrap();
                }
            )*
        })*
    };
}

/// One of the [cases], for harnesses that select cases at run time.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The module and the name of the case: `groups::rebalance`.
    pub name: &'static str,
    run: for<'b> fn(&'b Bench) -> CaseFuture<'b>,
}

type CaseFuture<'b> = Pin<Box<dyn Future<Output = Result<(), Failure>> + 'b>>;

impl Case {
    /// Runs the case. Dropping the future stops the case; its topics and groups remain on the broker.
    ///
    /// # Errors
    /// The same as [`run`].
    pub async fn run(&self, bench: &Bench) -> Result<(), Failure> {
        (self.run)(bench).await
    }
}

macro_rules! list_cases {
    (; $($module:ident { $($case:ident),* $(,)? })*) => {
        /// The cases that run on any broker.
        pub const PORTABLE: &[Case] = &[$($(
            Case {
                name: concat!(stringify!($module), "::", stringify!($case)),
                run: |bench| Box::pin(run(bench, cases::$module::$case)),
            },
        )*)*];
    };
}

portable_cases!([list_cases]);
