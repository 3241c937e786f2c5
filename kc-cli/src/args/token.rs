//! The arguments that name a token, and that choose the keys of a new node on a token.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Args, Command};
use kc::keystore_hsm::{Pkcs11Uri, UriError};

/// The parser of a token's URI. Its errors do not show the URI, because the URI may hold a PIN.
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
            let refused = format!(
                "the URI of the token is not valid: {error}; {}\n",
                error.advice()
            );
            clap::Error::raw(ErrorKind::ValueValidation, refused).with_cmd(command)
        })
    }
}

/// The token for new keys.
#[derive(Args, Clone, Debug)]
pub(crate) struct KeystoreArgs {
    /// The PKCS#11 token that generates the keys; the keys never leave it:
    /// pkcs11:token=LABEL?module-path=/PATH/OF/MODULE.so, optionally with &pin-source=file:/PATH
    #[arg(long, value_name = "URI", value_parser = TokenUri, help_heading = "Node")]
    pub(crate) keystore: Option<Pkcs11Uri>,

    /// A file with the PIN of the token [default: pin-source of the URI, else KC_HSM_PIN, else a prompt]
    #[arg(
        long,
        value_name = "FILE",
        requires = "keystore",
        help_heading = "Passwords"
    )]
    pub(crate) pin_file: Option<PathBuf>,
}

/// The choice to use keys that are already on the token instead of new keys.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct AdoptArg {
    /// Use the keys that the token already has for this node id, for example from `kc hsm generate`; only missing keys
    /// are generated
    #[arg(long, help_heading = "Node")]
    pub(crate) adopt: bool,
}
