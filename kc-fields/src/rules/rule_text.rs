//! The text of one rule, and its conversion into a valid rule.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::policies::{
    Format, OnMissing, OnMissingKey, OnNestedArray, OnNull, OnUnfit, OnWrongType, Plaintext,
};
use super::{EngineRule, KeySource, Rule};
use crate::envelope::Caps;
use crate::json::JsonType;
use crate::path::FieldPath;
use crate::transit::segment;

/// The maximum length of a key topic, in bytes: its side topics have up to five characters more.
const MAX_KEY_TOPIC_BYTES: usize = 244;
/// The maximum length of an alphabet, in characters.
const MAX_ALPHABET: usize = 1024;
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleText {
    #[serde(default)]
    topics: Vec<String>,
    pub(super) path: Spanned<String>,
    engine: Spanned<String>,
    bind: Option<Spanned<String>>,
    types: Option<Vec<JsonType>>,
    #[serde(default)]
    on_missing: OnMissing,
    #[serde(default)]
    on_null: OnNull,
    #[serde(default)]
    on_wrong_type: OnWrongType,
    #[serde(default)]
    on_nested_array: OnNestedArray,
    key_topic: Option<Spanned<String>>,
    on_missing_key: Option<Spanned<OnMissingKey>>,
    key: Option<Spanned<String>>,
    version: Option<Spanned<u32>>,
    previous: Option<Spanned<Vec<PreviousKey>>>,
    join: Option<Spanned<String>>,
    alphabet: Option<Spanned<String>>,
    format: Option<Spanned<String>>,
    keep_last: Option<Spanned<usize>>,
    luhn: Option<Spanned<bool>>,
    on_unfit: Option<Spanned<OnUnfit>>,
    max_records: Option<Spanned<u64>>,
    max_bytes: Option<Spanned<u64>>,
    max_age: Option<Spanned<String>>,
    context: Option<Spanned<bool>>,
    plaintext: Option<Spanned<Plaintext>>,
    wrapped: Option<Spanned<String>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PreviousKey {
    version: u32,
    key: String,
    wrapped: Option<String>,
}

/// A reason with the place in the text to which it belongs.
pub(super) struct Wrong(pub(super) usize, pub(super) String);

impl RuleText {
    /// Returns the rule, or why it is not valid. Key files are relative to `folder`.
    pub(super) fn check(mut self, folder: &Path, line: usize) -> Result<Rule, Wrong> {
        let at = self.path.span().start;
        let path = parse_path(&self.path)?;
        let bind = self.bind.take();
        let bind = bind.map(|bind| match parse_path(&bind)? {
            path if path.is_singular() => Ok(path),
            _ => Err(Wrong(
                bind.span().start,
                "bind must select one value, so [*] is not possible in it".into(),
            )),
        });
        let bind = bind.transpose()?;
        let engine = self.engine.get_ref().clone();
        let engine = match engine.as_str() {
            "kc" => self.kc(at)?,
            "fpe" => self.fpe(folder, at)?,
            "deterministic" => self.deterministic(folder, at)?,
            "envelope" => self.envelope(folder, at)?,
            "transit" => self.transit(folder, at)?,
            "ff3" | "ff3-1" => {
                return Err(self.wrong_engine(
                    "FF3 is broken: its small tweak allows attacks that recover messages, and NIST withdrew it in \
                     SP 800-38G rev. 1; use engine = \"fpe\", which is FF1",
                ));
            }
            other => {
                let text = format!(
                    "no engine {other:?}: write kc, transit, fpe, deterministic or envelope"
                );
                return Err(self.wrong_engine(text));
            }
        };
        self.nothing_left(&engine)?;
        let is_fpe = matches!(engine, EngineRule::Fpe { .. });
        let accepted: &[JsonType] = if is_fpe {
            &[JsonType::String]
        } else {
            &JsonType::ALL
        };
        let types = self.types.take().unwrap_or_else(|| accepted.to_vec());
        if let Some(other) = types.iter().find(|kind| !accepted.contains(kind)) {
            let text = format!("fpe encrypts strings, not values of the type {other}");
            return Err(Wrong(at, text));
        }
        let is_text = matches!(
            engine,
            EngineRule::Transit {
                plaintext: Plaintext::Text,
                ..
            }
        );
        if is_text && (types != [JsonType::String] || self.on_null == OnNull::Encrypt) {
            return Err(Wrong(at, "plaintext = \"text\" encrypts only strings: plaintext = \"json\" encrypts all types".into()));
        }
        if matches!(engine, EngineRule::Transit { context: false, .. }) && bind.is_some() {
            return Err(Wrong(
                at,
                "bind needs context = true: the context of a derived key ties tokens to records"
                    .into(),
            ));
        }
        if is_fpe && self.on_null == OnNull::Encrypt {
            return Err(Wrong(
                at,
                "fpe cannot encrypt null: on_null must be keep or fail".into(),
            ));
        }
        if !is_fpe && self.on_wrong_type == OnWrongType::Keep && !types.contains(&JsonType::String)
        {
            let text = "on_wrong_type = \"keep\" would keep strings, which a reader takes for tokens: add string to types";
            return Err(Wrong(at, text.into()));
        }
        if matches!(
            engine,
            EngineRule::Fpe { .. } | EngineRule::Deterministic { .. }
        ) && bind.is_some()
        {
            let text = "bind needs engine kc, transit or envelope: equal values have equal results in this engine, so they belong to no record";
            return Err(Wrong(at, text.into()));
        }
        Ok(Rule {
            line,
            topics: self.topics,
            path,
            engine,
            bind,
            types,
            on_missing: self.on_missing,
            on_null: self.on_null,
            on_wrong_type: self.on_wrong_type,
            on_nested_array: self.on_nested_array,
        })
    }

    fn wrong_engine(&self, text: impl Into<String>) -> Wrong {
        Wrong(self.engine.span().start, text.into())
    }

    fn kc(&mut self, at: usize) -> Result<EngineRule, Wrong> {
        let key_topic = self.key_topic.take().ok_or_else(|| {
            let text = "engine kc needs key_topic, the root topic whose data keys seal this field";
            Wrong(at, text.into())
        })?;
        if let Some(key) = &self.key {
            let text = "engine kc takes no key: its data keys come from the nodes, and change with producer and day";
            return Err(Wrong(key.span().start, text.into()));
        }
        check_key_topic(key_topic.get_ref(), key_topic.span().start)?;
        Ok(EngineRule::Kc {
            key_topic: key_topic.into_inner(),
            on_missing_key: self
                .on_missing_key
                .take()
                .map(Spanned::into_inner)
                .unwrap_or_default(),
        })
    }

    fn fpe(&mut self, folder: &Path, at: usize) -> Result<EngineRule, Wrong> {
        let key = self.stable_key(folder, at)?;
        let alphabet = self.alphabet.take();
        let format = match (self.format.take(), alphabet) {
            (Some(format), None) if format.get_ref() == "card" => Format::Card,
            (Some(format), _) => {
                let text = "format is \"card\", or not given together with alphabet";
                return Err(Wrong(format.span().start, text.into()));
            }
            (None, Some(alphabet)) => Format::Alphabet(parse_alphabet(&alphabet)?),
            (None, None) => {
                let text =
                    "engine fpe needs alphabet, for example \"digits\", or format = \"card\"";
                return Err(Wrong(at, text.into()));
            }
        };
        let keep_last = self.keep_last.take();
        let luhn = self.luhn.take();
        let is_card = format == Format::Card;
        if let Some(place) = keep_last
            .as_ref()
            .map(Spanned::span)
            .or(luhn.as_ref().map(Spanned::span))
            && !is_card
        {
            return Err(Wrong(
                place.start,
                "keep_last and luhn need format = \"card\"".into(),
            ));
        }
        let keep_last = match keep_last {
            Some(kept) if !matches!(*kept.get_ref(), 0 | 4) => {
                return Err(Wrong(kept.span().start, "keep_last is 0 or 4".into()));
            }
            kept => kept.map_or(0, Spanned::into_inner),
        };
        Ok(EngineRule::Fpe {
            key,
            format,
            keep_last,
            luhn: luhn.is_some_and(Spanned::into_inner),
            join: self.join.take().map(Spanned::into_inner),
            on_unfit: self
                .on_unfit
                .take()
                .map(Spanned::into_inner)
                .unwrap_or_default(),
        })
    }

    fn deterministic(&mut self, folder: &Path, at: usize) -> Result<EngineRule, Wrong> {
        let key = self.stable_key(folder, at)?;
        let version = self.version.take().map_or(1, Spanned::into_inner);
        let mut keys = vec![(version, key)];
        if let Some(previous) = self.previous.take() {
            let at = previous.span().start;
            for PreviousKey {
                version,
                key,
                wrapped,
            } in previous.into_inner()
            {
                if keys.iter().any(|(known, _)| *known == version) {
                    return Err(Wrong(at, format!("two keys have the version {version}")));
                }
                keys.push((version, stable(parse_key(folder, &key, at)?, wrapped, at)?));
            }
        }
        Ok(EngineRule::Deterministic {
            keys,
            join: self.join.take().map(Spanned::into_inner),
        })
    }

    fn transit(&mut self, folder: &Path, at: usize) -> Result<EngineRule, Wrong> {
        let place = self.key.as_ref().map_or(at, |key| key.span().start);
        let KeySource::Transit(key) = self.key(folder, at)? else {
            return Err(Wrong(
                place,
                "engine transit needs key = \"transit:NAME\"".into(),
            ));
        };
        let plaintext = self
            .plaintext
            .take()
            .map(Spanned::into_inner)
            .unwrap_or_default();
        if plaintext == Plaintext::Text {
            self.types.get_or_insert_with(|| vec![JsonType::String]);
        }
        Ok(EngineRule::Transit {
            key,
            context: self.context.take().is_none_or(Spanned::into_inner),
            plaintext,
        })
    }

    fn envelope(&mut self, folder: &Path, at: usize) -> Result<EngineRule, Wrong> {
        let key = self.key(folder, at)?;
        let mut caps = Caps::default();
        for (cap, given) in [
            (&mut caps.records, self.max_records.take()),
            (&mut caps.bytes, self.max_bytes.take()),
        ] {
            match given {
                Some(given) if *given.get_ref() == 0 => {
                    return Err(Wrong(
                        given.span().start,
                        "a data key needs a cap of at least 1".into(),
                    ));
                }
                given => *cap = given.map_or(*cap, Spanned::into_inner),
            }
        }
        if let Some(age) = self.max_age.take() {
            caps.age = humantime::parse_duration(age.get_ref()).map_err(|error| {
                let text = format!("max_age: {error}; write a number and a unit: 20s, 2m, 7d");
                Wrong(age.span().start, text)
            })?;
        }
        Ok(EngineRule::Envelope { key, caps })
    }

    fn key(&mut self, folder: &Path, at: usize) -> Result<KeySource, Wrong> {
        match self.key.take() {
            Some(key) => parse_key(folder, key.get_ref(), key.span().start),
            None => Err(Wrong(
                at,
                "the engine needs key, for example key = \"file:PATH\"".into(),
            )),
        }
    }

    fn stable_key(&mut self, folder: &Path, at: usize) -> Result<KeySource, Wrong> {
        let at = self.key.as_ref().map_or(at, |key| key.span().start);
        let wrapped = self.wrapped.take().map(Spanned::into_inner);
        stable(self.key(folder, at)?, wrapped, at)
    }

    /// Checks that no option of another engine was given.
    fn nothing_left(&self, engine: &EngineRule) -> Result<(), Wrong> {
        macro_rules! left {
            ($($option:ident),*) => {
                [$(self.$option.as_ref().map(|option| (stringify!($option), option.span()))),*]
            };
        }
        let left = left!(
            key_topic,
            on_missing_key,
            key,
            version,
            previous,
            join,
            alphabet,
            format,
            keep_last,
            luhn,
            on_unfit,
            max_records,
            max_bytes,
            max_age,
            context,
            plaintext,
            wrapped
        );
        match left.into_iter().flatten().next() {
            Some((name, span)) => {
                let text = format!("{name} is no option of engine {}", engine.name());
                Err(Wrong(span.start, text))
            }
            None => Ok(()),
        }
    }
}

impl EngineRule {
    /// Returns whether the engine needs the server.
    pub(super) fn needs_transit(&self) -> bool {
        matches!(
            self,
            Self::Transit { .. }
                | Self::Envelope {
                    key: KeySource::Transit(_),
                    ..
                }
                | Self::Fpe {
                    key: KeySource::Wrapped { .. },
                    ..
                }
        ) || matches!(self, Self::Deterministic { keys, .. } if keys.iter().any(|(_, key)| key.is_wrapped()))
    }

    /// Returns the name of the engine.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Kc { .. } => "kc",
            Self::Fpe { .. } => "fpe",
            Self::Deterministic { .. } => "deterministic",
            Self::Envelope { .. } => "envelope",
            Self::Transit { .. } => "transit",
        }
    }
}

fn parse_path(path: &Spanned<String>) -> Result<FieldPath, Wrong> {
    let parsed = path.get_ref().parse::<FieldPath>();
    parsed.map_err(|error| Wrong(path.span().start, error.to_string()))
}

fn parse_key(folder: &Path, key: &str, at: usize) -> Result<KeySource, Wrong> {
    match key.split_once(':') {
        Some(("file", path)) if !path.is_empty() => {
            Ok(KeySource::File(folder.join(PathBuf::from(path))))
        }
        Some(("kc", key_topic)) => {
            check_key_topic(key_topic, at)?;
            Ok(KeySource::Kc(key_topic.to_owned()))
        }
        Some(("transit", name)) => {
            let name = segment(name).filter(|name| !name.contains('/'));
            name.map(KeySource::Transit).ok_or_else(|| {
                Wrong(
                    at,
                    "the name of a key has letters, digits, -, _ and .".into(),
                )
            })
        }
        _ => {
            let text = format!(
                "{key:?} is no key: write \"file:PATH\", \"kc:KEY_TOPIC\" or \"transit:NAME\""
            );
            Err(Wrong(at, text))
        }
    }
}

/// Returns a key that stays the same, as engines need in which equal values have equal results.
fn stable(key: KeySource, wrapped: Option<String>, at: usize) -> Result<KeySource, Wrong> {
    let text = match (key, wrapped) {
        (KeySource::File(path), None) => return Ok(KeySource::File(path)),
        (KeySource::Transit(name), Some(wrapped)) if wrapped.starts_with("vault:v") => {
            return Ok(KeySource::Wrapped { name, wrapped });
        }
        (KeySource::File(_), Some(_)) => "wrapped needs key = \"transit:NAME\"",
        (KeySource::Transit(_), _) => {
            "this engine needs a key that stays the same: key = \"file:PATH\", or with key = \"transit:NAME\" a data key of \
             Transit, wrapped = \"vault:v1:…\""
        }
        _ => {
            "the data keys of nodes change with producer and day, so equal values would not have equal results: this \
             engine needs key = \"file:PATH\""
        }
    };
    Err(Wrong(at, text.into()))
}

fn check_key_topic(name: &str, at: usize) -> Result<(), Wrong> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty() || name.len() > MAX_KEY_TOPIC_BYTES || !name.bytes().all(is_plain) {
        let text = format!(
            "key_topic has 1 to {MAX_KEY_TOPIC_BYTES} letters, digits, - and _, but no dot: {name:?} does not"
        );
        return Err(Wrong(at, text));
    }
    Ok(())
}

/// Reads an alphabet: the name of a common one, or its characters.
fn parse_alphabet(alphabet: &Spanned<String>) -> Result<Vec<char>, Wrong> {
    let named: Vec<char> = match alphabet.get_ref().as_str() {
        "digits" => ('0'..='9').collect(),
        "lower" => ('a'..='z').collect(),
        "upper" => ('A'..='Z').collect(),
        "letters" => ('A'..='Z').chain('a'..='z').collect(),
        "alphanumeric" => ('0'..='9').chain('A'..='Z').chain('a'..='z').collect(),
        own => own.chars().collect(),
    };
    let distinct: BTreeSet<&char> = named.iter().collect();
    if distinct.len() != named.len() || !(2..=MAX_ALPHABET).contains(&named.len()) {
        let text = format!(
            "an alphabet is digits, lower, upper, letters, alphanumeric, or 2 to {MAX_ALPHABET} different characters"
        );
        return Err(Wrong(alphabet.span().start, text));
    }
    Ok(named)
}
