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
use kc::core::backend::Subscription;
use kc::core::text::counted;
use kc::{
    Assignment, ConsumerBuilder, Policy, Position, Reason, Undecryptable, UndecryptableError,
};

use self::format::{Format, Layout};
use self::output::Output;
use crate::args::{
    ConnectionArgs, CopiesArg, PinArg, ValueForm, duration, node_or_environment, shown_duration,
};
use crate::error::CliError;
use crate::logging::Progress;
use crate::stop::{Ended, Stop, Until};
use crate::topic::require_data_topic_of;
use crate::ui::Ui;

/// Receive records and decrypt them
///
/// The command prints each record as soon as its data key has arrived. It commits a position only after the reader of
/// stdout has taken all records before this position; at the end, records that the reader can still take count as
/// taken. The next run with the same group continues at the committed position.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The topic; or a regular expression that begins with ^, for all topics that match it, including topics
    /// created later
    topic: String,

    /// The node: its id (found as ./ID.config, ./ID/ID.config, or in $KC_HOME), the path of its .config file, or a
    /// folder that holds exactly one .config file [default: $KC_NODE]
    #[arg(long, value_name = "ID|PATH", help_heading = "Node")]
    node: Option<String>,

    /// Print the records as the broker stores them, still encrypted, from the first record on; this needs no node and
    /// commits no position
    #[arg(long, conflicts_with_all = ["node", "group", "foreign", "from_beginning"], help_heading = "Records")]
    raw: bool,

    /// If the group has no committed position, start at the first record [default: start at the end. A topic that
    /// is created after the start of the command is read from its first record in any case, and so is every topic
    /// if the node's .config has auto_offset_reset : earliest]
    #[arg(long, help_heading = "Records")]
    from_beginning: bool,

    /// Read only this partition, without a group, and commit no position [default: all partitions that the group
    /// assigns]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..),
        conflicts_with_all = ["group", "from_beginning"], help_heading = "Records")]
    partition: Option<i32>,

    /// Start each partition at this offset, without a group, and commit no position: an offset, beginning, end, or
    /// -N for N offsets before the end [default with --partition: beginning]
    #[arg(long, value_name = "N|beginning|end|-N", value_parser = position, allow_hyphen_values = true,
        conflicts_with_all = ["group", "from_beginning"], help_heading = "Records")]
    offset: Option<Position>,

    /// Leave out the records before this offset, for example those that no node can open any more (see `kc inspect`).
    /// A topic with several partitions needs PARTITION:OFFSET; give the option once for each partition
    #[arg(long, value_name = "[PARTITION:]OFFSET", value_parser = SkipUntil::from_str, conflicts_with = "raw",
        help_heading = "Records")]
    skip_until: Vec<SkipUntil>,

    /// End after N records, and commit exactly these records
    #[arg(long, value_name = "N", help_heading = "Records")]
    count: Option<NonZeroU64>,

    /// End when all records are printed that the topic had at the start of the command
    #[arg(long, help_heading = "Records")]
    until_end: bool,

    /// End with exit code 3 after this time, counted from the start of the command
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Records")]
    timeout: Option<Duration>,

    /// The consumer group [default: the group of the node]
    #[arg(long, value_name = "G", help_heading = "Records")]
    group: Option<String>,

    /// Commit no position, so that the next run starts at the same position
    #[arg(long, conflicts_with = "raw", help_heading = "Records")]
    no_commit: bool,

    /// Print Kafka keys without opening them: use this for topics whose producers do not seal Kafka keys
    #[arg(long, conflicts_with = "raw", help_heading = "Records")]
    plain_keys: bool,

    /// The time that a record waits for its data key before the policy of --undecryptable applies [default: the node's
    /// setting patience, else 30s]
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "raw", help_heading = "Records")]
    patience: Option<Duration>,

    /// What happens to records that cannot be opened: a list of POLICY and REASON=POLICY. Policies: hold waits for the
    /// data key and stops the partition, fail ends the command, skip leaves the record out, deliver prints it unopened,
    /// dead-letter:TOPIC sends it unopened to TOPIC, park keeps it in ROOT.parked and prints it when its data key has
    /// arrived. Reasons: not-yet, unanswered, not-authorized, expired, denied,
    /// unauthentic, foreign. Reasons that are not named keep the policy of the node's setting undecryptable [default:
    /// fail,not-yet=hold,unanswered=hold]
    #[arg(
        long,
        value_name = "[REASON=]POLICY,...",
        value_parser = policies,
        conflicts_with = "raw",
        help_heading = "Records"
    )]
    undecryptable: Option<String>,

    /// The same as --undecryptable denied=POLICY,unauthentic=POLICY,foreign=POLICY: records that can never be opened,
    /// such as forged records
    #[arg(
        long,
        value_enum,
        value_name = "POLICY",
        conflicts_with = "undecryptable",
        help_heading = "Records"
    )]
    foreign: Option<Foreign>,

    /// The format of a printed record: text prints the value and a line feed, json prints a JSON object on a line.
    /// Any other text is printed as a line in which %k stands for the key, %v for the value, %t for the topic,
    /// %p for the partition, %o for the offset, %T for the time and %h for the headers
    #[arg(long, value_name = "text|json|'%k %v'", default_value = "text", value_parser = Format::from_str, help_heading = "Output")]
    format: Format,

    /// The form of keys and values. In JSON output, text gives strings, json embeds values as JSON, and base64
    /// gives base64. In other output, text and json print the bytes unchanged, and base64 gives base64 [default:
    /// base64 in JSON output, text in other output]
    #[arg(long, value_enum, help_heading = "Output")]
    value: Option<ValueForm>,

    /// The same as --format json
    #[arg(long, help_heading = "Output")]
    json: bool,

    #[command(flatten)]
    copies: CopiesArg,

    #[command(flatten)]
    pin: PinArg,

    #[command(flatten)]
    connection: ConnectionArgs,
}

/// The value of `--skip-until`.
#[derive(Clone, Copy, Debug)]
struct SkipUntil {
    partition: Option<i32>,
    offset: i64,
}

impl FromStr for SkipUntil {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (partition, offset) = match text.split_once(':') {
            Some((partition, offset)) => (Some(partition.parse::<i32>()), offset),
            None => (None, text),
        };
        match (partition.transpose(), offset.parse()) {
            (Ok(partition), Ok(offset)) if partition.unwrap_or(0) >= 0 && offset >= 0 => {
                Ok(Self { partition, offset })
            }
            _ => Err("expected OFFSET or PARTITION:OFFSET".to_owned()),
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Foreign {
    /// Stop at the first such record
    Fail,
    /// Leave such records out
    Skip,
    /// Print such records unopened
    Deliver,
}

/// The reason why reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The wanted number of records was printed.
    Counted,
    /// With `--until-end`: all records were printed that the topic had at the start.
    Reached,
    /// The reader of stdout is gone.
    Closed,
    /// A signal arrived, or the time limit was reached.
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

/// Checks `--undecryptable`. The node's settings are applied before.
fn policies(text: &str) -> Result<String, UndecryptableError> {
    text.parse::<Undecryptable>().map(|_| text.to_owned())
}

/// Parses `--offset`.
fn position(text: &str) -> Result<Position, String> {
    let number = |digits: &str| digits.parse::<u32>().ok().map(i64::from);
    match text {
        "beginning" => Ok(Position::Beginning),
        "end" => Ok(Position::End),
        _ => match text.strip_prefix('-') {
            Some(count) => number(count).map(Position::BeforeEnd),
            None => text.parse().ok().map(Position::Offset),
        }
        .ok_or_else(|| "expected an offset, beginning, end or -N".to_owned()),
    }
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
        let topics = Subscription::parse([&self.topic])?;
        if topics.is_open() && self.assignment().is_some() {
            return Err(
                CliError::usage("--partition and --offset need the name of a topic").advise(
                    "a regular expression can be read only by a group, without these options",
                ),
            );
        }
        Ok(topics)
    }

    /// Returns the partitions and the position to read without a group.
    fn assignment(&self) -> Option<Assignment> {
        (self.partition.is_some() || self.offset.is_some()).then(|| Assignment {
            partition: self.partition,
            position: self.offset.unwrap_or(Position::Beginning),
        })
    }

    /// Returns the partition of a value of `--skip-until`. `partitions` is the number of partitions of the topic; `None` for
    /// a regular expression.
    fn partition_of(&self, skip: SkipUntil, partitions: Option<usize>) -> Result<i32, CliError> {
        let Some(partitions) = partitions else {
            let text = "--skip-until needs the name of a topic, not a regular expression";
            return Err(CliError::usage(text));
        };
        match skip.partition.or(self.partition) {
            Some(partition) => Ok(partition),
            None if partitions == 1 => Ok(0),
            None => Err(CliError::usage(format!(
                "{} has {partitions} partitions: write --skip-until PARTITION:{}",
                self.topic, skip.offset
            ))),
        }
    }

    /// Sets the treatment of records that cannot be opened.
    fn treatment(&self, mut consumer: ConsumerBuilder) -> Result<ConsumerBuilder, CliError> {
        if let Some(patience) = self.patience {
            consumer = consumer.patience(patience);
        }
        if let Some(policies) = &self.undecryptable {
            let treating = consumer.undecryptable_as(policies);
            consumer = treating.map_err(|error| CliError::usage(error.to_string()))?;
        }
        if let Some(foreign) = self.foreign {
            let policy = match foreign {
                Foreign::Fail => Policy::Fail,
                Foreign::Skip => Policy::Skip,
                Foreign::Deliver => Policy::Deliver,
            };
            for reason in [Reason::Denied, Reason::Unauthentic, Reason::Foreign] {
                consumer = consumer.undecryptable(reason, policy.clone());
            }
        }
        Ok(consumer)
    }

    /// Returns the words about records that were not opened. Without a group, another run may start at other records.
    fn next_run(&self) -> &'static str {
        match self.assignment() {
            None => "; the next run receives these records again",
            Some(_) => "",
        }
    }

    /// Returns the error for a run that reached its time limit after `read` records.
    fn timed_out(&self, read: u64) -> CliError {
        CliError::unresolved(self.timeout_text(read))
    }

    fn timeout_text(&self, read: u64) -> String {
        let limit = self.timeout.unwrap_or_default();
        let limit = shown_duration(limit);
        let received = match self.count {
            Some(count) => format!("{read} of {}", counted(count.get(), "record")),
            None => counted(read, "record"),
        };
        format!(
            "stopped after {limit} (--timeout): received {received} of {}",
            self.topic
        )
    }
}
