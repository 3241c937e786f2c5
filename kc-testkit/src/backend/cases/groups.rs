//! Members of a group share partitions, and continue at the positions that the group has committed.

use std::collections::BTreeSet;
use std::sync::Arc;

use kc_core::backend::{
    BackendErrorKind, Committed, GroupConsumer, GroupStart, Polled, Record, Subscription,
    TopicPartition,
};
use tokio::time::Instant;

use crate::backend::bench::{POLL, behind, gather, owned, record, values};
use crate::backend::{Bench, Failure};
use crate::failure::{ensure, ensure_eq};

/// The next member starts at the stored and committed positions, not at the polled ones.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn commit_and_resume_in_group(bench: &Bench) -> Result<(), Failure> {
    resume(bench, true).await
}

/// Closing commits the stored positions, and no others.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn commit_on_close(bench: &Bench) -> Result<(), Failure> {
    resume(bench, false).await
}

async fn resume(bench: &Bench, commit: bool) -> Result<(), Failure> {
    let topic = bench.topic("resume", 1).await?;
    bench
        .send_values(&topic, &["a", "b", "c", "d", "e"])
        .await?;
    let mut first = join(bench, &[&topic], GroupStart::Earliest).await?;
    let polled = gather(bench, &mut *first, 5).await?;
    first.store(&behind(polled.get(..2).unwrap_or_default()));
    if commit {
        first.commit(bench.deadline()).await?;
    }
    first.close(bench.deadline()).await?;

    let mut second = join(bench, &[&topic], GroupStart::Earliest).await?;
    let got = gather(bench, &mut *second, 3).await?;
    ensure_eq("values", values(&got), owned(&["c", "d", "e"]))?;
    second.store(&behind(&got));
    second.commit(bench.deadline()).await?;
    second.close(bench.deadline()).await?;

    bench.send_values(&topic, &["f"]).await?;
    let mut third = join(bench, &[&topic], GroupStart::Earliest).await?;
    let got = gather(bench, &mut *third, 1).await?;
    ensure_eq("values", values(&got), owned(&["f"]))?;
    Ok(third.close(bench.deadline()).await?)
}

/// A committed position that the log does not contain is replaced by the beginning of the log.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn out_of_range_in_group(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.topic("out-of-range", 1).await?;
    bench.send_values(&topic, &["a", "b"]).await?;
    let group = bench.name("group");
    let mut reader = bench.backend().log_reader(Some(&group)).await?;
    let position = Committed {
        topic: topic.clone(),
        partition: 0,
        offset: 1_000,
    };
    reader.commit(&[position], bench.deadline()).await?;
    reader.close().await;
    let mut member = join(bench, &[&topic], GroupStart::Latest).await?;
    let got = gather(bench, &mut *member, 2).await?;
    ensure_eq("values", values(&got), owned(&["a", "b"]))?;
    member.close(bench.deadline()).await?;
    // This holds even after the log has grown past the position.
    let more: Vec<_> = (2..1_100).map(|_| record(&topic, 0, "c")).collect();
    bench.send(more).await?;
    let mut member = join(bench, &[&topic], GroupStart::Latest).await?;
    let got = gather(bench, &mut *member, 2).await?;
    let first = values(got.get(..2).unwrap_or_default());
    ensure_eq("values again", first, owned(&["a", "b"]))?;
    Ok(member.close(bench.deadline()).await?)
}

/// "Latest" skips exactly the records that exist when the member joins, even if it polls later: topics that appear
/// later are read from their first record.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn latest(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.topic("latest", 1).await?;
    let late = bench.name("appears");
    bench.send_values(&topic, &["a", "b"]).await?;
    let mut member = join(bench, &[&topic, &late], GroupStart::Latest).await?;
    bench.send_values(&topic, &["c"]).await?;
    let got = gather(bench, &mut *member, 1).await?;
    ensure_eq("values", values(&got), owned(&["c"]))?;
    member.store(&behind(&got));
    bench.create(&late, 1).await?;
    bench.send_values(&late, &["x"]).await?;
    let got = gather(bench, &mut *member, 1).await?;
    ensure_eq("values of a later topic", values(&got), owned(&["x"]))?;
    Ok(member.close(bench.deadline()).await?)
}

/// A group without stored positions still starts where its first member started, whatever start the next member
/// requests.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn start_is_kept(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.topic("start-kept", 2).await?;
    let both = |value| vec![record(&topic, 0, value), record(&topic, 1, value)];
    bench.send(both("before")).await?;
    let mut first = join(bench, &[&topic], GroupStart::Latest).await?;
    bench.send(both("waits")).await?;
    let polled = gather(bench, &mut *first, 2).await?;
    ensure_eq("values", values(&polled), owned(&["waits", "waits"]))?;
    first.close(bench.deadline()).await?;

    let mut second = join(bench, &[&topic], GroupStart::Latest).await?;
    let again = gather(bench, &mut *second, 2).await?;
    ensure_eq("values again", values(&again), owned(&["waits", "waits"]))?;
    Ok(second.close(bench.deadline()).await?)
}

/// Records that a member has not stored are read by the next owner of its partitions.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn start_is_taken_over(bench: &Bench) -> Result<(), Failure> {
    if !bench.backend().capabilities().groups {
        return Ok(());
    }
    let topic = bench.topic("taken-over", 2).await?;
    let mut first = join(bench, &[&topic], GroupStart::Latest).await?;
    bench
        .send(vec![record(&topic, 0, "waits"), record(&topic, 1, "waits")])
        .await?;
    gather(bench, &mut *first, 2).await?;

    let mut second = join(bench, &[&topic], GroupStart::Latest).await?;
    let end = Instant::now() + bench.deadline();
    let mut taken_over = Vec::new();
    while second.assignment().is_empty() || taken_over.is_empty() {
        ensure(Instant::now() < end, || {
            "unstored records were not read by the partition's next owner".to_owned()
        })?;
        let (of_first, of_second) = tokio::join!(first.poll(POLL), second.poll(POLL));
        of_first?;
        taken_over.extend(of_second?.records);
    }
    ensure_eq("values taken over", values(&taken_over), owned(&["waits"]))?;
    first.close(bench.deadline()).await?;
    Ok(second.close(bench.deadline()).await?)
}

/// A group without stored positions in a topic that appeared later starts at the topic's first record again.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn start_of_late_topic_is_kept(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.name("late-start-kept");
    let mut first = join(bench, &[&topic], GroupStart::Latest).await?;
    bench.create(&topic, 1).await?;
    bench.send_values(&topic, &["a", "b"]).await?;
    let polled = gather(bench, &mut *first, 2).await?;
    ensure_eq("values", values(&polled), owned(&["a", "b"]))?;
    first.close(bench.deadline()).await?;
    let mut second = join(bench, &[&topic], GroupStart::Latest).await?;
    let again = gather(bench, &mut *second, 2).await?;
    ensure_eq("values again", values(&again), owned(&["a", "b"]))?;
    Ok(second.close(bench.deadline()).await?)
}

/// A topic subscribed to by name is read once it exists, and joining does not create it.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn late_topic_in_group(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.name("late");
    let mut member = join(bench, &[&topic], GroupStart::Earliest).await?;
    let polled = member.poll(POLL).await?;
    ensure(polled.records.is_empty(), || {
        "records of no topic".to_owned()
    })?;
    bench.create(&topic, 2).await?;
    bench
        .send(vec![record(&topic, 0, "a"), record(&topic, 1, "b")])
        .await?;
    let got = gather(bench, &mut *member, 2).await?;
    let got: BTreeSet<String> = values(&got).into_iter().collect();
    ensure_eq("values", got, ["a".to_owned(), "b".to_owned()].into())?;
    ensure_eq("assignment", member.assignment().len(), 2)?;
    Ok(member.close(bench.deadline()).await?)
}

/// A regular expression selects the topics that match it, existing and later ones, and no others.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn pattern(bench: &Bench) -> Result<(), Failure> {
    let early = bench.topic("pattern-early", 1).await?;
    let excepted = bench.topic("pattern-excepted", 1).await?;
    let other = bench.topic("other", 1).await?;
    for topic in [&early, &excepted, &other] {
        bench.send_values(topic, &[topic]).await?;
    }
    let all = format!("^pattern-.*{}$", bench.name(""));
    let subscription = Subscription::parse([all])?.except(|topic| topic.contains("excepted"));
    let group = bench.name("group");
    let start = GroupStart::Earliest;
    let joining = bench.backend();
    let mut member = joining.group_consumer(&group, &subscription, start).await?;
    let got = gather(bench, &mut *member, 1).await?;
    ensure_eq("values", values(&got), vec![early])?;
    member.store(&behind(&got));

    let late = bench.topic("pattern-late", 1).await?;
    bench.send_values(&late, &["a", "b"]).await?;
    let got = gather(bench, &mut *member, 2).await?;
    ensure_eq("values of a later topic", values(&got), owned(&["a", "b"]))?;
    ensure_eq("assignment", member.assignment().len(), 2)?;
    Ok(member.close(bench.deadline()).await?)
}

/// Partitions that are added to a topic are read from their first record, even by a group that started at the end, and a
/// producer that runs already can send to them.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn added_partitions(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.topic("grows", 1).await?;
    bench.send_values(&topic, &["before"]).await?;
    let mut member = join(bench, &[&topic], GroupStart::Latest).await?;
    let mut polled = member.poll(POLL).await?;
    let producer = bench.backend().producer().await?;
    producer.enqueue(record(&topic, 0, "a")).await?.await?;
    bench.grow(&topic, 3).await?;

    let end = Instant::now() + bench.deadline();
    let to_last = record(&topic, 2, "b");
    loop {
        match producer.partitions(&topic, bench.deadline()).await? {
            Some(3) => {
                producer.enqueue(to_last).await?.await?;
                break;
            }
            // The backend does not answer this question: a new producer sends.
            None => break bench.send(vec![to_last]).await?,
            Some(_) => {
                in_time(end)?;
                tokio::time::sleep(POLL).await;
            }
        }
    }
    producer.close(bench.deadline()).await?;
    let mut got = BTreeSet::from_iter(values(&polled.records));
    while got.len() < 2 || member.assignment().len() < 3 {
        in_time(end)?;
        polled = member.poll(POLL).await?;
        got.extend(values(&polled.records));
    }
    ensure_eq("values", got, ["a".to_owned(), "b".to_owned()].into())?;
    Ok(member.close(bench.deadline()).await?)
}

/// A rebalance commits the positions of records that the application processed during the poll.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn processed_at_rebalance(bench: &Bench) -> Result<(), Failure> {
    if !bench.backend().capabilities().groups {
        return Ok(());
    }
    let topic = bench.topic("processed", 2).await?;
    let both = |value| vec![record(&topic, 0, value), record(&topic, 1, value)];
    bench.send(both("a")).await?;
    let mut first = join(bench, &[&topic], GroupStart::Earliest).await?;
    let positions = behind(&gather(bench, &mut *first, 2).await?);
    first.store_at_rebalance(Arc::new(move || positions.clone()));
    let mut second = join(bench, &[&topic], GroupStart::Earliest).await?;
    let (of_first, of_second) = share(bench, &mut *first, &mut *second, 1).await?;
    bench.send(both("b")).await?;
    let (next_of_first, next_of_second) = tokio::join!(
        gather(bench, &mut *first, 1),
        gather(bench, &mut *second, 1)
    );
    let mut got = [of_first.records, of_second.records].concat();
    got.extend(next_of_first?);
    got.extend(next_of_second?);
    ensure_eq(
        "values after the rebalance",
        values(&got),
        owned(&["b", "b"]),
    )?;
    second.close(bench.deadline()).await?;
    Ok(first.close(bench.deadline()).await?)
}

/// A second member takes over half of the partitions, and returns them when it leaves; each record is read by one of
/// the members, and no record with a stored position is read again.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn rebalance(bench: &Bench) -> Result<(), Failure> {
    if !bench.backend().capabilities().groups {
        return Ok(());
    }
    let topic = bench.topic("rebalance", 4).await?;
    let mut read = Vec::new();
    let mut first = join(bench, &[&topic], GroupStart::Earliest).await?;
    round(bench, &topic, "alone").await?;
    let got = gather(bench, &mut *first, ROUND).await?;
    first.store(&behind(&got));
    read.extend(got);
    ensure_eq("partitions of the only member", first.assignment().len(), 4)?;

    let mut second = join(bench, &[&topic], GroupStart::Earliest).await?;
    let (of_first, of_second) = share(bench, &mut *first, &mut *second, 2).await?;
    read.extend(of_first.records);
    read.extend(of_second.records);
    let taken: BTreeSet<TopicPartition> = second.assignment().into_iter().collect();
    let reported: BTreeSet<TopicPartition> = of_first.revoked.into_iter().collect();
    ensure(taken.is_subset(&reported), || {
        format!("revoked: {taken:?}, reported: {reported:?}")
    })?;
    ensure(
        first.assignment().iter().all(|at| !taken.contains(at)),
        || "a partition has two owners".to_owned(),
    )?;

    round(bench, &topic, "together").await?;
    let half = ROUND / 2;
    let (of_first, of_second) = tokio::join!(
        gather(bench, &mut *first, half),
        gather(bench, &mut *second, half)
    );
    let (of_first, of_second) = (of_first?, of_second?);
    first.store(&behind(&of_first));
    second.store(&behind(&of_second));
    read.extend(of_first);
    read.extend(of_second);
    second.close(bench.deadline()).await?;

    read.extend(take_over(bench, &mut *first, 4).await?);
    round(bench, &topic, "again alone").await?;
    read.extend(gather(bench, &mut *first, ROUND).await?);
    first.close(bench.deadline()).await?;

    let count = read.len();
    let distinct: BTreeSet<(i32, i64)> = read.iter().map(|r| (r.partition, r.offset)).collect();
    ensure_eq("records read", distinct.len(), 3 * ROUND)?;
    ensure_eq("records read, counting repetitions", count, 3 * ROUND)
}

/// Polls two members until each has `each` partitions; returns the records and revocations in the meantime.
async fn share(
    bench: &Bench,
    first: &mut dyn GroupConsumer,
    second: &mut dyn GroupConsumer,
    each: usize,
) -> Result<(Polled, Polled), Failure> {
    let end = Instant::now() + bench.deadline();
    let mut polled = (Polled::default(), Polled::default());
    while first.assignment().len() != each || second.assignment().len() != each {
        in_time(end)?;
        let (of_first, of_second) = tokio::join!(first.poll(POLL), second.poll(POLL));
        for (all, now) in [(&mut polled.0, of_first?), (&mut polled.1, of_second?)] {
            all.records.extend(now.records);
            all.revoked.extend(now.revoked);
        }
    }
    Ok(polled)
}

/// Polls a member until it has `all` partitions; returns the records in the meantime.
async fn take_over(
    bench: &Bench,
    member: &mut dyn GroupConsumer,
    all: usize,
) -> Result<Vec<Record>, Failure> {
    let end = Instant::now() + bench.deadline();
    let mut records = Vec::new();
    while member.assignment().len() != all {
        in_time(end)?;
        records.extend(member.poll(POLL).await?.records);
    }
    Ok(records)
}

fn in_time(end: Instant) -> Result<(), Failure> {
    ensure(Instant::now() < end, || {
        "the group did not settle".to_owned()
    })
}

/// A paused partition that another member owned in the meantime stays paused when it returns, until it is resumed.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn pause_across_rebalance(bench: &Bench) -> Result<(), Failure> {
    if !bench.backend().capabilities().groups {
        return Ok(());
    }
    let topic = bench.topic("paused-rebalance", 2).await?;
    let both = |value| vec![record(&topic, 0, value), record(&topic, 1, value)];
    // Not the present assignment, which may change at any time.
    let all = [0, 1].map(|partition| TopicPartition {
        topic: topic.clone(),
        partition,
    });
    let mut first = join(bench, &[&topic], GroupStart::Earliest).await?;
    bench.send(both("a")).await?;
    let got = gather(bench, &mut *first, 2).await?;
    first.store(&behind(&got));
    first.pause(&all);
    bench.send(both("b")).await?;

    let mut second = join(bench, &[&topic], GroupStart::Earliest).await?;
    let (of_first, of_second) = share(bench, &mut *first, &mut *second, 1).await?;
    let mut paused = of_first.records;
    let mut got = of_second.records;
    if got.is_empty() {
        got = gather(bench, &mut *second, 1).await?;
    }
    ensure_eq("values of the other member", values(&got), owned(&["b"]))?;
    second.close(bench.deadline()).await?;
    paused.extend(take_over(bench, &mut *first, 2).await?);
    bench.send(both("c")).await?;
    paused.extend(first.poll(POLL).await?.records);
    ensure_eq("values while paused", values(&paused), owned(&[]))?;

    first.resume(&all);
    let got = gather(bench, &mut *first, 4).await?;
    for partition in [0, 1] {
        let of_it = got.iter().filter(|record| record.partition == partition);
        let of_it: Vec<Record> = of_it.cloned().collect();
        ensure_eq("values after it", values(&of_it), owned(&["b", "c"]))?;
    }
    Ok(first.close(bench.deadline()).await?)
}

/// A position that a member stores for a partition of another member has no effect, even when the partition returns to
/// it.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn store_across_rebalance(bench: &Bench) -> Result<(), Failure> {
    if !bench.backend().capabilities().groups {
        return Ok(());
    }
    let topic = bench.topic("stored-rebalance", 2).await?;
    let both = |value| vec![record(&topic, 0, value), record(&topic, 1, value)];
    let mut first = join(bench, &[&topic], GroupStart::Earliest).await?;
    bench.send([both("a"), both("b")].concat()).await?;
    gather(bench, &mut *first, 4).await?;

    let mut second = join(bench, &[&topic], GroupStart::Earliest).await?;
    let (_, of_second) = share(bench, &mut *first, &mut *second, 1).await?;
    let mut got = of_second.records;
    if got.len() < 2 {
        got.extend(gather(bench, &mut *second, 2 - got.len()).await?);
    }
    let taken = second.assignment().into_iter().next();
    let taken = taken.ok_or_else(|| Failure::Broken("no assignment".to_owned()))?;
    second.store(&behind(&got));
    second.commit(bench.deadline()).await?;
    // The first member finishes its work on the first record only now.
    first.store(&[(taken.clone(), 1)]);
    first.commit(bench.deadline()).await?;
    second.close(bench.deadline()).await?;
    take_over(bench, &mut *first, 2).await?;
    // The same when it owns the partition again, from the position that the second member reached.
    first.store(&[(taken.clone(), 1)]);
    first.close(bench.deadline()).await?;

    let sent = vec![record(&topic, taken.partition, "c")];
    bench.send(sent).await?;
    let mut third = join(bench, &[&topic], GroupStart::Earliest).await?;
    let mut got = gather(bench, &mut *third, 3).await?;
    got.retain(|record| record.partition == taken.partition);
    ensure_eq(
        "values after the stored position",
        values(&got),
        owned(&["c"]),
    )?;
    Ok(third.close(bench.deadline()).await?)
}

/// The number of records that a round sends, evenly to 4 partitions.
const ROUND: usize = 40;

async fn round(bench: &Bench, topic: &str, value: &str) -> Result<(), Failure> {
    let records = (0..4_i32).cycle().take(ROUND);
    let records = records.map(|partition| record(topic, partition, value));
    bench.send(records.collect()).await
}

/// A paused partition returns no records while others do; when resumed, it continues at its position.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn pause_and_resume(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.topic("pauses", 2).await?;
    let mut member = join(bench, &[&topic], GroupStart::Earliest).await?;
    bench
        .send(vec![record(&topic, 0, "a0"), record(&topic, 1, "a1")])
        .await?;
    gather(bench, &mut *member, 2).await?;

    let zero = TopicPartition {
        topic: topic.clone(),
        partition: 0,
    };
    member.pause(std::slice::from_ref(&zero));
    let sent: Vec<_> = (0..10)
        .flat_map(|i| [record(&topic, 0, &format!("b{i}")), record(&topic, 1, "b")])
        .collect();
    bench.send(sent).await?;
    let others = gather(bench, &mut *member, 10).await?;
    let only_others = others.iter().all(|record| record.partition == 1);
    ensure(only_others, || "a record of a paused partition".to_owned())?;
    let none = member.poll(POLL).await?.records;
    ensure(none.is_empty(), || {
        "a record of a paused partition".to_owned()
    })?;
    ensure_eq("assignment while paused", member.assignment().len(), 2)?;

    member.resume(&[zero]);
    let got: Vec<Record> = gather(bench, &mut *member, 10).await?;
    let want: Vec<String> = (0..10).map(|i| format!("b{i}")).collect();
    ensure_eq("values after the pause", values(&got), want)?;
    Ok(member.close(bench.deadline()).await?)
}

/// After a seek, a member returns the records from the offset on, and no other partition is read again. Positions from
/// the offset on can be stored.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn seek(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.topic("seek", 2).await?;
    let letters = ["a", "b", "c", "d", "e"];
    let sent = letters.map(|value| record(&topic, 0, value));
    bench.send(sent.into()).await?;
    bench.send(vec![record(&topic, 1, "x")]).await?;
    let mut member = join(bench, &[&topic], GroupStart::Earliest).await?;
    let got = gather(bench, &mut *member, 6).await?;
    member.store(&behind(&got));
    let at = |partition| TopicPartition {
        topic: topic.clone(),
        partition,
    };
    let seeks = [
        (1, &letters[1..]),
        (3, &letters[3..]),
        (1_000, &letters[..]),
    ];
    for (offset, want) in seeks {
        member.seek(&at(0), offset).await?;
        let got = gather(bench, &mut *member, want.len()).await?;
        ensure_eq("values", values(&got), owned(want))?;
    }
    // The other partition returns nothing again, whether or not records were read after a seek.
    member.seek(&at(0), 4).await?;
    member.seek(&at(1), 1).await?;
    let got = gather(bench, &mut *member, 1).await?;
    ensure_eq("values", values(&got), owned(&letters[4..]))?;
    let none = member.poll(POLL).await?.records;
    ensure_eq("values after the end", values(&none), owned(&[]))?;
    let unknown = member.seek(&at(2), 0).await.map_err(|error| error.kind());
    ensure_eq(
        "foreign partition",
        unknown,
        Err(BackendErrorKind::NotAssigned),
    )?;
    member.store(&[(at(0), 4), (at(1), 1)]);
    member.close(bench.deadline()).await?;

    let mut next = join(bench, &[&topic], GroupStart::Earliest).await?;
    let got = gather(bench, &mut *next, 1).await?;
    ensure_eq("values of the next member", values(&got), owned(&["e"]))?;
    Ok(next.close(bench.deadline()).await?)
}

/// A poll without records ends, and later polls return later records.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn nothing_comes_to_group(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.topic("nothing", 1).await?;
    let mut member = join(bench, &[&topic], GroupStart::Earliest).await?;
    let polled = member.poll(POLL).await?;
    ensure(polled.records.is_empty(), || {
        "records of an empty topic".to_owned()
    })?;
    // A commit without stored positions is no error.
    member.commit(bench.deadline()).await?;
    bench.send_values(&topic, &["a"]).await?;
    let got = gather(bench, &mut *member, 1).await?;
    ensure_eq("values", values(&got), owned(&["a"]))?;
    Ok(member.close(bench.deadline()).await?)
}

async fn join(
    bench: &Bench,
    topics: &[&str],
    start: GroupStart,
) -> Result<Box<dyn GroupConsumer>, Failure> {
    let group = bench.name("group");
    let topics = Subscription::parse(topics.iter().copied())?;
    Ok(bench
        .backend()
        .group_consumer(&group, &topics, start)
        .await?)
}
