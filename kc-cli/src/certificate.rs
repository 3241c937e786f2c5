//! Certificates as people and scripts read them; nothing is verified here.

use kc::core::chain::{Certificate, CertificateKey, ChainError};
use kc::core::keys::VerifyingKey;
use kc::core::wire::{Reader, Value};
use serde::Serialize;

use crate::args::base64;
use crate::ui::until;

/// What a certificate says.
#[derive(Debug, Serialize)]
pub(crate) struct Described {
    /// Whether a signature stands before it.
    pub(crate) signed: bool,
    /// The keys it is for.
    pub(crate) keys: Vec<DescribedKey>,
    /// When it ends, in UTC.
    pub(crate) expires: Option<String>,
    /// The usages it grants; none restricts none.
    pub(crate) usages: Option<Vec<String>>,
    /// The topics it grants, as names and regular expressions; none restricts none.
    pub(crate) topics: Option<Vec<String>>,
    /// How many certificates may follow; none for any number.
    pub(crate) pathlen: Option<i64>,
    /// The entry that an update of a list carries.
    pub(crate) entry: Option<Box<Self>>,
    #[serde(skip)]
    ends: String,
}

/// A public key.
#[derive(Debug, Serialize)]
pub(crate) struct DescribedKey {
    /// `signing` or `exchange`.
    pub(crate) kind: &'static str,
    /// Its version on the wire.
    #[serde(rename = "type")]
    pub(crate) version: u8,
    /// The name by which signing keys are compared.
    pub(crate) fingerprint: Option<String>,
    /// Its byte form in base64.
    pub(crate) public: String,
}

impl Described {
    /// Describes a certificate.
    ///
    /// # Errors
    /// The check C09, for restrictions that cannot be evaluated.
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

    /// What it says, for people.
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
            Some(length) => format!("path length {length}"),
            None => "path length: not restricted".to_owned(),
        });
        if let Some(entry) = &self.entry {
            lines.push("brings the list entry:".to_owned());
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
            None => format!("key-exchange key of version {version}: {public}"),
        }
    }
}

/// A text from another party: it may try to look like other lines, or like two texts.
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

/// An unsigned certificate as the fourth element.
fn entry(extra: &[u8]) -> Option<Described> {
    let (Value::Bytes(entry) | Value::Raw(entry)) = Reader::new(extra).value().ok()? else {
        return None;
    };
    let entry = Certificate::parse(entry).ok()?;
    Described::new(&entry, false).ok()
}
