//! From a request frame to a response frame.

mod dispatch;
mod schema;
mod shape;
mod supported;

pub(crate) use dispatch::{Context, ProtocolError, answer};
pub(crate) use supported::SUPPORTED;
