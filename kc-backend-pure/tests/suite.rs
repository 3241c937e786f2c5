//! The conformance suite detects faulty backends, by the cases meant for each fault.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use kc_backend_pure::PureBackend;
use kc_core::backend::{Backend, ClientSettings};
use kc_testkit::backend::{Bench, Broken, Failure, Fault, cases, run};

fn pure(bootstrap: &str) -> Box<dyn Backend> {
    let settings = ClientSettings::parse([
        ("bootstrap_servers", bootstrap),
        ("max_block_ms", "2000"),
        ("heartbeat_interval_ms", "100"),
    ]);
    Box::new(PureBackend::new(settings.unwrap()).unwrap())
}

async fn with(fault: Fault, case: impl AsyncFn(&Bench) -> Result<(), Failure>) {
    let make = move |bootstrap: &str| -> Box<dyn Backend> {
        Box::new(Broken::new(pure(bootstrap), fault))
    };
    let bench = Bench::embedded(make).await.unwrap();
    let bench = bench.patience(Duration::from_secs(3));
    let failure = run(&bench, case).await.unwrap_err();
    assert!(matches!(failure, Failure::Broken(_)), "{failure}");
}

macro_rules! catches {
    ($($name:ident: $fault:ident by $($module:ident :: $case:ident),*;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $(with(Fault::$fault, cases::$module::$case).await;)*
            }
        )*
    };
}

catches! {
    a_dropped_record: DropsRecords by records::order, records::many;
    a_swapped_pair: SwapsOrder by records::many;
    lost_headers: LosesHeaders by records::headers;
    emptied_nulls: EmptiesNulls by records::nulls;
    commits_too_early: CommitsTooEarly by groups::commit_and_resume_in_group, groups::commit_on_close;
    forgotten_commits: ForgetsToCommit by groups::commit_on_close, groups::rebalance;
    a_forgotten_start: ForgetsTheGroup by groups::start_is_kept, groups::start_is_taken_over, groups::start_of_late_topic_is_kept;
    ignored_pauses: IgnoresPauses by groups::pause_and_resume;
    ignored_seeks: IgnoresSeeks by groups::seek;
    forgotten_pauses: ForgetsPauses by groups::pause_across_rebalance;
    hidden_revocations: HidesRevocations by groups::rebalance;
    created_topics: CreatesTopics by topics::missing, topics::auto_creation;
    a_wrong_start: StartsAtBeginning by logs::starts, logs::commit_and_resume;
    a_wrong_group_start: TakesLatestAsEarliest by groups::latest;
    a_wrong_retention: ExpiresCompacted by topics::retention;
}
