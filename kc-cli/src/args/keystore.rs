use std::path::PathBuf;

use clap::Args;
use kc::keystore_hsm::Pkcs11Uri;

use super::TokenUri;

/// Where a new node's keys are to be.
#[derive(Args, Clone, Debug)]
pub(crate) struct KeystoreArgs {
    /// Draw its keys on a PKCS#11 token, which they never leave:
    /// pkcs11:token=LABEL?module-path=/PATH/OF/MODULE.so, perhaps with &pin-source=file:/PATH
    #[arg(long, value_name = "URI", value_parser = TokenUri, help_heading = "Node")]
    pub(crate) keystore: Option<Pkcs11Uri>,

    /// A file with the token's PIN; else pin-source of the URI, else KC_HSM_PIN, else a prompt
    #[arg(
        long,
        value_name = "FILE",
        requires = "keystore",
        help_heading = "Passwords"
    )]
    pub(crate) pin_file: Option<PathBuf>,
}

/// Whether a node takes keys that are on its token.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct AdoptArg {
    /// Take the keys of this id that are on the token already: those that `kc hsm generate` drew
    #[arg(long, help_heading = "Node")]
    pub(crate) adopt: bool,
}
