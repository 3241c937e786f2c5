use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;
use kc::core::keys::VerifyingKey;
use kc::signing_keys_of;

use super::bytes::read_file;
use crate::error::CliError;

/// Which public key, or whose.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct KeyArgs {
    /// A public signing key in base64 or hexadecimal, or @FILE that holds one, as `kc trust list` shows
    /// them
    #[arg(value_name = "KEY")]
    key: Option<String>,

    /// All signing keys of this node, from its files; it may be running
    #[arg(long, value_name = "ID|PATH")]
    of: Option<String>,
}

impl KeyArgs {
    /// The keys; at least one.
    pub(crate) fn read(&self) -> Result<Vec<VerifyingKey>, CliError> {
        match (&self.key, &self.of) {
            (Some(key), _) => Ok(vec![read_key(key)?]),
            (None, Some(node)) => match signing_keys_of(node)? {
                keys if keys.is_empty() => {
                    Err(CliError::failure(format!("{node} has no signing key")))
                }
                keys => Ok(keys),
            },
            (None, None) => Err(CliError::usage("no key")),
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
        CliError::usage(format!("{given:?} is no public signing key")).advise(
            "give 32 bytes (type 1) or the byte form of a type-4 key, in base64 or hexadecimal; --of NODE \
             takes those of a node",
        )
    })
}

/// Reads base64 or hexadecimal.
pub(super) fn parse(text: &str) -> Option<VerifyingKey> {
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
