//! The engine `envelope`: a field becomes the base64url of an [envelope](crate::envelope).
//!
//! The place of the envelope is the path as its name, the topic, and the JSON text of the bound value as its position.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;

use super::{Engine, Field};
use crate::envelope::{DataKeys, EnvelopeError, Place};
use crate::error::Fault;
use crate::json::{JsonType, is_value, quote, string};

/// The engine `envelope`.
#[derive(Debug)]
pub(crate) struct Enveloped(pub(crate) DataKeys);

impl Enveloped {
    async fn seal(&self, field: &Field<'_>) -> Result<String, Fault> {
        let sealed = self
            .0
            .seal_bytes(&place(field), field.value.as_bytes())
            .await;
        Ok(quote(&BASE64URL.encode(sealed.map_err(fault)?)))
    }

    async fn open(&self, field: &Field<'_>) -> Result<String, Fault> {
        let not = |reason: &str| Fault::NotAToken(reason.to_owned());
        let token = string(field.value).ok_or_else(|| not("it is not a string"))?;
        let sealed = BASE64URL
            .decode(token)
            .map_err(|_| not("it is not base64url"))?;
        let opened = self
            .0
            .open_bytes(&place(field), &sealed)
            .await
            .map_err(fault)?;
        let value = String::from_utf8(opened).map_err(|_| not("its content is not text"))?;
        match is_value(&value, JsonType::of(&value)) {
            true => Ok(value),
            false => Err(not("its content is not JSON")),
        }
    }
}

#[async_trait]
impl Engine for Enveloped {
    async fn encrypt(&self, fields: &[Field<'_>]) -> Vec<Result<String, Fault>> {
        let mut results = Vec::with_capacity(fields.len());
        for field in fields {
            results.push(self.seal(field).await);
        }
        results
    }

    async fn decrypt(&self, fields: &[Field<'_>]) -> Vec<Result<String, Fault>> {
        let mut results = Vec::with_capacity(fields.len());
        for field in fields {
            results.push(self.open(field).await);
        }
        results
    }
}

fn place<'a>(field: &Field<'a>) -> Place<'a> {
    Place {
        name: field.path,
        topic: field.topic,
        position: field.bind.unwrap_or_default(),
    }
}

fn fault(error: EnvelopeError) -> Fault {
    match error {
        EnvelopeError::Fault(fault) => fault,
        // Reading and writing memory cannot fail.
        EnvelopeError::Io(error) => Fault::Unavailable(error.to_string()),
    }
}
