//! A log reader reads all partitions from given starts.

use kc_core::backend::{BackendErrorKind, Committed, LogReader, LogStart, Watermarks};

use crate::backend::bench::{POLL, owned, read, record, values};
use crate::backend::{Bench, Failure};
use crate::failure::{ensure, ensure_eq, ensure_fails};

/// Each start has its meaning.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn starts(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.topic("starts", 1).await?;
    bench.send_values(&topic, &["a", "b", "c"]).await?;

    let mut latest = reader(bench, &topic, LogStart::Latest).await?;
    let mut earliest = reader(bench, &topic, LogStart::Earliest).await?;
    let mut second = reader(bench, &topic, LogStart::offset(1)).await?;
    let mut end = reader(bench, &topic, LogStart::offset(3)).await?;
    bench.send_values(&topic, &["d"]).await?;
    for (what, reader, want) in [
        ("from the end", &mut latest, &["d"][..]),
        ("from the beginning", &mut earliest, &["a", "b", "c", "d"]),
        ("from an offset", &mut second, &["b", "c", "d"]),
        ("from the end's offset", &mut end, &["d"]),
    ] {
        let got = read(bench, &mut **reader, want.len()).await?;
        ensure_eq(what, values(&got), owned(want))?;
    }
    for reader in [latest, earliest, second, end] {
        reader.close().await;
    }
    Ok(())
}

/// An offset that the log does not contain is replaced by the beginning of the log.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn out_of_range(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.topic("out-of-range", 1).await?;
    bench.send_values(&topic, &["a", "b"]).await?;
    for offset in [3, 1_000, i64::MAX, -7] {
        let mut reader = reader(bench, &topic, LogStart::offset(offset)).await?;
        let got = read(bench, &mut *reader, 2).await?;
        ensure_eq("values", values(&got), owned(&["a", "b"]))?;
        reader.close().await;
    }
    Ok(())
}

/// Committed positions are returned to the next reader of the group, and to no other group.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn commit_and_resume(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.topic("commits", 1).await?;
    let other = bench.topic("uncommitted", 1).await?;
    let group = bench.name("group");
    let deadline = bench.deadline();
    bench.send_values(&topic, &["a", "b", "c"]).await?;

    let topics = [topic.clone(), other];
    let mut first = bench.backend().log_reader(Some(&group)).await?;
    let none = first.committed(&topics, deadline).await?;
    ensure_eq("positions of a new group", none, Vec::new())?;
    first.assign(&[(topic.clone(), LogStart::Earliest)]).await?;
    read(bench, &mut *first, 3).await?;
    let position = Committed {
        topic: topic.clone(),
        partition: 0,
        offset: 2,
    };
    first
        .commit(std::slice::from_ref(&position), deadline)
        .await?;
    first.close().await;

    let mut second = bench.backend().log_reader(Some(&group)).await?;
    let committed = second.committed(&topics, deadline).await?;
    ensure_eq("committed positions", committed, vec![position])?;
    second.assign(&[(topic, LogStart::offset(2))]).await?;
    let got = read(bench, &mut *second, 1).await?;
    ensure_eq("values", values(&got), owned(&["c"]))?;
    second.close().await;

    let mut stranger = bench
        .backend()
        .log_reader(Some(&bench.name("stranger")))
        .await?;
    let none = stranger.committed(&topics, deadline).await?;
    ensure_eq("positions of another group", none, Vec::new())?;
    stranger.close().await;
    Ok(())
}

/// Without a group there are no committed positions.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn without_group(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.topic("groupless", 1).await?;
    let deadline = bench.deadline();
    let mut reader = bench.backend().log_reader(None).await?;
    let asked = reader
        .committed(std::slice::from_ref(&topic), deadline)
        .await;
    ensure_fails("committed", asked, &[BackendErrorKind::Unsupported])?;
    let committed = reader
        .commit(
            &[Committed {
                topic,
                partition: 0,
                offset: 0,
            }],
            deadline,
        )
        .await;
    ensure_fails("commit", committed, &[BackendErrorKind::Unsupported])?;
    reader.close().await;
    Ok(())
}

/// Watermarks are those of each partition; a missing topic has none.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn watermarks(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.topic("watermarks", 2).await?;
    let missing = bench.name("missing");
    let deadline = bench.deadline();
    let mut reader = bench.backend().log_reader(None).await?;
    let empty = reader.watermarks(&topic, deadline).await?;
    ensure_eq(
        "of an empty topic",
        empty,
        Some(vec![Watermarks { low: 0, high: 0 }; 2]),
    )?;
    bench.send_values(&topic, &["a", "b"]).await?;
    let two = reader.watermarks(&topic, deadline).await?;
    let [first, second] = [2, 0].map(|high| Watermarks { low: 0, high });
    ensure_eq("of two records", two, Some(vec![first, second]))?;
    let none = reader.watermarks(&missing, deadline).await?;
    ensure_eq("of no topic", none, None)?;
    reader.close().await;
    no_topic(bench, &missing).await
}

/// A topic that appears after its assignment is read from its first record, whatever the start; other topics are read
/// in the meantime.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn late_topic(bench: &Bench) -> Result<(), Failure> {
    let early = bench.topic("early", 1).await?;
    let late = bench.name("late");
    let later = bench.name("later");
    let mut reader = bench.backend().log_reader(None).await?;
    reader
        .assign(&[
            (early.clone(), LogStart::Earliest),
            (late.clone(), LogStart::Latest),
            (later.clone(), LogStart::offset(7)),
        ])
        .await?;
    bench.send_values(&early, &["early"]).await?;
    let got = read(bench, &mut *reader, 1).await?;
    ensure_eq("the topic that exists", values(&got), owned(&["early"]))?;
    no_topic(bench, &late).await?;

    for topic in [&late, &later] {
        bench.create(topic, 1).await?;
        bench.send_values(topic, &["a", "b"]).await?;
        let got = read(bench, &mut *reader, 2).await?;
        ensure_eq("the topic that appeared", values(&got), owned(&["a", "b"]))?;
    }
    reader.close().await;
    Ok(())
}

/// All partitions of a topic are read, each from its own start. That includes partitions of a topic that appears after
/// its assignment, and partitions that are added.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn all_partitions(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.topic("spread", 3).await?;
    let group = bench.name("group");
    let deadline = bench.deadline();
    let late = bench.name("late-spread");
    for partition in 0..3 {
        send(bench, &topic, partition, &["a", "b"]).await?;
    }
    let mut reader = bench.backend().log_reader(Some(&group)).await?;
    let position = |partition, offset| Committed {
        topic: topic.clone(),
        partition,
        offset,
    };
    let positions = [position(0, 2), position(2, 1)];
    reader.commit(&positions, deadline).await?;
    let topics = [topic.clone(), late.clone()];
    let mut committed = reader.committed(&topics, deadline).await?;
    committed.sort_by_key(|at| at.partition);
    ensure_eq("committed positions", &committed[..], &positions)?;
    let offsets = committed.iter().map(|at| (at.partition, at.offset));
    reader
        .assign(&[
            (topic.clone(), LogStart::Offsets(offsets.collect())),
            (late.clone(), LogStart::Latest),
        ])
        .await?;
    let mut got = read(bench, &mut *reader, 3).await?;
    got.sort_by_key(|record| (record.partition, record.offset));
    let places: Vec<_> = got.iter().map(|it| (it.partition, it.offset)).collect();
    ensure_eq("places", places, vec![(1, 0), (1, 1), (2, 1)])?;

    bench.create(&late, 4).await?;
    send(bench, &late, 3, &["c"]).await?;
    let got = read(bench, &mut *reader, 1).await?;
    ensure_eq("the topic that appeared", values(&got), owned(&["c"]))?;

    let admin = bench.backend().admin().await?;
    let added = admin.add_partitions(&topic, 5, deadline).await;
    admin.close().await;
    if !added.is_err_and(|error| error.kind() == BackendErrorKind::Unsupported) {
        send(bench, &topic, 4, &["d"]).await?;
        let got = read(bench, &mut *reader, 1).await?;
        ensure_eq("the partition that was added", values(&got), owned(&["d"]))?;
    }
    reader.unassign(&topics).await?;
    send(bench, &topic, 2, &["e"]).await?;
    let none = reader.poll(POLL).await?;
    ensure(none.is_empty(), || "records of no topic".to_owned())?;
    reader.close().await;
    Ok(())
}

/// Unassigned topics are not read any more, others are, and unassigned topics can be assigned again.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn unassign(bench: &Bench) -> Result<(), Failure> {
    let kept = bench.topic("kept", 1).await?;
    let left = bench.topic("left", 1).await?;
    let missing = bench.name("missing");
    let mut reader = bench.backend().log_reader(None).await?;
    let from_beginning = |topic: &String| (topic.clone(), LogStart::Earliest);
    let all = [&kept, &left, &missing].map(from_beginning);
    reader.assign(&all).await?;
    bench.send_values(&left, &["a"]).await?;
    let got = read(bench, &mut *reader, 1).await?;
    ensure_eq("before", values(&got), owned(&["a"]))?;

    let never_read = bench.name("never-read");
    reader
        .unassign(&[left.clone(), missing.clone(), never_read])
        .await?;
    bench.send_values(&left, &["b"]).await?;
    bench.create(&missing, 1).await?;
    bench.send_values(&missing, &["c"]).await?;
    bench.send_values(&kept, &["d"]).await?;
    let mut got = read(bench, &mut *reader, 1).await?;
    got.extend(reader.poll(POLL).await?);
    ensure_eq("meanwhile", values(&got), owned(&["d"]))?;

    reader.assign(&[(left, LogStart::offset(1))]).await?;
    let got = read(bench, &mut *reader, 1).await?;
    ensure_eq("after", values(&got), owned(&["b"]))?;
    reader.close().await;
    Ok(())
}

/// A poll without records ends, and later polls return later records.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn nothing_comes(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.topic("nothing", 1).await?;
    let mut reader = bench.backend().log_reader(None).await?;
    let unassigned = reader.poll(POLL).await?;
    ensure(unassigned.is_empty(), || "records of no topic".to_owned())?;
    reader
        .assign(&[(topic.clone(), LogStart::Earliest)])
        .await?;
    let none = reader.poll(POLL).await?;
    ensure(none.is_empty(), || "records of an empty topic".to_owned())?;
    bench.send_values(&topic, &["a"]).await?;
    let got = read(bench, &mut *reader, 1).await?;
    ensure_eq("values", values(&got), owned(&["a"]))?;
    reader.close().await;
    Ok(())
}

async fn reader(
    bench: &Bench,
    topic: &str,
    start: LogStart,
) -> Result<Box<dyn LogReader>, Failure> {
    let mut reader = bench.backend().log_reader(None).await?;
    reader.assign(&[(topic.to_owned(), start)]).await?;
    Ok(reader)
}

async fn send(bench: &Bench, topic: &str, partition: i32, values: &[&str]) -> Result<(), Failure> {
    let producer = bench.backend().producer().await?;
    for value in values {
        producer
            .enqueue(record(topic, partition, value))
            .await?
            .await?;
    }
    producer.close(bench.deadline()).await?;
    Ok(())
}

/// Fails if reading has created a topic.
async fn no_topic(bench: &Bench, topic: &str) -> Result<(), Failure> {
    let admin = bench.backend().admin().await?;
    let partitions = admin.partitions(topic, false, bench.deadline()).await?;
    admin.close().await;
    ensure_eq(
        "partitions of a topic that was not created",
        partitions,
        None,
    )
}
