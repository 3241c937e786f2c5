//! `kc demo`: two nodes verify each other, exchange data keys over Kafka and send messages through a broker that cannot
//! read them. A third node, with another root of trust, reads nothing.

pub(super) mod stage;
mod story;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use self::stage::{Messages, Stage};
use self::story::Story;
use crate::error::CliError;
use crate::ui::Ui;

/// The time limit of each step.
const DEADLINE: Duration = Duration::from_secs(120);

/// The size of the demonstration.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The number of messages
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    messages: u32,
    /// The size of each message in bytes
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(16..=900_000))]
    size: u32,
    /// Keep the nodes' files in this folder [default: a temporary folder, which is deleted at the end]
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// Runs the demonstration.
///
/// # Errors
/// [`CliError`] if a step fails or takes too long, if a message did not arrive as it was sent, or if the broker or the
/// third node could read a message.
pub(crate) async fn run(args: Args, ui: Ui) -> Result<(), CliError> {
    let messages = Messages {
        count: args.messages as usize,
        size: args.size as usize,
    };
    let stage = Stage::set(&messages, args.keep).await?;
    let ended = match Story::begin(&stage, &messages, ui) {
        Ok(story) => story.run(&stage, &messages).await,
        Err(error) => Err(error),
    };
    stage.clear().await;
    ended
}
