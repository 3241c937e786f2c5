//! `kc broker`.

use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroU16;

use kc_broker::Broker;

use crate::error::CliError;
use crate::stop::Stop;
use crate::ui::Ui;

/// Run a Kafka broker in memory, for trials
///
/// All records are kept in memory, and are gone when it stops.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092", value_parser = address)]
    listen: SocketAddr,

    /// Let --listen name an address that other hosts reach: they can then read and delete everything
    #[arg(long)]
    expose_to_network: bool,

    /// Do not create topics on demand
    #[arg(long)]
    no_auto_create: bool,

    /// Partitions of topics that are created on demand
    #[arg(long, value_name = "N", default_value = "1")]
    partitions: NonZeroU16,
}

/// Serves until a signal.
pub(crate) async fn run(args: Args, ui: Ui, mut stop: Stop) -> Result<(), CliError> {
    if !args.listen.ip().is_loopback() && !args.expose_to_network {
        let address = args.listen;
        return Err(CliError::usage(format!(
            "other hosts reach {address}: they could read and delete everything"
        ))
        .advise("if that is meant: --expose-to-network"));
    }
    let broker = Broker::builder()
        .listen(args.listen)
        .auto_create(!args.no_auto_create)
        .default_partitions(args.partitions)
        .start()
        .await?;
    ui.result(format!("listening on {}", broker.address()))?;
    ui.note("records are kept in memory only; Ctrl-C ends it");
    stop.requested().await;
    broker.shutdown().await;
    Ok(())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let mut addresses = text.to_socket_addrs().map_err(|error| error.to_string())?;
    addresses
        .next()
        .ok_or_else(|| format!("{text} has no address"))
}
