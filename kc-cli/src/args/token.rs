use std::ffi::OsStr;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command};
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
