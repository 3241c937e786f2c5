//! Finds fields of a case's input that its adapter does not declare, so that schema drift cannot pass silently.

use serde_json::{Map, Value};

use super::path::{Path, Pattern};
use super::typed::Typed;

/// What may stand at a declared field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// A scalar, or (nested) lists of scalars.
    Plain,
    /// A typed value.
    Typed,
    /// Anything.
    Any,
}

/// The first undeclared or misshapen field of `input`, in words.
pub(super) fn unknown_field(input: &Map<String, Value>, declared: &[&str]) -> Option<String> {
    let declared: Vec<_> = declared.iter().map(|text| declaration(text)).collect();
    let root = Path::default();
    input
        .iter()
        .find_map(|(name, value)| problem(&root.key(name), value, &declared))
}

fn declaration(text: &str) -> (Pattern, Shape) {
    match text.rsplit_once(' ') {
        Some((path, "typed")) => (Pattern::new(path), Shape::Typed),
        Some((path, "any")) => (Pattern::new(path), Shape::Any),
        _ => (Pattern::new(text), Shape::Plain),
    }
}

fn problem(path: &Path, value: &Value, declared: &[(Pattern, Shape)]) -> Option<String> {
    let named = declared.iter().find(|(pattern, _)| pattern.names(path));
    match named {
        Some((_, Shape::Any)) => None,
        Some((_, Shape::Typed)) => Typed::from_value(value)
            .is_none()
            .then(|| format!("in.{path} is not a typed value")),
        Some((_, Shape::Plain)) if is_plain(value) => None,
        _ if declared.iter().any(|(pattern, _)| pattern.is_inside(path)) => match value {
            Value::Null => None,
            Value::Object(fields) => fields
                .iter()
                .find_map(|(name, value)| problem(&path.key(name), value, declared)),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .find_map(|(index, value)| problem(&path.index(index), value, declared)),
            _ => Some(format!("in.{path} is neither an object nor a list")),
        },
        Some(_) => Some(format!(
            "in.{path} holds an object with fields unknown to the adapter"
        )),
        None => Some(format!("in.{path} is a field unknown to the adapter")),
    }
}

fn is_plain(value: &Value) -> bool {
    match value {
        Value::Object(_) => false,
        Value::Array(items) => items.iter().all(is_plain),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(input: &Value, declared: &[&str]) -> Option<String> {
        unknown_field(input.as_object().unwrap(), declared)
    }

    #[test]
    fn declared_input_passes() {
        let input = json!({
            "secret": "00", "ctx": null, "links": [["00"], []], "key": {"t": "int", "v": 1},
            "calls": [{}, {"salt": "00", "plain": {"hex": "00"}}],
            "actors": {"a": {"file": "x"}, "b": {}}, "files": {"anything": {"goes": 1}}
        });
        let declared = [
            "secret",
            "ctx",
            "links",
            "key typed",
            "calls[].salt",
            "calls[].plain.hex",
            "actors.*.file",
            "files any",
        ];
        assert_eq!(check(&input, &declared), None);
    }

    #[test]
    fn drift_is_found_at_every_depth() {
        let found = |input: Value, declared: &[&str]| check(&input, declared).unwrap();
        assert!(found(json!({"new": 1}), &["old"]).contains("in.new"));
        assert!(
            found(json!({"calls": [{"new": 1}]}), &["calls[].old"]).contains("in.calls[0].new")
        );
        assert!(found(json!({"calls": {"old": 1}}), &["calls[].old"]).contains("in.calls.old"));
        assert!(found(json!({"calls": 1}), &["calls[].old"]).contains("in.calls"));
        assert!(found(json!({"secret": {"hex": "00"}}), &["secret"]).contains("in.secret"));
        assert!(found(json!({"list": [{"hex": "00"}]}), &["list"]).contains("in.list"));
        assert!(
            found(
                json!({"key": {"t": "int", "v": 1, "new": 2}}),
                &["key typed"]
            )
            .contains("in.key")
        );
    }
}
