//! A check of a request's layout before it is decoded.
//!
//! The codec reserves room for as many array elements as a request *claims*, so that 20 bytes could
//! ask for gigabytes and abort the process. This walk reads nothing out; it only makes sure
//! that every string, array and field is really there, and that there are not too many.

use bytes::Buf;
use thiserror::Error;

use super::schema::{Field, Kind};
use crate::limits::MAX_REQUEST_ELEMENTS;

/// The request is cut off, or has a negative length, or too many elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the request does not have the layout of its kind and version")]
pub(crate) struct BadShape;

/// Checks the body of a request (what follows the header). `flexible` versions have compact
/// lengths and tagged fields. What stands behind the body is ignored, as Apache Kafka does: librdkafka leaves
/// three bytes there when it asks for all topics.
pub(super) fn check(
    layout: &[Field],
    version: i16,
    flexible: bool,
    body: &[u8],
) -> Result<(), BadShape> {
    let mut walk = Walk {
        rest: body,
        version,
        flexible,
        elements: 0,
    };
    walk.fields(layout)
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    elements: usize,
}

impl Walk<'_> {
    fn fields(&mut self, layout: &[Field]) -> Result<(), BadShape> {
        for field in layout {
            if (field.since..=field.until).contains(&self.version) {
                self.value(&field.kind)?;
            }
        }
        if self.flexible {
            self.tagged_fields()?;
        }
        Ok(())
    }

    fn value(&mut self, kind: &Kind) -> Result<(), BadShape> {
        match kind {
            Kind::Fixed(size) => self.skip(*size),
            Kind::Text => {
                let length = self.length(|rest| rest.try_get_i16().map(i32::from))?;
                self.skip(length)
            }
            Kind::Blob => {
                let length = self.length(|rest| rest.try_get_i32())?;
                self.skip(length)
            }
            Kind::List(element) => {
                let length = self.length(|rest| rest.try_get_i32())?;
                self.elements = self.elements.saturating_add(length);
                if self.elements > MAX_REQUEST_ELEMENTS {
                    return Err(BadShape);
                }
                (0..length).try_for_each(|_| self.value(element))
            }
            Kind::Struct(layout) => self.fields(layout),
        }
    }

    fn tagged_fields(&mut self) -> Result<(), BadShape> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let size = self.varint()?;
            self.skip(usize::try_from(size).map_err(|_| BadShape)?)?;
        }
        Ok(())
    }

    /// A length before what it measures; null counts as 0.
    fn length(
        &mut self,
        plain: impl FnOnce(&mut &[u8]) -> Result<i32, bytes::TryGetError>,
    ) -> Result<usize, BadShape> {
        if self.flexible {
            let length = self.varint()?.saturating_sub(1);
            return usize::try_from(length).map_err(|_| BadShape);
        }
        match plain(&mut self.rest) {
            Ok(-1) => Ok(0),
            Ok(length) => usize::try_from(length).map_err(|_| BadShape),
            Err(_) => Err(BadShape),
        }
    }

    fn varint(&mut self) -> Result<u32, BadShape> {
        let mut value = 0_u32;
        for shift in (0..32).step_by(7) {
            let byte = self.rest.try_get_u8().map_err(|_| BadShape)?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(BadShape)
    }

    fn skip(&mut self, size: usize) -> Result<(), BadShape> {
        self.rest = self.rest.get(size..).ok_or(BadShape)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
