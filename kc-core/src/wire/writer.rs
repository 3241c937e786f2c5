use std::convert::Infallible;

use rmp::encode::{self, ByteBuf, ValueWriteError};

use super::Value;

/// Writes MessagePack in the shortest forms, byte strings as *bin*, text as *str*.
#[derive(Debug, Default)]
pub struct Writer(ByteBuf);

impl Writer {
    /// Starts with nothing written.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends to `out`, whose capacity is used before more is allocated.
    #[must_use]
    pub fn append_to(out: Vec<u8>) -> Self {
        Self(ByteBuf::from_vec(out))
    }

    /// What has been written.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.0.into_vec()
    }

    /// Begins an array of `len` elements, which follow. Longer than 2^32 - 1 does not occur.
    pub fn array(&mut self, len: usize) -> &mut Self {
        done(encode::write_array_len(&mut self.0, saturate(len)));
        self
    }

    /// Begins a map of `len` entries, which follow.
    pub fn map(&mut self, len: usize) -> &mut Self {
        done(encode::write_map_len(&mut self.0, saturate(len)));
        self
    }

    /// Writes a byte string.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        done(encode::write_bin(&mut self.0, bytes));
        self
    }

    /// Writes the header of a byte string whose `len` bytes the caller appends to
    /// [`into_vec`](Self::into_vec)'s result.
    pub fn bytes_header(&mut self, len: usize) -> &mut Self {
        done(encode::write_bin_len(&mut self.0, saturate(len)));
        self
    }

    /// Writes text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        done(encode::write_str(&mut self.0, text));
        self
    }

    /// Writes an integer that is not negative.
    pub fn uint(&mut self, int: u64) -> &mut Self {
        done(encode::write_uint(&mut self.0, int));
        self
    }

    /// Writes an integer.
    pub fn int(&mut self, int: i64) -> &mut Self {
        done(encode::write_sint(&mut self.0, int));
        self
    }

    /// Writes a double.
    pub fn float(&mut self, float: f64) -> &mut Self {
        done(encode::write_f64(&mut self.0, float));
        self
    }

    /// Writes a truth value.
    pub fn bool(&mut self, bool: bool) -> &mut Self {
        let Ok(()) = encode::write_bool(&mut self.0, bool);
        self
    }

    /// Writes nil.
    pub fn nil(&mut self) -> &mut Self {
        let Ok(()) = encode::write_nil(&mut self.0);
        self
    }

    /// Writes a value that was read, byte strings of either family as *bin* if they are not text of
    /// the *str* family.
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

/// Writing to memory cannot fail; the type says so.
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
