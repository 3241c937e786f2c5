//! The text of rules: its entries, and their conversion into valid rules.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::policies::{
    Format, OnMissing, OnMissingKey, OnNestedArray, OnNull, OnUnfit, OnWrongType, Plaintext,
};
use super::{EngineRule, KeySource, MAX_RULES, Rule, Rules};
use crate::envelope::Caps;
use crate::error::SetupError;
use crate::json::JsonType;
use crate::path::FieldPath;
use crate::transit::{TransitText, segment};

/// The maximum length of a key topic, in bytes: its side topics have up to five characters more.
const MAX_KEY_TOPIC_BYTES: usize = 244;
/// The maximum length of an alphabet, in characters.
const MAX_ALPHABET: usize = 1024;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesText {
    transit: Option<TransitText>,
    #[serde(default)]
    rule: Vec<Spanned<RuleText>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    #[serde(default)]
    topics: Vec<String>,
    path: Spanned<String>,
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
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PreviousKey {
    version: u32,
    key: String,
}

/// A reason with the place in the text to which it belongs.
struct Wrong(usize, String);

pub(super) fn parse(file: &Path, text: &str) -> Result<Rules, SetupError> {
    let failed = |at: usize, reason: String| SetupError::Rules {
        file: file.to_owned(),
        line: line(text, at),
        text: reason,
    };
    let parsed: RulesText = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        failed(at, error.message().to_owned())
    })?;
    if parsed.rule.is_empty() || parsed.rule.len() > MAX_RULES {
        let reason = format!("expected 1 to {MAX_RULES} rules: a rule begins with [[rule]]");
        return Err(failed(0, reason));
    }
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut rules: Vec<Rule> = Vec::new();
    for spanned in parsed.rule {
        let at = spanned.span().start;
        let rule = spanned.into_inner();
        let named = rule.path.get_ref().clone();
        let path_at = rule.path.span().start;
        let rule = rule
            .check(folder, line(text, at))
            .map_err(|Wrong(at, reason)| failed(at, format!("rule {named}: {reason}")))?;
        if let Some(other) = rules
            .iter()
            .find(|other| together(other, &rule) && other.path.overlaps(&rule.path))
        {
            let reason = format!(
                "rule {named}: the rule at line {} ({}) can select the same value",
                other.line, other.path
            );
            return Err(failed(path_at, reason));
        }
        rules.push(rule);
    }
    let transit = parsed.transit.map(|transit| transit.check(folder));
    let transit = transit
        .transpose()
        .map_err(|(at, text)| failed(at, format!("transit: {text}")))?;
    let needs = rules.iter().find(|rule| rule.engine.needs_transit());
    if let (Some(rule), None) = (needs, &transit) {
        return Err(SetupError::Rules {
            file: file.to_owned(),
            line: rule.line,
            text: format!(
                "rule {}: the rules need a table [transit] with the address of the server",
                rule.path
            ),
        });
    }
    let rules = Rules {
        file: file.to_owned(),
        rules,
        transit,
    };
    check_together(&rules).map_err(|(line, text)| SetupError::Rules {
        file: file.to_owned(),
        line,
        text,
    })?;
    Ok(rules)
}

/// Returns whether a topic can exist to which both rules apply.
fn together(one: &Rule, other: &Rule) -> bool {
    let shared = || one.topics.iter().any(|topic| other.topics.contains(topic));
    one.topics.is_empty() || other.topics.is_empty() || shared()
}

/// Checks what concerns several rules: bound fields that stay readable, and key topics that are not data topics.
fn check_together(rules: &Rules) -> Result<(), (usize, String)> {
    let topics = rules.rules.iter().flat_map(|rule| &rule.topics);
    let roots: BTreeSet<&str> = topics.map(|topic| root_of(topic)).collect();
    for rule in &rules.rules {
        if let Some(bind) = &rule.bind {
            let mut others = rules.rules.iter().filter(|other| together(rule, other));
            if let Some(other) = others.find(|other| other.path.overlaps(bind)) {
                let text = format!(
                    "rule {}: bind = {bind} is encrypted itself, by the rule at line {}: bind a field that stays readable",
                    rule.path, other.line
                );
                return Err((rule.line, text));
            }
        }
        if let EngineRule::Kc { key_topic, .. }
        | EngineRule::Envelope {
            key: KeySource::Kc(key_topic),
            ..
        } = &rule.engine
            && roots.contains(key_topic.as_str())
        {
            let text = format!(
                "rule {}: key_topic {key_topic} is a data topic, so each of its consumers could read the field: \
                 give the field a topic name of its own",
                rule.path
            );
            return Err((rule.line, text));
        }
    }
    Ok(())
}

/// Returns the root topic of a topic: its name up to the first dot.
pub(crate) fn root_of(topic: &str) -> &str {
    topic.split_once('.').map_or(topic, |(root, _)| root)
}

fn line(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

impl RuleText {
    fn check(mut self, folder: &Path, line: usize) -> Result<Rule, Wrong> {
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
            for PreviousKey { version, key } in previous.into_inner() {
                if keys.iter().any(|(known, _)| *known == version) {
                    return Err(Wrong(at, format!("two keys have the version {version}")));
                }
                keys.push((version, stable(parse_key(folder, &key, at)?, at)?));
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
        stable(self.key(folder, at)?, at)
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
            plaintext
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
    fn needs_transit(&self) -> bool {
        matches!(
            self,
            Self::Transit { .. }
                | Self::Envelope {
                    key: KeySource::Transit(_),
                    ..
                }
        )
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
fn stable(key: KeySource, at: usize) -> Result<KeySource, Wrong> {
    match key {
        KeySource::Kc(_) => {
            let text = "the data keys of nodes change with producer and day, so equal values would not have equal \
                        results: this engine needs key = \"file:PATH\"";
            Err(Wrong(at, text.into()))
        }
        KeySource::Transit(_) => {
            let text = "this engine needs key = \"file:PATH\": Transit has no format-preserving encryption, and its \
                        convergent tokens change when its key is rotated";
            Err(Wrong(at, text.into()))
        }
        KeySource::File(path) => Ok(KeySource::File(path)),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        parse(Path::new("r.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn refusals_name_line_and_path() {
        for (text, expected) in [
            ("", "r.toml:1: expected 1 to 256 rules"),
            (
                "[[rule]]\npath = \"$.a\"\nengine = \"kc\"\n",
                "r.toml:2: rule $.a: engine kc needs key_topic",
            ),
            (
                "[[rule]]\npath = \"$..a\"\nengine = \"kc\"",
                "r.toml:2: rule $..a: \"..a\" at character 2",
            ),
            (
                "[[rule]]\n\npath = \"$.a\"\nengine = \"ff3\"",
                "r.toml:4: rule $.a: FF3 is broken",
            ),
            (
                "[[rule]]\npath = \"$.a\"\nengine = \"kcx\"",
                "r.toml:3: rule $.a: no engine \"kcx\"",
            ),
            (
                "[[rule]]\npath = \"$.a\"\nengin = \"kc\"",
                "r.toml:3: unknown field `engin`",
            ),
            (
                "[[rule]]\npath = \"$.a\"\nengine = \"kc\"\nkey_topic = \"a.b\"",
                "r.toml:4: rule $.a: key_topic has 1 to 244 letters",
            ),
            (
                "[[rule]]\npath = \"$.a\"\nengine = \"kc\"\nkey_topic = \"k\"\nluhn = true",
                "r.toml:5: rule $.a: luhn is no option of engine kc",
            ),
            (
                "[[rule]]\npath = \"$.a\"\nengine = \"kc\"\nkey_topic = \"k\"\nkey = \"file:k\"",
                "r.toml:5: rule $.a: engine kc takes no key",
            ),
            (
                "[[rule]]\npath = \"$.a\"\nengine = \"fpe\"\nkey = \"file:k\"\nalphabet = \"aa\"",
                "r.toml:5: rule $.a: an alphabet is",
            ),
            (
                "[[rule]]\npath = \"$.a\"\nengine = \"fpe\"\nkey = \"file:k\"\nformat = \"card\"\nkeep_last = 15",
                "r.toml:6: rule $.a: keep_last is 0 or 4",
            ),
            (
                "[[rule]]\npath = \"$.a\"\nengine = \"fpe\"\nkey = \"kc:k\"\nformat = \"card\"",
                "r.toml:4: rule $.a: the data keys of nodes change",
            ),
            (
                "[[rule]]\npath = \"$.a\"\nengine = \"envelope\"\nkey = \"file:k\"\nmax_age = \"5\"",
                "r.toml:5: rule $.a: max_age: ",
            ),
            (
                "[[rule]]\npath = \"$.a\"\nengine = \"kc\"\nkey_topic = \"k\"\nbind = \"$.i[*]\"",
                "r.toml:5: rule $.a: bind must select one value",
            ),
        ] {
            let refusal = refusal(text);
            assert!(refusal.starts_with(expected), "{refusal}\n{expected}");
        }
    }

    #[test]
    fn rules_that_disturb_each_other_are_refused() {
        let rule = |topics: &str, path: &str, more: &str| {
            format!("[[rule]]\ntopics = [{topics}]\npath = \"{path}\"\nengine = \"kc\"\n{more}\n")
        };
        let key = "key_topic = \"k\"";
        let refused = refusal(&(rule("", "$.a", key) + &rule("\"t\"", "$.a.b", key)));
        assert!(
            refused.starts_with("r.toml:8: rule $.a.b: the rule at line 1 ($.a)"),
            "{refused}"
        );
        let apart = rule("\"s\"", "$.a", key) + &rule("\"t\"", "$.a.b", key);
        assert_eq!(Rules::parse(&apart).unwrap().rules().len(), 2);
        let refused = refusal(&rule("\"k.eu\"", "$.a", key));
        assert!(refused.contains("key_topic k is a data topic"), "{refused}");
        let bound = format!("{key}\nbind = \"$.b\"");
        let refused = refusal(&(rule("", "$.a", &bound) + &rule("", "$.b", key)));
        assert!(
            refused.contains("bind = $.b is encrypted itself"),
            "{refused}"
        );
    }

    #[test]
    fn the_only_topic_is_known() {
        let rules = |topics: &str| {
            let text = format!(
                "[[rule]]\ntopics = [{topics}]\npath = \"$.a\"\nengine = \"kc\"\nkey_topic = \"k\""
            );
            Rules::parse(&text).unwrap()
        };
        assert_eq!(rules("\"t\"").only_topic(), Some("t"));
        assert_eq!(rules("\"t\", \"u\"").only_topic(), None);
        assert_eq!(rules("").only_topic(), None);
    }
}
