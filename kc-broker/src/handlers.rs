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

/// The value of the field "authorized operations" if the client did not request this field.
const OPERATIONS_NOT_ASKED: i32 = i32::MIN;
/// The operations on a topic as bits: Read, Write, Create, Delete, Alter, Describe, DescribeConfigs, AlterConfigs.
const TOPIC_OPERATIONS: i32 = 0b0000_1101_1111_1000;
/// The operations on the cluster as bits: Create, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs,
/// IdempotentWrite.
const CLUSTER_OPERATIONS: i32 = 0b0001_1111_1010_0000;
/// The operations on a group as bits: Read, Delete, Describe.
const GROUP_OPERATIONS: i32 = 0b0000_0001_0100_1000;

fn text(s: impl Into<String>) -> StrBytes {
    StrBytes::from_string(s.into())
}

/// Returns the code of the error, or 0 if there is no error.
fn code<T>(result: &Result<T, ResponseError>) -> i16 {
    result.as_ref().err().map_or(0, ResponseError::code)
}

/// An error and its message.
type Refusal = (ResponseError, Option<String>);

/// Returns the code and the message of a refusal, or the code 0 and no message if there is no refusal.
fn code_and_message<T>(result: Result<T, Refusal>) -> (i16, Option<StrBytes>) {
    match result {
        Ok(_) => (0, None),
        Err((error, message)) => (error.code(), message.map(text)),
    }
}
