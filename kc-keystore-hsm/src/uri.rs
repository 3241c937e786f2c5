//! The `pkcs11:` URIs of RFC 7512, strictly.

mod error;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

pub use error::UriError;

/// What stands in a component as it is: RFC 7512's characters without those that separate.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':');
const ESCAPED_IN_PATHS: &AsciiSet = &ESCAPED.remove(b'/');

/// Names a token, an object on it, the module that reaches it, and the file of its PIN:
/// `pkcs11:token=kc;object=kc:n1:5c8e91d2a7034bf6:id?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/kc/pin`.
///
/// Tokens are told apart by label, manufacturer, model and serial number; never by slot, which is numbered anew at
/// each start. A URI never holds a PIN.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pkcs11Uri {
    /// `token=`: the token's label.
    pub token: Option<String>,
    /// `manufacturer=`: who made the token.
    pub manufacturer: Option<String>,
    /// `model=`: the token's model.
    pub model: Option<String>,
    /// `serial=`: the token's serial number.
    pub serial: Option<String>,
    /// `object=`: the label of an object, see [`NodeLabels`](crate::NodeLabels).
    pub object: Option<String>,
    /// `?module-path=`: the module's file, absolute.
    pub module_path: Option<PathBuf>,
    /// `?pin-source=`: the file that holds the PIN, absolute; written with `file:` in front.
    pub pin_source: Option<PathBuf>,
}

impl Pkcs11Uri {
    /// The same token, and on it the object of this label.
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

    /// Any [`UriError`].
    fn from_str(text: &str) -> Result<Self, UriError> {
        parse::parse(text)
    }
}

/// The canonical form, which parses to the same.
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
