//! `kc demo`: two nodes prove themselves to each other, exchange keys over Kafka and pass data through
//! a broker that can read none of it; a third, of another root of trust, reads nothing.

mod stage;
mod story;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use self::stage::{Messages, Stage};
use self::story::Story;
use crate::error::CliError;

/// How long any one step may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// What the demonstration is to show.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// How many messages to send
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    messages: u32,
    /// The size of a message in bytes
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(16..=900_000))]
    size: u32,
    /// Keep the nodes' folders here, to look into
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// Runs the demonstration; fails unless every message matched and nobody else read any.
pub(crate) async fn run(args: Args) -> Result<(), CliError> {
    let messages = Messages {
        count: args.messages as usize,
        size: args.size as usize,
    };
    let stage = Stage::set(&messages, args.keep).await?;
    let story = Story::begin(&stage, &messages);
    let told = story.tell(&stage, &messages).await;
    stage.clear().await;
    told
}
