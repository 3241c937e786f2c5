//! `kc fields`: encrypt what matters in a record.

mod check;
mod demo;
mod filter;
mod transform;

use std::path::PathBuf;

use clap::Subcommand;
use kc_fields::{FieldError, SetupError, create_key};

use crate::error::{CliError, Exit};
use crate::stop::Stop;
use crate::ui::Ui;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(after_help = "Examples:
  kc fields check rules.toml
  kc fields check rules.toml sample.json")]
    Check(check::Args),
    /// Encrypt the fields of JSON lines, from stdin to stdout
    #[command(after_help = "Examples:
  cat purchases.json | kc fields encrypt --rules rules.toml > encrypted.json
  cat purchases.json | kc fields encrypt --rules rules.toml --node alice --exit-after 30s > encrypted.json")]
    Encrypt(filter::Args),
    /// Decrypt the fields of JSON lines, from stdin to stdout
    #[command(after_help = "Example:
  cat encrypted.json | kc fields decrypt --rules rules.toml --node bob")]
    Decrypt(filter::Args),
    /// Move the tokens in JSON lines to the newest version of their key, from stdin to stdout
    #[command(
        after_help = "Example:\n  cat old.json | kc fields rewrap --rules rules.toml > new.json"
    )]
    Rewrap(filter::Args),
    #[command(after_help = "Examples:
  kc fields transform --from purchases --to purchases_encrypted --rules rules.toml --node alice --from-beginning
  kc fields transform --from purchases_encrypted --to readable --decrypt --rules rules.toml --node bob")]
    Transform(Box<transform::Args>),
    /// Make a key file: 32 random bytes that only its owner may read
    #[command(after_help = "Example:\n  kc fields key key.bin")]
    Key(KeyArgs),
    #[command(after_help = "Example:\n  kc fields demo --records 10000")]
    Demo(demo::Args),
}

#[derive(Debug, clap::Args)]
pub(crate) struct KeyArgs {
    /// The new file
    file: PathBuf,
}

pub(crate) async fn run(command: Command, ui: Ui, stop: Stop) -> Result<(), CliError> {
    match command {
        Command::Check(args) => check::run(args, ui).await,
        Command::Encrypt(args) => filter::encrypt(args, ui, stop).await,
        Command::Decrypt(args) => filter::decrypt(args, ui, stop).await,
        Command::Rewrap(args) => filter::rewrap(args, ui, stop).await,
        Command::Transform(args) => transform::run(*args, ui, stop).await,
        Command::Key(args) => {
            create_key(&args.file)?;
            ui.note(format!(
                "wrote {}: keep a copy, because what it encrypts cannot be read without it",
                args.file.display()
            ));
            Ok(())
        }
        Command::Demo(args) => demo::run(&args, ui).await,
    }
}

impl From<SetupError> for CliError {
    fn from(error: SetupError) -> Self {
        let exit = match error {
            SetupError::Rules { .. } => Exit::Usage,
            _ => Exit::Failure,
        };
        let advice = error.advice();
        let failure = Self::new(exit, kc::core::text::with_sources(&error));
        match advice {
            Some(advice) => failure.advise(advice),
            None => failure,
        }
    }
}

impl From<FieldError> for CliError {
    fn from(error: FieldError) -> Self {
        Self::failure(error.to_string()).advise(error.advice())
    }
}
