//! Exact comparison of two JSON values, with the place of each difference.

use serde_json::Value;

/// The number of characters that are shown of a value.
const SHOWN: usize = 64;

/// A place at which two values differ.
pub(crate) struct Difference {
    /// The path of the place: `steps[2].salt_after`.
    pub(crate) path: String,
    expected: Option<Value>,
    actual: Option<Value>,
}

/// Returns all differences, in the order of the names.
pub(crate) fn differences(expected: &Value, actual: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    collect("", Some(expected), Some(actual), &mut found);
    found
}

fn collect(
    path: &str,
    expected: Option<&Value>,
    actual: Option<&Value>,
    found: &mut Vec<Difference>,
) {
    match (expected, actual) {
        (Some(Value::Object(wanted)), Some(Value::Object(got))) => {
            let more = got.keys().filter(|name| !wanted.contains_key(*name));
            for name in wanted.keys().chain(more) {
                let dot = if path.is_empty() { "" } else { "." };
                let path = format!("{path}{dot}{name}");
                collect(&path, wanted.get(name), got.get(name), found);
            }
        }
        (Some(Value::Array(wanted)), Some(Value::Array(got))) => {
            for index in 0..wanted.len().max(got.len()) {
                let path = format!("{path}[{index}]");
                collect(&path, wanted.get(index), got.get(index), found);
            }
        }
        _ if expected == actual => {}
        _ => found.push(Difference {
            path: path.to_owned(),
            expected: expected.cloned(),
            actual: actual.cloned(),
        }),
    }
}

impl Difference {
    /// Returns whether the place is `field` or inside it; in a field, `[]` stands for every element.
    pub(crate) fn is_in(&self, field: &str) -> bool {
        let mut any = String::new();
        for part in self.path.split_inclusive('[') {
            any.push_str(part.trim_start_matches(|digit: char| digit.is_ascii_digit()));
        }
        let inside = any.strip_prefix(field);
        inside.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }

    /// Returns the place in `out` or `reject`, the expected value and the actual value, as a line.
    pub(crate) fn line(&self, body: &str) -> String {
        let focus = match (&self.expected, &self.actual) {
            (Some(Value::String(one)), Some(Value::String(other))) => {
                let same = one.chars().zip(other.chars());
                same.take_while(|(one, other)| one == other).count()
            }
            _ => 0,
        };
        let show = |value: &Option<Value>| show(value.as_ref(), focus);
        let dot = if self.path.is_empty() { "" } else { "." };
        let (expected, got) = (show(&self.expected), show(&self.actual));
        format!("{body}{dot}{}: expected {expected}, got {got}", self.path)
    }
}

/// Returns the value as JSON; of a long value, the part around the character `focus`.
fn show(value: Option<&Value>, focus: usize) -> String {
    let Some(value) = value else {
        return "nothing".to_owned();
    };
    let text = value.to_string();
    let length = text.chars().count();
    if length <= SHOWN {
        return text;
    }
    let start = focus.saturating_sub(SHOWN / 4).min(length - SHOWN);
    let part: String = text.chars().skip(start).take(SHOWN).collect();
    format!("…{part}… ({length} characters, from {start})")
}
