//! The formats in which records are printed.

use std::str::FromStr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use kc::Header;
use kc::core::types::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::output::Shown;
use crate::args::ValueForm;
use crate::error::CliError;
use crate::ui::harmless;

/// The format of a printed record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// The value and a line feed.
    Text,
    /// A line with a JSON object.
    Json,
    /// A line with the parts that the user named.
    Line(Vec<Part>),
}

/// A part of a line that the user named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Literal(String),
    Key,
    Value,
    Topic,
    Partition,
    Offset,
    Time,
    Headers,
}

/// A format with the form of its values.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    format: Format,
    form: ValueForm,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => return Ok(Self::Text),
            "json" => return Ok(Self::Json),
            _ if !text.contains('%') => {
                return Err(
                    "expected text, json or a line with %k, %v, %t, %p, %o, %T or %h".into(),
                );
            }
            _ => {}
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut letters = text.chars();
        while let Some(start) = letters.next() {
            if !matches!(start, '%' | '\\') {
                literal.push(start);
                continue;
            }
            let next = letters.next();
            if let Some(letter) = escaped(start, next) {
                literal.push(letter);
            } else if let Some(part) = placeholder(start, next) {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
                parts.push(part);
            } else {
                let unknown: String = [start].into_iter().chain(next).collect();
                return Err(format!(
                    "{unknown} is unknown; expected %k, %v, %t, %p, %o, %T, %h, %%, \\n, \\t or \\\\"
                ));
            }
        }
        parts.push(Part::Literal(literal));
        parts.retain(|part| !matches!(part, Part::Literal(text) if text.is_empty()));
        Ok(Self::Line(parts))
    }
}

/// Returns the character that an escape sequence stands for.
fn escaped(start: char, next: Option<char>) -> Option<char> {
    match (start, next?) {
        ('\\', 'n') => Some('\n'),
        ('\\', 't') => Some('\t'),
        ('\\', '\\') => Some('\\'),
        ('%', '%') => Some('%'),
        _ => None,
    }
}

/// Returns the part of a record that a placeholder stands for.
fn placeholder(start: char, next: Option<char>) -> Option<Part> {
    match (start, next?) {
        ('%', 'k') => Some(Part::Key),
        ('%', 'v') => Some(Part::Value),
        ('%', 't') => Some(Part::Topic),
        ('%', 'p') => Some(Part::Partition),
        ('%', 'o') => Some(Part::Offset),
        ('%', 'T') => Some(Part::Time),
        ('%', 'h') => Some(Part::Headers),
        _ => None,
    }
}

impl Layout {
    pub(crate) fn new(format: Format, form: Option<ValueForm>) -> Self {
        let default = match format {
            Format::Json => ValueForm::Base64,
            Format::Text | Format::Line(_) => ValueForm::Text,
        };
        Self {
            format,
            form: form.unwrap_or(default),
        }
    }

    /// Appends a record, with the line feed that ends it.
    pub(super) fn write(&self, record: &Shown<'_>, out: &mut Vec<u8>) -> Result<(), CliError> {
        match &self.format {
            Format::Text => self.write_bytes(record.value, out),
            Format::Line(parts) => {
                for part in parts {
                    self.write_part(part, record, out);
                }
            }
            Format::Json => {
                let line = serde_json::to_string(&self.json(record));
                let line = line.map_err(CliError::from_error)?;
                out.extend(harmless(&line).as_bytes());
            }
        }
        out.push(b'\n');
        Ok(())
    }

    fn write_part(&self, part: &Part, record: &Shown<'_>, out: &mut Vec<u8>) {
        match part {
            Part::Literal(text) => out.extend(text.as_bytes()),
            Part::Key => self.write_bytes(record.key, out),
            Part::Value => self.write_bytes(record.value, out),
            Part::Topic => out.extend(record.topic.as_bytes()),
            Part::Partition => out.extend(record.partition.to_string().as_bytes()),
            Part::Offset => out.extend(record.offset.to_string().as_bytes()),
            Part::Time => out.extend(record.timestamp.map(time).unwrap_or_default().as_bytes()),
            Part::Headers => {
                for (number, header) in record.headers.iter().enumerate() {
                    if number > 0 {
                        out.push(b',');
                    }
                    out.extend(header.name.as_bytes());
                    out.push(b'=');
                    self.write_bytes(header.value.as_deref(), out);
                }
            }
        }
    }

    /// Appends bytes in the form that is chosen for values. Appends nothing for `None`.
    fn write_bytes(&self, bytes: Option<&[u8]>, out: &mut Vec<u8>) {
        let bytes = bytes.unwrap_or_default();
        match self.form {
            ValueForm::Text | ValueForm::Json => out.extend(bytes),
            ValueForm::Base64 => out.extend(BASE64.encode(bytes).as_bytes()),
        }
    }

    fn json<'a>(&self, record: &Shown<'a>) -> Line<'a> {
        // Keys are shown as text even if values are JSON: a key such as 17 is a text.
        let of_key = match self.form {
            ValueForm::Json => ValueForm::Text,
            form => form,
        };
        let (key, key_base64) = shown(record.key, of_key);
        let (value, value_base64) = shown(record.value, self.form);
        let header = |header: &'a Header| HeaderLine {
            name: &header.name,
            value: header.value.as_deref().map(|bytes| BASE64.encode(bytes)),
        };
        Line {
            topic: record.topic,
            partition: record.partition,
            offset: record.offset,
            timestamp: record.timestamp.map(time),
            key,
            key_base64,
            value,
            value_base64,
            headers: record.headers.iter().map(header).collect(),
            outcome: record.outcome,
        }
    }
}

/// A line of JSON. A key or value that does not have the requested form is in the field `key_base64` or `value_base64`.
#[derive(Debug, Serialize)]
struct Line<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: Option<String>,
    #[serde(skip_serializing_if = "Field::is_elsewhere")]
    key: Field,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "Field::is_elsewhere")]
    value: Field,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    headers: Vec<HeaderLine<'a>>,
    outcome: &'static str,
}

#[derive(Debug, Serialize)]
struct HeaderLine<'a> {
    name: &'a str,
    value: Option<String>,
}

/// A key or a value in a line of JSON.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Field {
    Null,
    Text(String),
    /// JSON as it was sent, except that line breaks are replaced by spaces.
    Json(Box<RawValue>),
    /// The bytes are in the field `key_base64` or `value_base64`.
    Elsewhere,
}

impl Field {
    fn is_elsewhere(&self) -> bool {
        matches!(self, Self::Elsewhere)
    }
}

/// Returns a field with the bytes in `form`. If the bytes do not have this form, returns [`Field::Elsewhere`] and the
/// bytes in base64.
fn shown(bytes: Option<&[u8]>, form: ValueForm) -> (Field, Option<String>) {
    let Some(bytes) = bytes else {
        return (Field::Null, None);
    };
    let text = std::str::from_utf8(bytes).ok();
    let field = match form {
        ValueForm::Base64 => Some(Field::Text(BASE64.encode(bytes))),
        ValueForm::Text => text.map(|text| Field::Text(text.to_owned())),
        // In valid JSON, line breaks are only between tokens, where a space has the same meaning. The JSON text `null` is
        // not the null of Kafka, which deletes a key of a compacted topic.
        ValueForm::Json => text
            .filter(|text| text.trim() != "null")
            .and_then(|text| RawValue::from_string(text.replace(['\n', '\r'], " ")).ok())
            .map(Field::Json),
    };
    match field {
        Some(field) => (field, None),
        None => (Field::Elsewhere, Some(BASE64.encode(bytes))),
    }
}

/// Returns a timestamp of Kafka as ISO 8601. Kafka counts milliseconds since the epoch.
fn time(milliseconds: i64) -> String {
    let Ok(since_epoch) = u64::try_from(milliseconds) else {
        return Timestamp::EPOCH.to_string();
    };
    let seconds = Timestamp::from_unix(Duration::from_secs(since_epoch / 1000)).to_string();
    match seconds.strip_suffix('Z') {
        Some(seconds) => format!("{seconds}.{:03}Z", since_epoch % 1000),
        None => seconds,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn line(format: &str, form: Option<ValueForm>, key: Option<&[u8]>, value: &[u8]) -> String {
        let headers = [("a", Some(&b"1"[..])), ("b", None)].map(|(name, value)| Header {
            name: name.into(),
            value: value.map(<[u8]>::to_vec),
        });
        let record = Shown {
            topic: "t",
            partition: 2,
            offset: 7,
            timestamp: Some(1_764_088_042_007),
            key,
            value: Some(value),
            headers: &headers,
            outcome: "plaintext",
        };
        let mut out = Vec::new();
        let layout = Layout::new(format.parse().unwrap(), form);
        layout.write(&record, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_has_the_parts_that_it_names() {
        let all = r"%t[%p]@%o %T\t%k:%v 100%% %h";
        let expected = "t[2]@7 2025-11-25T16:27:22.007Z\tk:v 100% a=1,b=\n";
        assert_eq!(line(all, None, Some(b"k"), b"v"), expected);
        let base64 = Some(ValueForm::Base64);
        assert_eq!(line("%k %v", base64, None, b"v"), " dg==\n");
        assert_eq!(line("text", base64, None, b"v"), "dg==\n");
    }

    #[test]
    fn a_line_without_parts_or_with_unknown_ones_is_refused() {
        for wrong in ["xml", "", "%x", "%", r"%k \x"] {
            assert!(wrong.parse::<Format>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn values_are_shown_in_the_form_that_they_have() {
        let shown = |form, value: &[u8]| {
            let line = line("json", form, Some(b"k"), value);
            let line: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(line["timestamp"], "2025-11-25T16:27:22.007Z");
            assert_eq!(line["headers"][0], json!({"name": "a", "value": "MQ=="}));
            let of = |name| line.get(name).cloned();
            (of("key"), of("value"), of("value_base64"))
        };
        let some = |value: Value| Some(value);
        let (text, parsed) = (Some(ValueForm::Text), Some(ValueForm::Json));
        let object = b"{\"a\":\n[1]}";
        let expected = (some("aw==".into()), some("eyJhIjoKWzFdfQ==".into()), None);
        assert_eq!(shown(None, object), expected);
        let expected = (some("k".into()), some("{\"a\":\n[1]}".into()), None);
        assert_eq!(shown(text, object), expected);
        let expected = (some("k".into()), some(json!({"a": [1]})), None);
        assert_eq!(shown(parsed, object), expected);
        let expected = (some("k".into()), None, some("/w==".into()));
        assert_eq!(shown(text, b"\xff"), expected);
        assert_eq!(shown(parsed, b"\xff"), expected);
        let long = "123456789012345678901234567890.0";
        assert!(line("json", parsed, None, long.as_bytes()).contains(long));
    }
}
