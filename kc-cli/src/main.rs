//! The program `kc`: end-to-end encrypted Kafka from the command line.
//!
//! | folder | what it holds |
//! |---|---|
//! | `cli`, `args` | what can be said on the command line |
//! | `commands` | one file or folder for each command |
//! | `error` | every failure as an exit code, a message and advice |
//! | `session`, `watch`, `status` | a node while a command has it open, and what it tells |
//! | `stored`, `certificate` | a node while nobody has it open, and what certificates say |
//! | `until`, `stop` | waits that end at a deadline or a signal |
//! | `pin`, `topic`, `publish`, `confirm`, `date`, `ui`, `logging` | what several commands share |

mod args;
mod certificate;
mod cli;
mod commands;
mod confirm;
mod date;
mod error;
mod logging;
mod pin;
mod publish;
mod session;
mod status;
mod stop;
mod stored;
#[cfg(feature = "hsm")]
mod token_signer;
mod topic;
mod ui;
mod until;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::error::CliError;
use crate::stop::Stop;
use crate::ui::Ui;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ui = Ui::new(cli.quiet);
    // The demonstration tells on its screen what the logs would.
    let told = matches!(cli.command, Command::Demo(_)) && cli.verbose == 0;
    logging::start(cli.verbose, cli.quiet || told);
    match run(cli, ui) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui.error(&error);
            error.exit().into()
        }
    }
}

fn run(cli: Cli, ui: Ui) -> Result<(), CliError> {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| CliError::failure(format!("cannot start: {error}")))?;
    let result = runtime.block_on(async {
        let stop = Stop::on_signals()?;
        commands::run(cli.command, ui, stop).await
    });
    // A read from a terminal or a write to a full pipe may never end.
    runtime.shutdown_background();
    result
}
