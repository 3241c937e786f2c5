//! Values that are given in base64, in hexadecimal or in files.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::{Args, ValueEnum};
use kc::core::kem::{EncapsulationKey, PublicKey};
use kc::core::keys::VerifyingKey;
use kc::maintenance::signing_keys_of;

use crate::error::{CliError, io_failed};

/// The largest size of a value in a file or on stdin, in bytes.
const MAX_BYTES: u64 = 4 << 20;
/// The prefix of binary values in a configuration.
const CONFIG_PREFIX: &str = "base64#";
/// The file name that stands for stdin.
const STDIN: &str = "-";

/// Reads bytes that are given in base64, or in a file that contains the raw bytes or their base64 form. The file name
/// `-` stands for stdin. Errors call the value `what`, for example "the chain".
pub(crate) fn read_bytes(what: &str, given: &str) -> Result<Vec<u8>, CliError> {
    let content = if given == STDIN {
        read_limited(io::stdin().lock(), "stdin", MAX_BYTES)?
    } else if Path::new(given).is_file() {
        read_file(given)?
    } else {
        return decode(given).ok_or_else(|| {
            CliError::usage(format!("{given:?} is neither a file nor base64")).advise(format!(
                "give {what} in base64, or give the path of a file that contains {what}"
            ))
        });
    };
    let text = std::str::from_utf8(&content).ok();
    let decoded = text.and_then(decode);
    Ok(decoded.unwrap_or(content))
}

/// Decodes base64. Line breaks are allowed, and so is the prefix `base64#` of binary values in a configuration.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut text: String = text.split_ascii_whitespace().collect();
    if let Some(rest) = text.strip_prefix(CONFIG_PREFIX) {
        text = rest.to_owned();
    }
    BASE64.decode(text).ok()
}

/// Reads the raw bytes of a file.
fn read_file(path: &str) -> Result<Vec<u8>, CliError> {
    let file = File::open(path).map_err(|error| io_failed("read", path, &error))?;
    read_limited(file, path, MAX_BYTES)
}

/// Reads a source to its end. An error calls the source `name`, and is one of usage if there are more than `most` bytes.
pub(crate) fn read_limited(source: impl Read, name: &str, most: u64) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    let mut source = source.take(most + 1);
    let read = source.read_to_end(&mut bytes);
    read.map_err(|error| io_failed("read", name, &error))?;
    if source.limit() == 0 {
        return Err(CliError::usage(format!(
            "{name} is too large: it has more than {most} bytes"
        )));
    }
    Ok(bytes)
}

/// The text of an argument that gives a binary value: standard base64, the path of a file, or `-` for stdin. The file
/// or stdin contains the raw bytes or their base64 form.
#[derive(Clone, Debug)]
pub(crate) struct Given(String);

impl FromStr for Given {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl Given {
    /// Reads the value. Errors call the value `what`, for example "the chain".
    pub(crate) fn bytes(&self, what: &str) -> Result<Vec<u8>, CliError> {
        read_bytes(what, &self.0)
    }

    /// Reads the value as a public signing key. A key in the argument itself may also be hexadecimal.
    pub(crate) fn verifying_key(&self) -> Result<VerifyingKey, CliError> {
        if let Some(key) = parse(&self.0) {
            return Ok(key);
        }
        let bytes = self.bytes("the public key")?;
        VerifyingKey::from_bytes(&bytes).map_err(|error| {
            CliError::usage(format!("the given value is not a public signing key: {error}")).advise(
                "`kc node keys` shows the public keys of a node, and `kc chain root` the key of a root of trust",
            )
        })
    }

    /// Reads the value as a public key-exchange key, such as the public half of an escrow key.
    pub(crate) fn encapsulation_key(&self) -> Result<EncapsulationKey, CliError> {
        let bytes = self.bytes("the public key")?;
        let key = PublicKey::from_bytes(&bytes).ok();
        key.and_then(PublicKey::into_offer).ok_or_else(|| {
            CliError::usage(
                "the given value is not a public key of type 1 (X25519), 2 (X25519 with Streamlined NTRU Prime) or 5 \
                 (X25519 with ML-KEM-1024)",
            )
            .advise("give the public half of the escrow key; the secret half stays with its owner")
        })
    }
}

/// Returns a binary value in base64, as the program prints it.
pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    BASE64.encode(bytes)
}

/// Public signing keys: one key in an argument, or all keys of a node.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct KeyArgs {
    /// A public signing key in base64 or hexadecimal, or @FILE for a file that contains the key; `kc node keys` and
    /// `kc trust list` show keys in base64
    #[arg(value_name = "KEY")]
    key: Option<String>,

    /// All signing keys of this node, read from its files; the node may be running
    #[arg(long, value_name = "ID|PATH")]
    of: Option<String>,
}

impl KeyArgs {
    /// Reads the keys. Returns at least one key.
    pub(crate) fn read(&self) -> Result<Vec<VerifyingKey>, CliError> {
        match (&self.key, &self.of) {
            (Some(key), _) => Ok(vec![read_key(key)?]),
            (None, Some(node)) => match signing_keys_of(node)? {
                keys if keys.is_empty() => {
                    Err(CliError::failure(format!("node {node} has no signing key")))
                }
                keys => Ok(keys),
            },
            (None, None) => Err(CliError::usage("no key is given")),
        }
    }
}

fn read_key(given: &str) -> Result<VerifyingKey, CliError> {
    let key = match given.strip_prefix('@') {
        Some(path) => {
            let content = read_file(path)?;
            let written = std::str::from_utf8(&content).ok().and_then(parse);
            written.or_else(|| VerifyingKey::from_bytes(&content).ok())
        }
        None => parse(given),
    };
    key.ok_or_else(|| {
        CliError::usage(format!("{given:?} is not a public signing key")).advise(
            "give the 32 bytes of a key of type 1, or the byte form of a key of type 4, in base64 or hexadecimal; \
             or use --of NODE for the keys of a node",
        )
    })
}

/// Parses a key in base64 or hexadecimal.
fn parse(text: &str) -> Option<VerifyingKey> {
    let text = text.trim();
    let candidates = [hexadecimal(text), BASE64.decode(text).ok()];
    let mut keys = candidates.into_iter().flatten();
    keys.find_map(|bytes| VerifyingKey::from_bytes(&bytes).ok())
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    let bytes = digits.chunks_exact(2).map(|pair| match pair {
        [high, low] => u8::try_from(high << 4 | low).ok(),
        _ => None,
    });
    bytes.collect()
}

/// The form of the keys and values of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ValueForm {
    /// As text
    Text,
    /// As JSON
    Json,
    /// In base64
    Base64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_in_base64_and_hexadecimal() {
        for key in [
            VerifyingKey::Ed25519([0xa7; 32]),
            VerifyingKey::Hybrid {
                ed25519: [1; 32],
                slh_dsa: [2; 32],
            },
        ] {
            let bytes = key.to_bytes();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            assert_eq!(parse(&BASE64.encode(&bytes)), Some(key.clone()));
            assert_eq!(parse(&format!(" {hex}\n")), Some(key));
        }
        for text in ["", "a7", "zz", "@"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
