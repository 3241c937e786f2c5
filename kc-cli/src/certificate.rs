//! Descriptions of certificates for people and scripts. Nothing is verified here.

use kc::core::chain::{Certificate, CertificateKey, ChainError};
use kc::core::keys::VerifyingKey;
use kc::core::wire::{Reader, Value};
use serde::Serialize;

use crate::args::base64;
use crate::ui::until;

/// The content of a certificate.
#[derive(Debug, Serialize)]
pub(crate) struct Described {
    /// True if the certificate has a signature, which is not verified.
    pub(crate) signed: bool,
    /// The certified keys.
    pub(crate) keys: Vec<DescribedKey>,
    /// The end of the validity, in UTC; null if the certificate has no end.
    pub(crate) expires: Option<String>,
    /// The granted usages; null if the certificate does not restrict them.
    pub(crate) usages: Option<Vec<String>>,
    /// The granted topics, as names and regular expressions; null if the certificate does not restrict them.
    pub(crate) topics: Option<Vec<String>>,
    /// The largest number of certificates that may follow in a chain; null for any number.
    pub(crate) pathlen: Option<i64>,
    /// The list entry that the certificate carries; null if it carries none.
    pub(crate) entry: Option<Box<Self>>,
    #[serde(skip)]
    ends: String,
}

/// A public key.
#[derive(Debug, Serialize)]
pub(crate) struct DescribedKey {
    /// `signing` or `exchange`.
    pub(crate) kind: &'static str,
    /// The number by which the protocol names the kind of key: the type of a signing key, or the number of a key
    /// exchange.
    #[serde(rename = "type")]
    pub(crate) version: u8,
    /// The fingerprint, by which people compare signing keys; null for a key-exchange key.
    pub(crate) fingerprint: Option<String>,
    /// The byte form of the key in base64.
    pub(crate) public: String,
}

impl Described {
    /// Describes a certificate.
    ///
    /// # Errors
    /// [`ChainError`] of the check C09 if a regular expression of the constraints is not valid.
    pub(crate) fn new(certificate: &Certificate<'_>, signed: bool) -> Result<Self, ChainError> {
        let end = certificate.max_age.timestamp();
        let constraints = certificate.restrictions.evaluate()?;
        Ok(Self {
            signed,
            keys: certificate.keys.as_slice().iter().map(describe).collect(),
            expires: end.map(|end| end.to_string()),
            usages: constraints.usages,
            topics: constraints.topics,
            pathlen: constraints.path_length,
            entry: entry(certificate.extra).map(Box::new),
            ends: until(end),
        })
    }

    /// Returns the description for people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let all = |list: &Option<Vec<String>>| {
            let Some(list) = list else {
                return "not restricted".to_owned();
            };
            let texts: Vec<_> = list.iter().map(|text| plain(text)).collect();
            texts.join(", ")
        };
        let mut lines: Vec<_> = self.keys.iter().map(DescribedKey::line).collect();
        lines.push(format!("valid {}", self.ends));
        lines.push(format!("usages: {}", all(&self.usages)));
        lines.push(format!("topics: {}", all(&self.topics)));
        lines.push(match self.pathlen {
            Some(length) => {
                format!("path length: at most {length} further certificates")
            }
            None => "path length: not restricted".to_owned(),
        });
        if let Some(entry) = &self.entry {
            lines.push("carries the list entry:".to_owned());
            lines.extend(entry.lines().iter().map(|line| format!("  {line}")));
        }
        lines
    }
}

impl DescribedKey {
    pub(crate) fn signing(key: &VerifyingKey) -> Self {
        Self {
            kind: "signing",
            version: key.key_type().version(),
            fingerprint: Some(key.fingerprint()),
            public: base64(key.to_bytes()),
        }
    }

    pub(crate) fn line(&self) -> String {
        let (version, public) = (self.version, &self.public);
        match &self.fingerprint {
            Some(name) => format!("signing key {name} of type {version}: {public}"),
            None => format!("key-exchange key of type {version}: {public}"),
        }
    }
}

/// Returns a text from another party in a form that cannot be mistaken for a further line of the output, or for two
/// texts of a list. A text is quoted and escaped if it is empty, or if it has a comma, a quotation mark, or a character
/// that is not visible ASCII.
fn plain(text: &str) -> String {
    let harmless = |letter: char| letter.is_ascii_graphic() && letter != ',' && letter != '"';
    if !text.is_empty() && text.chars().all(harmless) {
        text.to_owned()
    } else {
        format!("{text:?}")
    }
}

fn describe(key: &CertificateKey) -> DescribedKey {
    match key {
        CertificateKey::Signing(key) => DescribedKey::signing(key),
        CertificateKey::Exchange(key) => DescribedKey {
            kind: "exchange",
            version: key.version(),
            fingerprint: None,
            public: base64(key.to_bytes()),
        },
    }
}

/// Returns the list entry that a certificate carries in its fourth element. The entry is an unsigned certificate.
fn entry(extra: &[u8]) -> Option<Described> {
    let (Value::Bytes(entry) | Value::Raw(entry)) = Reader::new(extra).value().ok()? else {
        return None;
    };
    let entry = Certificate::parse(entry).ok()?;
    Described::new(&entry, false).ok()
}
