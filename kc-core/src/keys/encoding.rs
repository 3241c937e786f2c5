use super::KeyError;
use crate::wire::{Value, WireError};

/// One key as it stands in a message: bare bytes, or a version number with its content.
pub(crate) enum Element<'v, 'a> {
    /// Bytes of a length that only version 1 has.
    Bare(&'a [u8]),
    /// `[version, content]`.
    Versioned(i128, &'v Value<'a>),
}

/// Looks at a value as a key and hands it to `read` (protocol §5).
///
/// Bytes of one of the `bare` lengths are a bare version-1 key. Any other byte string is the
/// stand-alone form, MessagePack inside, which is strict: there the *raw* family is no substitute for
/// *bin*. An array is `[version, content]`.
pub(crate) fn versioned<T>(
    value: &Value<'_>,
    bare: usize,
    read: impl Fn(Element<'_, '_>) -> Result<T, KeyError>,
) -> Result<T, KeyError> {
    match value {
        Value::Bytes(bytes) | Value::Raw(bytes) if bytes.len() == bare => {
            read(Element::Bare(bytes))
        }
        Value::Bytes(bytes) | Value::Raw(bytes) => {
            let inner = Value::decode(bytes)?;
            refuse_raw(&inner)?;
            let (version, content) = pair(&inner)?;
            read(Element::Versioned(version, content))
        }
        _ => {
            let (version, content) = pair(value)?;
            read(Element::Versioned(version, content))
        }
    }
}

fn pair<'v, 'a>(value: &'v Value<'a>) -> Result<(i128, &'v Value<'a>), KeyError> {
    match value.array()? {
        [version, content] => Ok((version.int()?, content)),
        _ => Err(WireError::Expected("a version and a key").into()),
    }
}

fn refuse_raw(value: &Value<'_>) -> Result<(), KeyError> {
    match value {
        Value::Raw(_) => Err(WireError::Expected("a byte string of the bin family").into()),
        Value::Array(elements) => elements.iter().try_for_each(refuse_raw),
        _ => Ok(()),
    }
}
