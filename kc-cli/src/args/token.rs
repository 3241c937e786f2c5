//! Tokens, and the keys that a new node has on one.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Args, Command};
use kc::keystore_hsm::{Pkcs11Uri, UriError};

/// The URI of a token. One that is refused is not shown, because it may hold a PIN.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenUri;

impl TypedValueParser for TokenUri {
    type Value = Pkcs11Uri;

    fn parse_ref(
        &self,
        command: &Command,
        _: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Pkcs11Uri, clap::Error> {
        value.to_string_lossy().parse().map_err(|error: UriError| {
            let refused = format!("the token's URI: {error}; {}\n", error.advice());
            clap::Error::raw(ErrorKind::ValueValidation, refused).with_cmd(command)
        })
    }
}

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
