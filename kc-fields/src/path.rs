//! Paths of fields: a subset of RFC 9535 (JSONPath).

use std::fmt;

use thiserror::Error;

/// The maximum number of steps of a path.
pub const MAX_STEPS: usize = 32;

/// The path of a field: names, indexes and `[*]`.
///
/// It is read in two forms, which mean the same: `$.items[*].note` and `/items/*/note`. [`Display`](fmt::Display) gives
/// the first form, with one spelling for each path. This spelling is what tokens are bound to.
///
/// ```
/// use kc_fields::FieldPath;
///
/// let path: FieldPath = "/items/*/note".parse()?;
/// assert_eq!(path.to_string(), "$.items[*].note");
/// assert_eq!("$['items'][*][\"note\"]".parse::<FieldPath>()?, path);
/// # Ok::<(), kc_fields::PathError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldPath(Vec<Step>);

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The member of an object with this name.
    Name(String),
    /// The element of an array with this index. A negative index counts from the end.
    Index(i64),
    /// All members of an object, or all elements of an array.
    Each,
}

/// The reason why a text is not the path of a field.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PathError {
    /// The text begins neither with `$` nor with `/`.
    #[error("a path begins with $ or /, as $.items[*].note or /items/*/note")]
    Beginning,
    /// The text uses a part of RFC 9535 outside the subset, or is not a path.
    #[error("{found:?} at character {at} is not a step: write .name, ['name'], [0] or [*]")]
    Step {
        /// The rest of the text, at most 16 characters.
        found: String,
        /// The position of `found`, in characters from 1.
        at: usize,
    },
    /// The path has more than [`MAX_STEPS`] steps.
    #[error("the path has more than {MAX_STEPS} steps")]
    TooLong,
}

impl FieldPath {
    /// Returns the steps.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Returns whether the path selects at most one value of each record.
    #[must_use]
    pub fn is_singular(&self) -> bool {
        !self.0.contains(&Step::Each)
    }

    /// Returns whether both paths can select the same value, or one a value inside a value of the other.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let mut pairs = self.0.iter().zip(&other.0);
        pairs.all(|pair| match pair {
            (Step::Each, _) | (_, Step::Each) => true,
            (Step::Name(one), Step::Name(other)) => one == other,
            // From which end an index counts says nothing without the length of the array.
            (Step::Index(one), Step::Index(other)) => (*one < 0) != (*other < 0) || one == other,
            _ => false,
        })
    }

    fn parse_dollar(text: &str) -> Result<Vec<Step>, (usize, &str)> {
        let mut steps = Vec::new();
        let mut rest = text.get(1..).unwrap_or_default();
        while !rest.is_empty() {
            let failed = (text.len() - rest.len(), rest);
            let (step, after) = step(rest).ok_or(failed)?;
            steps.push(step);
            rest = after;
        }
        Ok(steps)
    }

    /// Reads the form of JSON pointers (RFC 6901), in which `*` stands for each member or element.
    fn parse_pointer(text: &str) -> Result<Vec<Step>, (usize, &str)> {
        let mut steps = Vec::new();
        let mut at = 1;
        for part in text.split('/').skip(1) {
            steps.push(match part {
                "" => return Err((at - 1, text.get(at - 1..).unwrap_or_default())),
                "*" => Step::Each,
                part => match index(part) {
                    Some(index) if index >= 0 => Step::Index(index),
                    _ => Step::Name(part.replace("~1", "/").replace("~0", "~")),
                },
            });
            at += part.len() + 1;
        }
        Ok(steps)
    }
}

impl std::str::FromStr for FieldPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let steps = match text.as_bytes().first() {
            Some(b'$') => Self::parse_dollar(text),
            Some(b'/') => Self::parse_pointer(text),
            _ => return Err(PathError::Beginning),
        };
        let steps = steps.map_err(|(at, rest)| PathError::Step {
            found: rest.chars().take(16).collect(),
            at: text.get(..at).unwrap_or_default().chars().count() + 1,
        })?;
        if steps.len() > MAX_STEPS {
            return Err(PathError::TooLong);
        }
        Ok(Self(steps))
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        for step in &self.0 {
            match step {
                Step::Name(name) if is_shorthand(name) => write!(f, ".{name}")?,
                Step::Name(name) => {
                    let name = name.replace('\\', "\\\\").replace('\'', "\\'");
                    write!(f, "['{name}']")?;
                }
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Each => f.write_str("[*]")?,
            }
        }
        Ok(())
    }
}

/// Reads one step of the form with `$`. Returns it with the rest of the text.
fn step(text: &str) -> Option<(Step, &str)> {
    if let Some(rest) = text.strip_prefix('.') {
        if let Some(rest) = rest.strip_prefix('*') {
            return Some((Step::Each, rest));
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, rest) = rest.split_at_checked(end)?;
        return is_shorthand(name).then(|| (Step::Name(name.to_owned()), rest));
    }
    let inside = text.strip_prefix('[')?;
    if let Some(rest) = inside.strip_prefix("*]") {
        return Some((Step::Each, rest));
    }
    if let Some(quote @ ('\'' | '"')) = inside.chars().next() {
        let (name, rest) = quoted(inside.get(1..)?, quote)?;
        return Some((Step::Name(name), rest.strip_prefix(']')?));
    }
    let (number, rest) = inside.split_once(']')?;
    Some((Step::Index(index(number)?), rest))
}

/// Reads a quoted name up to its closing quote. A backslash escapes a quote or a backslash.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => match letters.next()?.1 {
                escaped @ ('\\' | '\'' | '"') => name.push(escaped),
                _ => return None,
            },
            letter if letter == quote => return Some((name, text.get(at + 1..)?)),
            letter => name.push(letter),
        }
    }
    None
}

/// Reads an index as RFC 9535 writes it: without leading zeros and without a plus sign.
fn index(text: &str) -> Option<i64> {
    let index: i64 = text.parse().ok()?;
    (index.to_string() == text).then_some(index)
}

/// Returns whether a name can stand after a dot: RFC 9535's `member-name-shorthand`, and hyphens inside.
fn is_shorthand(name: &str) -> bool {
    let mut letters = name.chars();
    let is_first =
        |letter: char| letter.is_ascii_alphabetic() || letter == '_' || !letter.is_ascii();
    letters.next().is_some_and(is_first)
        && letters.all(|letter| is_first(letter) || letter.is_ascii_digit() || letter == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> FieldPath {
        text.parse().unwrap()
    }

    #[test]
    fn both_forms_give_the_same_path() {
        for (one, other) in [
            ("$.items[*].note", "/items/*/note"),
            ("$['a b'].c", "/a b/c"),
            ("$[0][1]", "/0/1"),
            ("$['a/b']", "/a~1b"),
            (r"$['it\'s']", "/it's"),
            ("$.*", "/*"),
        ] {
            assert_eq!(path(one), path(other), "{one}");
            assert_eq!(path(&path(one).to_string()), path(one), "{one}");
        }
        assert_eq!(path("$").steps(), []);
        assert_eq!(path("$[-1]").steps(), [Step::Index(-1)]);
    }

    #[test]
    fn what_is_not_in_the_subset_is_refused_with_its_place() {
        for text in [
            "$..a",
            "$.a[?(@.b)]",
            "$[0:2]",
            "$['a','b']",
            "$.a.",
            "$[01]",
            "$a",
            "/a//b",
        ] {
            let error = text.parse::<FieldPath>().unwrap_err();
            assert!(matches!(error, PathError::Step { .. }), "{text}: {error}");
        }
        assert_eq!("a.b".parse::<FieldPath>(), Err(PathError::Beginning));
        let error = "$.a[0:2]".parse::<FieldPath>().unwrap_err().to_string();
        assert!(error.starts_with("\"[0:2]\" at character 4 "), "{error}");
        let long = format!("${}", ".a".repeat(MAX_STEPS + 1));
        assert_eq!(long.parse::<FieldPath>(), Err(PathError::TooLong));
    }

    #[test]
    fn paths_overlap_if_they_can_select_the_same_bytes() {
        let overlap = |one, other| path(one).overlaps(&path(other));
        assert!(overlap("$.a", "$.a.b"));
        assert!(overlap("$.a[*]", "$.a[3]"));
        assert!(overlap("$.a[-1]", "$.a[3]"));
        assert!(overlap("$", "$.b"));
        assert!(!overlap("$.a", "$.b"));
        assert!(!overlap("$.a[0]", "$.a[1]"));
        assert!(!overlap("$.a[0]", "$.a.b"));
    }
}
