//! A broker to try clients with: `cargo run -p kc-broker --example broker 127.0.0.1:9092`.
//!
//! It stops at the end of its standard input.

use std::net::SocketAddr;

use kc_broker::Broker;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut builder = Broker::builder();
    if let Some(address) = std::env::args().nth(1) {
        builder = builder.listen(address.parse::<SocketAddr>()?);
    }
    let broker = builder.start().await?;
    println!("bootstrap.servers={}", broker.address());
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await?;
    broker.shutdown().await;
    Ok(())
}
