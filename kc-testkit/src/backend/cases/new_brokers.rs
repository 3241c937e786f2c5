//! Errors of brokers that were just installed. On the embedded broker only.

use kc_broker::{CoordinatorError, CoordinatorRequest};
use kc_core::backend::{Committed, GroupStart, LogStart, Subscription};

use crate::backend::bench::{behind, gather, owned, read};
use crate::backend::{Bench, Failure};
use crate::failure::ensure_eq;

/// The number of requests of each kind that fail.
const FAILURES: u32 = 3;

/// Error 14, while the coordinator loads.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn coordinator_loads(bench: &Bench) -> Result<(), Failure> {
    like_new(bench, CoordinatorError::LoadInProgress).await
}

/// Error 15, before there is a coordinator.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn coordinator_not_available(bench: &Bench) -> Result<(), Failure> {
    like_new(bench, CoordinatorError::NotAvailable).await
}

/// Error 16, while the coordinator moves.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn not_coordinator(bench: &Bench) -> Result<(), Failure> {
    like_new(bench, CoordinatorError::NotCoordinator).await
}

/// A broker accepts members without giving them an id first. (In the other cases it gives them an id.)
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn without_member_id(bench: &Bench) -> Result<(), Failure> {
    bench.faults()?.require_member_id(false);
    group(bench).await
}

async fn like_new(bench: &Bench, error: CoordinatorError) -> Result<(), Failure> {
    let faults = bench.faults()?;
    faults.answer_like_new(error, FAILURES);
    group(bench).await?;
    for request in [
        CoordinatorRequest::FindCoordinator,
        CoordinatorRequest::JoinGroup,
        CoordinatorRequest::OffsetCommit,
        CoordinatorRequest::OffsetFetch,
    ] {
        ensure_eq("failures to come", faults.remaining(request), 0)?;
    }
    faults.answer_like_new(error, FAILURES);
    log(bench).await
}

/// A group reads and commits, and the next member continues at its position.
async fn group(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.topic("new-group", 1).await?;
    let topics = Subscription::to([&topic]);
    let group = bench.name("group");
    bench.send_values(&topic, &["a", "b"]).await?;
    for values in [&["a", "b"][..], &["c"]] {
        let mut member = bench
            .backend()
            .group_consumer(&group, &topics, GroupStart::Earliest)
            .await?;
        let got = gather(bench, &mut *member, values.len()).await?;
        ensure_eq("values", crate::backend::bench::values(&got), owned(values))?;
        member.store(&behind(&got));
        member.commit(bench.deadline()).await?;
        member.close(bench.deadline()).await?;
        bench.send_values(&topic, &["c"]).await?;
    }
    Ok(())
}

/// A log reader reads, commits and finds its committed positions.
async fn log(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.topic("new-log", 1).await?;
    let readers = bench.name("readers");
    let deadline = bench.deadline();
    bench.send_values(&topic, &["a"]).await?;
    let mut reader = bench.backend().log_reader(Some(&readers)).await?;
    let topics = std::slice::from_ref(&topic);
    ensure_eq(
        "positions",
        reader.committed(topics, deadline).await?,
        Vec::new(),
    )?;
    reader
        .assign(&[(topic.clone(), LogStart::Earliest)])
        .await?;
    read(bench, &mut *reader, 1).await?;
    let position = Committed {
        topic: topic.clone(),
        partition: 0,
        offset: 1,
    };
    reader
        .commit(std::slice::from_ref(&position), deadline)
        .await?;
    let committed = reader.committed(topics, deadline).await?;
    ensure_eq("positions", committed, vec![position])?;
    reader.close().await;
    Ok(())
}
