//! Decodes messages without trusting the array lengths that the messages contain.
//!
//! The codec reserves memory for as many array elements as a message *claims* to have: a message of 20 bytes could make
//! it reserve gigabytes, which would abort the process. Therefore each message is decoded twice. First, it is decoded
//! from a [`Rehearsal`], which makes decoding fail if an array is longer than the rest of the message. If this
//! succeeds, the message is decoded from its own bytes.

use std::ops::Range;

use bytes::{Buf, Bytes, TryGetError};
use kafka_protocol::protocol::Decodable;
use kafka_protocol::protocol::buf::{ByteBuf, NotEnoughBytesError};

use super::ProtocolError;
use crate::limits::MAX_REQUEST_VALUES;

/// Decodes a message. Ignores bytes after the message, as Apache Kafka does: librdkafka appends three bytes to a
/// metadata request for all topics.
///
/// # Errors
///
/// Returns [`ProtocolError::Decode`] if the message is truncated, malformed, or has more than [`MAX_REQUEST_VALUES`]
/// values.
pub(super) fn decode<M: Decodable>(bytes: &mut Bytes, version: i16) -> Result<M, ProtocolError> {
    let rehearsed = M::decode(&mut Rehearsal::new(bytes.clone()), version);
    let decoded = rehearsed.and_then(|_| M::decode(bytes, version));
    decoded.map_err(|error| ProtocolError::Decode(error.to_string()))
}

/// The bytes of a message, read in such a way that the codec reserves little memory. A number that is too large to be
/// the length of an array is read as a smaller number.
///
/// Each element of an array takes at least one value and one byte, so the rest of the message limits the number of
/// elements. A number above this limit is lowered, but stays above the limit. If the number is the length of an array,
/// decoding therefore still fails. If the number is something else, the decoded message is wrong, but it is discarded.
/// The lengths of strings and byte strings are not lowered, because the codec reserves no memory for them.
struct Rehearsal {
    rest: Bytes,
    /// The number of values that may still be read.
    values: usize,
    /// The amount by which the last number was lowered.
    lowered_by: usize,
    /// True if only a string or byte string may follow.
    before_bytes: bool,
}

impl Rehearsal {
    fn new(rest: Bytes) -> Self {
        Self {
            rest,
            values: MAX_REQUEST_VALUES,
            lowered_by: 0,
            before_bytes: false,
        }
    }

    /// Returns the smallest number of array elements for which the rest of the message is too short.
    fn too_many(&self) -> usize {
        self.values.min(self.rest.len()) + 1
    }
}

impl Buf for Rehearsal {
    fn remaining(&self) -> usize {
        if self.values == 0 || self.before_bytes {
            return 0;
        }
        self.rest.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.rest
    }

    fn advance(&mut self, count: usize) {
        self.rest.advance(count);
        self.values = self.values.saturating_sub(1);
        self.lowered_by = 0;
    }

    /// Reads a number, which may be the length of an array.
    fn try_get_i32(&mut self) -> Result<i32, TryGetError> {
        let mut bytes = [0; 4];
        self.try_copy_to_slice(&mut bytes)?;
        let number = i32::from_be_bytes(bytes);
        let most = i32::try_from(self.too_many()).unwrap_or(i32::MAX);
        self.lowered_by = number.saturating_sub(most).max(0) as usize;
        Ok(number.min(most))
    }

    /// Reads one byte of a varint, which is a length, a count, or a small tag. If the varint is too large, reads all
    /// its bytes, and returns a lowered number of one byte.
    fn try_get_u8(&mut self) -> Result<u8, TryGetError> {
        const LOWERED: u8 = 2;
        let (number, size) = variable_length(&self.rest);
        let is_too_large = size > 1 && number > self.too_many();
        let mut bytes = [0; 5];
        let read = bytes.get_mut(..if is_too_large { size } else { 1 });
        self.try_copy_to_slice(read.unwrap_or_default())?;
        if is_too_large {
            self.lowered_by = number - usize::from(LOWERED);
            self.before_bytes = true;
            return Ok(LOWERED);
        }
        Ok(bytes[0])
    }
}

impl ByteBuf for Rehearsal {
    fn peek_bytes(&mut self, range: Range<usize>) -> Bytes {
        self.rest.slice(range)
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        let bytes = self.rest.slice(..size);
        self.advance(size);
        bytes
    }

    fn try_get_bytes(&mut self, size: usize) -> Result<Bytes, NotEnoughBytesError> {
        let size = size.saturating_add(self.lowered_by);
        self.before_bytes = false;
        if self.remaining() < size {
            return Err(NotEnoughBytesError);
        }
        Ok(self.get_bytes(size))
    }
}

/// Reads the varint at the start of `bytes`. Returns the number, and the size of the varint in bytes.
fn variable_length(bytes: &[u8]) -> (usize, usize) {
    let mut number = 0_u32;
    let mut size = 0;
    for byte in bytes.iter().take(5) {
        number |= u32::from(byte & 0x7f) << (7 * size);
        size += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    (number as usize, size)
}

#[cfg(test)]
mod tests;
