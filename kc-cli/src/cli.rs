//! The command line as a whole.

use clap::{ArgAction, Parser, Subcommand};

#[cfg(feature = "hsm")]
use crate::commands::hsm;
use crate::commands::{
    broker, chain, consume, demo, node, produce, provision, staying, topics, trust,
};

/// End-to-end encryption for Kafka: the broker passes on what it cannot read.
#[derive(Debug, Parser)]
#[command(name = "kc", version, propagate_version = true, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Say more on stderr: -v what happens, -vv every detail
    #[arg(short, long, action = ArgAction::Count, global = true, help_heading = "Output")]
    pub(crate) verbose: u8,

    /// Say nothing on stderr but errors and the count of what was sent
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        help_heading = "Output"
    )]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Try it: two nodes, a broker that reads nothing, and a stranger who gets no key
    Demo(demo::Args),
    /// Run a Kafka broker in memory, for trying things out
    Broker(broker::Args),
    /// Make a node: its keys, and the certificate that says what it may do
    Provision(Box<provision::Args>),
    /// Create topics, with the side topics that carry keys
    #[command(subcommand)]
    Topics(topics::Command),
    /// Encrypt lines and send them
    Produce(produce::Args),
    /// Receive records and decrypt them
    Consume(consume::Args),
    /// Vouch for consumers that may not ask producers for keys themselves
    Controller(staying::Args),
    /// Keep short-lived certificate chains of other nodes fresh
    ChainServer(staying::Args),
    /// Say whom nodes trust, and whom no longer
    #[command(subcommand)]
    Trust(trust::Command),
    /// Certificates: have them signed, issued, installed, published, and look at them
    #[command(subcommand)]
    Chain(chain::Command),
    /// Keep a node running, look at it, or change its keys
    #[command(subcommand)]
    Node(node::Command),
    /// Keep a node's keys on a PKCS#11 token
    #[cfg(feature = "hsm")]
    #[command(subcommand)]
    Hsm(hsm::Command),
}

const AFTER_HELP: &str = "\
First steps:
  kc demo                                          watch it work
  kc broker                                        a broker at 127.0.0.1:9092
  kc provision producer --node alice               the same root password for both:
  kc provision consumer --node bob                 it is what makes them trust each other
  kc consume readings --node bob -b 127.0.0.1:9092
  kc produce readings --node alice -b 127.0.0.1:9092 FILE

Exit codes: 0 done, 1 failure, 2 usage, 3 time out or records left undecrypted,
4 broker or topic, 5 refused by a check (certificate, topic, usage).

Environment: KC_HOME is where nodes are looked for, RUST_LOG chooses what is logged,
KC_CONFIG__<SECTION>__<NAME> overrides an entry of a node's configuration.";
