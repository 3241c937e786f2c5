//! Strict, bounded MessagePack (protocol §1).
//!
//! [`Value`] borrows from the input, so what was signed is what is looked at. The reader accepts
//! exactly one value, the types that the protocol uses, a bounded depth and a bounded number of
//! elements; [`Writer`] writes the shortest forms. The primitives are those of the crate `rmp`.

mod error;
mod reader;
mod value;
mod writer;

pub use error::WireError;
pub use reader::{MAX_DEPTH, MAX_ELEMENTS, Reader};
pub use value::Value;
pub use writer::Writer;

#[cfg(test)]
mod tests;
