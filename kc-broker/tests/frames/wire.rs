//! A client that sends what it is told.

use std::net::SocketAddr;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    MetadataRequest, MetadataResponse, ProduceRequest, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) struct Wire {
    stream: TcpStream,
    correlation_id: i32,
}

pub(crate) fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_owned())
}

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

impl Wire {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
            correlation_id: 0,
        }
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn send_frame(&mut self, frame: &[u8]) {
        let length = i32::try_from(frame.len()).unwrap();
        let bytes = [&length.to_be_bytes(), frame].concat();
        self.send_bytes(&bytes).await;
    }

    pub(crate) async fn send<Q: Request>(&mut self, version: i16, request: &Q) {
        self.correlation_id += 1;
        let mut frame = BytesMut::new();
        let header = RequestHeader::default()
            .with_request_api_key(Q::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(text("wire")));
        header
            .encode(&mut frame, Q::header_version(version))
            .unwrap();
        request.encode(&mut frame, version).unwrap();
        self.send_frame(&frame).await;
    }

    pub(crate) async fn receive_frame(&mut self) -> Bytes {
        let length = self.stream.read_i32().await.unwrap();
        let mut frame = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut frame).await.unwrap();
        frame.into()
    }

    /// The answer to the last request; all of it must be used up.
    pub(crate) async fn receive<Q: Request>(&mut self, version: i16) -> Q::Response {
        let mut frame = self.receive_frame().await;
        let header_version = Q::Response::header_version(version);
        let header = ResponseHeader::decode(&mut frame, header_version).unwrap();
        assert_eq!(header.correlation_id, self.correlation_id);
        let response = Q::Response::decode(&mut frame, version).unwrap();
        assert!(!frame.has_remaining());
        response
    }

    pub(crate) async fn call<Q: Request>(&mut self, version: i16, request: &Q) -> Q::Response {
        self.send(version, request).await;
        self.receive::<Q>(version).await
    }

    /// Waits until the broker hangs up; nothing may come before.
    pub(crate) async fn expect_hang_up(mut self) {
        match self.stream.read(&mut [0; 1]).await {
            Ok(count) => assert_eq!(count, 0, "an answer"),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }

    /// Asks for a topic, which may make it.
    pub(crate) async fn metadata(&mut self, name: &str, create: bool) -> MetadataResponse {
        let asked = MetadataRequestTopic::default().with_name(Some(topic(name)));
        let request = MetadataRequest::default()
            .with_topics(Some(vec![asked]))
            .with_allow_auto_topic_creation(create);
        self.call(9, &request).await
    }

    /// Produces to partition 0 of a topic and waits for the answer.
    pub(crate) async fn produce(&mut self, name: &str, records: Bytes) -> PartitionProduceResponse {
        let request = produce_request(name, records, -1);
        let mut response = self.call(9, &request).await;
        response.responses[0].partition_responses.remove(0)
    }
}

pub(crate) fn produce_request(name: &str, records: Bytes, acks: i16) -> ProduceRequest {
    let partition = PartitionProduceData::default().with_records(Some(records));
    let data = TopicProduceData::default()
        .with_name(topic(name))
        .with_partition_data(vec![partition]);
    ProduceRequest::default()
        .with_acks(acks)
        .with_topic_data(vec![data])
}

/// One batch of one record without key whose value is `value`. `producer` is id, epoch, sequence.
pub(crate) fn batch(producer: (i64, i16, i32), value: &[u8]) -> Bytes {
    let mut record = BytesMut::new();
    record.put_slice(&[0, 0, 0, 1]); // attributes, timestamp, offset, no key
    put_varint(&mut record, value.len());
    record.put_slice(value);
    record.put_u8(0); // no headers
    let mut body = BytesMut::new();
    body.put_i16(0); // attributes
    body.put_i32(0); // last offset
    body.put_i64(1); // first timestamp
    body.put_i64(1); // last timestamp
    body.put_i64(producer.0);
    body.put_i16(producer.1);
    body.put_i32(producer.2);
    body.put_i32(1); // records
    put_varint(&mut body, record.len());
    body.put(record);
    let mut batch = BytesMut::new();
    batch.put_i64(0); // first offset
    batch.put_i32(i32::try_from(body.len() + 9).unwrap());
    batch.put_i32(-1); // leader epoch
    batch.put_i8(2); // format
    batch.put_u32(crc32c::crc32c(&body));
    batch.put(body);
    batch.freeze()
}

pub(crate) const NO_PRODUCER: (i64, i16, i32) = (-1, -1, -1);

fn put_varint(buf: &mut BytesMut, length: usize) {
    let mut zigzag = length * 2;
    while zigzag > 0x7f {
        buf.put_u8((zigzag & 0x7f) as u8 | 0x80);
        zigzag >>= 7;
    }
    buf.put_u8(zigzag as u8);
}
