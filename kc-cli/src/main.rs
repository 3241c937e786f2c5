//! The program `kc`: end-to-end encrypted Kafka from the command line.
//!
//! | folder | what it holds |
//! |---|---|
//! | `cli`, `args` | what can be said on the command line |
//! | `commands` | one file or folder for each command |
//! | `error` | every failure as an exit code, a message and advice |
//! | `session`, `watch`, `status` | a node while a command has it open, and what it reports |
//! | `stored`, `neighbours`, `certificate` | nodes as their files are, and what certificates say |
//! | `stop` | waits that end at a deadline or a signal |
//! | `ui`, `logging` | what is printed on a terminal or written to stderr |
//! | `pin`, `topic`, `publish` | what several commands share |

mod args;
mod certificate;
mod cli;
mod commands;
mod error;
mod logging;
mod neighbours;
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
mod watch;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::error::CliError;
use crate::stop::Stop;
use crate::ui::Ui;

fn main() -> ExitCode {
    let dumps_off = disable_core_dumps();
    let cli = Cli::parse();
    let ui = Ui::new(cli.quiet, cli.log_format);
    // The demonstration shows on its screen what the logs would say.
    let shown = matches!(cli.command, Command::Demo(_)) && cli.verbose == 0;
    logging::start(cli.verbose, cli.quiet || shown, cli.log_format);
    if let Err(error) = dumps_off {
        tracing::warn!(%error, "core dumps cannot be disabled: after a crash keys may be on the disk");
    }
    match run(cli, ui) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui.error(&error);
            error.exit().into()
        }
    }
}

/// Keeps keys and passwords in memory: a crash writes none of it to a disk, and on Linux no other process of the
/// same user reads it.
fn disable_core_dumps() -> Result<(), rustix::io::Errno> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    // A handler of dumps that the system pipes them to is not held by the limit.
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Runs the command on a thread of its own, so that a token that does not answer does not keep the program.
#[cfg(feature = "hsm")]
async fn perform(cli: Cli, ui: Ui, stop: Stop) -> Result<(), CliError> {
    let patience = kc::keystore_hsm::Patience::default();
    let (ending, mut stopping) = (patience.clone(), stop.clone());
    tokio::spawn(async move {
        stopping.requested().await;
        ending.end();
    });
    let runtime = tokio::runtime::Handle::current();
    patience.run(move || runtime.block_on(commands::run(cli.command, ui, stop)))?
}

#[cfg(not(feature = "hsm"))]
async fn perform(cli: Cli, ui: Ui, stop: Stop) -> Result<(), CliError> {
    commands::run(cli.command, ui, stop).await
}

fn run(cli: Cli, ui: Ui) -> Result<(), CliError> {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| CliError::failure(format!("cannot start: {error}")))?;
    let result = runtime.block_on(async {
        let stop = Stop::on_signals()?;
        perform(cli, ui, stop).await
    });
    // A read from a terminal or a write to a full pipe may never end.
    runtime.shutdown_background();
    result
}
