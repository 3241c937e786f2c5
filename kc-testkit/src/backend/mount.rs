use std::future::Future;
use std::pin::Pin;

use super::{Bench, Failure, cases, run};

/// Mounts the [cases](crate::backend::cases) as tests of a backend, which a function makes for a
/// bootstrap address: `fn(&str) -> Box<dyn Backend>`. Each runs on a kc-broker of its own.
///
/// The crate that invokes it needs `tokio` with the features `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! backend_conformance {
    ($make:expr) => {
        $crate::portable_cases!([$crate::mount_cases] $make);
        $crate::mount_cases!($make;
            outages { stopped, started_anew }
            new_brokers {
                coordinator_loads, coordinator_not_available, not_coordinator, without_member_id
            }
        );
    };
}

/// Calls a macro with the cases that any broker can serve.
#[doc(hidden)]
#[macro_export]
macro_rules! portable_cases {
    ([$($then:tt)*] $($argument:tt)*) => {
        $($then)*!($($argument)*;
            records { order, nulls, headers, large, many, deliveries, too_large }
            logs {
                starts, out_of_range, commit_and_resume, without_group, watermarks, late_topic, nothing_comes, unassign
            }
            groups {
                commit_and_resume_in_group, commit_on_close, latest, late_topic_in_group, pattern, rebalance,
                start_is_kept, start_is_taken_over, start_of_late_topic_is_kept, out_of_range_in_group, pause_and_resume,
                pause_across_rebalance, store_across_rebalance, nothing_comes_to_group
            }
            endless { administering, sending, reading, sharing }
            topics { missing, auto_creation, created_twice, specs, invalid_name }
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

/// One of the [cases](crate::backend::cases), for harnesses that choose at run time.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its module and name: `groups::rebalance`.
    pub name: &'static str,
    run: for<'b> fn(&'b Bench) -> CaseFuture<'b>,
}

type CaseFuture<'b> = Pin<Box<dyn Future<Output = Result<(), Failure>> + 'b>>;

impl Case {
    /// Runs it.
    ///
    /// # Errors
    /// [`Failure`], see [`run`].
    pub async fn run(&self, bench: &Bench) -> Result<(), Failure> {
        (self.run)(bench).await
    }
}

macro_rules! list_cases {
    (; $($module:ident { $($case:ident),* $(,)? })*) => {
        /// The cases that any broker can serve.
        pub const PORTABLE: &[Case] = &[$($(
            Case {
                name: concat!(stringify!($module), "::", stringify!($case)),
                run: |bench| Box::pin(run(bench, cases::$module::$case)),
            },
        )*)*];
    };
}

portable_cases!([list_cases]);
