//! What people see: results on stdout, everything else on stderr.

use std::borrow::Cow;
use std::env;
use std::io::{self, IsTerminal, Write};

use crate::error::CliError;

const RED: &str = "\x1b[1;31m";
const CYAN: &str = "\x1b[36m";
const PLAIN: &str = "\x1b[0m";

#[derive(Clone, Copy, Debug)]
pub(crate) struct Ui {
    quiet: bool,
    colours: bool,
}

/// Whether stderr shows colours.
pub(crate) fn colours() -> bool {
    let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !unwanted
}

impl Ui {
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            quiet,
            colours: colours(),
        }
    }

    /// A line of the result.
    pub(crate) fn result(self, line: impl AsRef<str>) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        let written = writeln!(out, "{}", harmless(line.as_ref())).and_then(|()| out.flush());
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CliError::failure(
                format!("cannot write to stdout: {error}"),
            )),
            // Who stopped reading has what they wanted.
            _ => Ok(()),
        }
    }

    /// Progress, for people; not said if they want it quiet.
    pub(crate) fn note(self, line: impl AsRef<str>) {
        if !self.quiet {
            self.say(line);
        }
    }

    /// What is always said on stderr, because scripts may look for it.
    pub(crate) fn say(self, line: impl AsRef<str>) {
        // Nobody can be told that stderr is closed.
        let _ = writeln!(io::stderr().lock(), "{}", harmless(line.as_ref()));
    }

    /// An error, and what to do about it.
    pub(crate) fn error(self, error: &CliError) {
        self.labelled("kc: error:", RED, &error.to_string());
        if let Some(advice) = error.advice() {
            self.labelled("advice:", CYAN, advice);
        }
    }

    fn labelled(self, label: &str, colour: &str, text: &str) {
        let text = harmless(text);
        // Nobody can be told that stderr is closed.
        let _ = if self.colours {
            writeln!(io::stderr().lock(), "{colour}{label}{PLAIN} {text}")
        } else {
            writeln!(io::stderr().lock(), "{label} {text}")
        };
    }
}

/// The text with what a terminal obeys spelled out as JSON does (`\u001b`), because text may come from brokers and from
/// other nodes. Line ends and tabs stay.
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

/// Control characters, and those that change the direction of text.
fn is_obeyed(letter: char) -> bool {
    let is_direction = matches!(
        letter,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    is_direction || (letter.is_control() && !matches!(letter, '\n' | '\t'))
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
