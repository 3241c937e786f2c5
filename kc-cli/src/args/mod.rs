//! Arguments that several commands share.

mod certificate;
mod connection;
mod duration;
mod given;
mod node;
mod password;
mod scheme;

pub(crate) use certificate::{GrantArgs, key_type};
pub(crate) use connection::ConnectionArgs;
pub(crate) use duration::duration;
pub(crate) use given::{Given, base64};
pub(crate) use node::NodeArg;
pub(crate) use password::{Password, ProvisioningPasswordArg, RootPasswordArg};
pub(crate) use scheme::SchemeArgs;
