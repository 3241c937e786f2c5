//! Records are received as they were sent.

use kc_core::backend::{
    BackendErrorKind, GroupStart, Header, LogStart, OutgoingRecord, Record, Subscription,
};

use crate::backend::bench::{gather, read, record, values};
use crate::backend::{Bench, Failure};
use crate::failure::{ensure, ensure_eq, ensure_fails};

/// Order is kept in each partition.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn order(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.topic("order", 3).await?;
    let sent: Vec<OutgoingRecord> = (0..300)
        .map(|i| record(&topic, i % 3, &i.to_string()))
        .collect();
    bench.send(sent).await?;

    let mut consumer = bench
        .backend()
        .group_consumer(
            &bench.name("group"),
            &Subscription::to([topic]),
            GroupStart::Earliest,
        )
        .await?;
    let got = gather(bench, &mut *consumer, 300).await?;
    consumer.close(bench.deadline()).await?;
    for partition in 0..3 {
        let of_partition: Vec<Record> = got
            .iter()
            .filter(|record| record.partition == partition)
            .cloned()
            .collect();
        let want: Vec<String> = (partition..300).step_by(3).map(|i| i.to_string()).collect();
        ensure_eq("values of a partition", values(&of_partition), want)?;
    }
    Ok(())
}

/// Null and empty keys and values are distinguished.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn nulls(bench: &Bench) -> Result<(), Failure> {
    let backend = bench.backend();
    if !backend.capabilities().nulls {
        return Ok(());
    }
    let topic = bench.topic("nulls", 1).await?;
    let contents = [None, Some(Vec::new()), Some(b"x".to_vec())];
    let mut pairs = Vec::new();
    for key in &contents {
        for value in &contents {
            pairs.push((key.clone(), value.clone()));
        }
    }
    let sent = pairs.iter().cloned().map(|(key, value)| OutgoingRecord {
        topic: topic.clone(),
        partition: Some(0),
        key,
        value,
        ..OutgoingRecord::default()
    });
    bench.send(sent.collect()).await?;

    let got = read_log(bench, &topic, pairs.len()).await?;
    let got = got.into_iter();
    let got: Vec<_> = got
        .map(|got| (got.key.map(Vec::from), got.value.map(Vec::from)))
        .collect();
    ensure_eq("keys and values", got, pairs)
}

/// Headers arrive in order, with names that repeat and values that are null or empty.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn headers(bench: &Bench) -> Result<(), Failure> {
    if !bench.backend().capabilities().headers {
        return Ok(());
    }
    let topic = bench.topic("headers", 1).await?;
    let header = |name: &str, value: Option<&[u8]>| Header {
        name: name.to_owned(),
        value: value.map(<[u8]>::to_vec),
    };
    let headers = vec![
        header("b", Some(b"1")),
        header("a", Some(b"")),
        header("b", None),
        header("", Some(b"\xff")),
    ];
    let mut sent = record(&topic, 0, "with");
    sent.headers.clone_from(&headers);
    bench.send(vec![record(&topic, 0, "without"), sent]).await?;

    let got = read_log(bench, &topic, 2).await?;
    let got: Vec<Vec<Header>> = got.into_iter().map(|record| record.headers).collect();
    ensure_eq("headers", got, vec![Vec::new(), headers])
}

/// Records of 900 KB arrive whole.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn large(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.topic("large", 1).await?;
    let value = |i: u8| -> Vec<u8> { (0..900_000_u32).map(|at| at.to_le_bytes()[0] ^ i).collect() };
    let sent = (0..4).map(|i| OutgoingRecord {
        topic: topic.clone(),
        partition: Some(0),
        value: Some(value(i)),
        ..OutgoingRecord::default()
    });
    bench.send(sent.collect()).await?;

    let got = read_log(bench, &topic, 4).await?;
    for (i, record) in (0..4).zip(got) {
        let whole = record.value.as_deref() == Some(&*value(i));
        ensure(whole, || format!("large record {i} has changed"))?;
    }
    Ok(())
}

/// Many small records arrive, each once and in order.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn many(bench: &Bench) -> Result<(), Failure> {
    const COUNT: usize = 20_000;
    let topic = bench.topic("many", 1).await?;
    let sent = (0..COUNT).map(|i| record(&topic, 0, &i.to_string()));
    bench.send(sent.collect()).await?;

    let got = values(&read_log(bench, &topic, COUNT).await?);
    let want: Vec<String> = (0..COUNT).map(|i| i.to_string()).collect();
    let same = got == want;
    ensure(same, || "the records are not those sent".to_owned())
}

/// An acknowledgement contains the partition and the offset of the record, even if earlier ones were not awaited.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn deliveries(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.topic("deliveries", 2).await?;
    let producer = bench.backend().producer().await?;
    let first = producer.enqueue(record(&topic, 1, "a")).await?.await?;
    ensure_eq(
        "the first record's place",
        (first.partition, first.offset),
        (1, 0),
    )?;
    drop(producer.enqueue(record(&topic, 1, "b")).await?);
    let third = producer.enqueue(record(&topic, 1, "c")).await?;
    producer.flush(bench.deadline()).await?;
    let third = third.await?;
    ensure_eq(
        "the third record's place",
        (third.partition, third.offset),
        (1, 2),
    )?;
    producer.flush(bench.deadline()).await?;
    Ok(producer.close(bench.deadline()).await?)
}

/// A record larger than brokers accept is refused, and others are still sent.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn too_large(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.topic("too-large", 1).await?;
    let producer = bench.backend().producer().await?;
    let mut sent = record(&topic, 0, "");
    sent.value = Some(vec![b'x'; 3_000_000]);
    let result = match producer.enqueue(sent).await {
        Ok(delivery) => delivery.await.map(drop),
        Err(error) => Err(error),
    };
    ensure_fails(
        "a record of 3 MB",
        result,
        &[BackendErrorKind::RecordTooLarge],
    )?;
    producer.enqueue(record(&topic, 0, "small")).await?.await?;
    // The failure of the large record may be reported once more.
    let _ = producer.close(bench.deadline()).await;
    let got = read_log(bench, &topic, 1).await?;
    ensure_eq("values received", values(&got), vec!["small".to_owned()])
}

async fn read_log(bench: &Bench, topic: &str, count: usize) -> Result<Vec<Record>, Failure> {
    let mut reader = bench.backend().log_reader(None).await?;
    reader
        .assign(&[(topic.to_owned(), LogStart::Earliest)])
        .await?;
    let records = read(bench, &mut *reader, count).await?;
    reader.close().await;
    Ok(records)
}
