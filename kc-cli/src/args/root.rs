#[cfg(feature = "hsm")]
use std::path::PathBuf;

use clap::Args;
use kc::core::keys::{KeyType, Signer};
use kc::core::provision::derive_root;
#[cfg(feature = "hsm")]
use kc::keystore_hsm::Pkcs11Uri;

use super::RootPasswordArg;
#[cfg(feature = "hsm")]
use super::TokenUri;
use crate::error::CliError;

/// The root of trust, to sign with: by its password, or on a token.
#[derive(Args, Clone, Debug)]
pub(crate) struct RootArgs {
    #[command(flatten)]
    pub(crate) password: RootPasswordArg,

    /// The root's key on a PKCS#11 token, in place of the password:
    /// pkcs11:token=LABEL;object=kc-root:NAME:id?module-path=/PATH/OF/MODULE.so
    #[cfg(feature = "hsm")]
    #[arg(
        long,
        value_name = "URI",
        value_parser = TokenUri,
        conflicts_with = "root_password_file",
        help_heading = "Passwords"
    )]
    pub(crate) root_key: Option<Pkcs11Uri>,

    /// A file with the PIN of that token; else pin-source of the URI, else KC_HSM_PIN, else a prompt
    #[cfg(feature = "hsm")]
    #[arg(
        long,
        value_name = "FILE",
        requires = "root_key",
        help_heading = "Passwords"
    )]
    pub(crate) pin_file: Option<PathBuf>,
}

impl RootArgs {
    /// The root's key of this type.
    pub(crate) fn signer(&self, key_type: KeyType) -> Result<Box<dyn Signer>, CliError> {
        #[cfg(feature = "hsm")]
        if let Some(uri) = &self.root_key {
            return crate::token_signer::open(uri, self.pin_file.as_deref(), key_type);
        }
        Ok(Box::new(derive_root(&self.password.read()?, key_type)?.key))
    }
}
