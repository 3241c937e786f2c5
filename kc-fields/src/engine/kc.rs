//! The engine `kc`: data keys of the nodes' own key exchange.
//!
//! A token is the base64url of a sealed Kafka value of the key topic. Its plaintext is the MessagePack array
//! `[1, topic, path, JSON type, bind, value]`; `bind` and `value` are JSON texts, and `bind` is nil without a bound
//! field. All but the value are compared when the token is opened.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use kc::core::message::ToSeal;
use kc::core::ratchet::Component;
use kc::core::wire::{Value, WireError, Writer};
use kc::{OpenFailure, Opener, SealError, Sealer};

use super::{Engine, Field};
use crate::error::Fault;
use crate::json::{JsonType, is_value, quote, string};

/// The version of the plaintext.
const FORM: u64 = 1;

/// How long the engine waits for a missing data key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MissingKeys {
    /// Only for the first token that needs the data key, as [`Opener::open_value`] does.
    Deliver,
    /// For this time, for each token.
    Hold(Duration),
}

/// The engine `kc`.
#[derive(Debug)]
pub(crate) struct Kc {
    key_topic: String,
    /// `None` in a cipher that only decrypts.
    sealer: Option<Sealer>,
    opener: Opener,
    missing: MissingKeys,
}

impl Kc {
    pub(crate) fn new(
        key_topic: String,
        sealer: Option<Sealer>,
        opener: Opener,
        missing: MissingKeys,
    ) -> Self {
        Self {
            key_topic,
            sealer,
            opener,
            missing,
        }
    }

    async fn wait(&self, sealed: &[u8]) -> Result<Vec<u8>, OpenFailure> {
        match self.missing {
            MissingKeys::Deliver => self.opener.open_value(&self.key_topic, sealed).await,
            MissingKeys::Hold(patience) => {
                let opener = &self.opener;
                opener
                    .open_value_within(&self.key_topic, sealed, patience)
                    .await
            }
        }
    }
}

#[async_trait]
impl Engine for Kc {
    async fn encrypt(&self, fields: &[Field<'_>]) -> Vec<Result<String, Fault>> {
        let failed = |fault: Fault| fields.iter().map(|_| Err(fault.clone())).collect();
        let Some(sealer) = &self.sealer else {
            return failed(Fault::Unsupported(
                "the cipher was opened only to decrypt".into(),
            ));
        };
        let plaintexts: Vec<Vec<u8>> = fields.iter().map(plaintext).collect();
        let mut sealed = vec![Vec::new(); fields.len()];
        let pairs = plaintexts.iter().zip(&mut sealed);
        let mut messages: Vec<_> = pairs
            .map(|(plaintext, sealed)| ToSeal { plaintext, sealed })
            .collect();
        match sealer.seal_batch(Component::Value, &mut messages) {
            Ok(()) => sealed
                .iter()
                .map(|sealed| Ok(quote(&BASE64URL.encode(sealed))))
                .collect(),
            Err(error) => failed(on_seal(error)),
        }
    }

    async fn decrypt(&self, fields: &[Field<'_>]) -> Vec<Result<String, Fault>> {
        let sealed: Vec<_> = fields.iter().map(|field| decode(field.value)).collect();
        let mut results = Vec::with_capacity(fields.len());
        let valid = sealed.iter().filter_map(|sealed| sealed.as_deref().ok());
        self.opener
            .try_open_batch(&self.key_topic, Component::Value, valid, &mut results);
        let mut results = results.into_iter();
        let mut opened = Vec::with_capacity(fields.len());
        for (field, sealed) in fields.iter().zip(&sealed) {
            let sealed = match sealed {
                Ok(sealed) => sealed,
                Err(fault) => {
                    opened.push(Err(fault.clone()));
                    continue;
                }
            };
            let result = match results.next().unwrap_or(Err(OpenFailure::Closed)) {
                Err(failure) if failure.may_still_open() => self.wait(sealed).await,
                result => result.map(Into::into),
            };
            opened.push(match result {
                Ok(plaintext) => accept(&plaintext, field),
                Err(failure) => Err(on_open(&failure, &self.key_topic)),
            });
        }
        opened
    }

    async fn rewrap(&self, fields: &[Field<'_>]) -> Vec<Result<String, Fault>> {
        let reason = "engine kc changes its data keys by itself, with each turn of the ratchet";
        fields
            .iter()
            .map(|_| Err(Fault::Unsupported(reason.into())))
            .collect()
    }
}

fn plaintext(field: &Field<'_>) -> Vec<u8> {
    let mut writer = Writer::new();
    writer
        .array(6)
        .uint(FORM)
        .text(field.topic)
        .text(field.path);
    writer.text(JsonType::of(field.value).as_str());
    match field.bind {
        Some(bind) => writer.text(bind),
        None => writer.nil(),
    };
    writer.text(field.value);
    writer.into_vec()
}

fn decode(token: &str) -> Result<Vec<u8>, Fault> {
    let not = |reason: &str| Fault::NotAToken(reason.to_owned());
    let token = string(token).ok_or_else(|| not("it is not a string"))?;
    BASE64URL
        .decode(token)
        .map_err(|_| not("it is not base64url"))
}

/// Returns the value in a plaintext, if it was made for this field.
fn accept(plaintext: &[u8], field: &Field<'_>) -> Result<String, Fault> {
    let broken = |_: WireError| Fault::NotAToken("its content has another form".into());
    let value = Value::decode(plaintext).map_err(broken)?;
    let [form, topic, path, kind, bind, value] = value.array().map_err(broken)? else {
        return Err(Fault::NotAToken("its content has another form".into()));
    };
    if form.int().map_err(broken)? != i128::from(FORM) {
        return Err(Fault::NotAToken("a newer version made it".into()));
    }
    let moved = |what: &str, from: &str| {
        let from: String = from.chars().take(80).collect();
        Fault::Refused(format!("it was made for the {what} {from:?}"))
    };
    match (topic.text().map_err(broken)?, path.text().map_err(broken)?) {
        (topic, _) if topic != field.topic => return Err(moved("topic", topic)),
        (_, path) if path != field.path => return Err(moved("path", path)),
        _ => {}
    }
    let bind = match bind {
        Value::Nil => None,
        bind => Some(bind.text().map_err(broken)?),
    };
    if bind != field.bind {
        return Err(Fault::Refused(
            "it was made for another record, or with another bind".into(),
        ));
    }
    let (kind, value) = (kind.text().map_err(broken)?, value.text().map_err(broken)?);
    let known = JsonType::ALL
        .into_iter()
        .find(|known| known.as_str() == kind);
    match known.is_some_and(|kind| is_value(value, kind)) {
        true => Ok(value.to_owned()),
        false => Err(Fault::NotAToken(
            "its content is not a JSON value of its type".into(),
        )),
    }
}

fn on_seal(error: SealError) -> Fault {
    match error {
        SealError::Closed | SealError::Exhausted(_) | SealError::NotPrepared => {
            Fault::Unavailable(error.to_string())
        }
        error => Fault::Unsupported(error.to_string()),
    }
}

fn on_open(failure: &OpenFailure, key_topic: &str) -> Fault {
    match failure {
        OpenFailure::AwaitingKey { .. } | OpenFailure::Denied { .. } => {
            Fault::MissingKey(format!("key topic {key_topic}: {failure}"))
        }
        OpenFailure::Unauthentic { .. } => Fault::Refused(format!(
            "it was changed, or belongs to another key topic than {key_topic}"
        )),
        OpenFailure::Foreign(_) => Fault::NotAToken(failure.to_string()),
        failure => Fault::Unavailable(failure.to_string()),
    }
}
