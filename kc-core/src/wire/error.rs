use thiserror::Error;

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
    /// Arrays and maps nest deeper than [`MAX_DEPTH`](super::MAX_DEPTH).
    #[error("MessagePack nests too deeply")]
    TooDeep,
    /// The value has more than [`MAX_ELEMENTS`](super::MAX_ELEMENTS) elements.
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
