//! Arguments that several commands share.

mod connection;
mod duration;
mod node;
mod password;

pub(crate) use connection::ConnectionArgs;
pub(crate) use duration::duration;
pub(crate) use node::NodeArg;
pub(crate) use password::{Password, PasswordSource};
