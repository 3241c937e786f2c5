use rmp::Marker;

use super::{Value, WireError};

/// The maximum number of levels to which arrays and maps nest. A certificate needs five. Test:
/// `bounds_depth_and_elements`.
pub const MAX_DEPTH: usize = 16;

/// The maximum number of elements that [`Reader::value`] reads in all calls on one [`Reader`], whatever their length in
/// bytes. An array and a map count as one element each, and each value or key inside them counts, too. Test:
/// `bounds_depth_and_elements`.
pub const MAX_ELEMENTS: usize = 65_536;

/// Reads MessagePack from a slice, from front to back, without copying.
pub struct Reader<'a> {
    rest: &'a [u8],
    elements_left: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `input`.
    #[must_use]
    pub fn new(input: &'a [u8]) -> Self {
        Self {
            rest: input,
            elements_left: MAX_ELEMENTS,
        }
    }

    /// Returns the bytes that have not been read.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Checks that all bytes have been read.
    ///
    /// # Errors
    /// Returns [`WireError::TrailingBytes`] if bytes are left.
    pub fn finish(self) -> Result<(), WireError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(WireError::TrailingBytes(left)),
        }
    }

    /// Reads the next value with all of its elements.
    ///
    /// # Errors
    /// Returns a [`WireError`] if the value is truncated, exceeds a limit or contains a type that the protocol does
    /// not use.
    pub fn value(&mut self) -> Result<Value<'a>, WireError> {
        self.value_at(MAX_DEPTH)
    }

    /// Reads the header of an array. Returns the number of its elements, which follow.
    ///
    /// # Errors
    /// Returns [`WireError::Expected`] if the next value is not an array, and [`WireError::Truncated`] if the
    /// header is not complete.
    pub fn array(&mut self) -> Result<usize, WireError> {
        match self.marker()? {
            Marker::FixArray(len) => Ok(len.into()),
            Marker::Array16 => self.length::<2>(),
            Marker::Array32 => self.length::<4>(),
            _ => Err(WireError::Expected("an array")),
        }
    }

    fn value_at(&mut self, depth: usize) -> Result<Value<'a>, WireError> {
        self.elements_left = self
            .elements_left
            .checked_sub(1)
            .ok_or(WireError::TooManyElements)?;
        match self.marker()? {
            Marker::Null => Ok(Value::Nil),
            Marker::False => Ok(Value::Bool(false)),
            Marker::True => Ok(Value::Bool(true)),
            Marker::FixPos(n) => Ok(Value::Int(n.into())),
            Marker::FixNeg(n) => Ok(Value::Int(n.into())),
            Marker::U8 => Ok(Value::Int(u8::from_be_bytes(self.bytes()?).into())),
            Marker::U16 => Ok(Value::Int(u16::from_be_bytes(self.bytes()?).into())),
            Marker::U32 => Ok(Value::Int(u32::from_be_bytes(self.bytes()?).into())),
            Marker::U64 => Ok(Value::Int(u64::from_be_bytes(self.bytes()?).into())),
            Marker::I8 => Ok(Value::Int(i8::from_be_bytes(self.bytes()?).into())),
            Marker::I16 => Ok(Value::Int(i16::from_be_bytes(self.bytes()?).into())),
            Marker::I32 => Ok(Value::Int(i32::from_be_bytes(self.bytes()?).into())),
            Marker::I64 => Ok(Value::Int(i64::from_be_bytes(self.bytes()?).into())),
            Marker::F32 => Ok(Value::Float(f32::from_be_bytes(self.bytes()?).into())),
            Marker::F64 => Ok(Value::Float(f64::from_be_bytes(self.bytes()?))),
            Marker::FixStr(len) => Ok(Value::Raw(self.take(len.into())?)),
            Marker::Str8 => self.counted::<1>().map(Value::Raw),
            Marker::Str16 => self.counted::<2>().map(Value::Raw),
            Marker::Str32 => self.counted::<4>().map(Value::Raw),
            Marker::Bin8 => self.counted::<1>().map(Value::Bytes),
            Marker::Bin16 => self.counted::<2>().map(Value::Bytes),
            Marker::Bin32 => self.counted::<4>().map(Value::Bytes),
            Marker::FixArray(len) => self.elements(len.into(), depth),
            Marker::Array16 => self.length::<2>().and_then(|len| self.elements(len, depth)),
            Marker::Array32 => self.length::<4>().and_then(|len| self.elements(len, depth)),
            Marker::FixMap(len) => self.entries(len.into(), depth),
            Marker::Map16 => self.length::<2>().and_then(|len| self.entries(len, depth)),
            Marker::Map32 => self.length::<4>().and_then(|len| self.entries(len, depth)),
            unsupported => Err(WireError::UnsupportedType(unsupported.to_u8())),
        }
    }

    fn elements(&mut self, len: usize, depth: usize) -> Result<Value<'a>, WireError> {
        let depth = depth.checked_sub(1).ok_or(WireError::TooDeep)?;
        let mut elements = Vec::with_capacity(len.min(self.rest.len()).min(16));
        for _ in 0..len {
            elements.push(self.value_at(depth)?);
        }
        Ok(Value::Array(elements))
    }

    fn entries(&mut self, len: usize, depth: usize) -> Result<Value<'a>, WireError> {
        let depth = depth.checked_sub(1).ok_or(WireError::TooDeep)?;
        let mut entries = Vec::with_capacity(len.min(self.rest.len()).min(16));
        for _ in 0..len {
            entries.push((self.value_at(depth)?, self.value_at(depth)?));
        }
        Ok(Value::Map(entries))
    }

    fn marker(&mut self) -> Result<Marker, WireError> {
        self.bytes::<1>().map(|[byte]| Marker::from_u8(byte))
    }

    fn counted<const N: usize>(&mut self) -> Result<&'a [u8], WireError> {
        let len = self.length::<N>()?;
        self.take(len)
    }

    /// Reads a big-endian length of `N` bytes, at most four.
    fn length<const N: usize>(&mut self) -> Result<usize, WireError> {
        let bytes = self.bytes::<N>()?;
        Ok(bytes
            .iter()
            .fold(0, |len, &byte| (len << 8) | usize::from(byte)))
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (bytes, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let (bytes, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }
}
