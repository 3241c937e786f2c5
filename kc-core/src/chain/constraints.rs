use std::cell::OnceCell;

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ast::ErrorKind;
use thiserror::Error;

use super::{ChainError, MaxAge};
use crate::wire::{Value, Writer};
use crate::work;

/// The maximum number of topics or usages in one list. Test: `lists_that_take_long_to_look_at_are_refused`.
pub const MAX_LIST_LEN: usize = 4096;

/// The maximum number of constraints in one certificate. A repeated constraint counts each time. Test:
/// `restrictions_repeated_without_end_are_refused_before_they_are_evaluated`.
pub const MAX_RESTRICTIONS: usize = 16;

/// The maximum number of regular expressions in one list. [`ANYTHING`] does not count. The limit exists because each
/// evaluation may compile all expressions. Test: `lists_that_take_long_to_look_at_are_refused`.
pub const MAX_PATTERNS: usize = 32;
/// The maximum length of a regular expression, in bytes. Test: `lists_that_take_long_to_look_at_are_refused`.
pub const MAX_PATTERN_LEN: usize = 1024;

/// A usage that a certificate can grant to its key (protocol §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Usage {
    /// Sending data keys.
    Encrypt,
    /// Requesting data keys from producers.
    EncryptRequest,
    /// Requesting data keys from controllers.
    EncryptSubscribe,
    /// Extending the allowlist.
    Allowlist,
    /// Extending the denylist.
    Denylist,
}

impl Usage {
    /// Returns the name of the usage in certificates.
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

/// The constraints of a certificate, or the constraints that result from a whole chain. The protocol calls them
/// *poison*.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Constraints {
    /// The granted topics, as literals and regular expressions. A certificate without this list (`None`) does not
    /// restrict the topics that other certificates of the chain list. A chain in which no certificate has this list
    /// grants no topic.
    pub topics: Option<Vec<String>>,
    /// The granted usages, in the same form as `topics`.
    pub usages: Option<Vec<String>>,
    /// The maximum number of certificates that may follow, or `None` for any number. A negative number means that too
    /// many certificates followed.
    pub path_length: Option<i64>,
}

/// The constraints of a certificate, read but not evaluated.
///
/// A list is only an array of texts: no regular expression is compiled before the certificate's signature has
/// verified under a trusted key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restrictions {
    /// All lists of topics. Only topics in all lists are granted; the lists are intersected in this order.
    topics: Vec<Vec<String>>,
    /// All lists of usages. Only usages in all lists are granted; the lists are intersected in this order.
    usages: Vec<Vec<String>>,
    /// The path length. If the certificate states several, this is the last.
    path_length: Option<i64>,
}

impl Restrictions {
    /// Reads the byte string of a certificate's second element. Compiles no regular expression.
    ///
    /// # Errors
    /// Returns the [`ChainError`] of the check C08 if the byte string is malformed or contains an unknown constraint.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, ChainError> {
        let malformed = ChainError::Constraints;
        let value = Value::decode(bytes).map_err(|_| malformed("not MessagePack"))?;
        let entries = value.array().map_err(|_| malformed("not an array"))?;
        if entries.len() > MAX_RESTRICTIONS {
            return Err(malformed("too many constraints"));
        }
        let mut restrictions = Self::default();
        for entry in entries {
            let [name, value] = entry
                .array()
                .map_err(|_| malformed("a constraint is not a pair"))?
            else {
                return Err(malformed("a constraint is not a pair"));
            };
            match name
                .text()
                .map_err(|_| malformed("the name of a constraint is not text"))?
            {
                "topics" => restrictions.topics.push(texts(value)?),
                "usages" => restrictions.usages.push(texts(value)?),
                "pathlen" => {
                    let path_length = value.int().ok().and_then(|int| i64::try_from(int).ok());
                    restrictions.path_length =
                        Some(path_length.ok_or(malformed("a path length is not an integer"))?);
                }
                _ => return Err(malformed("unknown constraint")),
            }
        }
        Ok(restrictions)
    }

    /// Evaluates the constraints. Repeated lists are intersected. A certificate whose usages permit extending the
    /// allowlist or the denylist has the path length 0 if it states no path length.
    ///
    /// This compiles regular expressions, so the caller must have verified the certificate's signature.
    ///
    /// # Errors
    /// Returns the [`ChainError`] of the check C09 if a regular expression is invalid.
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

    /// Returns whether the certificate lists usages, and each of its lists of usages contains `usage` as a literal or
    /// contains [`ANYTHING`]. Compiles no regular expression.
    pub(super) fn name_usage(&self, usage: Usage) -> bool {
        let names = |list: &Vec<String>| {
            let mut names = list.iter();
            names.any(|name| name == usage.as_str() || name == ANYTHING)
        };
        !self.usages.is_empty() && self.usages.iter().all(names)
    }

    /// Returns the path length that the certificate itself states, or `None` if it states none.
    pub(super) fn path_length(&self) -> Option<i64> {
        self.path_length
    }
}

impl Constraints {
    /// Encodes the constraints for a certificate, in the order that requests and replies use: topics, usages, path
    /// length.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.encode_lists([("topics", &self.topics), ("usages", &self.usages)])
    }

    /// Encodes the constraints for a certificate, in the order that provisioning uses: usages, topics, path
    /// length.
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

    /// Combines the constraints `self` of a signer with the constraints `child` in a certificate that this signer has
    /// signed. The result applies to the key in this certificate. One certificate is used up: the path length of `self`
    /// is reduced by one before it is compared with the path length of `child`.
    pub(super) fn then(self, child: &Self) -> Result<Self, ChainError> {
        let left = self.path_length.map(|left| left.saturating_sub(1));
        self.limited(child, left)
    }

    /// Combines the constraints `self` of a key in a chain with the constraints `entry` in the allowlist entry for
    /// the same key.
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

    /// Sets the path length to 0 if none is stated and the usages permit extending the allowlist or the denylist:
    /// such a key may not certify other keys.
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

    /// Checks that the demanded topic and usage are granted and that the path length is not exceeded.
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
    let not_texts = ChainError::Constraints("a list is not an array of texts");
    let elements = value.array().map_err(|_| not_texts.clone())?;
    if elements.len() > MAX_LIST_LEN {
        return Err(ChainError::Constraints("a list has too many elements"));
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
            "a list has too many regular expressions, or one that is too long",
        ));
    }
    Ok(texts)
}

/// Constraints together with the end of validity: the result of walking along a chain.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Limits {
    pub(super) max_age: MaxAge,
    pub(super) constraints: Constraints,
}

// Multimatch (protocol §6) compares strings with lists of literals and regular expressions.

/// The regular expression that matches all strings, including other regular expressions.
pub const ANYTHING: &str = "^.*$";

/// The maximum size of a compiled regular expression, in bytes. A larger expression matches nothing. The limit exists
/// because compilation takes time, and the expressions come from other nodes. Test:
/// `lists_that_take_long_to_look_at_are_refused`.
const MAX_COMPILED_LEN: usize = 1 << 16;

/// The number of characters of an invalid expression that an error shows.
const SHOWN_LEN: usize = 64;

/// A constraint contains an invalid regular expression. Holds its first 64 characters.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("invalid regular expression {0:?}")]
pub struct InvalidPattern(pub String);

/// Returns whether `wanted` matches one of `choices`.
///
/// If `choices` contains [`ANYTHING`], the result is true. Otherwise the choices are tried in the order of the list.
/// A choice matches if it equals `wanted`. A choice that begins with `^` is also a regular expression; it matches if
/// its leftmost match begins at the start of `wanted`. A `wanted` that itself begins with `^` is not compared with
/// regular expressions. Matching works on bytes and takes linear time. Expressions with syntax that needs more time
/// (look-around, back-references) and expressions that are too large match nothing.
///
/// # Errors
/// Returns [`InvalidPattern`] if a choice that is tried is not a valid regular expression.
pub fn multimatch(wanted: &str, choices: &[String]) -> Result<bool, InvalidPattern> {
    Choices::new(choices).match_any(wanted)
}

/// Returns whether the list `choices` grants `wanted`. If `wanted` is `None`, nothing is required, and the result is
/// true. If `choices` is `None`, no topic or usage is granted.
///
/// # Errors
/// Returns [`InvalidPattern`] like [`multimatch`].
pub fn grants(choices: Option<&[String]>, wanted: Option<&str>) -> Result<bool, InvalidPattern> {
    match (choices, wanted) {
        (_, None) => Ok(true),
        (None, Some(_)) => Ok(false),
        (Some(choices), Some(wanted)) => multimatch(wanted, choices),
    }
}

/// Returns the strings of the child's list that match the parent's list, in the child's order. If one of the lists is
/// absent (`None`), returns the other list.
///
/// # Errors
/// Returns [`InvalidPattern`] like [`multimatch`].
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

/// A list of choices, with which strings are matched. Each regular expression is compiled once, when it is first tried.
struct Choices<'c> {
    choices: Vec<(&'c str, OnceCell<Compiled>)>,
    all: bool,
}

/// A compiled regular expression. `None` stands for an expression that matches nothing because it is too large or
/// needs more than linear time.
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

/// Returns whether the leftmost match begins at offset 0.
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
