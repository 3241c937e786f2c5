//! Writes results to stdout and everything else to stderr, and asks questions at a terminal.

use std::borrow::Cow;
use std::env;
use std::io::{self, IsTerminal, Write};

use kc::Clock;
use kc::core::types::Timestamp;
use serde_json::{Value, json};

use crate::error::{CliError, io_failed};
use crate::logging::LogFormat;
use crate::logging::beside;

const RED: &str = "\x1b[1;31m";
const CYAN: &str = "\x1b[36m";
const PLAIN: &str = "\x1b[0m";

#[derive(Clone, Copy, Debug)]
pub(crate) struct Ui {
    quiet: bool,
    colours: bool,
    format: LogFormat,
}

/// Returns whether stderr shows colours.
pub(crate) fn colours() -> bool {
    let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !unwanted
}

impl Ui {
    pub(crate) fn new(quiet: bool, format: LogFormat) -> Self {
        Self {
            quiet,
            colours: colours(),
            format,
        }
    }

    /// Returns whether stderr is a terminal whose user wants to see progress.
    pub(crate) fn shows_progress(self) -> bool {
        !self.quiet && self.format == LogFormat::Text && io::stderr().is_terminal()
    }

    /// Writes a line of the result to stdout.
    pub(crate) fn result(self, line: impl AsRef<str>) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        let written = writeln!(out, "{}", harmless(line.as_ref())).and_then(|()| out.flush());
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CliError::failure(
                format!("cannot write to stdout: {error}"),
            )),
            // A closed pipe is not a failure: its reader has read as much as it needs.
            _ => Ok(()),
        }
    }

    /// Writes a note for people to stderr; `-q` suppresses it.
    pub(crate) fn note(self, line: impl AsRef<str>) {
        if !self.quiet {
            self.say(line);
        }
    }

    /// Writes a line to stderr, also with `-q`, because scripts may look for it.
    pub(crate) fn say(self, line: impl AsRef<str>) {
        let line = line.as_ref();
        match self.format {
            LogFormat::Text => write(&harmless(line)),
            LogFormat::Json => write_json("INFO", json!({ "message": line })),
        }
    }

    /// Writes an error and its advice to stderr.
    pub(crate) fn error(self, error: &CliError) {
        if self.format == LogFormat::Json {
            let fields = json!({ "message": error.to_string(), "advice": error.advice() });
            return write_json("ERROR", fields);
        }
        self.labelled("kc: error:", RED, &error.to_string());
        if let Some(advice) = error.advice() {
            self.labelled("advice:", CYAN, advice);
        }
    }

    fn labelled(self, label: &str, colour: &str, text: &str) {
        let text = harmless(text);
        if self.colours {
            write(&format!("{colour}{label}{PLAIN} {text}"));
        } else {
            write(&format!("{label} {text}"));
        }
    }
}

/// Writes a line to stderr. Ignores an error, because there is no other stream to report the error on.
fn write(line: &str) {
    let _ = beside(|| writeln!(io::stderr().lock(), "{line}"));
}

/// Writes a line of JSON in the form of the logs.
fn write_json(level: &str, fields: Value) {
    let timestamp = Clock::system().now().to_string();
    let line = json!({
        "timestamp": timestamp,
        "level": level,
        "fields": fields,
        "target": "kc",
    });
    write(&harmless(&line.to_string()));
}

/// Returns the text with the characters that a terminal obeys spelled out as in JSON (`\u001b`), because the text may
/// come from brokers or other nodes. Line feeds and tabs stay.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut spelled = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_obeyed(letter) {
            spelled.push_str(&format!("\\u{:04x}", u32::from(letter)));
        } else {
            spelled.push(letter);
        }
    }
    Cow::Owned(spelled)
}

/// Returns whether a terminal obeys a character: a control character other than a line feed or tab, or a character that
/// changes the direction of text.
fn is_obeyed(letter: char) -> bool {
    let is_direction = matches!(
        letter,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    is_direction || (letter.is_control() && !matches!(letter, '\n' | '\t'))
}

/// Asks a person to type `yes`, unless `--yes` was given.
///
/// # Errors
/// [`CliError`] if the person types something else, or if stdin is not a terminal.
pub(crate) fn confirm(consequence: &str, yes: bool) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(CliError::usage(format!(
            "nothing was done, because the command needs a confirmation: {consequence}"
        ))
        .advise("kc cannot ask, because stdin is not a terminal: give --yes to confirm"));
    }
    let failed = |error: io::Error| io_failed("ask for confirmation at", "the terminal", &error);
    let mut answer = String::new();
    let mut err = io::stderr().lock();
    write!(err, "{consequence}. Type yes to continue: ").map_err(failed)?;
    err.flush().map_err(failed)?;
    io::stdin().read_line(&mut answer).map_err(failed)?;
    match answer.trim() {
        "yes" => Ok(()),
        _ => Err(CliError::failure("not confirmed: nothing was done")),
    }
}

/// Returns the text "until TIME", or "without end" if there is no end.
pub(crate) fn until(end: Option<Timestamp>) -> String {
    end.map_or_else(|| "without end".to_owned(), |end| format!("until {end}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_spelled_out() {
        let title = "topic \u{1b}]0;owned\u{7} of \u{9b}31m\u{202e}gnp.exe\r";
        let spelled = r"topic \u001b]0;owned\u0007 of \u009b31m\u202egnp.exe\u000d";
        assert_eq!(harmless(title), spelled);
        let json = serde_json::to_string(title).unwrap();
        assert_eq!(
            serde_json::from_str::<String>(&harmless(&json)).unwrap(),
            title
        );
    }

    #[test]
    fn other_text_stays_as_it_is() {
        let text = "größer\n\t漢字 🙂";
        assert!(matches!(harmless(text), Cow::Borrowed(same) if same == text));
    }
}
