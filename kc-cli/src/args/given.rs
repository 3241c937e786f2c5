use std::convert::Infallible;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kc::core::kem::{EncapsulationKey, PublicKey};
use kc::core::keys::VerifyingKey;

use super::key::parse;
use super::read_bytes;
use crate::error::CliError;

/// A binary value in standard base64: in a file, on stdin (`-`), or on the command line itself.
#[derive(Clone, Debug)]
pub(crate) struct Given(String);

impl FromStr for Given {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl Given {
    /// The value; `what` says what it is: "the chain".
    pub(crate) fn bytes(&self, what: &str) -> Result<Vec<u8>, CliError> {
        read_bytes(what, &self.0)
    }

    /// The value as a public signing key; itself it may be hexadecimal, too.
    pub(crate) fn verifying_key(&self) -> Result<VerifyingKey, CliError> {
        if let Some(key) = parse(&self.0) {
            return Ok(key);
        }
        let bytes = self.bytes("the public key")?;
        VerifyingKey::from_bytes(&bytes).map_err(|error| {
            CliError::usage(format!("not a public signing key: {error}")).advise(
                "`kc node keys` shows the public keys of a node, `kc chain root` that of a root of trust",
            )
        })
    }

    /// The value as a public key that secrets are sealed to.
    pub(crate) fn encapsulation_key(&self) -> Result<EncapsulationKey, CliError> {
        let bytes = self.bytes("the public key")?;
        let key = PublicKey::from_bytes(&bytes).ok();
        key.and_then(PublicKey::into_offer).ok_or_else(|| {
            CliError::usage("not a public key of key exchange 1, 2 or 5").advise(
                "give the public half of the escrow key; its secret half stays with its owner",
            )
        })
    }
}

/// How binary values are printed.
pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}
