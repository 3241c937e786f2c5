//! Starting and stopping.

use kafka_protocol::messages::FetchRequest;
use kc_broker::{Broker, BrokerError};
use tokio::net::{TcpListener, TcpStream};

use crate::wire::Wire;

#[tokio::test]
async fn shutdown_closes_connections_and_frees_the_port() {
    let broker = Broker::builder().start().await.unwrap();
    let address = broker.address();
    let mut wire = Wire::connect(address).await;
    wire.metadata("t", true).await;
    // One that waits in a long poll.
    let mut waiting = Wire::connect(address).await;
    let forever = FetchRequest::default()
        .with_min_bytes(1)
        .with_max_wait_ms(i32::MAX);
    waiting.send(11, &forever).await;
    broker.shutdown().await;
    wire.expect_hang_up().await;
    waiting.expect_hang_up().await;
    assert!(TcpStream::connect(address).await.is_err());
    TcpListener::bind(address).await.unwrap();
}

#[tokio::test]
async fn a_dropped_broker_stops_too() {
    let broker = Broker::builder().start().await.unwrap();
    let mut wire = Wire::connect(broker.address()).await;
    wire.metadata("t", true).await;
    drop(broker);
    wire.expect_hang_up().await;
}

#[tokio::test]
async fn a_taken_address_is_an_error() {
    let first = Broker::builder().start().await.unwrap();
    let second = Broker::builder().listen(first.address()).start().await;
    let Err(BrokerError::Listen { address, .. }) = second else {
        panic!("two brokers on one address");
    };
    assert_eq!(address, first.address());
}
