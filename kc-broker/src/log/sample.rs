//! Record batches for unit tests.

use bytes::{BufMut, Bytes, BytesMut};

#[derive(Clone, Copy)]
pub(crate) struct Sample {
    count: i32,
    last_delta: i32,
    attributes: i16,
    base_timestamp: i64,
    step: i64,
    producer: (i64, i16, i32),
}

impl Sample {
    /// Returns a batch of `count` records with timestamp 0, without a key, and with a value of 5 bytes.
    pub(crate) fn new(count: i32) -> Self {
        Self {
            count,
            last_delta: count - 1,
            attributes: 0,
            base_timestamp: 0,
            step: 0,
            producer: (-1, -1, -1),
        }
    }

    pub(crate) fn attributes(self, attributes: i16) -> Self {
        Self { attributes, ..self }
    }

    pub(crate) fn last_delta(self, last_delta: i32) -> Self {
        Self { last_delta, ..self }
    }

    /// Sets the timestamp of the first record, and the time between two records (below 32), both in milliseconds.
    pub(crate) fn times(self, base_timestamp: i64, step: i64) -> Self {
        Self {
            base_timestamp,
            step,
            ..self
        }
    }

    pub(crate) fn producer(self, id: i64, epoch: i16, sequence: i32) -> Self {
        Self {
            producer: (id, epoch, sequence),
            ..self
        }
    }

    pub(crate) fn bytes(self) -> Bytes {
        let mut body = BytesMut::new();
        body.put_i16(self.attributes);
        body.put_i32(self.last_delta);
        body.put_i64(self.base_timestamp);
        body.put_i64(self.base_timestamp + self.step * i64::from(self.count - 1));
        body.put_i64(self.producer.0);
        body.put_i16(self.producer.1);
        body.put_i32(self.producer.2);
        body.put_i32(self.count);
        for i in 0..self.count {
            let zigzag = |n: i64| u8::try_from(n * 2).unwrap();
            let record = [
                0,
                zigzag(i64::from(i) * self.step),
                zigzag(i64::from(i)),
                1, // no key
                10,
            ];
            body.put_u8(zigzag(record.len() as i64 + 6));
            body.put_slice(&record);
            body.put_slice(b"value\0"); // the value and no headers
        }
        let mut batch = BytesMut::new();
        batch.put_i64(0);
        batch.put_i32(i32::try_from(body.len() + 9).unwrap());
        batch.put_i32(-1);
        batch.put_i8(2);
        batch.put_u32(crc32c::crc32c(&body));
        batch.put(body);
        batch.freeze()
    }
}
