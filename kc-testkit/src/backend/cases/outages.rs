//! Brokers that stop. On the embedded broker only.

use std::error::Error;

use kc_broker::Broker;
use kc_core::backend::{BackendErrorKind, Committed, GroupStart, LogStart, Subscription};

use crate::backend::bench::{POLL, behind, gather, read, record, values};
use crate::backend::cases::unreachable::{attempts, free_address};
use crate::backend::{Bench, Failure};
use crate::failure::{ensure, ensure_eq, ensure_fails};

const OUTAGE: &[BackendErrorKind] = &[BackendErrorKind::Unreachable, BackendErrorKind::Timeout];

/// Every call ends when the broker stops, and calls that need the broker fail with a matching kind.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn stopped(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.topic("stopped", 1).await?;
    let deadline = bench.deadline() / 30;
    bench.send_values(&topic, &["a"]).await?;
    let backend = bench.backend();
    let admin = backend.admin().await?;
    let producer = backend.producer().await?;
    producer.enqueue(record(&topic, 0, "b")).await?.await?;
    let group = bench.name("group");
    let mut reader = backend.log_reader(Some(&bench.name("readers"))).await?;
    reader
        .assign(&[(topic.clone(), LogStart::Earliest)])
        .await?;
    read(bench, &mut *reader, 2).await?;
    let topics = Subscription::to([&topic]);
    let mut member = backend
        .group_consumer(&group, &topics, GroupStart::Earliest)
        .await?;
    let polled = gather(bench, &mut *member, 2).await?;
    member.store(&behind(&polled));

    bench.take_broker()?.0.shutdown().await;

    let position = Committed {
        topic: topic.clone(),
        partition: 0,
        offset: 1,
    };
    let failures = [
        (
            "partitions",
            admin.partitions(&topic, false, deadline).await.map(drop),
        ),
        ("topics", admin.topics(deadline).await.map(drop)),
        (
            "watermarks",
            reader.watermarks(&topic, deadline).await.map(drop),
        ),
        ("log commit", reader.commit(&[position], deadline).await),
        ("group commit", member.commit(deadline).await),
        (
            "send",
            match producer.enqueue(record(&topic, 0, "c")).await {
                Ok(delivery) => delivery.await.map(drop),
                Err(error) => Err(error),
            },
        ),
    ];
    for (what, result) in failures {
        ensure_fails(what, result, OUTAGE)?;
    }
    // A poll may fail or return nothing.
    let quiet = reader.poll(POLL).await.unwrap_or_default();
    ensure(quiet.is_empty(), || "records from nowhere".to_owned())?;
    let quiet = member.poll(POLL).await.unwrap_or_default();
    ensure(quiet.records.is_empty(), || {
        "records from nowhere".to_owned()
    })?;

    reader.close().await;
    admin.close().await;
    ensure_fails(
        "close of the group's member",
        member.close(deadline).await,
        OUTAGE,
    )?;
    // The failure of the record above may be reported once more.
    let _ = producer.close(deadline).await;
    Ok(())
}

/// Readers continue at the beginning of topics that are created again after a broker lost its data.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn started_anew(bench: &Bench) -> Result<(), Failure> {
    let topic = bench.topic("anew", 1).await?;
    bench.send_values(&topic, &["a", "b", "c"]).await?;
    let mut reader = bench.backend().log_reader(None).await?;
    reader
        .assign(&[(topic.clone(), LogStart::Earliest)])
        .await?;
    read(bench, &mut *reader, 3).await?;

    let (broker, address) = bench.take_broker()?;
    broker.shutdown().await;
    let broker = Broker::builder().listen(address).start().await?;
    bench.create(&topic, 1).await?;
    bench.send_values(&topic, &["x"]).await?;
    let got = read(bench, &mut *reader, 1).await?;
    ensure_eq("values", values(&got), vec!["x".to_owned()])?;
    reader.close().await;
    broker.shutdown().await;
    Ok(())
}

/// No client connects if the broker advertises an address at which nothing listens, or a name that does not exist. The
/// error names this address.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn advertised_elsewhere(bench: &Bench) -> Result<(), Failure> {
    bench.topic("advertised", 1).await?;
    for address in [free_address()?, "kafka.invalid:9092".to_owned()] {
        let (host, port) = address.split_once(':').unwrap_or_default();
        let port = port.parse().unwrap_or_default();
        bench.faults()?.advertise(host, port);
        for (what, result) in attempts(&*bench.backend()).await {
            let error = ensure_fails(what, result, &[BackendErrorKind::AdvertisedAddress])?;
            let source = error.source().map(ToString::to_string).unwrap_or_default();
            let named = source.contains(&format!("broker 1 advertises {address}: "));
            ensure(named, || format!("{what}: no address in {source}"))?;
            ensure(error.is_retriable(), || format!("{what}: not retriable"))?;
        }
    }
    bench.faults()?.clear();
    for (what, result) in attempts(&*bench.backend()).await {
        ensure(result.is_ok(), || {
            format!("{what} after the correction: {result:?}")
        })?;
    }
    Ok(())
}
