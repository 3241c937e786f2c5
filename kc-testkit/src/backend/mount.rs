/// Mounts the [cases](crate::backend::cases) as tests of a backend, which a function makes for a
/// bootstrap address: `fn(&str) -> Box<dyn Backend>`.
///
/// `backend_conformance!(make)` runs them all, each on a kc-broker of its own.
/// `backend_conformance!(make, external: address)` runs those that any broker can serve, on the broker at
/// this address (an expression, evaluated when a test runs).
///
/// The crate that invokes it needs `tokio` with the features `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! backend_conformance {
    ($make:expr) => {
        $crate::backend_conformance!(@portable $crate::backend::Bench::embedded($make).await.unwrap());
        $crate::backend_conformance!(@mount $crate::backend::Bench::embedded($make).await.unwrap();
            outages { stopped, started_anew }
            new_brokers {
                coordinator_loads, coordinator_not_available, not_coordinator, without_member_id
            }
        );
    };
    ($make:expr, external: $address:expr) => {
        $crate::backend_conformance!(@portable $crate::backend::Bench::external($make, $address));
    };
    (@portable $bench:expr) => {
        $crate::backend_conformance!(@mount $bench;
            records { order, nulls, headers, large, many, deliveries, too_large }
            logs {
                starts, out_of_range, commit_and_resume, without_group, watermarks, late_topic, nothing_comes
            }
            groups {
                commit_and_resume_in_group, commit_on_close, latest, late_topic_in_group, rebalance,
                start_is_kept, start_of_late_topic_is_kept, out_of_range_in_group, pause_and_resume,
                nothing_comes_to_group
            }
            topics { missing, auto_creation, created_twice, specs, invalid_name }
            unreachable { nobody_listens }
        );
    };
    (@mount $bench:expr; $($module:ident { $($case:ident),* $(,)? })*) => {
        $(mod $module {
            #[allow(unused_imports)]
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let bench = $bench;
                    $crate::backend::run(&bench, $crate::backend::cases::$module::$case)
                        .await
                        .unwrap();
                }
            )*
        })*
    };
}
