//! The lines of the input.

use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::thread;

use tokio::sync::mpsc;

use crate::error::{CliError, io_failed};

/// The maximum number of lines that are read ahead.
const READ_AHEAD: usize = 256;
/// The maximum length of a line without its line feed, in bytes. By default, brokers accept only records that are far
/// smaller.
const MAX_LINE_BYTES: u64 = 16 << 20;

/// A line of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Vec<u8>,
}

impl Line {
    /// Returns the length of the key, the value and a line feed, in bytes. The separator is not counted.
    pub(super) fn len(&self) -> usize {
        self.key.as_ref().map_or(0, Vec::len) + self.value.len() + 1
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
    pub(super) fn open(file: Option<&Path>, separator: Option<Vec<u8>>) -> Result<Self, CliError> {
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
                    Ok(Some((line, bytes))) => Ok((split(line, separator.as_deref()), bytes)),
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

/// Splits a line at the first separator into key and value. Without a separator, the whole line is the value.
fn split(mut line: Vec<u8>, separator: Option<&[u8]>) -> Line {
    let found = separator.and_then(|separator| {
        let mut windows = line.windows(separator.len());
        Some((
            windows.position(|window| window == separator)?,
            separator.len(),
        ))
    });
    match found {
        Some((place, length)) => {
            let value = line.split_off(place + length);
            line.truncate(place);
            Line {
                key: Some(line),
                value,
            }
        }
        None => Line {
            key: None,
            value: line,
        },
    }
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
            let line = split(text.into(), separator.map(str::as_bytes));
            let text = |bytes| String::from_utf8(bytes).unwrap();
            (line.key.map(text), text(line.value))
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
}
