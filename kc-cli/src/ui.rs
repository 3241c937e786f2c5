//! What people see: results on stdout, everything else on stderr.

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
        let written = writeln!(out, "{}", line.as_ref()).and_then(|()| out.flush());
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
        let _ = writeln!(io::stderr().lock(), "{}", line.as_ref());
    }

    /// An error, and what to do about it.
    pub(crate) fn error(self, error: &CliError) {
        let label = |text: &str, colour: &str| {
            if self.colours {
                format!("{colour}{text}{PLAIN}")
            } else {
                text.to_owned()
            }
        };
        self.say(format!("{} {error}", label("kc: error:", RED)));
        if let Some(advice) = error.advice() {
            self.say(format!("{} {advice}", label("advice:", CYAN)));
        }
    }
}
