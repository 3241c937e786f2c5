//! Finds fields in the text of a JSON record, and replaces them without a change to any other byte.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::Fault;
use crate::path::Step;

/// The maximum size of a record, in bytes.
pub const MAX_RECORD_BYTES: usize = 16 << 20;
/// The maximum depth of objects and arrays in a record.
pub const MAX_DEPTH: usize = 128;
/// The maximum number of fields of a record that the rules select.
pub const MAX_FIELDS: usize = 65_536;

/// The type of a JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JsonType {
    /// A text in quotes.
    String,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// `null`.
    Null,
    /// An object.
    Object,
    /// An array.
    Array,
}

impl JsonType {
    /// All types.
    pub const ALL: [Self; 6] = [
        Self::String,
        Self::Number,
        Self::Boolean,
        Self::Null,
        Self::Object,
        Self::Array,
    ];

    /// Returns the type of a value from its text, which must be valid JSON without white space before the value.
    pub(crate) fn of(text: &str) -> Self {
        match text.as_bytes().first() {
            Some(b'"') => Self::String,
            Some(b't' | b'f') => Self::Boolean,
            Some(b'n') => Self::Null,
            Some(b'{') => Self::Object,
            Some(b'[') => Self::Array,
            _ => Self::Number,
        }
    }

    /// Returns the name, for example `string`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Null => "null",
            Self::Object => "object",
            Self::Array => "array",
        }
    }
}

impl fmt::Display for JsonType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The path of a rule, and whether it goes on inside an array in which it expects an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'r> {
    pub(crate) steps: &'r [Step],
    pub(crate) enters_arrays: bool,
}

/// What a path selects in a record. `target` is the position of the path in the list of targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selected {
    /// A value with these bytes in the text.
    Value { target: usize, span: Range<usize> },
    /// A member or an element does not exist, or `null` stands in its place.
    Missing { target: usize },
    /// A value of this type stands where the path expects an object or an array.
    WrongType { target: usize, found: JsonType },
    /// An array stands where the path expects an object.
    NestedArray { target: usize },
}

/// Checks that bytes are a JSON record within the limits.
pub(crate) fn parse(record: &[u8]) -> Result<&str, Fault> {
    if record.len() > MAX_RECORD_BYTES {
        return Err(Fault::TooLarge);
    }
    let text = str::from_utf8(record).map_err(|error| Fault::NotJson(error.to_string()))?;
    raw(text)?;
    if depth(text) > MAX_DEPTH {
        return Err(Fault::TooDeep);
    }
    Ok(text)
}

/// Returns what the paths select in a text that [`parse`] has checked: values in the order of the text.
pub(crate) fn select(text: &str, targets: &[Target<'_>]) -> Result<Vec<Selected>, Fault> {
    let mut walk = Walk {
        text,
        targets,
        selected: Vec::new(),
    };
    let open = targets.iter().enumerate();
    let open = open.map(|(target, Target { steps, .. })| (target, *steps));
    walk.enter(raw(text)?, open.collect())?;
    let mut selected = walk.selected;
    selected.sort_by_key(|selected| match selected {
        Selected::Value { span, .. } => (span.start, span.end),
        _ => (0, 0),
    });
    let spans = selected.iter().filter_map(|selected| match selected {
        Selected::Value { span, .. } => Some(span),
        _ => None,
    });
    let mut end = 0;
    for span in spans {
        if span.start < end {
            return Err(Fault::Overlap);
        }
        end = span.end;
    }
    Ok(selected)
}

/// Returns the text with other values in the place of the spans, which are in order and do not overlap.
pub(crate) fn splice<'a>(
    text: &str,
    replacements: impl Iterator<Item = (&'a Range<usize>, &'a str)>,
) -> String {
    let mut spliced = String::with_capacity(text.len());
    let mut at = 0;
    for (span, value) in replacements {
        spliced.push_str(text.get(at..span.start).unwrap_or_default());
        spliced.push_str(value);
        at = span.end;
    }
    spliced.push_str(text.get(at..).unwrap_or_default());
    spliced
}

/// Returns the content of a JSON string.
pub(crate) fn string(text: &str) -> Option<String> {
    serde_json::from_str(text).ok()
}

/// Returns the text of a JSON string with this content.
pub(crate) fn quote(content: &str) -> String {
    serde_json::Value::from(content).to_string()
}

/// Returns whether a text is exactly one JSON value, without white space around it, of this type.
pub(crate) fn is_value(text: &str, expected: JsonType) -> bool {
    let parsed = raw(text).is_ok_and(|value| value.get() == text);
    parsed && JsonType::of(text) == expected && depth(text) <= MAX_DEPTH
}

struct Walk<'t, 'r> {
    text: &'t str,
    targets: &'r [Target<'r>],
    selected: Vec<Selected>,
}

/// The targets that continue in a value, with their remaining steps.
type Open<'r> = Vec<(usize, &'r [Step])>;

/// The targets that continue inside an object or array: in all its values, and in single ones by their places.
#[derive(Default)]
struct Inside<'r> {
    each: Open<'r>,
    single: HashMap<usize, Open<'r>>,
}

impl<'r> Inside<'r> {
    fn add(&mut self, place: usize, target: (usize, &'r [Step])) {
        self.single.entry(place).or_default().push(target);
    }
}

impl<'t, 'r> Walk<'t, 'r> {
    fn enter(&mut self, value: &'t RawValue, open: Open<'r>) -> Result<(), Fault> {
        let (here, below): (Open<'r>, Open<'r>) =
            open.into_iter().partition(|(_, steps)| steps.is_empty());
        for (target, _) in here {
            let span = self.span(value);
            self.push(Selected::Value { target, span })?;
        }
        if below.is_empty() {
            return Ok(());
        }
        match JsonType::of(value.get()) {
            JsonType::Object => self.enter_object(value, below),
            JsonType::Array => self.enter_array(value, below),
            found => below.into_iter().try_for_each(|(target, _)| {
                self.push(match found {
                    JsonType::Null => Selected::Missing { target },
                    found => Selected::WrongType { target, found },
                })
            }),
        }
    }

    fn enter_object(&mut self, value: &'t RawValue, open: Open<'r>) -> Result<(), Fault> {
        let Members(members) =
            serde_json::from_str(value.get()).map_err(|error| Fault::NotJson(error.to_string()))?;
        distinct(&members)?;
        let mut inside = Inside::default();
        for (target, steps) in open {
            match steps.split_first() {
                Some((Step::Each, rest)) => inside.each.push((target, rest)),
                Some((Step::Name(name), rest)) => {
                    match members.iter().position(|(member, _)| member == name) {
                        Some(place) => inside.add(place, (target, rest)),
                        None => self.push(Selected::Missing { target })?,
                    }
                }
                Some((Step::Index(_), _)) => self.push(Selected::WrongType {
                    target,
                    found: JsonType::Object,
                })?,
                None => {}
            }
        }
        self.enter_each(members.into_iter().map(|(_, member)| member), inside)
    }

    fn enter_array(&mut self, value: &'t RawValue, open: Open<'r>) -> Result<(), Fault> {
        let elements: Vec<&'t RawValue> =
            serde_json::from_str(value.get()).map_err(|error| Fault::NotJson(error.to_string()))?;
        let mut inside = Inside::default();
        for (target, steps) in open {
            match steps.split_first() {
                Some((Step::Each, rest)) => inside.each.push((target, rest)),
                Some((Step::Index(index), rest)) => {
                    let place = match usize::try_from(index.unsigned_abs()) {
                        Ok(back) if *index < 0 => elements.len().checked_sub(back),
                        place => place.ok(),
                    };
                    match place.filter(|place| *place < elements.len()) {
                        Some(place) => inside.add(place, (target, rest)),
                        None => self.push(Selected::Missing { target })?,
                    }
                }
                Some((Step::Name(_), _)) => match self.targets.get(target) {
                    Some(rule) if rule.enters_arrays => inside.each.push((target, steps)),
                    _ => self.push(Selected::NestedArray { target })?,
                },
                None => {}
            }
        }
        self.enter_each(elements.into_iter(), inside)
    }

    fn enter_each(
        &mut self,
        values: impl Iterator<Item = &'t RawValue>,
        mut inside: Inside<'r>,
    ) -> Result<(), Fault> {
        for (place, value) in values.enumerate() {
            let single = inside.single.remove(&place);
            if single.is_none() && inside.each.is_empty() {
                continue;
            }
            let open = inside
                .each
                .iter()
                .copied()
                .chain(single.into_iter().flatten());
            self.enter(value, open.collect())?;
        }
        Ok(())
    }

    fn push(&mut self, selected: Selected) -> Result<(), Fault> {
        if self.selected.len() == MAX_FIELDS {
            return Err(Fault::TooManyFields);
        }
        self.selected.push(selected);
        Ok(())
    }

    /// Returns the place of a value, which is a part of the text.
    fn span(&self, value: &RawValue) -> Range<usize> {
        let value = value.get();
        let start = value.as_ptr().addr() - self.text.as_ptr().addr();
        start..start + value.len()
    }
}

fn raw(text: &str) -> Result<&RawValue, Fault> {
    serde_json::from_str(text).map_err(|error| Fault::NotJson(error.to_string()))
}

/// Returns the depth of objects and arrays in a valid JSON text.
fn depth(text: &str) -> usize {
    let (mut now, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        if quoted {
            quoted = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b'{' | b'[' => {
                now += 1;
                deepest = deepest.max(now);
            }
            b'}' | b']' => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The members of an object in the order of the text.
struct Members<'t>(Vec<(Cow<'t, str>, &'t RawValue)>);

/// Refuses an object that has a name twice: programs differ in which of the members they read, so that one could read
/// a value that no rule has encrypted.
fn distinct(members: &[(Cow<'_, str>, &RawValue)]) -> Result<(), Fault> {
    let mut names: Vec<&str> = members.iter().map(|(name, _)| &**name).collect();
    names.sort_unstable();
    let mut pairs = names.iter().zip(names.iter().skip(1));
    match pairs.find(|(one, next)| one == next) {
        Some((name, _)) => Err(Fault::DuplicateKey((*name).to_owned())),
        None => Ok(()),
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfObject;

        impl<'de> Visitor<'de> for OfObject {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(OfObject)
    }
}

/// A name, borrowed if it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'t>(#[serde(borrow)] Cow<'t, str>);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::FieldPath;

    fn selected(text: &str, paths: &[&str]) -> Result<Vec<String>, Fault> {
        let paths: Vec<FieldPath> = paths.iter().map(|path| path.parse().unwrap()).collect();
        let targets = paths.iter().map(|path| Target {
            steps: path.steps(),
            enters_arrays: false,
        });
        let text = parse(text.as_bytes())?;
        let shown = select(text, &targets.collect::<Vec<_>>())?;
        let shown = shown.into_iter().map(|selected| match selected {
            Selected::Value { target, span } => format!("{target} {}", &text[span]),
            other => format!("{other:?}"),
        });
        Ok(shown.collect())
    }

    #[test]
    fn values_are_found_with_their_exact_text() {
        let text = " {\"a\" : 1.50e+07 , \"\\u0062\":[ {\"c\":\"x\\u00e9\"},{ \"c\": [1, 2] } ]}\n";
        assert_eq!(
            selected(text, &["$.b[*].c", "$.a"]).unwrap(),
            ["1 1.50e+07", "0 \"x\\u00e9\"", "0 [1, 2]"]
        );
        assert_eq!(selected(text, &["$.b[-1].c[0]"]).unwrap(), ["0 1"]);
        assert_eq!(selected("[3]", &["$"]).unwrap(), ["0 [3]"]);
    }

    #[test]
    fn what_a_path_does_not_find_is_reported() {
        let text = r#"{"a":null,"b":7,"c":[[{"d":1}]]}"#;
        for (path, expected) in [
            ("$.x", "Missing { target: 0 }"),
            ("$.a.x", "Missing { target: 0 }"),
            ("$.c[4]", "Missing { target: 0 }"),
            ("$.b.x", "WrongType { target: 0, found: Number }"),
            ("$[0]", "WrongType { target: 0, found: Object }"),
            ("$.c[*].d", "NestedArray { target: 0 }"),
        ] {
            assert_eq!(selected(text, &[path]).unwrap(), [expected], "{path}");
        }
        assert!(selected(r#"{"c":[]}"#, &["$.c[*]"]).unwrap().is_empty());
    }

    #[test]
    fn a_path_can_continue_in_nested_arrays() {
        let path: FieldPath = "$.c.d".parse().unwrap();
        let text = r#"{"c":[[{"d":1}],{"d":2}]}"#;
        let target = Target {
            steps: path.steps(),
            enters_arrays: true,
        };
        let found = select(text, &[target]).unwrap();
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn names_that_come_twice_are_refused_however_they_are_written() {
        let fault = selected(r#"{"card":1,"\u0063ard":2}"#, &["$.x"]).unwrap_err();
        assert_eq!(fault, Fault::DuplicateKey("card".into()));
    }

    #[test]
    fn records_have_limits() {
        let deep = "[".repeat(MAX_DEPTH + 1) + &"]".repeat(MAX_DEPTH + 1);
        assert_eq!(selected(&deep, &[]), Err(Fault::TooDeep));
        let very_deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        assert_eq!(selected(&very_deep, &[]), Err(Fault::TooDeep));
        assert!(selected(&deep[1..deep.len() - 1], &[]).is_ok());
        let large = format!("\"{}\"", "x".repeat(MAX_RECORD_BYTES));
        assert_eq!(selected(&large, &[]), Err(Fault::TooLarge));
        let many = format!("[{}1]", "1,".repeat(MAX_FIELDS));
        assert_eq!(selected(&many, &["$[*]"]), Err(Fault::TooManyFields));
        let overlapping = selected("[1]", &["$[0]", "$[-1]"]);
        assert_eq!(overlapping, Err(Fault::Overlap));
        for bad in ["", "{", "{\"a\":01}", "1 2", "\u{feff}1"] {
            assert!(
                matches!(selected(bad, &[]), Err(Fault::NotJson(_))),
                "{bad}"
            );
        }
    }

    #[test]
    fn only_whole_values_of_the_type_are_values() {
        assert!(is_value("\"a\"", JsonType::String));
        for text in ["\"a\",\"admin\":true", "\"a\" ", "", "1"] {
            assert!(!is_value(text, JsonType::String), "{text}");
        }
    }
}
