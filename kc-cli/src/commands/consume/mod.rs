//! `kc consume`.

mod output;
mod raw;
mod sealed;

use std::num::NonZeroU64;
use std::time::Duration;

use clap::ValueEnum;
use kc::{ForeignPolicy, Subscription};

use self::output::Output;
use crate::args::{ConnectionArgs, PinArg, duration};
use crate::error::CliError;
use crate::stop::Stop;
use crate::ui::Ui;
use crate::until::{Ended, Until};

/// Prints what was sent, as soon as its keys have come. What was printed is committed for the group,
/// so that the next run goes on behind it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The topic; or a regular expression that begins with ^, for all topics that match it, now and later
    topic: String,

    /// The node: its id (found as ./ID.config, ./ID/ID.config, or in $KC_HOME), the path of its
    /// .config file, or a folder that holds one
    #[arg(
        long,
        value_name = "ID|PATH",
        required_unless_present = "raw",
        help_heading = "Node"
    )]
    node: Option<String>,

    /// Show what the broker holds, from the first record, as it is: no node, no keys, no commit
    #[arg(long, conflicts_with_all = ["node", "group", "foreign", "from_beginning"], help_heading = "Records")]
    raw: bool,

    /// Without a committed position start at the first record [default: at the end, unless the node's .config says
    /// auto_offset_reset : earliest]
    #[arg(long, help_heading = "Records")]
    from_beginning: bool,

    /// End after so many records, and commit exactly these
    #[arg(long, value_name = "N", help_heading = "Records")]
    count: Option<NonZeroU64>,

    /// End after so long, with exit code 3; the time of the whole run
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Records")]
    timeout: Option<Duration>,

    /// The consumer group [default: the node's]
    #[arg(long, value_name = "G", help_heading = "Records")]
    group: Option<String>,

    /// Take Kafka keys as they are: for topics whose producers do not seal them
    #[arg(long, conflicts_with = "raw", help_heading = "Records")]
    plain_keys: bool,

    /// What to do with records that nobody sealed, or that are forged [default: fail]
    #[arg(long, value_enum, help_heading = "Records")]
    foreign: Option<Foreign>,

    /// text: the value and a line feed; json: one object a line, key and value in base64
    #[arg(long, value_enum, default_value_t, help_heading = "Output")]
    format: Format,

    /// The same as --format json
    #[arg(long, help_heading = "Output")]
    json: bool,

    #[command(flatten)]
    pin: PinArg,

    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Foreign {
    /// Stop there
    Fail,
    /// Leave them out
    Skip,
    /// Print them as they are
    Deliver,
}

/// What ended reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// As many records as wanted.
    Counted,
    /// Nobody reads stdout any more.
    Closed,
    /// A signal, or the time.
    Outside(Ended),
}

pub(crate) async fn run(args: Args, ui: Ui, stop: Stop) -> Result<(), CliError> {
    let until = Until::new(stop, args.timeout);
    let output = Output::new(args.format(), args.count);
    match args.node.clone() {
        Some(node) => sealed::run(&args, &node, output, until, ui).await,
        None => raw::run(&args, output, until, ui).await,
    }
}

impl Args {
    fn format(&self) -> Format {
        if self.json { Format::Json } else { self.format }
    }

    fn topics(&self) -> Result<Subscription, CliError> {
        Ok(Subscription::parse([&self.topic])?)
    }

    fn policy(&self) -> ForeignPolicy {
        match self.foreign {
            None | Some(Foreign::Fail) => ForeignPolicy::Fail,
            Some(Foreign::Skip) => ForeignPolicy::Skip,
            Some(Foreign::Deliver) => ForeignPolicy::Deliver,
        }
    }

    /// What a run that was ended from outside says.
    fn timed_out(&self, read: u64) -> CliError {
        let limit = self.timeout.unwrap_or_default();
        let limit = humantime::format_duration(limit);
        let wanted = self
            .count
            .map_or_else(String::new, |count| format!(" of {count}"));
        CliError::unresolved(format!(
            "timed out after {limit}: {read}{wanted} records of {}",
            self.topic
        ))
    }
}
