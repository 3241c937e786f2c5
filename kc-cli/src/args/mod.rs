//! Arguments that several commands share.

mod connection;
mod copies;
mod grant;
mod node;
mod password;
mod signer;
#[cfg(feature = "hsm")]
mod token;
mod values;

use std::time::Duration;

use kc::core::keys::KeyType;

pub(crate) use connection::{Connection, ConnectionArgs};
pub(crate) use copies::CopiesArg;
pub(crate) use grant::{GrantArgs, SchemeArgs, topic};
pub(crate) use node::{NodeArg, PinArg, node_or_environment};
pub(crate) use password::{Password, PasswordSource, ProvisioningPasswordArg, RootPasswordArg};
pub(crate) use signer::{ProvisionerArgs, RootArgs};
#[cfg(feature = "hsm")]
pub(crate) use token::{AdoptArg, KeystoreArgs, TokenUri};
pub(crate) use values::{Given, KeyArgs, ValueForm, base64, read_bytes, read_limited};

/// Parses the type of a signing key, which is a number: 1 or 4.
pub(crate) fn key_type(text: &str) -> Result<KeyType, String> {
    let version = text.parse().ok().and_then(KeyType::from_version);
    version.ok_or_else(|| "expected 1 (Ed25519) or 4 (Ed25519 and SLH-DSA)".to_owned())
}

/// Parses a duration: `500ms`, `20s`, `2m`, `7d`, or a sum such as `1h 30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write a number and a unit: 500ms, 20s, 2m, 7d"))
}

/// Parses a number of bytes: `4096`, `512K`, `4M`, `2G`. A unit is 1024 times the one before.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match text
        .get(digits.len()..)
        .unwrap_or_default()
        .to_ascii_uppercase()
        .as_str()
    {
        "" | "B" => Some(0),
        "K" | "KB" | "KIB" => Some(10),
        "M" | "MB" | "MIB" => Some(20),
        "G" | "GB" | "GIB" => Some(30),
        "T" | "TB" | "TIB" => Some(40),
        _ => None,
    };
    let bytes = digits.parse::<u64>().ok().zip(shift);
    bytes
        .and_then(|(number, shift)| number.checked_mul(1 << shift))
        .ok_or_else(|| "expected a number of bytes: 4096, 512K, 4M, 2G".to_owned())
}

/// Returns a duration as a person would give it to [`duration`]: `7d`, `1h 30m`.
pub(crate) fn shown_duration(duration: Duration) -> String {
    let text = humantime::format_duration(duration).to_string();
    text.replace("days", "d").replace("day", "d")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_as_they_are_given() {
        for text in ["500ms", "20s", "1h 30m", "1d", "7d 2h"] {
            assert_eq!(shown_duration(duration(text).unwrap()), text);
        }
    }

    #[test]
    fn sizes_may_have_units() {
        for (text, expected) in [
            ("1", 1),
            ("512K", 512 << 10),
            ("4MiB", 4 << 20),
            ("2g", 2 << 30),
        ] {
            assert_eq!(size(text), Ok(expected), "{text}");
        }
        for text in ["", "K", "-1", "1.5M", "1X", "99999999T"] {
            assert!(size(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn durations_have_units() {
        for (text, expected) in [
            ("500ms", Duration::from_millis(500)),
            ("20s", Duration::from_secs(20)),
            ("2m", Duration::from_secs(120)),
            ("7d", Duration::from_secs(604_800)),
            ("0s", Duration::ZERO),
        ] {
            assert_eq!(duration(text), Ok(expected));
        }
        for text in ["", "20", "-1s", "1 fortnight"] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }
}
