//! Readiness of a Kafka: it serves when a Metadata response names a broker and a controller.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use kafka_protocol::messages::{
    ApiKey, MetadataRequest, MetadataResponse, RequestHeader, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable};

/// The version of the request: its response has the cluster's id, and no tagged fields.
const VERSION: i16 = 4;
/// The maximum time of one exchange.
const PATIENCE: Duration = Duration::from_secs(2);

/// Returns whether the Kafka of this cluster serves at this address.
pub(super) fn serves(address: SocketAddr, cluster_id: &str) -> bool {
    metadata(address).is_ok_and(|metadata| {
        let cluster = metadata.cluster_id.as_ref();
        cluster.is_some_and(|id| id.as_str() == cluster_id)
            && !metadata.brokers.is_empty()
            && metadata.controller_id.0 >= 0
    })
}

/// Returns the number of brokers that the Kafka at this address knows; `None` if it does not answer.
pub(super) fn brokers(address: SocketAddr) -> Option<usize> {
    metadata(address)
        .ok()
        .map(|metadata| metadata.brokers.len())
}

fn metadata(address: SocketAddr) -> io::Result<MetadataResponse> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&request()?)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut response = Vec::new();
    let length = u32::from_be_bytes(length);
    stream.take(length.into()).read_to_end(&mut response)?;
    let mut rest = response.as_slice();
    let header = ApiKey::Metadata.response_header_version(VERSION);
    ResponseHeader::decode(&mut rest, header).map_err(io::Error::other)?;
    MetadataResponse::decode(&mut rest, VERSION).map_err(io::Error::other)
}

/// Returns a request for the metadata of no topics.
fn request() -> io::Result<Vec<u8>> {
    let header = RequestHeader::default()
        .with_request_api_key(ApiKey::Metadata as i16)
        .with_request_api_version(VERSION);
    let request = MetadataRequest::default().with_topics(Some(Vec::new()));
    let mut body = Vec::new();
    header
        .encode(&mut body, ApiKey::Metadata.request_header_version(VERSION))
        .and_then(|()| request.encode(&mut body, VERSION))
        .map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    Ok([&length.to_be_bytes(), body.as_slice()].concat())
}
