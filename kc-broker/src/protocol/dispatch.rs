//! Decodes a request, calls its handler, and encodes the response.

use std::net::SocketAddr;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable};
use thiserror::Error;

use super::Api;
use super::decode::decode;
use crate::handlers::{cluster, configs, groups, offsets, records, topics};
use crate::state::Shared;

/// The size of the length prefix of each frame, in bytes.
const LENGTH_BYTES: usize = 4;

/// The reason why the broker closes the connection instead of answering, as Apache Kafka does.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum ProtocolError {
    #[error("version {version} of API {key} is not supported")]
    Unsupported { key: i16, version: i16 },
    #[error("the header of the request is truncated")]
    Header,
    #[error("malformed request: {0}")]
    Decode(String),
    #[error("the response cannot be encoded: {0}")]
    Encode(String),
    #[error("records were refused, and the client requested no answer (acks=0)")]
    Unanswerable,
}

/// The data that a handler needs in addition to the request itself.
pub(crate) struct Context<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) version: i16,
    pub(crate) client_id: String,
    pub(crate) client: SocketAddr,
    /// The address at which the client reached the broker. Metadata and FindCoordinator return it.
    pub(crate) broker: SocketAddr,
}

/// Handles one request frame without its length prefix. Returns the response frame with its length prefix, or `None` if
/// the client expects no response.
pub(crate) async fn answer(
    shared: &Shared,
    client: SocketAddr,
    broker: SocketAddr,
    mut frame: Bytes,
) -> Result<Option<Bytes>, ProtocolError> {
    let mut prefix = frame.get(..8).ok_or(ProtocolError::Header)?;
    let (key, version, correlation_id) = (prefix.get_i16(), prefix.get_i16(), prefix.get_i32());
    let Some(api) = Api::find(key, version) else {
        return answer_unsupported(key, version, correlation_id);
    };
    let header_version = api.key.request_header_version(version);
    let header: RequestHeader = decode(&mut frame, header_version)?;
    tracing::trace!(api = ?api.key, version, correlation_id, "request");
    let call = Call {
        key: api.key,
        correlation_id,
        body: frame,
        context: Context {
            shared,
            version,
            client_id: header
                .client_id
                .map(|id| id.to_string())
                .unwrap_or_default(),
            client,
            broker,
        },
    };
    match api.key {
        ApiKey::ApiVersions => call.run(cluster::api_versions),
        ApiKey::Metadata => call.run(cluster::metadata),
        ApiKey::Produce => call.produce(),
        ApiKey::Fetch => {
            let response = records::fetch(&call.context, call.decode()?).await;
            call.encode(&response)
        }
        ApiKey::ListOffsets => call.run(records::list_offsets),
        ApiKey::FindCoordinator => call.run(cluster::find_coordinator),
        ApiKey::JoinGroup => {
            let response = groups::join(&call.context, call.decode()?).await;
            call.encode(&response)
        }
        ApiKey::SyncGroup => {
            let response = groups::sync(&call.context, call.decode()?).await;
            call.encode(&response)
        }
        ApiKey::Heartbeat => call.run(groups::heartbeat),
        ApiKey::LeaveGroup => call.run(groups::leave),
        ApiKey::OffsetCommit => call.run(offsets::commit),
        ApiKey::OffsetFetch => call.run(offsets::fetch),
        ApiKey::DescribeGroups => call.run(groups::describe),
        ApiKey::ListGroups => call.run(groups::list),
        ApiKey::DeleteGroups => call.run(groups::delete),
        ApiKey::InitProducerId => call.run(cluster::init_producer_id),
        ApiKey::CreateTopics => call.run(topics::create),
        ApiKey::DeleteTopics => call.run(topics::delete),
        ApiKey::CreatePartitions => call.run(topics::create_partitions),
        ApiKey::DeleteRecords => call.run(records::delete_records),
        ApiKey::DescribeConfigs => call.run(configs::describe),
        ApiKey::IncrementalAlterConfigs => call.run(configs::alter),
        ApiKey::DescribeTopicPartitions => call.run(cluster::describe_topic_partitions),
        _ => Err(ProtocolError::Unsupported { key, version }),
    }
}

/// Answers an unknown version of ApiVersions with a response that every client understands (KIP-511). Returns an error
/// for all other APIs.
fn answer_unsupported(
    key: i16,
    version: i16,
    correlation_id: i32,
) -> Result<Option<Bytes>, ProtocolError> {
    if key != ApiKey::ApiVersions as i16 {
        return Err(ProtocolError::Unsupported { key, version });
    }
    let response =
        cluster::api_versions_response().with_error_code(ResponseError::UnsupportedVersion.code());
    encode(ApiKey::ApiVersions, 0, correlation_id, &response)
}

struct Call<'a> {
    key: ApiKey,
    correlation_id: i32,
    body: Bytes,
    context: Context<'a>,
}

impl<'a> Call<'a> {
    fn run<Q: Decodable, R: Encodable>(
        &self,
        handler: impl FnOnce(&Context<'a>, Q) -> R,
    ) -> Result<Option<Bytes>, ProtocolError> {
        let response = handler(&self.context, self.decode()?);
        self.encode(&response)
    }

    fn produce(&self) -> Result<Option<Bytes>, ProtocolError> {
        let request: kafka_protocol::messages::ProduceRequest = self.decode()?;
        let wants_answer = request.acks != 0;
        let response = records::produce(&self.context, request);
        if wants_answer {
            return self.encode(&response);
        }
        let mut partitions = response
            .responses
            .iter()
            .flat_map(|t| &t.partition_responses);
        if partitions.all(|p| p.error_code == 0) {
            Ok(None)
        } else {
            Err(ProtocolError::Unanswerable)
        }
    }

    fn decode<Q: Decodable>(&self) -> Result<Q, ProtocolError> {
        decode(&mut self.body.clone(), self.context.version)
    }

    fn encode<R: Encodable>(&self, response: &R) -> Result<Option<Bytes>, ProtocolError> {
        encode(
            self.key,
            self.context.version,
            self.correlation_id,
            response,
        )
    }
}

fn encode<R: Encodable>(
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    response: &R,
) -> Result<Option<Bytes>, ProtocolError> {
    let encode_error = |e: &dyn std::fmt::Display| ProtocolError::Encode(e.to_string());
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    let mut body = BytesMut::zeroed(LENGTH_BYTES);
    header
        .encode(&mut body, key.response_header_version(version))
        .and_then(|()| response.encode(&mut body, version))
        .map_err(|e| encode_error(&e))?;
    let length = i32::try_from(body.len() - LENGTH_BYTES).map_err(|e| encode_error(&e))?;
    body.as_mut().put_i32(length);
    Ok(Some(body.freeze()))
}
