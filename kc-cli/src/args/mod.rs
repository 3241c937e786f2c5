//! Arguments that several commands share.

mod bytes;
mod connection;
mod duration;
mod given;
mod grant;
mod key;
mod key_type;
#[cfg(feature = "hsm")]
mod keystore;
mod node;
mod password;
mod pin;
mod provisioner;
mod root;
mod scheme;
#[cfg(feature = "hsm")]
mod token;

pub(crate) use bytes::read_bytes;
pub(crate) use connection::{Connection, ConnectionArgs};
pub(crate) use duration::duration;
pub(crate) use given::{Given, base64};
pub(crate) use grant::GrantArgs;
pub(crate) use key::KeyArgs;
pub(crate) use key_type::key_type;
#[cfg(feature = "hsm")]
pub(crate) use keystore::{AdoptArg, KeystoreArgs};
pub(crate) use node::NodeArg;
pub(crate) use password::{Password, PasswordSource, ProvisioningPasswordArg, RootPasswordArg};
pub(crate) use pin::PinArg;
pub(crate) use provisioner::ProvisionerArgs;
pub(crate) use root::RootArgs;
pub(crate) use scheme::SchemeArgs;
#[cfg(feature = "hsm")]
pub(crate) use token::TokenUri;
