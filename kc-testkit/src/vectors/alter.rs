//! Small changes of an expectation, each of which the comparison has to see.

use serde_json::{Value, json};

use super::path::Path;

/// Every place of `value` that [`alter`] can change: its scalars and containers, itself included.
pub(super) fn places(value: &Value) -> Vec<Path> {
    let mut found = Vec::new();
    collect(Path::default(), value, &mut found);
    found
}

fn collect(path: Path, value: &Value, found: &mut Vec<Path>) {
    match value {
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, value)| collect(path.key(name), value, found)),
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, value)| collect(path.index(index), value, found));
        }
        _ => {}
    }
    found.push(path);
}

/// Changes `value` a little: one bit of hex, one more, the last element away, …
pub(super) fn alter(value: &mut Value) {
    match value {
        Value::Null => *value = json!(true),
        Value::Bool(flag) => *flag = !*flag,
        Value::Number(number) => *value = another_number(number),
        Value::String(text) => *text = another_text(text),
        Value::Array(items) => {
            if items.pop().is_none() {
                items.push(Value::Null);
            }
        }
        Value::Object(fields) => {
            let last = fields.keys().next_back().cloned();
            if last.and_then(|name| fields.remove(&name)).is_none() {
                fields.insert("unexpected".to_owned(), Value::Null);
            }
        }
    }
}

fn another_number(number: &serde_json::Number) -> Value {
    if let Some(integer) = number.as_i64() {
        json!(integer.checked_add(1).unwrap_or(0))
    } else if let Some(integer) = number.as_u64() {
        json!(integer.checked_add(1).unwrap_or(0))
    } else {
        // One more would be lost in a large double; its last bit is not.
        json!(
            number
                .as_f64()
                .map(|double| f64::from_bits(double.to_bits() ^ 1))
        )
    }
}

fn another_text(text: &str) -> String {
    let digits = text.len().is_multiple_of(2)
        && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    match text.char_indices().next_back() {
        Some((position, last)) if digits => {
            let flipped = last
                .to_digit(16)
                .and_then(|digit| char::from_digit(digit ^ 1, 16));
            text.chars().take(position).chain(flipped).collect()
        }
        _ => format!("{text}x"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn altered(mut value: Value) -> Value {
        alter(&mut value);
        value
    }

    #[test]
    fn every_kind_of_value_changes() {
        assert_eq!(altered(json!(null)), json!(true));
        assert_eq!(altered(json!(true)), json!(false));
        assert_eq!(altered(json!(7)), json!(8));
        assert_eq!(altered(json!(u64::MAX)), json!(0));
        assert_ne!(altered(json!(1e300)), json!(1e300));
        assert_ne!(altered(json!(0.0)), json!(0.0));
        assert_eq!(altered(json!("00ff")), json!("00fe"));
        assert_eq!(altered(json!("a topic")), json!("a topicx"));
        assert_eq!(altered(json!("")), json!("x"));
        assert_eq!(altered(json!([1, 2])), json!([1]));
        assert_eq!(altered(json!([])), json!([null]));
        assert_eq!(altered(json!({"a": 1})), json!({}));
        assert_eq!(altered(json!({})), json!({"unexpected": null}));
    }

    #[test]
    fn every_place_is_named_once() {
        let value = json!({"steps": [{"salt": "00"}, []], "n": null});
        let names: Vec<_> = places(&value).iter().map(Path::to_string).collect();
        assert_eq!(
            names,
            ["n", "steps[0].salt", "steps[0]", "steps[1]", "steps", ""]
        );
    }
}
