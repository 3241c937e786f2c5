use super::{Reader, WireError};

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
