//! Arguments that several commands share.

mod bytes;
mod connection;
mod duration;
mod key;
mod key_type;
mod node;
mod password;

pub(crate) use bytes::read_bytes;
pub(crate) use connection::{Connection, ConnectionArgs};
pub(crate) use duration::duration;
pub(crate) use key::KeyArgs;
pub(crate) use key_type::key_type;
pub(crate) use node::NodeArg;
pub(crate) use password::{Password, PasswordSource};
