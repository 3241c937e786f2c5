//! The handlers of the APIs, in one module for each group of APIs. A handler takes a decoded request
//! and returns the response for the request's version.

pub(crate) mod cluster;
pub(crate) mod configs;
pub(crate) mod groups;
pub(crate) mod offsets;
pub(crate) mod records;
pub(crate) mod topics;

use kafka_protocol::error::ResponseError;
use kafka_protocol::protocol::StrBytes;

/// The value of the field "authorized operations" if the client did not request it.
const OPERATIONS_NOT_ASKED: i32 = i32::MIN;
/// Read, Write, Create, Delete, Alter, Describe, DescribeConfigs, AlterConfigs, as bits.
const TOPIC_OPERATIONS: i32 = 0b0000_1101_1111_1000;
/// Create, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite, as bits.
const CLUSTER_OPERATIONS: i32 = 0b0001_1111_1010_0000;
/// Read, Delete, Describe, as bits.
const GROUP_OPERATIONS: i32 = 0b0000_0001_0100_1000;

fn text(s: impl Into<String>) -> StrBytes {
    StrBytes::from_string(s.into())
}

/// Returns 0, or the code of the error.
fn code<T>(result: &Result<T, ResponseError>) -> i16 {
    result.as_ref().err().map_or(0, ResponseError::code)
}

/// An error and its message.
type Refusal = (ResponseError, Option<String>);

/// Returns the code and message of a refusal, or 0 and no message.
fn code_and_message<T>(result: Result<T, Refusal>) -> (i16, Option<StrBytes>) {
    match result {
        Ok(_) => (0, None),
        Err((error, message)) => (error.code(), message.map(text)),
    }
}
