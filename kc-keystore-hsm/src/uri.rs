//! `pkcs11:` URIs (RFC 7512), parsed strictly.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use thiserror::Error;

/// The characters that `Display` percent-encodes: all except the unreserved characters of RFC 3986 and `:`.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':');
const ESCAPED_IN_PATHS: &AsciiSet = &ESCAPED.remove(b'/');

/// Names a token, an object on the token, the PKCS#11 module of the token, and the file that holds the token's PIN:
/// `pkcs11:token=kc;object=kc:n1:5c8e91d2a7034bf6:id?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/kc/pin`.
///
/// A URI names a token by its label or its serial number. It may also give the manufacturer and the model, which the
/// token must then have, too. It never names a slot, because the slot number of a token may change. A URI with a PIN is
/// refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pkcs11Uri {
    /// `token=`: the token's label.
    pub token: Option<String>,
    /// `manufacturer=`: the token's manufacturer.
    pub manufacturer: Option<String>,
    /// `model=`: the token's model.
    pub model: Option<String>,
    /// `serial=`: the token's serial number.
    pub serial: Option<String>,
    /// `object=`: the label of an object, see [`NodeLabels`](crate::NodeLabels).
    pub object: Option<String>,
    /// `?module-path=`: the absolute path of the PKCS#11 module.
    pub module_path: Option<PathBuf>,
    /// `?pin-source=file:`: the absolute path of the file that holds the PIN.
    pub pin_source: Option<PathBuf>,
}

impl Pkcs11Uri {
    /// Returns a copy of this URI that names the object with this label.
    #[must_use]
    pub fn with_object(&self, label: String) -> Self {
        Self {
            object: Some(label),
            ..self.clone()
        }
    }
}

impl FromStr for Pkcs11Uri {
    type Err = UriError;

    /// Parses a URI. Returns a [`UriError`] if it is invalid.
    fn from_str(text: &str) -> Result<Self, UriError> {
        parse(text)
    }
}

/// Prints the canonical form, which parses to the same value.
impl fmt::Display for Pkcs11Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pkcs11:")?;
        let attributes = [
            ("token", &self.token),
            ("manufacturer", &self.manufacturer),
            ("model", &self.model),
            ("serial", &self.serial),
            ("object", &self.object),
        ];
        let mut separator = "";
        for (name, value) in attributes {
            if let Some(value) = value {
                let value = percent_encode(value.as_bytes(), ESCAPED);
                write!(f, "{separator}{name}={value}")?;
                separator = ";";
            }
        }
        let paths = [
            ("module-path=", &self.module_path),
            ("pin-source=file:", &self.pin_source),
        ];
        separator = "?";
        for (name, path) in paths {
            if let Some(path) = path {
                let path = path.as_os_str().as_encoded_bytes();
                write!(
                    f,
                    "{separator}{name}{}",
                    percent_encode(path, ESCAPED_IN_PATHS)
                )?;
                separator = "&";
            }
        }
        Ok(())
    }
}

/// The reason why a text is not a supported `pkcs11:` URI. Messages show no values, because a value may be a PIN.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UriError {
    /// The text does not begin with `pkcs11:`.
    #[error("it does not begin with pkcs11:")]
    Scheme,
    /// An attribute does not have the form `name=value`.
    #[error("it has an attribute without a name or a value")]
    Attribute,
    /// A value contains a character that must be percent-encoded, or an invalid percent-encoding.
    #[error(
        "the value of {0} contains a character that must be percent-encoded, or an invalid percent-encoding"
    )]
    Encoding(&'static str),
    /// A value is not UTF-8 text.
    #[error("the value of {0} is not UTF-8 text")]
    NotText(&'static str),
    /// An attribute occurs twice.
    #[error("the attribute {0} occurs twice")]
    Duplicate(&'static str),
    /// The URI has an unknown attribute.
    #[error("unknown attribute {0:?}")]
    Unknown(String),
    /// The URI contains a PIN.
    #[error("the attribute pin-value is not accepted")]
    PinValue,
    /// A path is not absolute.
    #[error("the value of {0} is not an absolute path")]
    NotAbsolute(&'static str),
    /// The URI has neither `token` nor `serial`.
    #[error("it has neither token nor serial")]
    NoToken,
    /// The URI names no object, but the operation needs an object.
    #[error("it has no object")]
    NoObject,
    /// The URI names no module, but the operation needs a module.
    #[error("it has no module-path")]
    NoModule,
}

impl UriError {
    /// Returns advice for the operator: how to write a correct URI.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Scheme | Self::Attribute | Self::NoToken | Self::Duplicate(_) => {
                "write pkcs11:token=<label>;object=kc:<node>:<instance>:id?module-path=/path/to/module.so"
            }
            Self::Encoding(_) | Self::NotText(_) => {
                "write %20 for a space, %25 for a percent sign, %3B for a semicolon, %2F for a slash in a label"
            }
            Self::Unknown(name) if name.starts_with("slot-") => {
                "name the token by token= or serial=, because the slot number of a token may change"
            }
            Self::Unknown(_) => {
                "write only known attributes: token, manufacturer, model, serial and object before the question mark, module-path and pin-source after it"
            }
            Self::PinValue => {
                "put the PIN into a file of mode 0600 and name the file with pin-source=file:/path, or set KC_HSM_PIN; a PIN in a URI is not secret, because configurations are copied and printed"
            }
            Self::NotAbsolute(_) => "write the whole path, beginning with /",
            Self::NoObject => {
                "add object=kc:<node>:<instance>:id for a node's keys, or object=kc:<node>:<instance>:ratchet for its ratchet; `kc hsm list` shows the labels"
            }
            Self::NoModule => "add ?module-path=/path/to/module.so",
        }
    }
}

/// The characters other than letters and digits that may occur unencoded in a value before the question mark.
const PATH_CHARACTERS: &str = "-._~:[]@!$'()*+,=&";
/// The characters other than letters and digits that may occur unencoded in a value after the question mark.
const QUERY_CHARACTERS: &str = "-._~:[]@!$'()*+,=/?|";

fn parse(text: &str) -> Result<Pkcs11Uri, UriError> {
    let rest = text
        .split_at_checked("pkcs11:".len())
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("pkcs11:"))
        .map(|(_, rest)| rest)
        .ok_or(UriError::Scheme)?;
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    let mut uri = Pkcs11Uri::default();
    for attribute in path.split(';') {
        let (name, value) = split(attribute)?;
        let (name, slot) = match name {
            "token" => ("token", &mut uri.token),
            "manufacturer" => ("manufacturer", &mut uri.manufacturer),
            "model" => ("model", &mut uri.model),
            "serial" => ("serial", &mut uri.serial),
            "object" => ("object", &mut uri.object),
            _ => return Err(unknown(name)),
        };
        let value = decode(name, value, PATH_CHARACTERS)?;
        set(name, slot, value)?;
    }
    for attribute in query.iter().flat_map(|query| query.split('&')) {
        let (name, value) = split(attribute)?;
        match name {
            "module-path" => {
                let path = decode("module-path", value, QUERY_CHARACTERS)?;
                let path = absolute("module-path", &path)?;
                set("module-path", &mut uri.module_path, path)?;
            }
            "pin-source" => {
                let path = decode("pin-source", value, QUERY_CHARACTERS)?;
                let path = absolute("pin-source", file_path(&path))?;
                set("pin-source", &mut uri.pin_source, path)?;
            }
            _ => return Err(unknown(name)),
        }
    }
    if uri.token.is_none() && uri.serial.is_none() {
        return Err(UriError::NoToken);
    }
    Ok(uri)
}

fn split(attribute: &str) -> Result<(&str, &str), UriError> {
    match attribute.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name, value)),
        _ => Err(UriError::Attribute),
    }
}

fn unknown(name: &str) -> UriError {
    match name {
        "pin-value" => UriError::PinValue,
        _ => UriError::Unknown(name.to_owned()),
    }
}

/// Decodes a value. Returns an error if a character that is not in `unencoded` is not percent-encoded, or if a
/// percent-encoding is invalid: `percent_decode_str` alone would accept both.
fn decode(name: &'static str, value: &str, unencoded: &str) -> Result<String, UriError> {
    let mut rest = value.chars();
    while let Some(character) = rest.next() {
        let fits = match character {
            '%' => [rest.next(), rest.next()]
                .into_iter()
                .all(|digit| digit.is_some_and(|digit| digit.is_ascii_hexdigit())),
            _ => character.is_ascii_alphanumeric() || unencoded.contains(character),
        };
        if !fits {
            return Err(UriError::Encoding(name));
        }
    }
    let text = percent_decode_str(value).decode_utf8();
    Ok(text.map_err(|_| UriError::NotText(name))?.into_owned())
}

fn set<T>(name: &'static str, slot: &mut Option<T>, value: T) -> Result<(), UriError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(UriError::Duplicate(name)),
    }
}

/// Returns the path of `file:/path`, `file:///path`, or a plain path.
fn file_path(source: &str) -> &str {
    let path = source.strip_prefix("file:").unwrap_or(source);
    match path.strip_prefix("//") {
        Some(path) if path.starts_with('/') => path,
        _ => path,
    }
}

fn absolute(name: &'static str, path: &str) -> Result<PathBuf, UriError> {
    let path = Path::new(path);
    if path.is_absolute() {
        Ok(path.to_owned())
    } else {
        Err(UriError::NotAbsolute(name))
    }
}

#[cfg(test)]
mod tests;
