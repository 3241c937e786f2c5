//! Exact comparison of two JSON values, with the place of each difference.

use std::collections::BTreeSet;

use serde_json::Value;

use super::path::Path;

/// Characters of a value that are shown.
const SHOWN: usize = 64;

/// One place at which two values differ.
#[derive(Debug)]
pub(super) struct Difference {
    pub(super) path: Path,
    /// `expected …, got …`
    pub(super) text: String,
}

/// Every difference, in the order of the names.
pub(super) fn differences(expected: &Value, actual: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    collect(&Path::default(), expected, actual, &mut found);
    found
}

fn collect(path: &Path, expected: &Value, actual: &Value, found: &mut Vec<Difference>) {
    match (expected, actual) {
        (Value::Object(wanted), Value::Object(got)) => {
            let names: BTreeSet<_> = wanted.keys().chain(got.keys()).collect();
            for name in names {
                let path = path.key(name);
                match (wanted.get(name), got.get(name)) {
                    (Some(wanted), Some(got)) => collect(&path, wanted, got, found),
                    (wanted, got) => found.push(one_sided(path, wanted, got)),
                }
            }
        }
        (Value::Array(wanted), Value::Array(got)) => {
            for index in 0..wanted.len().max(got.len()) {
                let path = path.index(index);
                match (wanted.get(index), got.get(index)) {
                    (Some(wanted), Some(got)) => collect(&path, wanted, got, found),
                    (wanted, got) => found.push(one_sided(path, wanted, got)),
                }
            }
        }
        _ if expected == actual => {}
        _ => {
            let focus = first_difference(expected, actual);
            let text = format!(
                "expected {}, got {}",
                show(expected, focus),
                show(actual, focus)
            );
            found.push(Difference {
                path: path.clone(),
                text,
            });
        }
    }
}

fn one_sided(path: Path, expected: Option<&Value>, actual: Option<&Value>) -> Difference {
    let show =
        |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), |value| show(value, 0));
    let text = format!("expected {}, got {}", show(expected), show(actual));
    Difference { path, text }
}

fn first_difference(expected: &Value, actual: &Value) -> usize {
    match (expected, actual) {
        (Value::String(a), Value::String(b)) => {
            a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count()
        }
        _ => 0,
    }
}

/// The value as JSON; of a long one, the part around the character `focus`.
fn show(value: &Value, focus: usize) -> String {
    let (text, quote) = match value {
        Value::String(text) => (text.replace('\n', "\\n"), "\""),
        other => (other.to_string(), ""),
    };
    let length = text.chars().count();
    if length <= SHOWN {
        return format!("{quote}{text}{quote}");
    }
    let start = focus.saturating_sub(SHOWN / 4).min(length - SHOWN);
    let part: String = text.chars().skip(start).take(SHOWN).collect();
    let before = if start > 0 { "…" } else { "" };
    let after = if start + SHOWN < length { "…" } else { "" };
    format!("{quote}{before}{part}{after}{quote} ({length} characters, from {start})")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(expected: &Value, actual: &Value) -> Vec<String> {
        differences(expected, actual)
            .iter()
            .map(|d| format!("{}: {}", d.path, d.text))
            .collect()
    }

    #[test]
    fn equal_values_do_not_differ() {
        let value = json!({"steps": [{"salt": "00"}, null, 1.5, {}, []]});
        assert!(differences(&value, &value.clone()).is_empty());
    }

    #[test]
    fn each_difference_names_its_place() {
        let expected = json!({"steps": [{"salt": "00", "n": 1}, {"salt": "01"}], "left": true});
        let actual = json!({"steps": [{"salt": "00", "n": 1.0}], "right": null});
        assert_eq!(
            texts(&expected, &actual),
            [
                "left: expected true, got nothing",
                "right: expected nothing, got null",
                "steps[0].n: expected 1, got 1.0",
                "steps[1]: expected {\"salt\":\"01\"}, got nothing",
            ]
        );
    }

    #[test]
    fn containers_of_another_kind_differ() {
        assert_eq!(
            texts(&json!({"a": {}}), &json!({"a": []})),
            ["a: expected {}, got []"]
        );
        assert_eq!(
            texts(&json!({"a": null}), &json!({"a": ""})),
            ["a: expected null, got \"\""]
        );
    }

    #[test]
    fn long_texts_are_shown_around_their_first_difference() {
        let expected = "0".repeat(300);
        let mut actual = expected.clone();
        actual.replace_range(200..201, "f");
        let text = texts(&json!({"x": expected}), &json!({"x": actual})).remove(0);
        assert!(
            text.contains("000f000") && text.contains("(300 characters, from 184)"),
            "{text}"
        );
        assert!(text.len() < 300, "{text}");
    }
}
