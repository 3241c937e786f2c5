use std::cell::OnceCell;

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ast::ErrorKind;
use thiserror::Error;

use super::{ChainError, MaxAge};
use crate::wire::{Value, Writer};
use crate::work;

/// How many topics or usages one certificate may list.
pub const MAX_LIST_LEN: usize = 4096;

/// How many restrictions one certificate may have, repeated ones included.
pub const MAX_RESTRICTIONS: usize = 16;

/// How many entries of one list may be regular expressions other than [`ANYTHING`]: each is compiled at each look.
pub const MAX_PATTERNS: usize = 32;
/// How many bytes a regular expression may have.
pub const MAX_PATTERN_LEN: usize = 1024;

/// What a certificate allows its key to do (protocol §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Usage {
    /// May send data keys.
    Encrypt,
    /// May ask producers for data keys.
    EncryptRequest,
    /// May ask controllers for data keys.
    EncryptSubscribe,
    /// May extend the allowlist.
    Allowlist,
    /// May extend the denylist.
    Denylist,
}

impl Usage {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Encrypt => "key-encrypt",
            Self::EncryptRequest => "key-encrypt-request",
            Self::EncryptSubscribe => "key-encrypt-subscribe",
            Self::Allowlist => "key-allowlist",
            Self::Denylist => "key-denylist",
        }
    }
}

/// The restrictions of a certificate, or those that a chain leaves: the wire calls them *poison*.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Constraints {
    /// Topics granted, as literals and regular expressions; `None` names none and restricts none.
    pub topics: Option<Vec<String>>,
    /// Usages granted, in the same way.
    pub usages: Option<Vec<String>>,
    /// How many certificates may follow; `None` for any number. Below zero: too many did.
    pub path_length: Option<i64>,
}

/// The restrictions that stand in a certificate, read and not evaluated: a list is only an array of texts, and no
/// regular expression is compiled before the certificate's signature verifies under a trusted key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restrictions {
    /// Each list of topics; several intersect, in order.
    topics: Vec<Vec<String>>,
    /// Each list of usages, in the same way.
    usages: Vec<Vec<String>>,
    /// The last path length.
    path_length: Option<i64>,
}

impl Restrictions {
    /// Reads the byte string of a certificate's second element. Compiles nothing.
    ///
    /// # Errors
    /// The check C08.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, ChainError> {
        let malformed = ChainError::Constraints;
        let value = Value::decode(bytes).map_err(|_| malformed("not MessagePack"))?;
        let entries = value.array().map_err(|_| malformed("not an array"))?;
        if entries.len() > MAX_RESTRICTIONS {
            return Err(malformed("too many restrictions"));
        }
        let mut restrictions = Self::default();
        for entry in entries {
            let [name, value] = entry.array().map_err(|_| malformed("not pairs"))? else {
                return Err(malformed("not pairs"));
            };
            match name.text().map_err(|_| malformed("a name is no text"))? {
                "topics" => restrictions.topics.push(texts(value)?),
                "usages" => restrictions.usages.push(texts(value)?),
                "pathlen" => {
                    let path_length = value.int().ok().and_then(|int| i64::try_from(int).ok());
                    restrictions.path_length =
                        Some(path_length.ok_or(malformed("a path length is no integer"))?);
                }
                _ => return Err(malformed("unknown restriction")),
            }
        }
        Ok(restrictions)
    }

    /// What the certificate allows: repeated lists intersect, and a certificate that may extend a list gets a path
    /// length of 0 unless it names one. Compiles regular expressions, so the certificate's signature comes first.
    ///
    /// # Errors
    /// The check C09.
    pub fn evaluate(&self) -> Result<Constraints, ChainError> {
        let intersection = |lists: &[Vec<String>]| {
            let mut lists = lists.iter();
            let first = lists.next().cloned();
            lists.try_fold(first, |left, list| intersect(left, Some(list.clone())))
        };
        let mut constraints = Constraints {
            topics: intersection(&self.topics)?,
            usages: intersection(&self.usages)?,
            path_length: self.path_length,
        };
        constraints.imply_path_length()?;
        Ok(constraints)
    }

    /// Returns whether each list of usages names `usage` as a literal, or names all. Compiles nothing.
    pub(super) fn name_usage(&self, usage: Usage) -> bool {
        let names = |list: &Vec<String>| {
            let mut names = list.iter();
            names.any(|name| name == usage.as_str() || name == ANYTHING)
        };
        !self.usages.is_empty() && self.usages.iter().all(names)
    }

    /// The path length that the certificate names itself.
    pub(super) fn path_length(&self) -> Option<i64> {
        self.path_length
    }
}

impl Constraints {
    /// The byte string for a certificate, in the order of requests and replies: topics, usages, path
    /// length.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.encode_lists([("topics", &self.topics), ("usages", &self.usages)])
    }

    /// The byte string for a certificate, in the order of provisioning: usages, topics, path length.
    #[must_use]
    pub fn encode_usages_first(&self) -> Vec<u8> {
        self.encode_lists([("usages", &self.usages), ("topics", &self.topics)])
    }

    fn encode_lists(&self, lists: [(&str, &Option<Vec<String>>); 2]) -> Vec<u8> {
        let mut writer = Writer::new();
        let lists = || {
            lists
                .iter()
                .filter_map(|(name, list)| Some((name, list.as_ref()?)))
        };
        writer.array(lists().count() + usize::from(self.path_length.is_some()));
        for (name, list) in lists() {
            writer.array(2).text(name).array(list.len());
            for text in list {
                writer.text(text);
            }
        }
        if let Some(path_length) = self.path_length {
            writer.array(2).text("pathlen").int(path_length);
        }
        writer.into_vec()
    }

    /// What is left when a key so restricted certifies another with restrictions of its own.
    pub(super) fn then(self, child: &Self) -> Result<Self, ChainError> {
        let left = self.path_length.map(|left| left.saturating_sub(1));
        self.limited(child, left)
    }

    /// What is left when an allowlist entry for the same key restricts it further.
    pub(super) fn and(self, entry: &Self) -> Result<Self, ChainError> {
        let left = self.path_length;
        self.limited(entry, left)
    }

    fn limited(self, by: &Self, path_length: Option<i64>) -> Result<Self, ChainError> {
        Ok(Self {
            topics: intersect(self.topics, by.topics.clone())?,
            usages: intersect(self.usages, by.usages.clone())?,
            path_length: match (path_length, by.path_length) {
                (Some(left), Some(own)) => Some(left.min(own)),
                (left, own) => left.or(own),
            },
        })
    }

    /// A certificate that may extend a list may not certify others, unless it says so.
    fn imply_path_length(&mut self) -> Result<(), ChainError> {
        let Some(usages) = &self.usages else {
            return Ok(());
        };
        if self.path_length.is_none()
            && (multimatch(Usage::Allowlist.as_str(), usages)?
                || multimatch(Usage::Denylist.as_str(), usages)?)
        {
            self.path_length = Some(0);
        }
        Ok(())
    }

    /// Refuses what is not granted or no longer valid.
    pub(super) fn require(
        &self,
        topic: Option<&str>,
        usage: Option<&str>,
    ) -> Result<(), ChainError> {
        if let Some(topic) = topic
            && !grants(self.topics.as_deref(), Some(topic))?
        {
            return Err(ChainError::Topic(topic.into()));
        }
        if let Some(usage) = usage
            && !grants(self.usages.as_deref(), Some(usage))?
        {
            return Err(ChainError::Usage(usage.into()));
        }
        if self.path_length.is_some_and(|left| left < 0) {
            return Err(ChainError::PathLength);
        }
        Ok(())
    }
}

fn texts(value: &Value<'_>) -> Result<Vec<String>, ChainError> {
    let not_texts = ChainError::Constraints("a list is no array of texts");
    let elements = value.array().map_err(|_| not_texts.clone())?;
    if elements.len() > MAX_LIST_LEN {
        return Err(ChainError::Constraints("a list is too long"));
    }
    let texts = elements
        .iter()
        .map(|element| Ok(element.text().map_err(|_| not_texts.clone())?.into()))
        .collect::<Result<Vec<String>, ChainError>>()?;
    let patterns = || {
        texts
            .iter()
            .filter(|text| text.starts_with('^') && *text != ANYTHING)
    };
    if patterns().count() > MAX_PATTERNS || patterns().any(|text| text.len() > MAX_PATTERN_LEN) {
        return Err(ChainError::Constraints(
            "too many or too long regular expressions",
        ));
    }
    Ok(texts)
}

/// Restrictions together with the end of validity: what a walk along a chain accumulates.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Limits {
    pub(super) max_age: MaxAge,
    pub(super) constraints: Constraints,
}

// *Multimatch* (protocol §6): strings against lists of literals and regular expressions.

/// The regular expression that matches everything, even another regular expression.
pub const ANYTHING: &str = "^.*$";

/// A compiled regular expression larger than this many bytes matches nothing: compiling takes time, and
/// expressions come from others.
const MAX_COMPILED_LEN: usize = 1 << 16;

/// How much of an invalid expression an error shows.
const SHOWN_LEN: usize = 64;

/// A restriction holds a regular expression that is not one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("invalid regular expression {0:?}")]
pub struct InvalidPattern(pub String);

/// Whether `wanted` matches one of `choices`.
///
/// [`ANYTHING`] matches all. Otherwise the choices are tried in order: an equal string matches, and so
/// does one that begins with `^` if it matches at the start of `wanted`, unless `wanted` begins with
/// `^` itself. Matching is by bytes, in linear time; syntax that needs more (look-around,
/// back-references) matches nothing.
///
/// # Errors
/// [`InvalidPattern`] if one that is tried is not a regular expression.
pub fn multimatch(wanted: &str, choices: &[String]) -> Result<bool, InvalidPattern> {
    Choices::new(choices).match_any(wanted)
}

/// Whether what is wanted is granted by a list: nothing is always, and an absent list grants nothing.
///
/// # Errors
/// As [`multimatch`].
pub fn grants(choices: Option<&[String]>, wanted: Option<&str>) -> Result<bool, InvalidPattern> {
    match (choices, wanted) {
        (_, None) => Ok(true),
        (None, Some(_)) => Ok(false),
        (Some(choices), Some(wanted)) => multimatch(wanted, choices),
    }
}

/// What a parent's list leaves of its child's: the child's strings that match the parent's, in the
/// child's order. An absent list restricts nothing.
///
/// # Errors
/// As [`multimatch`].
pub fn intersect(
    parent: Option<Vec<String>>,
    child: Option<Vec<String>>,
) -> Result<Option<Vec<String>>, InvalidPattern> {
    let (Some(parent), Some(mut child)) = (&parent, child.clone()) else {
        return Ok(parent.or(child));
    };
    let choices = Choices::new(parent);
    let mut invalid = None;
    child.retain(|wanted| {
        invalid.is_none()
            && choices.match_any(wanted).unwrap_or_else(|error| {
                invalid = Some(error);
                false
            })
    });
    invalid.map_or(Ok(Some(child)), Err)
}

/// A list to match against. Each of its regular expressions is compiled once, when it is first tried.
struct Choices<'c> {
    choices: Vec<(&'c str, OnceCell<Compiled>)>,
    all: bool,
}

/// A regular expression; `None` matches nothing.
type Compiled = Result<Option<Regex>, InvalidPattern>;

impl<'c> Choices<'c> {
    fn new(choices: &'c [String]) -> Self {
        Self {
            choices: choices
                .iter()
                .map(|choice| (choice.as_str(), OnceCell::new()))
                .collect(),
            all: choices.iter().any(|choice| choice == ANYTHING),
        }
    }

    fn match_any(&self, wanted: &str) -> Result<bool, InvalidPattern> {
        if self.all {
            return Ok(true);
        }
        for (choice, compiled) in &self.choices {
            if *choice == wanted {
                return Ok(true);
            }
            if choice.starts_with('^') && !wanted.starts_with('^') {
                match compiled.get_or_init(|| compile(choice)) {
                    Ok(Some(regex)) if matches_at_start(regex, wanted) => return Ok(true),
                    Ok(_) => {}
                    Err(error) => return Err(error.clone()),
                }
            }
        }
        Ok(false)
    }
}

/// The leftmost match begins at 0 if any does.
fn matches_at_start(regex: &Regex, wanted: &str) -> bool {
    let found = regex.find(wanted.as_bytes());
    found.is_some_and(|found| found.start() == 0)
}

fn compile(pattern: &str) -> Compiled {
    work::count(|done| done.regexes += 1);
    let parsed = regex_syntax::ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .build()
        .parse(pattern);
    if let Err(regex_syntax::Error::Parse(error)) = &parsed
        && !is_beyond_linear_time(error.kind())
    {
        return Err(InvalidPattern(pattern.chars().take(SHOWN_LEN).collect()));
    }
    let compiled = RegexBuilder::new(pattern)
        .unicode(false)
        .size_limit(MAX_COMPILED_LEN)
        .build();
    Ok(compiled.ok())
}

fn is_beyond_linear_time(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnsupportedLookAround
            | ErrorKind::UnsupportedBackreference
            | ErrorKind::NestLimitExceeded(_)
            | ErrorKind::CaptureLimitExceeded
    )
}
