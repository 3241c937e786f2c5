//! The cipher: rules and engines, applied to records.

mod plan;

use std::sync::Arc;
use std::time::Duration;

use kc::core::chain::Usage;
use kc::core::secret::Secret;
use kc::{Node, Sealer};

use self::plan::{Active, Converted, Direction, Plan};
use crate::engine::{Deterministic, Engine, Enveloped, Fpe, Kc, MissingKeys, Placeholder};
use crate::envelope::{DataKeys, FileWrap, KcWrap, KeyWrap};
use crate::error::{Fault, FieldError, SetupError};
use crate::keys::{KEY_BYTES, read_key};
use crate::rules::{EngineRule, KeySource, OnMissingKey, Plaintext, Rule, Rules};
use crate::transit::{Client, Transit, TransitWrap};

/// The default time for which `on_missing_key = "hold"` waits for a data key.
pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(30);

/// What a cipher is opened for. The engines check at once what this needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Encrypting, and decrypting what was encrypted.
    Encrypt,
    /// Decrypting.
    Decrypt,
    /// Moving tokens to the newest version of a key.
    Rewrap,
    /// Showing samples: where a node would be needed, a placeholder replaces the value.
    Preview,
}

/// Encrypts and decrypts the fields of records. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FieldCipher {
    active: Arc<[Active]>,
}

/// A builder that opens a [`FieldCipher`].
#[derive(Debug)]
pub struct FieldCipherBuilder<'a> {
    rules: &'a Rules,
    purpose: Purpose,
    node: Option<&'a Node>,
    patience: Duration,
}

/// What happened to a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The number of fields that were encrypted, decrypted or moved to the newest version of a key.
    pub fields: usize,
    /// The number of tokens whose data key is missing: they stay, or null replaces them, as their rule says.
    pub missing_keys: usize,
}

impl<'a> FieldCipherBuilder<'a> {
    /// Sets the node whose data keys the engine `kc` uses.
    #[must_use]
    pub fn node(mut self, node: &'a Node) -> Self {
        self.node = Some(node);
        self
    }

    /// Sets the time for which `on_missing_key = "hold"` waits for a data key: [`DEFAULT_PATIENCE`] by default.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Opens the cipher: reads the keys, and prepares the engines.
    ///
    /// Cancel safe: if the future is dropped, data keys may be prepared, which does no harm.
    ///
    /// # Errors
    /// Returns [`SetupError`] if a key cannot be read, or an engine cannot work for this purpose.
    pub async fn open(self) -> Result<FieldCipher, SetupError> {
        let mut active = Vec::new();
        let mut client = None;
        for rule in self.rules.rules() {
            active.push(Active {
                path: rule.path.to_string(),
                engine: self.engine(rule, &mut client).await?,
                rule: rule.clone(),
            });
        }
        Ok(FieldCipher {
            active: active.into(),
        })
    }

    async fn engine(
        &self,
        rule: &Rule,
        clients: &mut Option<Arc<Client>>,
    ) -> Result<Box<dyn Engine>, SetupError> {
        let refuse = |text: String, advice| SetupError::Engine {
            path: rule.path.to_string(),
            text,
            advice,
        };
        if self.purpose == Purpose::Rewrap
            && !matches!(
                rule.engine,
                EngineRule::Deterministic { .. } | EngineRule::Transit { .. }
            )
        {
            return Err(match rule.engine {
                EngineRule::Kc { .. } => refuse(
                    "engine kc needs no rewrap: its data keys change by themselves".into(),
                    "leave this rule out; to seal old records again, decrypt and encrypt them",
                ),
                _ => refuse(
                    format!(
                        "tokens of engine {} carry no version of a key",
                        rule.engine.name()
                    ),
                    "decrypt the records with the old rules, and encrypt them with the new rules",
                ),
            });
        }
        let needs_node = || {
            let advice = "name the node: --node ID|PATH, or KC_NODE (in the library: FieldCipherBuilder::node)";
            self.node.ok_or_else(|| {
                refuse(
                    format!("engine {} needs a node", rule.engine.name()),
                    advice,
                )
            })
        };
        match &rule.engine {
            EngineRule::Kc { key_topic, .. }
            | EngineRule::Envelope {
                key: KeySource::Kc(key_topic),
                ..
            } if self.purpose == Purpose::Preview => Ok(Box::new(Placeholder {
                engine: rule.engine.name(),
                key: key_topic.clone(),
            })),
            EngineRule::Transit { key, .. }
            | EngineRule::Envelope {
                key: KeySource::Transit(key),
                ..
            }
            | EngineRule::Fpe {
                key: KeySource::Wrapped { name: key, .. },
                ..
            } if self.purpose == Purpose::Preview => Ok(Box::new(Placeholder {
                engine: rule.engine.name(),
                key: key.clone(),
            })),
            EngineRule::Transit {
                key,
                context,
                plaintext,
            } => {
                let client = self.client(clients, rule)?;
                let is_derived = is_derived(&client, key, rule).await?;
                if is_derived != *context {
                    return Err(refuse(
                        format!(
                            "the key {key} is {}derived, but context is {context}",
                            if is_derived { "" } else { "not " }
                        ),
                        "create the key with derived=true, so that tokens belong to a topic and a path; or set context to \
                         what the key is",
                    ));
                }
                Ok(Box::new(Transit {
                    client,
                    key: key.clone(),
                    is_derived,
                    is_text: *plaintext == Plaintext::Text,
                }))
            }
            EngineRule::Kc {
                key_topic,
                on_missing_key,
            } => {
                let node = needs_node()?;
                let sealer = self.sealer(node, rule, key_topic).await?;
                let missing = match on_missing_key {
                    OnMissingKey::Hold => MissingKeys::Hold(self.patience),
                    _ => MissingKeys::Deliver,
                };
                Ok(Box::new(Kc::new(
                    key_topic.clone(),
                    sealer,
                    node.opener(),
                    missing,
                )))
            }
            EngineRule::Envelope { key, caps } => {
                let wrap: Box<dyn KeyWrap> = match key {
                    KeySource::Wrapped { name, .. } => {
                        return Err(refuse(
                            format!("{name} already wraps other keys"),
                            "name the key in Transit",
                        ));
                    }
                    KeySource::Transit(key) => {
                        let client = self.client(clients, rule)?;
                        Box::new(TransitWrap {
                            is_derived: is_derived(&client, key, rule).await?,
                            client,
                            key: key.clone(),
                        })
                    }
                    KeySource::File(file) => Box::new(FileWrap::new(&read_key(file)?)),
                    KeySource::Kc(key_topic) => {
                        let node = needs_node()?;
                        Box::new(KcWrap {
                            sealer: self.sealer(node, rule, key_topic).await?,
                            key_topic: key_topic.clone(),
                            opener: node.opener(),
                            patience: self.patience,
                        })
                    }
                };
                Ok(Box::new(Enveloped(DataKeys::new(wrap, *caps))))
            }
            EngineRule::Fpe {
                key,
                format,
                keep_last,
                luhn,
                join,
                ..
            } => {
                let engine = Fpe::new(
                    &self.stable_key(clients, key, rule).await?,
                    format,
                    *keep_last,
                    *luhn,
                    join.clone(),
                );
                let engine = engine.ok_or_else(|| {
                    refuse(
                        "the alphabet does not fit FF1".into(),
                        "give the alphabet 2 to 1024 characters",
                    )
                })?;
                Ok(Box::new(engine))
            }
            EngineRule::Deterministic { keys, join } => {
                let mut read = Vec::with_capacity(keys.len());
                for (version, key) in keys {
                    read.push((*version, self.stable_key(clients, key, rule).await?));
                }
                Ok(Box::new(Deterministic::new(read, join.clone())))
            }
        }
    }

    /// Reads a key that stays the same. The rules name no other key for the engines that need one.
    async fn stable_key(
        &self,
        clients: &mut Option<Arc<Client>>,
        key: &KeySource,
        rule: &Rule,
    ) -> Result<Secret<KEY_BYTES>, SetupError> {
        let refuse = |text: String| SetupError::Engine {
            path: rule.path.to_string(),
            text,
            advice: "use a key file, or a data key that Transit wraps: docs/fields.md",
        };
        match key {
            KeySource::File(file) => read_key(file),
            KeySource::Wrapped { name, wrapped } => {
                let client = self.client(clients, rule)?;
                let wrap = TransitWrap {
                    is_derived: is_derived(&client, name, rule).await?,
                    client,
                    key: name.clone(),
                };
                let key = wrap.unwrap(wrapped.as_bytes()).await;
                key.map_err(|fault| refuse(format!("the wrapped data key: {fault}")))
            }
            KeySource::Kc(name) | KeySource::Transit(name) => {
                Err(refuse(format!("{name} changes")))
            }
        }
    }

    /// Returns the client of the server, which all rules share.
    fn client(
        &self,
        client: &mut Option<Arc<Client>>,
        rule: &Rule,
    ) -> Result<Arc<Client>, SetupError> {
        if let Some(client) = client {
            return Ok(Arc::clone(client));
        }
        let refuse = |text: String| SetupError::Engine {
            path: rule.path.to_string(),
            text,
            advice: "correct the table [transit] of the rules",
        };
        let settings = self
            .rules
            .transit()
            .ok_or_else(|| refuse("the rules have no table [transit]".into()))?;
        let made = Arc::new(Client::new(settings).map_err(refuse)?);
        *client = Some(Arc::clone(&made));
        Ok(made)
    }

    /// Returns a sealer for a key topic, if this cipher encrypts.
    async fn sealer(
        &self,
        node: &Node,
        rule: &Rule,
        key_topic: &str,
    ) -> Result<Option<Sealer>, SetupError> {
        if self.purpose != Purpose::Encrypt {
            return Ok(None);
        }
        let preparing = async {
            node.actors()
                .authorize(key_topic, &[Usage::Encrypt])
                .await?;
            node.sealer(key_topic).await
        };
        preparing.await.map(Some).map_err(|error: kc::Error| SetupError::Engine {
            path: rule.path.to_string(),
            text: format!("key topic {key_topic}: {error}"),
            advice: "the node must be a producer whose chain grants the key topic: `kc chain inspect` shows its grants",
        })
    }
}

/// Returns whether a key in Transit is derived. Checks that the key exists, so that a typing error creates none.
async fn is_derived(client: &Arc<Client>, key: &str, rule: &Rule) -> Result<bool, SetupError> {
    let refuse = |text: String, advice| SetupError::Engine {
        path: rule.path.to_string(),
        text,
        advice,
    };
    let info = client.key(key).await.map_err(|fault| {
        let advice = match fault {
            Fault::Unavailable(_) => {
                "check that the server runs and is unsealed, and check address and ca in the table [transit] of the rules"
            }
            _ => {
                "create the key in Transit, with derived=true; the token needs read on keys/NAME: docs/fields.md has the policy"
            }
        };
        refuse(fault.to_string(), advice)
    })?;
    match info.encrypts {
        true => Ok(info.is_derived),
        false => Err(refuse(
            format!("the key {key} cannot encrypt"),
            "choose a key of the type aes256-gcm96",
        )),
    }
}

impl FieldCipher {
    /// Returns a builder that opens a cipher.
    #[must_use]
    pub fn builder(rules: &Rules, purpose: Purpose) -> FieldCipherBuilder<'_> {
        FieldCipherBuilder {
            rules,
            purpose,
            node: None,
            patience: DEFAULT_PATIENCE,
        }
    }

    /// Encrypts the fields of a record of `topic`. Every byte outside the fields stays as it is.
    ///
    /// Cancel safe: if the future is dropped, the record is unchanged.
    ///
    /// # Errors
    /// Returns [`FieldError`] if the record is not valid, or a field cannot be encrypted. The record is then unchanged:
    /// it must not be sent, because it is readable.
    pub async fn encrypt(&self, topic: &str, record: &mut Vec<u8>) -> Result<Outcome, FieldError> {
        self.one(topic, record, Direction::Encrypt).await
    }

    /// Decrypts the fields of a record of `topic`.
    ///
    /// Cancel safe: if the future is dropped, the record is unchanged.
    ///
    /// # Errors
    /// Returns [`FieldError`] if the record is not valid, or a field cannot be decrypted. The record is then unchanged.
    pub async fn decrypt(&self, topic: &str, record: &mut Vec<u8>) -> Result<Outcome, FieldError> {
        self.one(topic, record, Direction::Decrypt).await
    }

    /// Encrypts the fields of many records, in less time than one by one. Returns one result for each record.
    ///
    /// Cancel safe: if the future is dropped, the records are unchanged.
    ///
    /// # Errors
    /// Each result may be an error of [`encrypt`](Self::encrypt).
    pub async fn encrypt_batch(
        &self,
        topic: &str,
        records: &mut [Vec<u8>],
    ) -> Vec<Result<Outcome, FieldError>> {
        self.convert(topic, records, Direction::Encrypt).await
    }

    /// Decrypts the fields of many records, in less time than one by one. Returns one result for each record.
    ///
    /// Cancel safe: if the future is dropped, the records are unchanged.
    ///
    /// # Errors
    /// Each result may be an error of [`decrypt`](Self::decrypt).
    pub async fn decrypt_batch(
        &self,
        topic: &str,
        records: &mut [Vec<u8>],
    ) -> Vec<Result<Outcome, FieldError>> {
        self.convert(topic, records, Direction::Decrypt).await
    }

    /// Moves the tokens of many records to the newest version of their key. Returns one result for each record.
    ///
    /// Cancel safe: if the future is dropped, the records are unchanged.
    ///
    /// # Errors
    /// Each result may be an error of [`decrypt`](Self::decrypt).
    pub async fn rewrap_batch(
        &self,
        topic: &str,
        records: &mut [Vec<u8>],
    ) -> Vec<Result<Outcome, FieldError>> {
        self.convert(topic, records, Direction::Rewrap).await
    }

    async fn one(
        &self,
        topic: &str,
        record: &mut Vec<u8>,
        direction: Direction,
    ) -> Result<Outcome, FieldError> {
        let results = self
            .convert(topic, std::slice::from_mut(record), direction)
            .await;
        let lost = || Fault::Unavailable("the engine gave no result".into()).into();
        results.into_iter().next().unwrap_or_else(|| Err(lost()))
    }

    async fn convert(
        &self,
        topic: &str,
        records: &mut [Vec<u8>],
        direction: Direction,
    ) -> Vec<Result<Outcome, FieldError>> {
        let active: Vec<&Active> = self
            .active
            .iter()
            .filter(|active| active.rule.applies_to(topic))
            .collect();
        if active.is_empty() {
            let fault = Fault::Unsupported(format!("no rule applies to the topic {topic}"));
            return records.iter().map(|_| Err(fault.clone().into())).collect();
        }
        let mut plan = Plan::new(records, &active, direction);
        for (number, active) in active.iter().enumerate() {
            plan.run(number, active, topic, direction).await;
        }
        let converted = plan.finish();
        let write = |(record, converted): (&mut Vec<u8>, Result<Converted, FieldError>)| {
            let converted = converted?;
            *record = converted.record;
            Ok(converted.outcome)
        };
        records.iter_mut().zip(converted).map(write).collect()
    }
}
