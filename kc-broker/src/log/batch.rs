//! A record batch of format 2 (magic 2). It is stored as received, except for its base offset and its leader epoch.
//!
//! Header, 61 bytes, big endian: base offset (8), batch length after this field (4), partition leader epoch (4), magic
//! (1), CRC-32C of all that follows (4), attributes (2), last offset delta (4), base timestamp (8), max timestamp (8),
//! producer id (8), producer epoch (2), base sequence (4), record count (4). The CRC does not cover the fields before
//! it, so the broker can assign offsets without computing a new CRC.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

const HEADER_BYTES: usize = 61;
/// The position in the header directly after the field "batch length". The batch length is the number of bytes from
/// this position on.
const LENGTH_END: usize = 12;
const CRC_START: usize = 21;
const MAGIC: i8 = 2;
const COMPRESSION_MASK: i16 = 0b111;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

/// The reason why the broker refuses bytes as a record batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub(crate) enum BatchError {
    #[error("the record batch is truncated, or more than one record batch was sent")]
    Length,
    #[error("record batch format {0} is not supported; this broker accepts only format 2")]
    Magic(i8),
    #[error("the checksum of the record batch is wrong")]
    Checksum,
    #[error("transactional batches and control batches are not supported")]
    Transactional,
    #[error("the record batch is empty, or its record count does not match its offsets")]
    Count,
}

/// The idempotent producer of a batch, and the sequence numbers of its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    /// Sequence number of the first record.
    pub(crate) first: i32,
    /// Sequence number of the last record.
    pub(crate) last: i32,
}

/// A valid batch of at least one record.
#[derive(Clone, Debug)]
pub(crate) struct RecordBatch {
    bytes: Bytes,
    compressed: bool,
    last_delta: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    origin: Option<Origin>,
}

impl RecordBatch {
    /// Parses one batch that fills `bytes` exactly.
    pub(crate) fn parse(bytes: Bytes) -> Result<Self, BatchError> {
        let mut header = bytes.get(..HEADER_BYTES).ok_or(BatchError::Length)?;
        header.advance(8);
        let length = usize::try_from(header.get_i32()).map_err(|_| BatchError::Length)?;
        if length.checked_add(LENGTH_END) != Some(bytes.len()) {
            return Err(BatchError::Length);
        }
        header.advance(4);
        let magic = header.get_i8();
        if magic != MAGIC {
            return Err(BatchError::Magic(magic));
        }
        let crc = header.get_u32();
        if bytes.get(CRC_START..).map(crc32c::crc32c) != Some(crc) {
            return Err(BatchError::Checksum);
        }
        let attributes = header.get_i16();
        if attributes & (TRANSACTIONAL | CONTROL) != 0 {
            return Err(BatchError::Transactional);
        }
        let last_delta = header.get_i32();
        let base_timestamp = header.get_i64();
        let max_timestamp = header.get_i64();
        let producer_id = header.get_i64();
        let epoch = header.get_i16();
        let first = header.get_i32();
        let count = header.get_i32();
        if count < 1 || last_delta != count - 1 {
            return Err(BatchError::Count);
        }
        Ok(Self {
            compressed: attributes & COMPRESSION_MASK != 0,
            last_delta,
            base_timestamp,
            max_timestamp,
            origin: (producer_id >= 0).then(|| Origin {
                producer_id,
                epoch,
                first,
                last: advance_sequence(first, last_delta),
            }),
            bytes,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the last offset minus the first offset.
    pub(crate) fn last_delta(&self) -> i64 {
        i64::from(self.last_delta)
    }

    pub(crate) fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    pub(crate) fn origin(&self) -> Option<Origin> {
        self.origin
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns a copy of the batch with `base_offset` and leader epoch 0. The copy does not keep the
    /// request in memory.
    pub(crate) fn placed_at(&self, base_offset: i64) -> Self {
        let mut bytes = BytesMut::with_capacity(self.bytes.len());
        bytes.put_i64(base_offset);
        bytes.put(self.bytes.get(8..LENGTH_END).unwrap_or_default());
        bytes.put_i32(0);
        bytes.put(self.bytes.get(LENGTH_END + 4..).unwrap_or_default());
        Self {
            bytes: bytes.freeze(),
            ..*self
        }
    }

    /// Returns the offset delta and the timestamp of the first record that is not older than `timestamp` (milliseconds
    /// since the epoch), or `None` if the largest timestamp of the batch is older. A compressed batch is not
    /// decompressed: in this case, the offset delta 0 and the largest timestamp of the batch are returned.
    pub(crate) fn first_since(&self, timestamp: i64) -> Option<(i64, i64)> {
        if self.max_timestamp < timestamp {
            return None;
        }
        let whole = (0, self.max_timestamp);
        if self.compressed {
            return Some(whole);
        }
        let mut records = self.bytes.get(HEADER_BYTES..).unwrap_or_default();
        while let Some((offset_delta, timestamp_delta)) = next_record(&mut records) {
            let at = self.base_timestamp.saturating_add(timestamp_delta);
            if at >= timestamp {
                return Some((offset_delta.clamp(0, self.last_delta()), at));
            }
        }
        Some(whole)
    }
}

/// Adds `by` to a sequence number. The sequence number after `i32::MAX` is 0.
pub(crate) fn advance_sequence(sequence: i32, by: i32) -> i32 {
    sequence.wrapping_add(by) & i32::MAX
}

/// Reads the offset delta and the timestamp delta of an uncompressed record, and skips the record.
fn next_record(records: &mut &[u8]) -> Option<(i64, i64)> {
    let length = usize::try_from(varlong(records)?).ok()?;
    let (mut record, rest) = records.split_at_checked(length)?;
    *records = rest;
    record.try_get_i8().ok()?;
    let timestamp_delta = varlong(&mut record)?;
    let offset_delta = varlong(&mut record)?;
    Some((offset_delta, timestamp_delta))
}

/// Reads a zigzag-coded varint, as in Protocol Buffers.
fn varlong(buf: &mut &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = buf.try_get_u8().ok()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::*;

    #[test]
    fn reads_a_batch_and_places_it() {
        let batch = RecordBatch::parse(Sample::new(3).bytes()).unwrap();
        assert_eq!(batch.last_delta(), 2);
        assert_eq!(batch.origin(), None);
        let placed = batch.placed_at(77);
        assert_eq!(placed.bytes().slice(..8).get_i64(), 77);
        assert!(RecordBatch::parse(placed.bytes().clone()).is_ok());
    }

    #[test]
    fn refuses_what_is_no_single_valid_batch() {
        let good = Sample::new(1).bytes();
        let error = |bytes: Vec<u8>| RecordBatch::parse(bytes.into()).unwrap_err();
        assert_eq!(error(vec![]), BatchError::Length);
        assert_eq!(error(good[..good.len() - 1].to_vec()), BatchError::Length);
        assert_eq!(error([&good[..], &good[..]].concat()), BatchError::Length);
        let mut old = good.to_vec();
        old[16] = 1;
        assert_eq!(error(old), BatchError::Magic(1));
        let mut flipped = good.to_vec();
        *flipped.last_mut().unwrap() ^= 1;
        assert_eq!(error(flipped), BatchError::Checksum);
        let transactional = Sample::new(1).attributes(TRANSACTIONAL).bytes();
        assert_eq!(error(transactional.to_vec()), BatchError::Transactional);
        let miscounted = Sample::new(1).last_delta(5).bytes();
        assert_eq!(error(miscounted.to_vec()), BatchError::Count);
    }

    #[test]
    fn finds_a_record_by_time() {
        let batch = RecordBatch::parse(Sample::new(3).times(1_000, 10).bytes()).unwrap();
        assert_eq!(batch.first_since(0), Some((0, 1_000)));
        assert_eq!(batch.first_since(1_001), Some((1, 1_010)));
        assert_eq!(batch.first_since(1_020), Some((2, 1_020)));
        assert_eq!(batch.first_since(1_021), None);
    }

    #[test]
    fn a_compressed_batch_counts_as_one() {
        let bytes = Sample::new(3).times(1_000, 10).attributes(4).bytes();
        let batch = RecordBatch::parse(bytes).unwrap();
        assert_eq!(batch.first_since(1_015), Some((0, 1_020)));
    }

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(advance_sequence(i32::MAX, 1), 0);
        assert_eq!(advance_sequence(i32::MAX - 1, 1), i32::MAX);
    }
}
