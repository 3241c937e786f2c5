//! Unlimited waits: [`Duration::MAX`] is a valid deadline.

use std::time::Duration;

use kc_core::backend::{Committed, GroupStart, LogStart, Subscription};

use crate::backend::bench::{behind, record, values};
use crate::backend::{Bench, Failure};
use crate::failure::{ensure, ensure_eq};

const EVER: Duration = Duration::MAX;

/// Metadata arrive, without any further wait.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn administering(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.topic("endless", 1).await?;
    let admin = bench.backend().admin().await?;
    let partitions = admin.partitions(&topic, true, EVER).await?;
    ensure_eq("partitions", partitions, Some(1))?;
    let topics = admin.topics(EVER).await?;
    ensure(topics.contains(&topic), || {
        "the topic is not listed".to_owned()
    })?;
    admin.close().await;
    Ok(())
}

/// Records are sent, without any further wait.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn sending(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.topic("endless", 1).await?;
    let producer = bench.backend().producer().await?;
    drop(producer.enqueue(record(&topic, 0, "a")).await?);
    producer.flush(EVER).await?;
    Ok(producer.close(EVER).await?)
}

/// A poll ends with the first records.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn reading(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.topic("endless", 1).await?;
    bench.send_values(&topic, &["a"]).await?;
    let group = bench.name("group");
    let mut reader = bench.backend().log_reader(Some(&group)).await?;
    reader
        .assign(&[(topic.clone(), LogStart::Earliest)])
        .await?;
    ensure_eq(
        "values",
        values(&reader.poll(EVER).await?),
        vec!["a".to_owned()],
    )?;
    let have = reader.watermarks(&topic, EVER).await?;
    ensure_eq(
        "end",
        have.and_then(|have| Some(have.first()?.high)),
        Some(1),
    )?;
    let position = Committed {
        topic: topic.clone(),
        partition: 0,
        offset: 1,
    };
    reader.commit(std::slice::from_ref(&position), EVER).await?;
    let committed = reader.committed(&[topic], EVER).await?;
    ensure_eq("committed positions", committed, vec![position])?;
    reader.close().await;
    Ok(())
}

/// A poll ends with the first records, and closing ends when stored positions are committed.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn sharing(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.topic("endless", 1).await?;
    bench.send_values(&topic, &["a"]).await?;
    let topics = Subscription::parse([topic.as_str()])?;
    let group = bench.name("group");
    let mut member = bench
        .backend()
        .group_consumer(&group, &topics, GroupStart::Earliest)
        .await?;
    let mut records = Vec::new();
    while records.is_empty() {
        records = member.poll(EVER).await?.records;
    }
    ensure_eq("values", values(&records), vec!["a".to_owned()])?;
    member.store(&behind(&records));
    member.commit(EVER).await?;
    Ok(member.close(EVER).await?)
}
