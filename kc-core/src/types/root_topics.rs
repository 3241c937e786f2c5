use std::borrow::Cow;
use std::str::FromStr;

use regex::{Captures, Regex};
use thiserror::Error;

use super::is_topic_name;

/// The topics that are copies of other topics, each with the name of its original. Tools such as MirrorMaker 2 copy
/// sealed records unchanged to a topic with another name, for example from `orders` to `src.orders`. The records
/// then need the data keys of the root topic of the original.
///
/// The text form is a list of entries `COPY=ORIGINAL`, separated by white space. `COPY` is the name of a topic, or a
/// regular expression that begins with `^`; the expression must match a whole name. `ORIGINAL` is the name of a topic.
/// If `COPY` is a regular expression, `ORIGINAL` may contain `$1`, `$2`, ...: each stands for the text that a group of
/// the expression matched. The first entry that matches a topic and gives a valid topic name applies.
///
/// ```
/// use kc_core::types::RootTopics;
///
/// let copies: RootTopics = r"orders-dlt=orders ^src\.(.+)=$1".parse()?;
/// assert_eq!(copies.original("orders-dlt").as_deref(), Some("orders"));
/// assert_eq!(copies.original("src.sensors.berlin").as_deref(), Some("sensors.berlin"));
/// assert_eq!(copies.original("orders"), None);
/// # Ok::<_, kc_core::types::RootTopicsError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RootTopics(Vec<Entry>);

/// The text form of [`RootTopics`] is invalid.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum RootTopicsError {
    /// An entry has no equals sign.
    #[error("{0:?} is not of the form COPY=ORIGINAL")]
    NoOriginal(String),
    /// A name is not a valid name of a topic.
    #[error("invalid topic name {name:?} in {entry:?} (white space separates entries)")]
    Name {
        /// The name.
        name: String,
        /// The entry that contains the name.
        entry: String,
    },
    /// A regular expression is invalid.
    #[error("invalid regular expression {pattern:?}")]
    Pattern {
        /// The regular expression.
        pattern: String,
        /// The cause.
        source: regex::Error,
    },
    /// The original refers to a group that the regular expression does not have.
    #[error("{entry:?} refers to ${group}, but the left side has no group {group}")]
    Group {
        /// The entry.
        entry: String,
        /// The number of the missing group.
        group: usize,
    },
}

#[derive(Clone, Debug)]
struct Entry {
    text: String,
    rule: Rule,
}

#[derive(Clone, Debug)]
enum Rule {
    Name { copy: String, original: String },
    Pattern { copy: Regex, original: String },
    Groups { copy: Regex, original: Vec<Part> },
}

/// A part of the right side of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Group(usize),
}

/// Compares only the texts of the entries, because the text of an entry determines its other fields.
impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Entry {}

impl RootTopics {
    /// Returns the name of the original of a topic that is a copy; `None` if no entry matches the topic.
    #[must_use]
    pub fn original(&self, topic: &str) -> Option<Cow<'_, str>> {
        self.0.iter().find_map(|entry| entry.original(topic))
    }

    /// Returns the entries for a consumer that reads both the topics `named` and topics that a broker lists. In the
    /// result, an entry whose original contains `$1`, `$2`, ... applies only to the topics `named`. Otherwise a broker
    /// could choose the root topic of a topic by the name under which it lists the topic.
    #[must_use]
    pub fn for_named<'n>(&self, named: impl IntoIterator<Item = &'n str> + Clone) -> Self {
        let fixed = self.0.iter().flat_map(|entry| {
            if !entry.has_groups() {
                return vec![entry.clone()];
            }
            let originals = named.clone().into_iter().filter_map(|name| {
                let original = entry.original(name)?;
                Some(Entry::of_names(name, &original))
            });
            originals.collect()
        });
        Self(fixed.collect())
    }

    /// Returns the entries whose original contains `$1`, `$2`, ..., in their text form.
    pub fn with_groups(&self) -> impl Iterator<Item = &str> {
        let with_groups = self.0.iter().filter(|entry| entry.has_groups());
        with_groups.map(|entry| entry.text.as_str())
    }
}

impl FromStr for RootTopics {
    type Err = RootTopicsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let entries = text.split_whitespace().map(Entry::parse);
        Ok(Self(entries.collect::<Result<_, _>>()?))
    }
}

impl Entry {
    fn of_names(copy: &str, original: &str) -> Self {
        Self {
            text: format!("{copy}={original}"),
            rule: Rule::Name {
                copy: copy.to_owned(),
                original: original.to_owned(),
            },
        }
    }

    fn parse(entry: &str) -> Result<Self, RootTopicsError> {
        let no_original = || RootTopicsError::NoOriginal(entry.to_owned());
        let (copy, original) = entry.rsplit_once('=').ok_or_else(no_original)?;
        let check = |name: &str| match is_topic_name(name) {
            true => Ok(()),
            false => Err(RootTopicsError::Name {
                name: name.to_owned(),
                entry: entry.to_owned(),
            }),
        };
        if !copy.starts_with('^') {
            check(copy)?;
            check(original)?;
            return Ok(Self::of_names(copy, original));
        }
        // Without the group, `^` and `$` would bind only the first and the last of several alternatives.
        let pattern = Regex::new(&format!("^(?:{copy})$")).map_err(|source| {
            let pattern = copy.to_owned();
            RootTopicsError::Pattern { pattern, source }
        })?;
        let parts = parts(original);
        let groups = || {
            parts.iter().filter_map(|part| match part {
                Part::Group(group) => Some(*group),
                Part::Text(_) => None,
            })
        };
        if let Some(group) = groups().find(|group| *group >= pattern.captures_len()) {
            let entry = entry.to_owned();
            return Err(RootTopicsError::Group { entry, group });
        }
        // Whatever a group matches is part of a topic's name, so it can be replaced by a letter for this check.
        check(&written(&parts, |_| "x"))?;
        let has_groups = groups().next().is_some();
        let copy = pattern;
        let rule = if has_groups {
            let original = parts;
            Rule::Groups { copy, original }
        } else {
            let original = original.to_owned();
            Rule::Pattern { copy, original }
        };
        Ok(Self {
            text: entry.to_owned(),
            rule,
        })
    }

    fn has_groups(&self) -> bool {
        matches!(self.rule, Rule::Groups { .. })
    }

    fn original(&self, topic: &str) -> Option<Cow<'_, str>> {
        match &self.rule {
            Rule::Name { copy, original } => (copy == topic).then_some(Cow::Borrowed(original)),
            Rule::Pattern { copy, original } => {
                copy.is_match(topic).then_some(Cow::Borrowed(original))
            }
            Rule::Groups { copy, original } => {
                let found = copy.captures(topic)?;
                let original = written(original, |group| group_of(&found, group));
                is_topic_name(&original).then_some(Cow::Owned(original))
            }
        }
    }
}

fn group_of<'t>(found: &Captures<'t>, group: usize) -> &'t str {
    found.get(group).map_or("", |found| found.as_str())
}

fn written<'t>(parts: &'t [Part], group: impl Fn(usize) -> &'t str) -> String {
    let parts = parts.iter().map(|part| match part {
        Part::Text(text) => text,
        Part::Group(number) => group(*number),
    });
    parts.collect()
}

/// Splits the right side of an entry at `$1`, `$2`, ... A dollar sign without a number stays in the text, so that the
/// check of the topic name refuses the entry.
fn parts(original: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut pieces = original.split('$');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let digits = piece.len() - piece.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, rest) = piece.split_at(digits);
        if let Ok(group) = number.parse() {
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(Part::Group(group));
            text = rest.to_owned();
        } else {
            text.push('$');
            text.push_str(piece);
        }
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copies(text: &str) -> RootTopics {
        text.parse().unwrap()
    }

    #[test]
    fn the_first_matching_entry_applies_to_whole_names() {
        let copies = copies(r"a=b ^src\.(.+)\.(\d)=$2-$1.x ^src.*=rest ^p|q=both");
        for (topic, original) in [
            ("a", Some("b")),
            ("src.orders.7", Some("7-orders.x")),
            ("src.orders", Some("rest")),
            ("p", Some("both")),
            ("q", Some("both")),
            ("pq", None),
            ("xsrc.orders", None),
            ("b", None),
        ] {
            assert_eq!(copies.original(topic).as_deref(), original, "{topic}");
        }
    }

    #[test]
    fn a_group_that_matches_nothing_gives_no_original() {
        let copies = copies(r"^src\.(.*)=$1");
        assert_eq!(copies.original("src."), None);
    }

    #[test]
    fn a_broker_that_lists_topics_does_not_choose_their_root_topics() {
        let copies = copies(r"^src\.(.+)=$1 ^dlt\..+=orders").for_named(["src.orders", "other"]);
        assert_eq!(copies.original("src.orders").as_deref(), Some("orders"));
        assert_eq!(copies.original("src.payroll"), None);
        assert_eq!(copies.original("dlt.payroll").as_deref(), Some("orders"));
    }

    #[test]
    fn errors_name_the_entry() {
        for (text, part) in [
            ("orders", "COPY=ORIGINAL"),
            ("a=b,c=d", r#"invalid topic name "a=b,c""#),
            ("a=b, c=d", r#"invalid topic name "b,""#),
            ("=b", r#"invalid topic name """#),
            ("a=", r#"invalid topic name """#),
            ("a=$1", r#"invalid topic name "$1""#),
            ("^(a=b", r#"invalid regular expression "^(a""#),
            ("^a(.*)=$2", "no group 2"),
            ("^a(.*)=$", r#"invalid topic name "$""#),
            ("^a(.*)=$name", r#"invalid topic name "$name""#),
            ("^a(.*)=$99999999999999999999", "invalid topic name"),
        ] {
            let error = text.parse::<RootTopics>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
