//! The keys that certify: the root of trust and the provisioners.

#[cfg(feature = "hsm")]
use std::path::PathBuf;

use clap::Args;
use kc::core::keys::{KeyType, Signer, VerifyingKey};
use kc::core::provision::{Provisioner, derive_provisioner, derive_root};
#[cfg(feature = "hsm")]
use kc::keystore_hsm::Pkcs11Uri;

#[cfg(feature = "hsm")]
use super::TokenUri;
use super::{ProvisioningPasswordArg, RootPasswordArg};
use crate::error::CliError;

/// The root of trust as a signer. Its key is derived from the root password, or is on a token.
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

    /// A file with the PIN of the token of --root-key [default: pin-source of the URI, else KC_HSM_PIN, else
    /// a prompt]
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
    /// Returns a signer with the root's key of this type.
    pub(crate) fn signer(&self, key_type: KeyType) -> Result<Box<dyn Signer>, CliError> {
        #[cfg(feature = "hsm")]
        if let Some(uri) = &self.root_key {
            return crate::token_signer::open(uri, self.pin_file.as_deref(), key_type);
        }
        Ok(Box::new(derive_root(&self.password.read()?, key_type)?.key))
    }
}

/// The provisioner as a signer. Its key is derived from the provisioning password, or is on a token.
#[derive(Args, Clone, Debug)]
pub(crate) struct ProvisionerArgs {
    #[command(flatten)]
    pub(crate) password: ProvisioningPasswordArg,

    /// The key of this role's provisioner on a PKCS#11 token, in place of the password:
    /// pkcs11:token=LABEL;object=kc-provisioner:NAME:id?module-path=/PATH/OF/MODULE.so
    #[cfg(feature = "hsm")]
    #[arg(
        long,
        value_name = "URI",
        value_parser = TokenUri,
        requires = "signed_provisioner",
        conflicts_with = "password_file",
        help_heading = "Root elsewhere"
    )]
    provisioner_key: Option<Pkcs11Uri>,

    /// A file with the PIN of the token of --provisioner-key [default: pin-source of the URI, else
    /// KC_HSM_PIN, else a prompt]
    #[cfg(feature = "hsm")]
    #[arg(
        long,
        value_name = "FILE",
        requires = "provisioner_key",
        help_heading = "Root elsewhere"
    )]
    provisioner_pin_file: Option<PathBuf>,
}

impl ProvisionerArgs {
    /// Returns a signer with the provisioner's key of this type, under this root of trust.
    pub(crate) fn signer(
        &self,
        provisioner: Provisioner,
        root: &VerifyingKey,
        key_type: KeyType,
    ) -> Result<Box<dyn Signer>, CliError> {
        #[cfg(feature = "hsm")]
        if let Some(uri) = &self.provisioner_key {
            return crate::token_signer::open(uri, self.provisioner_pin_file.as_deref(), key_type);
        }
        let password = self.password.read()?;
        let derived = derive_provisioner(&password, provisioner, root, key_type)?;
        Ok(Box::new(derived.key))
    }
}
