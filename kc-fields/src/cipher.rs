//! The cipher: rules and engines, applied to records.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use kc::core::chain::Usage;
use kc::core::secret::Secret;
use kc::{Node, Sealer};

use crate::engine::{Deterministic, Engine, Enveloped, Field, Fpe, Kc, MissingKeys, Placeholder};
use crate::envelope::{DataKeys, FileWrap, KcWrap, KeyWrap};
use crate::error::{Fault, FieldError, SetupError};
use crate::json::{self, JsonType, Selected, Target};
use crate::keys::{KEY_BYTES, read_key};
use crate::rules::{
    EngineRule, KeySource, OnMissing, OnMissingKey, OnNestedArray, OnNull, OnUnfit, OnWrongType,
    Rule, Rules,
};

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

#[derive(Debug)]
struct Active {
    rule: Rule,
    /// The path as tokens are bound to it.
    path: String,
    engine: Box<dyn Engine>,
}

/// A value to convert.
struct Job {
    record: usize,
    span: Range<usize>,
    bind: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Encrypt,
    Decrypt,
    Rewrap,
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
        for rule in self.rules.rules() {
            active.push(Active {
                path: rule.path.to_string(),
                engine: self.engine(rule).await?,
                rule: rule.clone(),
            });
        }
        Ok(FieldCipher {
            active: active.into(),
        })
    }

    async fn engine(&self, rule: &Rule) -> Result<Box<dyn Engine>, SetupError> {
        let refuse = |text: String, advice| SetupError::Engine {
            path: rule.path.to_string(),
            text,
            advice,
        };
        if self.purpose == Purpose::Rewrap
            && !matches!(rule.engine, EngineRule::Deterministic { .. })
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
                    &stable_key(key, rule)?,
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
                let keys = keys
                    .iter()
                    .map(|(version, key)| Ok((*version, stable_key(key, rule)?)));
                let keys = keys.collect::<Result<_, SetupError>>()?;
                Ok(Box::new(Deterministic::new(keys, join.clone())))
            }
        }
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

/// Reads a key that stays the same. The rules name no other key for the engines that need one.
fn stable_key(key: &KeySource, rule: &Rule) -> Result<Secret<KEY_BYTES>, SetupError> {
    match key {
        KeySource::File(file) => read_key(file),
        KeySource::Kc(name) => Err(SetupError::Engine {
            path: rule.path.to_string(),
            text: format!("{name} is no key file"),
            advice: "use a key file",
        }),
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
        let write = |(record, result): (&mut Vec<u8>, Result<(Vec<u8>, Outcome), FieldError>)| {
            let (converted, outcome) = result?;
            *record = converted;
            Ok(outcome)
        };
        records.iter_mut().zip(converted).map(write).collect()
    }
}

/// The conversion of a batch: what each rule has to do, and what it has done.
struct Plan<'t> {
    /// The texts of the records, or why a record is refused.
    texts: Vec<Result<&'t str, FieldError>>,
    /// The values to convert, by rule.
    jobs: Vec<Vec<Job>>,
    /// The new values, by record.
    done: Vec<Vec<(Range<usize>, String)>>,
    outcomes: Vec<Outcome>,
}

impl<'t> Plan<'t> {
    fn new(records: &'t [Vec<u8>], active: &[&Active], direction: Direction) -> Self {
        let targets: Vec<_> = active.iter().map(|active| target(&active.rule)).collect();
        let mut jobs: Vec<Vec<Job>> = active.iter().map(|_| Vec::new()).collect();
        let mut texts = Vec::with_capacity(records.len());
        for (record, bytes) in records.iter().enumerate() {
            texts.push(
                look(bytes, &targets, active, direction).map(|(text, found)| {
                    for (rule, span, bind) in found {
                        if let Some(jobs) = jobs.get_mut(rule) {
                            jobs.push(Job { record, span, bind });
                        }
                    }
                    text
                }),
            );
        }
        Self {
            texts,
            jobs,
            done: records.iter().map(|_| Vec::new()).collect(),
            outcomes: records.iter().map(|_| Outcome::default()).collect(),
        }
    }

    /// Lets the engine of a rule convert its values.
    async fn run(&mut self, number: usize, active: &Active, topic: &str, direction: Direction) {
        let jobs = self
            .jobs
            .get_mut(number)
            .map(std::mem::take)
            .unwrap_or_default();
        let texts = &self.texts;
        // Records that another rule has refused need no more work.
        let open = jobs.iter().filter_map(|job| {
            let text = texts.get(job.record)?.as_ref().ok()?;
            let field = Field {
                topic,
                path: &active.path,
                bind: job.bind.as_deref(),
                value: text.get(job.span.clone())?,
            };
            Some((job, field))
        });
        let (jobs, fields): (Vec<&Job>, Vec<Field<'_>>) = open.unzip();
        if fields.is_empty() {
            return;
        }
        let results = match direction {
            Direction::Encrypt => active.engine.encrypt(&fields).await,
            Direction::Decrypt => active.engine.decrypt(&fields).await,
            Direction::Rewrap => active.engine.rewrap(&fields).await,
        };
        let lost = || Err(Fault::Unavailable("the engine gave no result".into()));
        let results = results.into_iter().chain(std::iter::repeat_with(lost));
        for (job, result) in jobs.into_iter().zip(results) {
            let (Some(done), Some(outcome)) = (
                self.done.get_mut(job.record),
                self.outcomes.get_mut(job.record),
            ) else {
                continue;
            };
            match result {
                Ok(value) => {
                    outcome.fields += 1;
                    done.push((job.span.clone(), value));
                }
                Err(fault) => match on_fault(&active.rule, &fault) {
                    Remedy::Keep => {}
                    Remedy::KeepToken => outcome.missing_keys += 1,
                    Remedy::Null => {
                        outcome.missing_keys += 1;
                        done.push((job.span.clone(), "null".to_owned()));
                    }
                    Remedy::Refuse => {
                        if let Some(text) = self.texts.get_mut(job.record) {
                            *text = Err(FieldError::at(&active.path, fault));
                        }
                    }
                },
            }
        }
    }

    fn finish(self) -> Vec<Result<(Vec<u8>, Outcome), FieldError>> {
        let records = self.texts.into_iter().zip(self.done).zip(self.outcomes);
        let splice = |((text, mut done), outcome): (
            (Result<&str, FieldError>, Vec<(Range<usize>, String)>),
            Outcome,
        )| {
            let text = text?;
            done.sort_by_key(|(span, _)| span.start);
            let values = done.iter().map(|(span, value)| (span, value.as_str()));
            Ok((json::splice(text, values).into_bytes(), outcome))
        };
        records.map(splice).collect()
    }
}

/// What to do with a value that an engine did not convert.
enum Remedy {
    Refuse,
    Keep,
    KeepToken,
    Null,
}

fn on_fault(rule: &Rule, fault: &Fault) -> Remedy {
    match (&rule.engine, fault) {
        (EngineRule::Kc { on_missing_key, .. }, Fault::MissingKey(_)) => match on_missing_key {
            OnMissingKey::Hold => Remedy::Refuse,
            OnMissingKey::Keep => Remedy::KeepToken,
            OnMissingKey::Null => Remedy::Null,
        },
        (
            EngineRule::Fpe {
                on_unfit: OnUnfit::Keep,
                ..
            },
            Fault::Unfit(_),
        ) => Remedy::Keep,
        _ => Remedy::Refuse,
    }
}

fn target(rule: &Rule) -> Target<'_> {
    Target {
        steps: rule.path.steps(),
        enters_arrays: rule.on_nested_array == OnNestedArray::Enter,
    }
}

/// A value to convert: the number of its rule, its place, and the value to which it is tied.
type Found = (usize, Range<usize>, Option<String>);

/// Finds the values of a record that are to be converted.
fn look<'t>(
    record: &'t [u8],
    targets: &[Target<'_>],
    active: &[&Active],
    direction: Direction,
) -> Result<(&'t str, Vec<Found>), FieldError> {
    let text = json::parse(record)?;
    let mut found = Vec::new();
    for selected in json::select(text, targets)? {
        let (Selected::Value { target, .. }
        | Selected::Missing { target }
        | Selected::WrongType { target, .. }
        | Selected::NestedArray { target }) = selected;
        let Some(Active { rule, path, .. }) = active.get(target) else {
            continue;
        };
        match judge(rule, text, selected, direction) {
            Ok(Some(span)) => found.push((target, span, None)),
            Ok(None) => {}
            Err(fault) => return Err(FieldError::at(path, fault)),
        }
    }
    for (number, Active { rule, path, .. }) in active.iter().enumerate() {
        let mut of_rule = found.iter_mut().filter(|(of, ..)| *of == number).peekable();
        if let Some(bind) = &rule.bind
            && of_rule.peek().is_some()
        {
            let value = bound(text, bind.steps()).map_err(|fault| FieldError::at(path, fault))?;
            of_rule.for_each(|(_, _, bind)| *bind = Some(value.clone()));
        }
    }
    Ok((text, found))
}

/// Applies the policies of a rule. Returns the place of a value that is to be converted.
fn judge(
    rule: &Rule,
    text: &str,
    selected: Selected,
    direction: Direction,
) -> Result<Option<Range<usize>>, Fault> {
    let on_wrong_type = |found| match rule.on_wrong_type {
        OnWrongType::Fail => Err(Fault::WrongType(found)),
        OnWrongType::Keep => Ok(None),
    };
    let span = match selected {
        Selected::Value { span, .. } => span,
        Selected::Missing { .. } => {
            return match rule.on_missing {
                OnMissing::Skip => Ok(None),
                OnMissing::Fail => Err(Fault::Missing),
            };
        }
        Selected::WrongType { found, .. } => return on_wrong_type(found),
        Selected::NestedArray { .. } => {
            return match rule.on_nested_array {
                OnNestedArray::Fail | OnNestedArray::Enter => Err(Fault::NestedArray),
                OnNestedArray::Keep => Ok(None),
            };
        }
    };
    let found = JsonType::of(text.get(span.clone()).unwrap_or_default());
    match (direction, found) {
        (Direction::Encrypt, JsonType::Null) => match rule.on_null {
            OnNull::Keep => Ok(None),
            OnNull::Encrypt => Ok(Some(span)),
            OnNull::Fail => Err(Fault::Null),
        },
        (Direction::Encrypt, found) if rule.types.contains(&found) => Ok(Some(span)),
        (_, JsonType::Null) => Ok(None),
        (Direction::Decrypt | Direction::Rewrap, JsonType::String) => Ok(Some(span)),
        (Direction::Decrypt | Direction::Rewrap, found) if rule.types.contains(&found) => {
            Err(Fault::NotAToken(format!("it has the type {found}")))
        }
        (_, found) => on_wrong_type(found),
    }
}

/// Returns the JSON text of a bound value, with strings in one spelling.
fn bound(text: &str, steps: &[crate::path::Step]) -> Result<String, Fault> {
    let target = Target {
        steps,
        enters_arrays: false,
    };
    let selected = json::select(text, &[target])?;
    let Some(Selected::Value { span, .. }) = selected.first() else {
        return Err(Fault::Bind);
    };
    let value = text.get(span.clone()).unwrap_or_default();
    match JsonType::of(value) {
        JsonType::String => json::string(value)
            .map(|content| json::quote(&content))
            .ok_or(Fault::Bind),
        JsonType::Number => Ok(value.to_owned()),
        _ => Err(Fault::Bind),
    }
}
