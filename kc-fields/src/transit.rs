//! The engine `transit`: keys in the Transit engine of Vault or OpenBao.
//!
//! A token is what Transit returns: `vault:v<version>:` and base64. If the key is *derived*, its context is the
//! MessagePack array `[topic, path, bind]`, so that tokens belong to a topic and a path, and a rewrap keeps that.

mod client;
mod settings;

use std::sync::Arc;

use ::kc::core::secret::Secret;
use ::kc::core::wire::Writer;
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use zeroize::{Zeroize, Zeroizing};

pub(crate) use self::client::Client;
pub use self::settings::{TokenSource, TransitSettings};
pub(crate) use self::settings::{TransitText, segment};
use crate::engine::{Engine, Field};
use crate::envelope::KeyWrap;
use crate::error::Fault;
use crate::json::{JsonType, is_value, quote, string};
use crate::keys::KEY_BYTES;

/// The maximum number of entries of a request. With two members each, servers refuse more than this as too complex.
const MAX_ENTRIES: usize = 249;
/// The maximum number of bytes of the values in a request, unless a single one is larger.
const MAX_BYTES: usize = 4 << 20;
/// What a wrapped data key is bound to, if its key is derived.
const DATA_KEY: &[u8] = b"kc-fields data key 1";

/// The engine `transit`.
#[derive(Debug)]
pub(crate) struct Transit {
    pub(crate) client: Arc<Client>,
    pub(crate) key: String,
    /// Whether the key is derived, so that it needs a context.
    pub(crate) is_derived: bool,
    /// Whether the plaintext is the content of a string, not its JSON text.
    pub(crate) is_text: bool,
}

#[derive(Clone, Copy)]
enum Operation {
    Encrypt,
    Decrypt,
    Rewrap,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::Rewrap => "rewrap",
        }
    }

    fn member(self) -> &'static str {
        match self {
            Self::Encrypt => "plaintext",
            Self::Decrypt | Self::Rewrap => "ciphertext",
        }
    }

    fn result(self) -> &'static str {
        match self {
            Self::Decrypt => "plaintext",
            Self::Encrypt | Self::Rewrap => "ciphertext",
        }
    }
}

impl Transit {
    /// Sends the fields in as few requests as the limits allow. Returns one result for each field.
    async fn call(&self, operation: Operation, fields: &[Field<'_>]) -> Vec<Result<String, Fault>> {
        let mut results = Vec::with_capacity(fields.len());
        let mut entries = Vec::new();
        let mut bytes = 0;
        for field in fields {
            let entry = self.entry(operation, field);
            let size = entry.as_ref().map_or(0, |_| field.value.len());
            if entries.len() == MAX_ENTRIES || (bytes + size > MAX_BYTES && !entries.is_empty()) {
                results.extend(self.send(operation, std::mem::take(&mut entries)).await);
                bytes = 0;
            }
            bytes += size;
            entries.push(entry);
        }
        results.extend(self.send(operation, entries).await);
        results
    }

    fn entry(&self, operation: Operation, field: &Field<'_>) -> Result<Value, Fault> {
        let value = match operation {
            Operation::Encrypt if self.is_text => {
                let content =
                    string(field.value).ok_or_else(|| Fault::Unfit("it is not a string".into()))?;
                BASE64.encode(content)
            }
            Operation::Encrypt => BASE64.encode(field.value),
            Operation::Decrypt | Operation::Rewrap => {
                let token = string(field.value).filter(|token| token.starts_with("vault:v"));
                token.ok_or_else(|| Fault::NotAToken("it does not begin with vault:v".into()))?
            }
        };
        let mut entry = json!({ operation.member(): value });
        if self.is_derived
            && let Some(entry) = entry.as_object_mut()
        {
            entry.insert("context".into(), BASE64.encode(context(field)).into());
        }
        Ok(entry)
    }

    async fn send(
        &self,
        operation: Operation,
        entries: Vec<Result<Value, Fault>>,
    ) -> Vec<Result<String, Fault>> {
        let sent: Vec<&Value> = entries
            .iter()
            .filter_map(|entry| entry.as_ref().ok())
            .collect();
        let replies = if sent.is_empty() {
            Vec::new()
        } else {
            let path = format!("{}/{}", operation.name(), self.key);
            self.client
                .batch(&path, json!({ "batch_input": sent }), sent.len())
                .await
        };
        let mut replies = replies.into_iter();
        let accept = |entry: Result<Value, Fault>| {
            entry?;
            let lost = || {
                Err(Fault::Unavailable(
                    "the server returned too few results".into(),
                ))
            };
            let reply = replies.next().unwrap_or_else(lost)?;
            let result = reply.get(operation.result()).and_then(Value::as_str);
            let result =
                result.ok_or_else(|| Fault::Unavailable("the server returned no result".into()))?;
            match operation {
                Operation::Decrypt => self.value(result),
                Operation::Encrypt | Operation::Rewrap => Ok(quote(result)),
            }
        };
        entries.into_iter().map(accept).collect()
    }

    fn value(&self, plaintext: &str) -> Result<String, Fault> {
        let not = |reason: &str| Fault::NotAToken(reason.to_owned());
        let plaintext = BASE64
            .decode(plaintext)
            .map_err(|_| not("its content is not base64"))?;
        let value = String::from_utf8(plaintext).map_err(|_| not("its content is not text"))?;
        if self.is_text {
            return Ok(quote(&value));
        }
        match is_value(&value, JsonType::of(&value)) {
            true => Ok(value),
            false => Err(not(
                "its content is not JSON: was it encrypted with plaintext = \"text\"?",
            )),
        }
    }
}

#[async_trait]
impl Engine for Transit {
    async fn encrypt(&self, fields: &[Field<'_>]) -> Vec<Result<String, Fault>> {
        self.call(Operation::Encrypt, fields).await
    }

    async fn decrypt(&self, fields: &[Field<'_>]) -> Vec<Result<String, Fault>> {
        self.call(Operation::Decrypt, fields).await
    }

    async fn rewrap(&self, fields: &[Field<'_>]) -> Vec<Result<String, Fault>> {
        self.call(Operation::Rewrap, fields).await
    }
}

fn context(field: &Field<'_>) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.array(3).text(field.topic).text(field.path);
    match field.bind {
        Some(bind) => writer.text(bind),
        None => writer.nil(),
    };
    writer.into_vec()
}

/// Wraps data keys by a key in Transit.
#[derive(Debug)]
pub(crate) struct TransitWrap {
    pub(crate) client: Arc<Client>,
    pub(crate) key: String,
    pub(crate) is_derived: bool,
}

impl TransitWrap {
    fn body(&self, mut body: Value) -> Value {
        if self.is_derived
            && let Some(body) = body.as_object_mut()
        {
            body.insert("context".into(), BASE64.encode(DATA_KEY).into());
        }
        body
    }

    fn key(&self, mut reply: Value) -> Result<Secret<KEY_BYTES>, Fault> {
        let key = data_key(&reply);
        wipe(&mut reply);
        key
    }
}

fn data_key(reply: &Value) -> Result<Secret<KEY_BYTES>, Fault> {
    let broken = || Fault::Unavailable("the server returned no data key".into());
    let key = reply
        .get("plaintext")
        .and_then(Value::as_str)
        .ok_or_else(broken)?;
    let key = Zeroizing::new(BASE64.decode(key).map_err(|_| broken())?);
    Secret::from_slice(&key).ok_or_else(broken)
}

/// Wipes the texts of a reply that holds a secret.
fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(elements) => elements.iter_mut().for_each(wipe),
        Value::Object(members) => members.values_mut().for_each(wipe),
        _ => {}
    }
}

#[async_trait]
impl KeyWrap for TransitWrap {
    fn name(&self) -> &'static str {
        "transit"
    }

    async fn make(&self) -> Result<(Secret<KEY_BYTES>, Vec<u8>), Fault> {
        let path = format!("datakey/plaintext/{}", self.key);
        let reply = self
            .client
            .call(&path, self.body(json!({ "bits": 256 })))
            .await?;
        let wrapped = reply.get("ciphertext").and_then(Value::as_str);
        let wrapped =
            wrapped.ok_or_else(|| Fault::Unavailable("the server returned no data key".into()))?;
        let wrapped = wrapped.as_bytes().to_vec();
        Ok((self.key(reply)?, wrapped))
    }

    async fn unwrap(&self, wrapped: &[u8]) -> Result<Secret<KEY_BYTES>, Fault> {
        let not = |_| Fault::NotAToken("its wrapped data key is not text".into());
        let wrapped = str::from_utf8(wrapped).map_err(not)?;
        let path = format!("decrypt/{}", self.key);
        let reply = self
            .client
            .call(&path, self.body(json!({ "ciphertext": wrapped })))
            .await?;
        self.key(reply)
    }
}
