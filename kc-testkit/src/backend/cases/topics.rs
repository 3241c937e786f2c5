//! Topics are created on request, and only then. Their retention is known.

use kc_core::backend::{BackendErrorKind, Cleanup, Retention, TopicSpec};

use crate::backend::bench::{WEEK, record};
use crate::backend::{Bench, Failure};
use crate::failure::{ensure, ensure_eq, ensure_fails};

/// All calls that need a topic report a missing one, and do not create it.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn missing(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.name("missing");
    let deadline = bench.deadline();
    let admin = bench.backend().admin().await?;
    let none = admin.partitions(&topic, false, deadline).await?;
    ensure_eq("partitions of a missing topic", none, None)?;

    let producer = bench.backend().producer().await?;
    let sent = match producer.enqueue(record(&topic, 0, "x")).await {
        Ok(delivery) => delivery.await.map(drop),
        Err(error) => Err(error),
    };
    let error = ensure_fails("send", sent, &[BackendErrorKind::UnknownTopic])?;
    let named = error.to_string().contains(&topic);
    ensure(named, || {
        format!("the error does not name the topic: {error}")
    })?;
    // Its failure may be reported once more.
    let _ = producer.close(deadline).await;

    let none = admin.partitions(&topic, false, deadline).await?;
    ensure_eq("partitions after sending", none, None)?;
    let topics = admin.topics(deadline).await?;
    ensure(!topics.contains(&topic), || {
        "the topic is listed".to_owned()
    })?;
    admin.close().await;
    Ok(())
}

/// A request for a topic creates it only if that is requested, and if the broker allows it.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn auto_creation(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.name("wanted");
    let deadline = bench.deadline();
    let admin = bench.backend().admin().await?;
    let none = admin.partitions(&topic, false, deadline).await?;
    ensure_eq("partitions before it was wanted", none, None)?;
    let created = admin.partitions(&topic, true, deadline).await?;
    ensure(created.is_some() || bench.faults().is_err(), || {
        "the broker was not asked to create the topic".to_owned()
    })?;
    let found = admin.partitions(&topic, false, deadline).await?;
    ensure_eq("partitions afterwards", found, created)?;
    admin.close().await;
    Ok(())
}

/// A topic cannot be created twice.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn created_twice(bench: &Bench) -> Result<(), Failure> {
    if !bench.backend().capabilities().topic_creation {
        return Ok(());
    }
    let topic = bench.topic("twice", 1).await?;
    let again = match bench.create(&topic, 1).await {
        Err(Failure::Backend(error)) => Err(error),
        other => Ok(other?),
    };
    ensure_fails("create", again, &[BackendErrorKind::TopicExists])?;
    Ok(())
}

/// Partitions, replication and compaction are as specified; the list of topics is sorted.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn specs(bench: &Bench) -> Result<(), Failure> {
    if !bench.backend().capabilities().topic_creation {
        return Ok(());
    }
    let deadline = bench.deadline();
    let admin = bench.backend().admin().await?;
    let mut names = Vec::new();
    for (what, partitions, replication, cleanup) in [
        ("z-plain", 3, None, Cleanup::AsBroker),
        ("a-compacted", 1, Some(1), Cleanup::Compact),
        ("b-unlimited", 1, None, Cleanup::Never),
    ] {
        let spec = TopicSpec {
            name: bench.name(what),
            partitions,
            replication,
            cleanup,
        };
        admin.create_topic(&spec, deadline).await?;
        let found = admin.partitions(&spec.name, false, deadline).await?;
        ensure_eq("partitions", found, usize::try_from(partitions).ok())?;
        names.push(spec.name);
    }
    let topics = admin.topics(deadline).await?;
    admin.close().await;
    for name in &names {
        ensure(topics.contains(name), || format!("{name} is not listed"))?;
    }
    ensure(topics.is_sorted(), || "the list is not sorted".to_owned())
}

/// An invalid topic name is refused at once.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn invalid_name(bench: &Bench) -> Result<(), Failure> {
    if !bench.backend().capabilities().topic_creation {
        return Ok(());
    }
    let spec = TopicSpec::data("no/such name", 1);
    let admin = bench.backend().admin().await?;
    let created = admin.create_topic(&spec, bench.deadline()).await;
    admin.close().await;
    let kinds = [BackendErrorKind::Rejected, BackendErrorKind::Configuration];
    let error = ensure_fails("create", created, &kinds)?;
    ensure(!error.is_retriable(), || format!("{error} is retriable"))
}

/// Compacted topics keep their records forever, data topics as long as the broker's default says. A missing topic has no
/// retention, and is not created.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn retention(bench: &Bench) -> Result<(), Failure> {
    if !bench.backend().capabilities().topic_creation {
        return Ok(());
    }
    let deadline = bench.deadline();
    let admin = bench.backend().admin().await?;
    let missing = bench.name("missing");
    let none = admin.retention(&missing, deadline).await?;
    ensure_eq("retention of a missing topic", none, None)?;
    let none = admin.partitions(&missing, false, deadline).await?;
    ensure_eq("partitions of the missing topic", none, None)?;

    let data = TopicSpec::data(bench.name("data"), 1);
    admin.create_topic(&data, deadline).await?;
    let found = admin.retention(&data.name, deadline).await?;
    let is_default = found == Some(Retention::For(WEEK));
    // Another broker may have another default.
    ensure(
        is_default || (found.is_some() && bench.faults().is_err()),
        || format!("the retention of a data topic is {found:?}"),
    )?;

    let unlimited = TopicSpec {
        cleanup: Cleanup::Never,
        ..TopicSpec::data(bench.name("unlimited"), 1)
    };
    let control = TopicSpec::control(bench.name("control"));
    for spec in [unlimited, control] {
        admin.create_topic(&spec, deadline).await?;
        let found = admin.retention(&spec.name, deadline).await?;
        ensure_eq(
            "retention of a topic without a limit",
            found,
            Some(Retention::Forever),
        )?;
    }
    admin.close().await;
    Ok(())
}
