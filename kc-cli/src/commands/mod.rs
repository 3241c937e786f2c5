//! One module for each command.

pub(crate) mod broker;
pub(crate) mod chain;
pub(crate) mod chain_server;
pub(crate) mod consume;
pub(crate) mod controller;
pub(crate) mod demo;
#[cfg(feature = "hsm")]
pub(crate) mod hsm;
pub(crate) mod node;
pub(crate) mod produce;
pub(crate) mod provision;
pub(crate) mod staying;
pub(crate) mod topics;
pub(crate) mod trust;

use crate::cli::Command;
use crate::error::CliError;
use crate::stop::Stop;
use crate::ui::Ui;

pub(crate) async fn run(command: Command, ui: Ui, stop: Stop) -> Result<(), CliError> {
    match command {
        Command::Demo(args) => demo::run(args).await,
        Command::Broker(args) => broker::run(args, ui, stop).await,
        Command::Provision(args) => provision::run(&args, ui),
        Command::Topics(command) => topics::run(command, ui).await,
        Command::Produce(args) => produce::run(args, ui, stop).await,
        Command::Consume(args) => consume::run(args, ui, stop).await,
        Command::Controller(args) => controller::run(args, ui, stop).await,
        Command::ChainServer(args) => chain_server::run(args, ui, stop).await,
        Command::Trust(command) => trust::run(command, ui).await,
        Command::Chain(command) => chain::run(command, ui).await,
        Command::Node(command) => node::run(command, ui, stop).await,
        #[cfg(feature = "hsm")]
        Command::Hsm(command) => hsm::run(command, ui),
    }
}
