//! The commands of kc, in modules by command or by group of related commands.

pub(crate) mod about;
pub(crate) mod access;
pub(crate) mod broker;
pub(crate) mod chain;
pub(crate) mod consume;
pub(crate) mod custodian;
pub(crate) mod demo;
pub(crate) mod doctor;
mod ends;
pub(crate) mod fields;
pub(crate) mod files;
#[cfg(feature = "hsm")]
pub(crate) mod hsm;
pub(crate) mod inspect;
pub(crate) mod kafka;
mod keeping;
pub(crate) mod node;
pub(crate) mod produce;
pub(crate) mod provision;
mod reach;
pub(crate) mod staying;
pub(crate) mod topics;
pub(crate) mod trust;

use crate::cli::Command;
use crate::error::CliError;
use crate::stop::Stop;
use crate::ui::Ui;

/// Runs a command.
pub(crate) async fn run(command: Command, ui: Ui, stop: Stop) -> Result<(), CliError> {
    match command {
        Command::Demo(args) => demo::run(args, ui).await,
        Command::Broker(args) => broker::run(args, ui, stop).await,
        Command::Provision(args) => provision::run(&args, ui),
        Command::Topics(command) => topics::run(command, ui).await,
        Command::Produce(args) => produce::run(args, ui, stop).await,
        Command::Consume(args) => consume::run(args, ui, stop).await,
        Command::Files(command) => files::run(command, ui, stop).await,
        Command::Inspect(args) => inspect::run(args, ui, stop).await,
        Command::Fields(command) => fields::run(command, ui, stop).await,
        Command::Controller(args) => staying::controller(args, ui, stop).await,
        Command::Custodian(args) => custodian::run(args, ui, stop).await,
        Command::ChainServer(args) => staying::chain_server(args, ui, stop).await,
        Command::Trust(command) => trust::run(command, ui).await,
        Command::Chain(command) => chain::run(command, ui).await,
        Command::Node(command) => node::run(command, ui, stop).await,
        #[cfg(feature = "hsm")]
        Command::Hsm(command) => hsm::run(command, ui),
        Command::Kafka(command) => kafka::run(command, ui).await,
        Command::Doctor(args) => doctor::run(*args, ui, stop).await,
        Command::Explain(args) => about::explain(&args, ui),
        Command::Completions(args) => about::completions(&args),
        Command::Man(args) => about::man(&args, ui),
        Command::Version(args) => about::version(&args, ui),
    }
}
