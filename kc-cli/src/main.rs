//! The program `kc`: end-to-end encrypted Kafka from the command line.
//!
//! | module | content |
//! |---|---|
//! | `cli`, `args` | the arguments of the command line |
//! | `commands` | one file or folder for each command |
//! | `error` | failures: exit code, message and advice |
//! | `session`, `watch`, `status` | a node that a command has open, and its reports |
//! | `stored`, `neighbours`, `certificate` | nodes as their files describe them, and the content of certificates |
//! | `stop` | waits that end at a deadline or a signal |
//! | `ui`, `logging` | output on stdout and stderr |
//! | `pin`, `topic`, `publish` | functions that several commands share |

mod args;
mod certificate;
mod cli;
mod commands;
mod error;
mod kafka_config;
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
    // The demonstration reports its events itself, so the logs would only repeat these reports.
    let is_demo = matches!(
        cli.command,
        Command::Demo(_) | Command::Fields(commands::fields::Command::Demo(_))
    );
    let shown = is_demo && cli.verbose == 0;
    logging::start(cli.verbose, cli.quiet || shown, cli.log_format);
    if let Err(error) = dumps_off {
        tracing::warn!(%error, "core dumps cannot be disabled; a crash may write keys to the disk");
    }
    match run(cli, ui) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui.error(&error);
            error.exit().into()
        }
    }
}

/// Disables core dumps, so that a crash writes no keys and no passwords to a disk. On Linux, this also keeps other
/// processes of the same user from reading the memory of this process.
fn disable_core_dumps() -> Result<(), rustix::io::Errno> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    // The limit does not apply if the system pipes core dumps to a program.
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Runs the command on a thread of its own, so that the program can end even if a token does not answer.
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
        .map_err(|error| CliError::failure(format!("cannot start the runtime: {error}")))?;
    let result = runtime.block_on(async {
        let stop = Stop::on_signals()?;
        perform(cli, ui, stop).await
    });
    // The program does not wait for blocked threads, because a read from a terminal or a write to a full pipe may
    // never end.
    runtime.shutdown_background();
    result
}
