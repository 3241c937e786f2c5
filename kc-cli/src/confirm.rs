//! Asking before what cannot be undone.

use std::io::{self, IsTerminal, Write};

use crate::error::{CliError, io_failed};

/// Goes on if `--yes` was given, or if a person types `yes`. Without a terminal the answer is no.
pub(crate) fn confirm(consequence: &str, yes: bool) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(CliError::usage(format!("not confirmed: {consequence}"))
            .advise("--yes confirms; without a terminal nobody can be asked"));
    }
    let failed = |error: io::Error| io_failed("ask at", "the terminal", &error);
    let mut answer = String::new();
    let mut err = io::stderr().lock();
    write!(err, "{consequence}. Type yes to go on: ").map_err(failed)?;
    err.flush().map_err(failed)?;
    io::stdin().read_line(&mut answer).map_err(failed)?;
    match answer.trim() {
        "yes" => Ok(()),
        _ => Err(CliError::failure("not confirmed: nothing was done")),
    }
}
