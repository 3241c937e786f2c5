//! `kc broker`.

use std::io::ErrorKind;
use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroU16;

use kc_broker::{Broker, BrokerError};

use crate::error::CliError;
use crate::stop::Stop;
use crate::ui::Ui;

/// Run a Kafka broker in memory, for trials
///
/// The broker keeps all records in memory; they are lost when it stops.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The address to listen on; port 0 takes a free port
    #[arg(short = 'b', long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092", value_parser = address)]
    listen: SocketAddr,

    /// Allow an address in --listen that other hosts can reach; these hosts can then read and delete all records
    #[arg(long)]
    expose_to_network: bool,

    /// Do not create a topic when a client asks for an unknown topic
    #[arg(long)]
    no_auto_create: bool,

    /// The number of partitions of a new topic if the client requests no number
    #[arg(long, value_name = "N", default_value = "1")]
    partitions: NonZeroU16,
}

/// Runs the broker until the program receives a signal.
pub(crate) async fn run(args: Args, ui: Ui, mut stop: Stop) -> Result<(), CliError> {
    if !args.listen.ip().is_loopback() && !args.expose_to_network {
        let address = args.listen;
        return Err(CliError::usage(format!(
            "other hosts can reach {address}, and could read and delete all records"
        ))
        .advise(
            "listen on 127.0.0.1, or add --expose-to-network if other hosts should use this broker",
        ));
    }
    let broker = Broker::builder()
        .listen(args.listen)
        .auto_create(!args.no_auto_create)
        .default_partitions(args.partitions)
        .start()
        .await
        .map_err(|error| {
            let advice = advice(&error);
            CliError::from(error).advise(advice)
        })?;
    ui.result(format!("listening on {}", broker.address()))?;
    ui.note("the broker keeps its records in memory only; Ctrl-C stops it");
    stop.requested().await;
    broker.shutdown().await;
    Ok(())
}

fn advice(error: &BrokerError) -> &'static str {
    let BrokerError::Listen { source, .. } = error else {
        return "choose another address in --listen";
    };
    match source.kind() {
        ErrorKind::AddrInUse => "use --listen 127.0.0.1:0 to take a free port",
        ErrorKind::AddrNotAvailable => "give an address of this host in --listen",
        ErrorKind::PermissionDenied => "choose a port above 1023 in --listen",
        _ => "choose another address in --listen",
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let mut addresses = text.to_socket_addrs().map_err(|error| error.to_string())?;
    addresses
        .next()
        .ok_or_else(|| format!("the host name in {text} has no IP address"))
}
