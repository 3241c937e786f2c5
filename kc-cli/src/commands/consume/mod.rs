//! `kc consume`.

mod format;
mod hints;
mod output;
mod raw;
mod sealed;

use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use kc::ForeignPolicy;
use kc::core::backend::Subscription;

use self::format::{Format, Layout, ValueForm};
use self::output::Output;
use crate::args::{ConnectionArgs, PinArg, duration, node_or_environment};
use crate::error::CliError;
use crate::logging::Progress;
use crate::stop::{Ended, Stop, Until};
use crate::topic::require_data_topic_of;
use crate::ui::Ui;

/// Receive records and decrypt them
///
/// Prints what was sent, as soon as its keys have come. What was printed, and taken by the reader of stdout, is
/// committed for the group, so that the next run goes on behind it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The topic; or a regular expression that begins with ^, for all topics that match it, now and later
    topic: String,

    /// The node: its id (found as ./ID.config, ./ID/ID.config, or in $KC_HOME), the path of its
    /// .config file, or a folder that holds one
    /// [default: $KC_NODE]
    #[arg(long, value_name = "ID|PATH", help_heading = "Node")]
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

    /// Commit nothing: the next run starts where this one did
    #[arg(long, conflicts_with = "raw", help_heading = "Records")]
    no_commit: bool,

    /// Take Kafka keys as they are: for topics whose producers do not seal them
    #[arg(long, conflicts_with = "raw", help_heading = "Records")]
    plain_keys: bool,

    /// What to do with records that nobody sealed, or that are forged [default: fail]
    #[arg(long, value_enum, help_heading = "Records")]
    foreign: Option<Foreign>,

    /// How a record is printed: text is its value and a line feed, json an object in a line; anything else is a
    /// line in which %k is the key, %v the value, %t the topic, %p the partition, %o the offset, %T the time
    /// and %h the headers
    #[arg(long, value_name = "text|json|'%k %v'", default_value = "text", value_parser = Format::from_str, help_heading = "Output")]
    format: Format,

    /// How keys and values are shown: text and json as they are, in JSON output as a text or as JSON; base64
    /// [default: base64 in JSON output, else text]
    #[arg(long, value_enum, help_heading = "Output")]
    value: Option<ValueForm>,

    /// The same as --format json
    #[arg(long, help_heading = "Output")]
    json: bool,

    #[command(flatten)]
    pin: PinArg,

    #[command(flatten)]
    connection: ConnectionArgs,
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
    let progress = Progress::to_stdout(ui);
    let output = Output::new(args.layout(), args.count, progress);
    if args.raw {
        return raw::run(&args, output, until, ui).await;
    }
    let node = node_or_environment(args.node.as_deref())?;
    if !args.topics()?.is_open() {
        require_data_topic_of(&node, &args.topic)?;
    }
    sealed::run(&args, &node, output, until, ui).await
}

impl Args {
    fn layout(&self) -> Layout {
        let format = if self.json {
            Format::Json
        } else {
            self.format.clone()
        };
        Layout::new(format, self.value)
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
