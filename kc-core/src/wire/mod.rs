//! Strict and bounded MessagePack (protocol §1).
//!
//! [`Value`] borrows from the input, so that the code that evaluates a signed value reads exactly the bytes that were
//! signed. [`Value::decode`] accepts exactly one value. [`Reader`] accepts only the types that the protocol uses, a
//! bounded depth and a bounded number of elements. [`Writer`] writes the shortest forms. The primitives come from the
//! crate `rmp`.

mod reader;
mod writer;

use thiserror::Error;

use crate::types::KeyId;

pub use reader::{MAX_DEPTH, MAX_ELEMENTS, Reader};
pub use writer::Writer;

/// A reason why received or stored bytes are not MessagePack in the form that the protocol requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WireError {
    /// The input is empty, or ends inside a value.
    #[error("truncated MessagePack")]
    Truncated,
    /// Bytes follow the value.
    #[error("{0} bytes follow the MessagePack value")]
    TrailingBytes(usize),
    /// Arrays and maps nest more deeply than [`MAX_DEPTH`] levels.
    #[error("arrays and maps in the MessagePack value nest too deeply")]
    TooDeep,
    /// The input has more than [`MAX_ELEMENTS`] elements.
    #[error("the MessagePack value has too many elements")]
    TooManyElements,
    /// The protocol does not use this type (an extension type or a reserved marker).
    #[error("MessagePack type 0x{0:02x} is not part of the protocol")]
    UnsupportedType(u8),
    /// A value has another type or shape than the protocol requires at this place.
    #[error("expected {0}")]
    Expected(&'static str),
    /// Text is not UTF-8.
    #[error("text is not UTF-8")]
    NotUtf8,
}

/// One MessagePack value, borrowed from the bytes that it was read from.
///
/// Older peers wrote byte strings in the *raw* family (today *str*), so [`Value::bytes`] and [`Value::text`] accept
/// both families (protocol §1).
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// The nil value.
    Nil,
    /// A Boolean value.
    Bool(bool),
    /// An integer from -2^63 to 2^64 - 1.
    Int(i128),
    /// A floating-point number.
    Float(f64),
    /// A byte string of the *bin* family.
    Bytes(&'a [u8]),
    /// A byte string of the *str* family, which was called *raw* earlier. It need not be valid UTF-8.
    Raw(&'a [u8]),
    /// An array.
    Array(Vec<Value<'a>>),
    /// The entries of a map, in the order in which they were written.
    Map(Vec<(Value<'a>, Value<'a>)>),
}

impl<'a> Value<'a> {
    /// Reads bytes that hold exactly one value.
    ///
    /// # Errors
    /// Returns a [`WireError`] if the bytes are truncated, exceed a limit, contain a type that the protocol does
    /// not use, or continue after the value.
    pub fn decode(input: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(input);
        let value = reader.value()?;
        reader.finish()?;
        Ok(value)
    }

    /// Returns the content of a byte string of either family.
    ///
    /// # Errors
    /// Returns [`WireError::Expected`] if the value is not a byte string.
    pub fn bytes(&self) -> Result<&'a [u8], WireError> {
        match self {
            Self::Bytes(bytes) | Self::Raw(bytes) => Ok(bytes),
            _ => Err(WireError::Expected("a byte string")),
        }
    }

    /// Returns the content of a byte string of either family as text.
    ///
    /// # Errors
    /// Returns [`WireError::Expected`] if the value is not a byte string, and [`WireError::NotUtf8`] if its content
    /// is not valid UTF-8.
    pub fn text(&self) -> Result<&'a str, WireError> {
        str::from_utf8(self.bytes()?).map_err(|_| WireError::NotUtf8)
    }

    /// Returns the elements of an array.
    ///
    /// # Errors
    /// Returns [`WireError::Expected`] if the value is not an array.
    pub fn array(&self) -> Result<&[Value<'a>], WireError> {
        match self {
            Self::Array(elements) => Ok(elements),
            _ => Err(WireError::Expected("an array")),
        }
    }

    /// Returns the value of an integer.
    ///
    /// # Errors
    /// Returns [`WireError::Expected`] if the value is not an integer.
    pub fn int(&self) -> Result<i128, WireError> {
        match self {
            Self::Int(int) => Ok(*int),
            _ => Err(WireError::Expected("an integer")),
        }
    }

    /// Returns the id of a data key: a byte string of 32 bytes, or a non-negative integer.
    ///
    /// # Errors
    /// Returns [`WireError::Expected`] if the value is neither.
    pub fn key_id(&self) -> Result<KeyId, WireError> {
        let id = match self {
            Self::Int(index) => u64::try_from(*index).ok().map(KeyId::Short),
            _ => self.bytes()?.try_into().ok().map(KeyId::Long),
        };
        id.ok_or(WireError::Expected("a key id"))
    }
}

#[cfg(test)]
mod tests;
