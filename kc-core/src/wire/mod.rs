//! Strict, bounded MessagePack (protocol §1).
//!
//! [`Value`] borrows from the input, so what was signed is what is looked at. The reader accepts
//! exactly one value, the types that the protocol uses, a bounded depth and a bounded number of
//! elements; [`Writer`] writes the shortest forms. The primitives are those of the crate `rmp`.

mod reader;
mod writer;

use thiserror::Error;

pub use reader::{MAX_DEPTH, MAX_ELEMENTS, Reader};
pub use writer::Writer;

/// Why bytes are not the MessagePack that the protocol asks for. Always the sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WireError {
    /// The input ends inside a value.
    #[error("truncated MessagePack")]
    Truncated,
    /// Bytes follow the value.
    #[error("{0} bytes follow the MessagePack value")]
    TrailingBytes(usize),
    /// Arrays and maps nest deeper than [`MAX_DEPTH`].
    #[error("MessagePack nests too deeply")]
    TooDeep,
    /// The value has more than [`MAX_ELEMENTS`] elements.
    #[error("MessagePack value has too many elements")]
    TooManyElements,
    /// A type the protocol never uses (extensions, reserved markers).
    #[error("MessagePack type 0x{0:02x} is not part of the protocol")]
    UnsupportedType(u8),
    /// A value of another type or shape stands where this one is due.
    #[error("expected {0}")]
    Expected(&'static str),
    /// Text is not UTF-8.
    #[error("text is not UTF-8")]
    NotUtf8,
}

/// One MessagePack value, borrowed from the bytes it was read from.
///
/// Older peers wrote byte strings in the *raw* (today: *str*) family, so both families answer to
/// [`Value::bytes`] and [`Value::text`] (protocol §1).
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// Nothing.
    Nil,
    /// A truth value.
    Bool(bool),
    /// An integer from -2^63 to 2^64 - 1.
    Int(i128),
    /// A number in floating point.
    Float(f64),
    /// A byte string of the *bin* family.
    Bytes(&'a [u8]),
    /// A byte string of the *raw* or *str* family; usually, but not always, UTF-8.
    Raw(&'a [u8]),
    /// An array.
    Array(Vec<Value<'a>>),
    /// A map, in the order written.
    Map(Vec<(Value<'a>, Value<'a>)>),
}

impl<'a> Value<'a> {
    /// Reads bytes that hold exactly one value.
    ///
    /// # Errors
    /// Any [`WireError`].
    pub fn decode(input: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(input);
        let value = reader.value()?;
        reader.finish()?;
        Ok(value)
    }

    /// The content of either string family.
    ///
    /// # Errors
    /// [`WireError::Expected`] for any other type.
    pub fn bytes(&self) -> Result<&'a [u8], WireError> {
        match self {
            Self::Bytes(bytes) | Self::Raw(bytes) => Ok(bytes),
            _ => Err(WireError::Expected("a byte string")),
        }
    }

    /// The content of either string family as text.
    ///
    /// # Errors
    /// [`WireError::Expected`] for any other type, [`WireError::NotUtf8`].
    pub fn text(&self) -> Result<&'a str, WireError> {
        str::from_utf8(self.bytes()?).map_err(|_| WireError::NotUtf8)
    }

    /// An array's elements.
    ///
    /// # Errors
    /// [`WireError::Expected`] for any other type.
    pub fn array(&self) -> Result<&[Value<'a>], WireError> {
        match self {
            Self::Array(elements) => Ok(elements),
            _ => Err(WireError::Expected("an array")),
        }
    }

    /// An integer.
    ///
    /// # Errors
    /// [`WireError::Expected`] for any other type.
    pub fn int(&self) -> Result<i128, WireError> {
        match self {
            Self::Int(int) => Ok(*int),
            _ => Err(WireError::Expected("an integer")),
        }
    }
}

#[cfg(test)]
mod tests;
