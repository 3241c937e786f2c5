//! The command line as a whole.

use clap::{ArgAction, Parser, Subcommand};

#[cfg(feature = "hsm")]
use crate::commands::hsm;
use crate::commands::{
    about, broker, chain, consume, custodian, demo, doctor, fields, files, inspect, kafka, node,
    produce, provision, staying, topics, trust,
};
use crate::logging::LogFormat;

/// End-to-end encryption for Kafka: the broker passes on messages that it cannot read.
#[derive(Debug, Parser)]
#[command(name = "kc", version, propagate_version = true, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Write more logs to stderr: -v at level info, -vv at level debug
    #[arg(short, long, action = ArgAction::Count, global = true, help_heading = "Output")]
    pub(crate) verbose: u8,

    /// Write only errors, important messages and the number of sent records to stderr
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        help_heading = "Output"
    )]
    pub(crate) quiet: bool,

    /// The format of logs and messages on stderr
    #[arg(
        long,
        value_enum,
        default_value_t,
        global = true,
        hide_possible_values = true,
        value_name = "text|json",
        help_heading = "Output"
    )]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show encryption at work: two nodes, a broker that cannot read their messages, and a third node that gets no data
    /// key
    #[command(after_help = "Example:\n  kc demo --messages 1000 --keep nodes")]
    Demo(demo::Args),
    #[command(after_help = "Example:\n  kc broker --listen 127.0.0.1:0")]
    Broker(broker::Args),
    #[command(
        after_help = "Example:\n  kc provision producer --node alice --topics readings -b 127.0.0.1:9092"
    )]
    Provision(Box<provision::Args>),
    /// Create data topics, with the side topics over which nodes exchange data keys
    #[command(subcommand)]
    Topics(topics::Command),
    #[command(
        after_help = "Example:\n  kc produce readings --node alice -b 127.0.0.1:9092 readings.txt"
    )]
    Produce(produce::Args),
    #[command(after_help = "Examples:
  kc consume readings --node bob --from-beginning --count 10
  kc consume readings --node bob --format '%T %k %v'
  kc consume readings --node bob --json --value json")]
    Consume(consume::Args),
    /// Send the files of a folder, and receive them into a folder elsewhere
    #[command(subcommand)]
    Files(files::Command),
    #[command(after_help = "Example:\n  kc inspect readings --node bob -b 127.0.0.1:9092")]
    Inspect(inspect::Args),
    /// Encrypt fields of JSON records, so that the rest stays readable
    #[command(subcommand)]
    Fields(fields::Command),
    /// Vouch for limited nodes, which may request data keys only from controllers
    #[command(after_help = "Example:\n  kc controller --node carl")]
    Controller(staying::Args),
    #[command(after_help = "Example:\n  kc custodian --node custodian -b 127.0.0.1:9092")]
    Custodian(custodian::Args),
    /// Renew the short-lived certificate chains of other nodes
    #[command(after_help = "Example:\n  kc chain-server --node server")]
    ChainServer(staying::Args),
    /// Show or change the roots that nodes trust, and the keys that nodes deny
    #[command(subcommand)]
    Trust(trust::Command),
    /// Sign, issue, install, publish and inspect certificate chains
    #[command(subcommand)]
    Chain(chain::Command),
    /// List nodes, show a node's status, keep a node running, change its keys, or turn its ratchet
    #[command(subcommand)]
    Node(node::Command),
    /// Keep a node's keys on a PKCS#11 token
    #[cfg(feature = "hsm")]
    #[command(subcommand)]
    Hsm(hsm::Command),
    /// Try the connection to a Kafka cluster
    #[command(subcommand)]
    Kafka(kafka::Command),
    #[command(after_help = "Examples:
  kc doctor --node alice
  kc doctor --node bob --topics readings -b 127.0.0.1:9092 --json")]
    Doctor(Box<doctor::Args>),
    /// Explain a check that refused something: the rule, the party at fault, and what to do
    #[command(after_help = "Example:\n  kc explain C04")]
    Explain(about::ExplainArgs),
    /// Print a script that completes commands and flags in a shell
    #[command(
        after_help = "Example:\n  kc completions bash > ~/.local/share/bash-completion/completions/kc"
    )]
    Completions(about::CompletionsArgs),
    /// Write the manual pages of all commands into a folder
    #[command(after_help = "Example:\n  kc man ~/.local/share/man/man1")]
    Man(about::ManArgs),
    /// Print the version, and the features, Kafka clients and keystores that are built in
    #[command(after_help = "Example:\n  kc version --json")]
    Version(about::VersionArgs),
}

const AFTER_HELP: &str = "\
First steps:
  kc demo                                          show encryption at work
  kc broker                                        start a broker at 127.0.0.1:9092
  kc provision producer --node alice               make a producer, with two new passwords
  kc provision consumer --node bob                 make a consumer, with the same two passwords
  kc consume readings --node bob -b 127.0.0.1:9092
  kc produce readings --node alice -b 127.0.0.1:9092 FILE

Exit codes: 0 done, 1 failure, 2 usage, 3 time limit reached or data keys missing,
4 broker or topic, 5 refused by a check (certificate, topic, usage),
130 interrupted before everything was done.

Environment: KC_NODE names the node if --node is not given, KC_HOME names the folder of
your nodes, RUST_LOG filters the logs, and KC_CONFIG__<SECTION>__<NAME> overrides an
entry of a node's configuration.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Calls `look` with each command that has no subcommands.
    fn each_leaf(command: &clap::Command, path: &str, look: &mut impl FnMut(&str, &clap::Command)) {
        for below in command.get_subcommands() {
            let path = format!("{path} {}", below.get_name());
            if below.has_subcommands() {
                each_leaf(below, &path, look);
            } else {
                look(&path, below);
            }
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_command_has_an_example_that_can_be_parsed() {
        each_leaf(&Cli::command(), "kc", &mut |path, command| {
            let help = command.get_after_help().unwrap_or_default().to_string();
            let examples = help.lines().filter_map(|line| line.strip_prefix("  "));
            let mut examples = examples.peekable();
            assert!(examples.peek().is_some(), "{path}");
            for example in examples {
                assert!(example.contains(path), "{example}");
                let command = example.split(" > ").next().unwrap();
                let command = command.split(" | ").find(|part| part.contains(path));
                let words = words(command.unwrap());
                if let Err(error) = Cli::try_parse_from(words) {
                    panic!("{example}: {error}");
                }
            }
        });
    }

    /// Splits a command into words as a shell does. Single quotes are the only quotes that it knows.
    fn words(command: &str) -> Vec<String> {
        let mut words = Vec::new();
        for (number, part) in command.split('\'').enumerate() {
            if number % 2 == 1 {
                words.push(part.to_owned());
            } else {
                words.extend(part.split_whitespace().map(str::to_owned));
            }
        }
        words
    }
}
