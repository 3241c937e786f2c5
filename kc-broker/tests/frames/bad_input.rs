//! What is no request of ours costs its sender the connection, and no one else anything.

use bytes::Buf;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse, MetadataRequest};
use kafka_protocol::protocol::Decodable;
use kc_broker::{Broker, MAX_FRAME_BYTES};

use crate::wire::Wire;

/// Sends `bytes` on a connection of their own, which must end; others must not notice.
async fn ends_only_its_connection(bytes: &[u8]) {
    let broker = Broker::builder().start().await.unwrap();
    let mut bystander = Wire::connect(broker.address()).await;
    bystander.metadata("before", true).await;
    let mut offender = Wire::connect(broker.address()).await;
    offender.send_bytes(bytes).await;
    offender.expect_hang_up().await;
    let after = bystander.metadata("after", true).await;
    assert_eq!(after.topics[0].error_code, 0);
    broker.shutdown().await;
}

fn frame(body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len()).unwrap();
    [&length.to_be_bytes(), body].concat()
}

/// API key, version, correlation id 1, no client id (with tagged fields if `flexible`).
fn header(key: ApiKey, version: i16, flexible: bool) -> Vec<u8> {
    let mut header = (key as i16).to_be_bytes().to_vec();
    header.extend(version.to_be_bytes());
    header.extend([0, 0, 0, 1, 0xff, 0xff]);
    header.extend(flexible.then_some(0));
    header
}

#[tokio::test]
async fn frames_of_impossible_size() {
    ends_only_its_connection(&(-1_i32).to_be_bytes()).await;
    ends_only_its_connection(&i32::MAX.to_be_bytes()).await;
    let too_large = i32::try_from(MAX_FRAME_BYTES + 1).unwrap();
    ends_only_its_connection(&too_large.to_be_bytes()).await;
    ends_only_its_connection(&frame(&[])).await;
    ends_only_its_connection(&frame(&[0; 7])).await;
}

#[tokio::test]
async fn other_protocols() {
    ends_only_its_connection(b"GET / HTTP/1.1\r\n\r\n").await;
    ends_only_its_connection(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await;
}

#[tokio::test]
async fn apis_and_versions_that_are_not_offered() {
    ends_only_its_connection(&frame(&header(ApiKey::Produce, 2, false))).await;
    ends_only_its_connection(&frame(&header(ApiKey::Fetch, 13, true))).await;
    ends_only_its_connection(&frame(&header(ApiKey::Metadata, -1, false))).await;
    ends_only_its_connection(&frame(&header(ApiKey::SaslHandshake, 1, false))).await;
    ends_only_its_connection(&frame(&[0x7f; 20])).await;
}

#[tokio::test]
async fn requests_that_promise_more_than_they_hold() {
    // An array of 2^31 - 1 topics, in both ways to write it.
    let plain = [
        header(ApiKey::Metadata, 1, false),
        vec![0x7f, 0xff, 0xff, 0xff],
    ]
    .concat();
    ends_only_its_connection(&frame(&plain)).await;
    let compact = [
        header(ApiKey::Metadata, 9, true),
        vec![0xff, 0xff, 0xff, 0xff, 0x07],
    ]
    .concat();
    ends_only_its_connection(&frame(&compact)).await;
    // Records of 2 GB.
    let mut produce = header(ApiKey::Produce, 3, false);
    produce.extend([
        0xff, 0xff, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1,
    ]);
    produce.extend([0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]);
    ends_only_its_connection(&frame(&produce)).await;
    // A client id longer than the frame.
    let cut = [0, 3, 0, 1, 0, 0, 0, 1, 0x7f, 0xff];
    ends_only_its_connection(&frame(&cut)).await;
}

#[tokio::test]
async fn bytes_behind_a_request_are_ignored() {
    let broker = Broker::builder().start().await.unwrap();
    let mut wire = Wire::connect(broker.address()).await;
    wire.metadata("t", true).await;
    // librdkafka's request for all topics: none named, three flags and tags, and three bytes for nothing.
    let body = [0, 0, 0, 0, 1, 0, 0];
    let request = [header(ApiKey::Metadata, 12, true), body.to_vec()].concat();
    wire.send_frame(&request).await;
    let listed = wire.receive::<MetadataRequest>(12).await;
    assert_eq!(listed.topics.len(), 1);
    broker.shutdown().await;
}

#[tokio::test]
async fn an_unknown_version_of_api_versions_gets_an_answer_of_version_0() {
    let broker = Broker::builder().start().await.unwrap();
    let mut wire = Wire::connect(broker.address()).await;
    wire.send_frame(&header(ApiKey::ApiVersions, 99, true))
        .await;
    let mut answer = wire.receive_frame().await;
    assert_eq!(answer.get_i32(), 1);
    let response = ApiVersionsResponse::decode(&mut answer, 0).unwrap();
    assert_eq!(response.error_code, 35);
    let offered = response
        .api_keys
        .iter()
        .find(|a| a.api_key == ApiKey::ApiVersions as i16);
    assert_eq!(offered.map(|a| a.max_version), Some(4));
    let again = wire.call(4, &ApiVersionsRequest::default()).await;
    assert_eq!(again.error_code, 0);
}
