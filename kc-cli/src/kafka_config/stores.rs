//! Java's key stores and trust stores, as the settings that kc has for them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use p12_keystore::{KeyStore, KeyStoreEntry, Pkcs12ImportPolicy};
use zeroize::Zeroizing;

use super::{jks, read_file};

/// The number of base64 characters in a line of a PEM document.
const LINE: usize = 64;

/// The format of a store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Pem,
    /// JKS or PKCS#12: Java accepts either format under either name, so the content decides.
    Binary,
}

impl Format {
    pub(super) fn parse(name: &str) -> Self {
        if name.eq_ignore_ascii_case("PEM") {
            Self::Pem
        } else {
            Self::Binary
        }
    }
}

/// The settings of a store.
#[derive(Default)]
pub(super) struct Store {
    pub(super) location: Option<String>,
    pub(super) password: Option<String>,
    pub(super) format: Option<Format>,
    /// PEM text of certificates.
    pub(super) certificates: Option<String>,
    /// PEM text of a private key.
    pub(super) key: Option<String>,
}

/// A private key (PKCS#8) with the chain of its certificate, in DER.
pub(super) struct Key {
    pub(super) der: Zeroizing<Vec<u8>>,
    pub(super) chain: Vec<Vec<u8>>,
}

/// The certificates of a store in DER, and its key.
struct Content {
    trusted: Vec<Vec<u8>>,
    key: Result<Key, String>,
}

type Settings = Vec<(&'static str, String)>;

impl Store {
    /// Returns the settings of a trust store.
    pub(super) fn trusted(self) -> Result<Settings, String> {
        if let Some(pem) = self.certificates {
            return Ok(vec![("ssl.ca.pem", pem)]);
        }
        let Some(path) = self.location else {
            return Ok(Vec::new());
        };
        if self.format == Some(Format::Pem) {
            return Ok(vec![("ssl_cafile", path)]);
        }
        let content = read(&path, self.password.as_deref(), None)?;
        if content.trusted.is_empty() {
            return Err(format!("{path} contains no trusted certificate"));
        }
        let pem = content.trusted.iter().map(|der| pem("CERTIFICATE", der));
        Ok(vec![("ssl.ca.pem", pem.collect())])
    }

    /// Returns the settings of a key store.
    pub(super) fn own(self, key_password: Option<String>) -> Result<Settings, String> {
        let password = |settings: &mut Settings| {
            settings.extend(key_password.clone().map(|it| ("ssl_password", it)));
        };
        if let (Some(chain), Some(key)) = (self.certificates, self.key) {
            let mut settings = vec![("ssl.certificate.pem", chain), ("ssl.key.pem", key)];
            password(&mut settings);
            return Ok(settings);
        }
        let Some(path) = self.location else {
            let mut settings = Vec::new();
            password(&mut settings);
            return Ok(settings);
        };
        if self.format == Some(Format::Pem) {
            let mut settings = vec![("ssl_certfile", path.clone()), ("ssl_keyfile", path)];
            password(&mut settings);
            return Ok(settings);
        }
        let content = read(&path, self.password.as_deref(), key_password.as_deref())?;
        let Key { der, chain } = content.key.map_err(|reason| format!("{path}: {reason}"))?;
        let chain = chain.iter().map(|der| pem("CERTIFICATE", der));
        Ok(vec![
            ("ssl.certificate.pem", chain.collect()),
            ("ssl.key.pem", pem("PRIVATE KEY", &der)),
        ])
    }
}

/// Reads a store in the format JKS or PKCS#12.
fn read(path: &str, password: Option<&str>, key_password: Option<&str>) -> Result<Content, String> {
    let bytes = Zeroizing::new(read_file(path)?);
    let content = if bytes.starts_with(&jks::MAGIC) {
        of_jks(&bytes, password, key_password)
    } else {
        of_pkcs12(&bytes, password.unwrap_or_default())
    };
    content.map_err(|reason| format!("{path}: {reason}"))
}

fn of_jks(
    bytes: &[u8],
    password: Option<&str>,
    key_password: Option<&str>,
) -> Result<Content, String> {
    let entries = jks::Entries::parse(bytes, password)?;
    let key = entries.key(key_password.or(password).unwrap_or_default());
    let trusted = entries.trusted;
    Ok(Content { trusted, key })
}

fn of_pkcs12(bytes: &[u8], password: &str) -> Result<Content, String> {
    let store = KeyStore::from_pkcs12(bytes, password, Pkcs12ImportPolicy::Relaxed);
    let store = store.map_err(|error| {
        format!("neither JKS nor PKCS#12, or the password does not fit ({error})")
    })?;
    let mut trusted = Vec::new();
    let mut keys = Vec::new();
    for (_, entry) in store.entries() {
        match entry {
            KeyStoreEntry::Certificate(certificate) => trusted.push(certificate.as_der().to_vec()),
            KeyStoreEntry::PrivateKeyChain(own) => {
                let chain = own.certs().iter().map(|it| it.as_der().to_vec());
                keys.push(Key {
                    der: Zeroizing::new(own.key().as_der().to_vec()),
                    chain: chain.collect(),
                });
            }
            _ => {}
        }
    }
    let found = keys.len();
    let key = match (keys.pop(), found) {
        (Some(key), 1) => Ok(key),
        _ => Err(format!("expected one private key, found {found}")),
    };
    Ok(Content { trusted, key })
}

fn pem(label: &str, der: &[u8]) -> String {
    let encoded = Zeroizing::new(BASE64.encode(der));
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, left) = rest.split_at(LINE.min(rest.len()));
        pem.push_str(line);
        pem.push('\n');
        rest = left;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}
