//! From a request frame to a response frame.

mod decode;
mod dispatch;
mod supported;

pub(crate) use dispatch::{Context, ProtocolError, answer};
pub(crate) use supported::SUPPORTED;
