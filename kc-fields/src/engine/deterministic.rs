//! Deterministic tokens (AES-256-SIV, RFC 5297): equal values have equal tokens, so that records can be joined.
//!
//! A token is `det:v<version>:` and the base64url of the 16 bytes of SIV and the ciphertext. It authenticates the value,
//! and the topic and path or the name of the join.

use aes_siv::KeyInit;
use aes_siv::siv::Aes256Siv;
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use kc::core::secret::Secret;

use super::{Engine, Field, scope};
use crate::error::Fault;
use crate::json::{JsonType, is_value, quote, string};
use crate::keys::{KEY_BYTES, derive};

const PREFIX: &str = "det:v";

/// The engine of deterministic tokens.
#[derive(Debug)]
pub(crate) struct Deterministic {
    /// The keys by version. The first encrypts.
    keys: Vec<(u32, Secret<64>)>,
    join: Option<String>,
}

impl Deterministic {
    pub(crate) fn new(keys: Vec<(u32, Secret<KEY_BYTES>)>, join: Option<String>) -> Self {
        let keys = keys.into_iter();
        Self {
            keys: keys
                .map(|(version, key)| (version, derive(&key, "deterministic")))
                .collect(),
            join,
        }
    }

    fn seal(&self, field: &Field<'_>, value: &str) -> Result<String, Fault> {
        let broken = || Fault::Unsupported("AES-SIV refused the value".into());
        let (version, key) = self.keys.first().ok_or_else(broken)?;
        let headers = [b"kc-fields 1".to_vec(), scope(field, self.join.as_deref())];
        let sealed = cipher(key).encrypt(&headers, canonical(value).as_bytes());
        let sealed = BASE64URL.encode(sealed.map_err(|_| broken())?);
        Ok(quote(&format!("{PREFIX}{version}:{sealed}")))
    }

    fn open(&self, field: &Field<'_>) -> Result<String, Fault> {
        let not = |text: &str| Fault::NotAToken(text.to_owned());
        let token = string(field.value).ok_or_else(|| not("it is not a string"))?;
        let parts = token
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once(':'));
        let (version, sealed) = parts.ok_or_else(|| not("it does not begin with det:v"))?;
        let known = |version: u32| self.keys.iter().find(|(known, _)| *known == version);
        let key = version.parse().ok().and_then(known);
        let (_, key) = key.ok_or_else(|| {
            Fault::Refused(format!(
                "the rules name no key of the version {version:.10}"
            ))
        })?;
        let sealed = BASE64URL
            .decode(sealed)
            .map_err(|_| not("it is not base64url"))?;
        let headers = [b"kc-fields 1".to_vec(), scope(field, self.join.as_deref())];
        let opened = cipher(key).decrypt(&headers, &sealed).map_err(|_| {
            Fault::Refused(
                "it was changed, or made with another key, or for another topic or path".into(),
            )
        })?;
        let value = String::from_utf8(opened).map_err(|_| not("its content is not text"))?;
        match is_value(&value, JsonType::of(&value)) {
            true => Ok(value),
            false => Err(not("its content is not JSON")),
        }
    }
}

#[async_trait]
impl Engine for Deterministic {
    async fn encrypt(&self, fields: &[Field<'_>]) -> Vec<Result<String, Fault>> {
        fields
            .iter()
            .map(|field| self.seal(field, field.value))
            .collect()
    }

    async fn decrypt(&self, fields: &[Field<'_>]) -> Vec<Result<String, Fault>> {
        fields.iter().map(|field| self.open(field)).collect()
    }

    async fn rewrap(&self, fields: &[Field<'_>]) -> Vec<Result<String, Fault>> {
        let again = |field| self.seal(field, &self.open(field)?);
        fields.iter().map(again).collect()
    }
}

fn cipher(key: &Secret<64>) -> Aes256Siv {
    Aes256Siv::new(key.expose().into())
}

/// Returns strings in one spelling, so that equal strings have equal tokens however their escapes are written. Other
/// values keep their text: 1 and 1.0 differ.
fn canonical(value: &str) -> String {
    string(value).map_or_else(|| value.to_owned(), |content| quote(&content))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(keys: &[(u32, u8)], join: Option<&str>) -> Deterministic {
        let keys = keys
            .iter()
            .map(|(version, byte)| (*version, Secret::from_slice(&[*byte; 32]).unwrap()));
        Deterministic::new(keys.collect(), join.map(str::to_owned))
    }

    fn field<'a>(topic: &'a str, value: &'a str) -> Field<'a> {
        Field {
            topic,
            path: "$.a",
            bind: None,
            value,
        }
    }

    /// RFC 5297 has no example with a key of 64 bytes. This one, made with another implementation of AES-SIV (PyCA),
    /// fixes the form of tokens.
    #[test]
    fn a_token_stays_the_same_for_ever() {
        let token = engine(&[(1, 7)], Some("id"))
            .seal(&field("t", "\"ann\""), "\"ann\"")
            .unwrap();
        assert_eq!(
            token,
            engine(&[(1, 7)], Some("id"))
                .seal(&field("u", ""), "\"\\u0061nn\"")
                .unwrap()
        );
        assert_eq!(token, KNOWN);
    }

    const KNOWN: &str = "\"det:v1:qvgtbgiGeBynfEdDcDVEOvrKt257\"";

    #[test]
    fn rotation_keeps_old_tokens_readable_and_rewrap_renews_them() {
        let old = engine(&[(1, 7)], None);
        let new = engine(&[(2, 8), (1, 7)], None);
        let token = old.seal(&field("t", ""), "17").unwrap();
        assert_eq!(new.open(&field("t", &token)), Ok("17".into()));
        let renewed = new
            .seal(&field("t", ""), &new.open(&field("t", &token)).unwrap())
            .unwrap();
        assert!(renewed.starts_with("\"det:v2:"), "{renewed}");
        let refused = old.open(&field("t", &renewed)).unwrap_err();
        assert!(matches!(refused, Fault::Refused(_)), "{refused}");
    }
}
