//! *Multimatch* (protocol §6): strings against lists of literals and regular expressions.

use std::cell::OnceCell;

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ast::ErrorKind;
use thiserror::Error;

use crate::work;

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
