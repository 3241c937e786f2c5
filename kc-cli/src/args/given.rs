use std::convert::Infallible;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kc::core::kem::{EncapsulationKey, PublicKey};
use kc::core::keys::VerifyingKey;

use crate::error::{CliError, io_failed};

/// No value is longer, in bytes of base64: 16 certificates with hybrid signatures fit.
const MAX_TEXT_BYTES: u64 = 1 << 20;
/// Stands before binary values in a configuration.
const CONFIG_PREFIX: &[u8] = b"base64#";

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
    /// The value; `what` is what it should be, for messages.
    pub(crate) fn bytes(&self, what: &str) -> Result<Vec<u8>, CliError> {
        let path = Path::new(&self.0);
        let (mut text, place) = if self.0 == "-" {
            (read(io::stdin().lock(), &"stdin")?, "stdin")
        } else if path.is_file() {
            let file = File::open(path).map_err(|error| io_failed("read", path.display(), &error));
            (read(file?, &path.display())?, self.0.as_str())
        } else {
            let text = self.0.clone().into_bytes();
            (text, "the argument, which names no file,")
        };
        text.retain(|byte| !byte.is_ascii_whitespace());
        let encoded = text.strip_prefix(CONFIG_PREFIX).unwrap_or(&text);
        STANDARD.decode(encoded).map_err(|_| {
            CliError::usage(format!("no {what}: {place} holds no base64")).advise(
                "give it in standard base64, as kc prints it: in a file, on stdin (-), or itself",
            )
        })
    }

    /// The value as a public signing key.
    pub(crate) fn verifying_key(&self) -> Result<VerifyingKey, CliError> {
        let bytes = self.bytes("public key")?;
        VerifyingKey::from_bytes(&bytes).map_err(|error| {
            CliError::usage(format!("not a public signing key: {error}")).advise(
                "`kc node keys` shows the public keys of a node, `kc chain root` that of a root of trust",
            )
        })
    }

    /// The value as a public key that secrets are sealed to.
    pub(crate) fn encapsulation_key(&self) -> Result<EncapsulationKey, CliError> {
        let bytes = self.bytes("public key")?;
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

fn read(source: impl Read, place: &dyn Display) -> Result<Vec<u8>, CliError> {
    let mut text = Vec::new();
    let mut source = source.take(MAX_TEXT_BYTES);
    let read = source.read_to_end(&mut text);
    read.map_err(|error| io_failed("read", place, &error))?;
    if source.limit() == 0 {
        return Err(CliError::usage(format!(
            "{place} holds {MAX_TEXT_BYTES} bytes or more: too long for a chain or a key"
        )));
    }
    Ok(text)
}
