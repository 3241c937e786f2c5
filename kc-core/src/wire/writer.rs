use std::convert::Infallible;

use rmp::encode::{self, ByteBuf, ValueWriteError};

use super::Value;
use crate::types::KeyId;

/// Writes MessagePack in the shortest forms: byte strings as *bin*, text as *str*.
#[derive(Debug, Default)]
pub struct Writer(ByteBuf);

impl Writer {
    /// Creates a writer with an empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a writer that appends to `out`. It uses the capacity of `out` before it allocates more.
    #[must_use]
    pub fn append_to(out: Vec<u8>) -> Self {
        Self(ByteBuf::from_vec(out))
    }

    /// Returns the buffer: the bytes passed to [`append_to`](Self::append_to), then the written bytes.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.0.into_vec()
    }

    /// Begins an array of `len` elements, which the caller writes next. `len` is at most 2^32 - 1.
    pub fn array(&mut self, len: usize) -> &mut Self {
        done(encode::write_array_len(&mut self.0, saturate(len)));
        self
    }

    /// Begins a map of `len` entries, which the caller writes next.
    pub fn map(&mut self, len: usize) -> &mut Self {
        done(encode::write_map_len(&mut self.0, saturate(len)));
        self
    }

    /// Writes a byte string.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        done(encode::write_bin(&mut self.0, bytes));
        self
    }

    /// Writes the id of a data key: a byte string, or an integer.
    pub fn key_id(&mut self, id: &KeyId) -> &mut Self {
        match id {
            KeyId::Long(id) => self.bytes(id),
            KeyId::Short(index) => self.uint(*index),
        }
    }

    /// Writes the header of a byte string. The caller appends its `len` bytes to the result of
    /// [`into_vec`](Self::into_vec).
    pub(crate) fn bytes_header(&mut self, len: usize) -> &mut Self {
        done(encode::write_bin_len(&mut self.0, saturate(len)));
        self
    }

    /// Writes text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        done(encode::write_str(&mut self.0, text));
        self
    }

    /// Writes a non-negative integer.
    pub fn uint(&mut self, int: u64) -> &mut Self {
        done(encode::write_uint(&mut self.0, int));
        self
    }

    /// Writes an integer.
    pub fn int(&mut self, int: i64) -> &mut Self {
        done(encode::write_sint(&mut self.0, int));
        self
    }

    /// Writes a floating-point number of 64 bits.
    pub fn float(&mut self, float: f64) -> &mut Self {
        done(encode::write_f64(&mut self.0, float));
        self
    }

    /// Writes a Boolean value.
    pub fn bool(&mut self, bool: bool) -> &mut Self {
        let Ok(()) = encode::write_bool(&mut self.0, bool);
        self
    }

    /// Writes nil.
    pub fn nil(&mut self) -> &mut Self {
        let Ok(()) = encode::write_nil(&mut self.0);
        self
    }

    /// Writes a value that was read. A byte string of the *str* family that is not valid UTF-8 becomes *bin*.
    pub fn value(&mut self, value: &Value<'_>) -> &mut Self {
        match value {
            Value::Nil => self.nil(),
            Value::Bool(bool) => self.bool(*bool),
            Value::Int(int) => match u64::try_from(*int) {
                Ok(int) => self.uint(int),
                Err(_) => self.int(i64::try_from(*int).unwrap_or(i64::MIN)),
            },
            Value::Float(float) => self.float(*float),
            Value::Bytes(bytes) => self.bytes(bytes),
            Value::Raw(raw) => match str::from_utf8(raw) {
                Ok(text) => self.text(text),
                Err(_) => self.bytes(raw),
            },
            Value::Array(elements) => {
                self.array(elements.len());
                elements.iter().fold(self, Self::value)
            }
            Value::Map(entries) => {
                self.map(entries.len());
                entries
                    .iter()
                    .fold(self, |writer, (key, value)| writer.value(key).value(value))
            }
        }
    }
}

/// Discards a result that cannot be an error: writing to memory is infallible.
fn done<T>(result: Result<T, ValueWriteError<Infallible>>) {
    match result {
        Ok(_) => {}
        Err(
            ValueWriteError::InvalidMarkerWrite(never) | ValueWriteError::InvalidDataWrite(never),
        ) => match never {},
    }
}

fn saturate(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
