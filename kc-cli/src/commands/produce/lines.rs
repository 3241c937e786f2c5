//! The lines of the input, and the records that they describe.

use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use kc::Header;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::args::ValueForm;
use crate::error::{CliError, io_failed};

/// The maximum number of lines that are read ahead.
const READ_AHEAD: usize = 256;
/// The maximum length of a line without its line feed, in bytes. By default, brokers accept only records that are far
/// smaller.
const MAX_LINE_BYTES: u64 = 16 << 20;

/// The form of the lines.
#[derive(Clone, Debug)]
pub(super) enum Form {
    /// A line is a value, or a key and a value.
    Text {
        /// The text between key and value; without it, records have no keys.
        separator: Option<Vec<u8>>,
        /// The text that stands for a null key or a null value.
        null_marker: Option<Vec<u8>>,
    },
    /// A line is a JSON object, as `kc consume --json` prints it, with values in this form.
    Json(ValueForm),
}

/// A line of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The number of the line, from 1.
    pub(super) number: u64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<Header>,
}

impl Line {
    /// Returns the length of the key, the value and a line feed, in bytes. The separator is not counted.
    pub(super) fn len(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        length(&self.key) + length(&self.value) + 1
    }
}

/// The lines of a file or of stdin. A thread of its own reads them, because a read from a terminal cannot be
/// interrupted.
#[derive(Debug)]
pub(super) struct Lines {
    lines: mpsc::Receiver<Result<(Line, u64), CliError>>,
    /// The number of bytes of a file that `next` has not returned; `None` for other input.
    left: Option<u64>,
}

impl Lines {
    pub(super) fn open(file: Option<&Path>, form: Form) -> Result<Self, CliError> {
        let mut left = None;
        let (name, input): (String, Box<dyn Read + Send>) = match file {
            Some(path) if path != Path::new("-") => {
                let name = path.display().to_string();
                let file = File::open(path).map_err(|error| io_failed("open", &name, &error))?;
                let metadata = file.metadata().ok().filter(Metadata::is_file);
                left = metadata.map(|metadata| metadata.len());
                (name, Box::new(file))
            }
            _ => ("stdin".to_owned(), Box::new(io::stdin())),
        };
        let (send, lines) = mpsc::channel(READ_AHEAD);
        let reading = move || {
            let mut input = BufReader::new(input);
            for number in 1_u64.. {
                let line = match read(&mut input) {
                    Ok(None) => return,
                    Ok(Some((line, bytes))) => form
                        .parse(number, line)
                        .map(|line| (line, bytes))
                        .map_err(|problem| malformed(number, &name, &problem)),
                    Err(error) => Err(io_failed(
                        "read",
                        format!("line {number} of {name}"),
                        &error,
                    )),
                };
                let last = line.is_err();
                if send.blocking_send(line).is_err() || last {
                    return;
                }
            }
        };
        let thread = thread::Builder::new()
            .name("kc-lines".into())
            .spawn(reading);
        thread.map_err(|error| CliError::failure(format!("cannot start a thread: {error}")))?;
        Ok(Self { lines, left })
    }

    pub(super) async fn next(&mut self) -> Option<Result<Line, CliError>> {
        let line = self.lines.recv().await?;
        Some(line.map(|(line, bytes)| {
            self.left = self.left.map(|left| left.saturating_sub(bytes));
            line
        }))
    }

    /// Returns the number of bytes of the file that [`next`](Self::next) has not returned; `None` if the input is not a
    /// file, or if no bytes are left.
    pub(super) fn left(&self) -> Option<u64> {
        self.left.filter(|left| *left > 0)
    }
}

fn malformed(number: u64, name: &str, problem: &str) -> CliError {
    CliError::failure(format!("line {number} of {name}: {problem}")).advise(
        "the lines before it were sent. A line must be a JSON object as `kc consume --json` prints it: key, value and \
         headers are used, and --value gives the form of keys and values",
    )
}

/// Returns the next line without its line feed, and its number of bytes including the line feed. The last line is
/// returned even if it has no line feed.
fn read(input: &mut impl BufRead) -> io::Result<Option<(Vec<u8>, u64)>> {
    let mut line = Vec::new();
    let mut limited = input.take(MAX_LINE_BYTES + 1);
    let bytes = limited.read_until(b'\n', &mut line)?;
    if bytes == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if limited.limit() == 0 {
        let limit = format!("the line is longer than {MAX_LINE_BYTES} bytes");
        return Err(io::Error::other(limit));
    }
    Ok(Some((line, bytes as u64)))
}

impl Form {
    fn parse(&self, number: u64, line: Vec<u8>) -> Result<Line, String> {
        match self {
            Self::Text {
                separator,
                null_marker,
            } => {
                let (key, value) = split(line, separator.as_deref());
                let unless_null = |bytes: &Vec<u8>| Some(bytes) != null_marker.as_ref();
                Ok(Line {
                    number,
                    key: key.filter(unless_null),
                    value: Some(value).filter(unless_null),
                    headers: Vec::new(),
                })
            }
            Self::Json(form) => {
                let parsed: JsonLine<'_> =
                    serde_json::from_slice(&line).map_err(|error| error.to_string())?;
                parsed.line(number, *form)
            }
        }
    }
}

/// Splits a line at the first separator into key and value. Without a separator, the whole line is the value.
fn split(mut line: Vec<u8>, separator: Option<&[u8]>) -> (Option<Vec<u8>>, Vec<u8>) {
    let place = separator.and_then(|separator| {
        let mut windows = line.windows(separator.len());
        let place = windows.position(|window| window == separator)?;
        Some((place, separator.len()))
    });
    let Some((place, length)) = place else {
        return (None, line);
    };
    let value = line.split_off(place + length);
    line.truncate(place);
    (Some(line), value)
}

/// A line of JSON. The other fields that `kc consume --json` prints describe the place of the record that was read, and
/// are ignored.
#[derive(Deserialize)]
struct JsonLine<'a> {
    #[serde(default, borrow)]
    key: Option<&'a RawValue>,
    key_base64: Option<String>,
    #[serde(default, borrow)]
    value: Option<&'a RawValue>,
    value_base64: Option<String>,
    #[serde(default)]
    headers: Vec<JsonHeader>,
}

#[derive(Deserialize)]
struct JsonHeader {
    name: String,
    value: Option<String>,
}

impl JsonLine<'_> {
    fn line(self, number: u64, form: ValueForm) -> Result<Line, String> {
        let of_key = match form {
            ValueForm::Json => ValueForm::Text,
            form => form,
        };
        let headers = self.headers.into_iter().map(|header| {
            let value = header.value.as_deref().map(decoded);
            let value = value.transpose().map_err(|it| format!("headers: {it}"))?;
            Ok(Header {
                name: header.name,
                value,
            })
        });
        Ok(Line {
            number,
            key: bytes("key", (self.key, self.key_base64), of_key)?,
            value: bytes("value", (self.value, self.value_base64), form)?,
            headers: headers.collect::<Result<_, String>>()?,
        })
    }
}

/// Returns the bytes of a key or a value. `field` contains the field `name`, which has the form `form`, and the field
/// `<name>_base64`, which has priority. Returns `None` if both are absent or null.
fn bytes(
    name: &str,
    field: (Option<&RawValue>, Option<String>),
    form: ValueForm,
) -> Result<Option<Vec<u8>>, String> {
    let wrong = |problem: String| format!("{name}: {problem}");
    let (field, base64) = field;
    if let Some(base64) = base64 {
        return decoded(&base64).map(Some).map_err(wrong);
    }
    let Some(field) = field.filter(|field| field.get() != "null") else {
        return Ok(None);
    };
    if form == ValueForm::Json {
        return Ok(Some(field.get().as_bytes().to_vec()));
    }
    let text: String =
        serde_json::from_str(field.get()).map_err(|error| wrong(error.to_string()))?;
    let bytes = match form {
        ValueForm::Base64 => decoded(&text).map_err(wrong)?,
        ValueForm::Text | ValueForm::Json => text.into_bytes(),
    };
    Ok(Some(bytes))
}

fn decoded(text: &str) -> Result<Vec<u8>, String> {
    BASE64
        .decode(text)
        .map_err(|error| format!("not base64: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut input: &[u8]) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| Some(read(&mut input).unwrap()?.0)).collect()
    }

    #[test]
    fn lines_keep_their_bytes_but_the_line_feed() {
        assert_eq!(all(b"a\r\n\n\xff\0"), [&b"a\r"[..], b"", b"\xff\0"]);
        assert_eq!(all(b"a\n"), [b"a"]);
        assert_eq!(all(b"\n"), [b""]);
        assert!(all(b"").is_empty());
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut endless = BufReader::new(io::repeat(b'x'));
        assert!(read(&mut endless).is_err());
    }

    #[test]
    fn the_first_separator_splits() {
        let line = |text: &str, separator: Option<&str>| {
            let (key, value) = split(text.into(), separator.map(str::as_bytes));
            let text = |bytes| String::from_utf8(bytes).unwrap();
            (key.map(text), text(value))
        };
        assert_eq!(
            line("k::v::w", Some("::")),
            (Some("k".into()), "v::w".into())
        );
        assert_eq!(line("::v", Some("::")), (Some(String::new()), "v".into()));
        assert_eq!(line("k::", Some("::")), (Some("k".into()), String::new()));
        assert_eq!(line("no key", Some("::")), (None, "no key".into()));
        assert_eq!(line("k::v", None), (None, "k::v".into()));
    }

    #[test]
    fn a_marker_stands_for_null() {
        let form = Form::Text {
            separator: Some(b"\t".to_vec()),
            null_marker: Some(b"NULL".to_vec()),
        };
        for (text, key, value) in [
            ("a\tNULL", Some("a"), None),
            ("NULL\tb", None, Some("b")),
            ("NULL", None, None),
            ("a\tNULL ", Some("a"), Some("NULL ")),
            ("a\t", Some("a"), Some("")),
        ] {
            let line = form.parse(1, text.into()).unwrap();
            assert_eq!(line.key.as_deref(), key.map(str::as_bytes), "{text}");
            assert_eq!(line.value.as_deref(), value.map(str::as_bytes), "{text}");
        }
    }

    #[test]
    fn json_is_read_in_each_form() {
        let parse = |form, text: &str| Form::Json(form).parse(1, text.into());
        let read = |form, text| {
            let line = parse(form, text).unwrap();
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            (line.key.map(text), line.value.map(text))
        };
        let some = |text: &str| Some(text.to_owned());
        let base64 = r#"{"topic":"t","partition":3,"offset":7,"key":"aw==","value":"dg=="}"#;
        assert_eq!(read(ValueForm::Base64, base64), (some("k"), some("v")));
        let text = r#"{"key":"k","value":"a\nb"}"#;
        assert_eq!(read(ValueForm::Text, text), (some("k"), some("a\nb")));
        let json = r#"{"key":"k","value":{"n": 1.50}}"#;
        assert_eq!(
            read(ValueForm::Json, json),
            (some("k"), some(r#"{"n": 1.50}"#))
        );
        let elsewhere = r#"{"key":null,"value_base64":"dg=="}"#;
        assert_eq!(read(ValueForm::Json, elsewhere), (None, some("v")));
        assert_eq!(read(ValueForm::Text, "{}"), (None, None));
        let headers = r#"{"headers":[{"name":"a","value":"MQ=="},{"name":"b","value":null}]}"#;
        let headers = parse(ValueForm::Text, headers).unwrap().headers;
        assert_eq!(headers[0].value.as_deref(), Some(&b"1"[..]));
        assert_eq!(headers[1].value, None);
        for wrong in ["", "[]", "text", r#"{"value":"%"}"#, r#"{"key":1}"#] {
            assert!(parse(ValueForm::Base64, wrong).is_err(), "{wrong}");
        }
    }
}
