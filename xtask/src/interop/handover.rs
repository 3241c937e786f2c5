//! A node that moves between programs: its folder is used by kc, by a peer, and by kc again.

use anyhow::Context;
use kc_testkit::kafka::{Kafka, Listener, Version};

use super::contact::exchange;
use super::fleet::{Fleet, MANAGEMENT};
use super::member::{Member, Side};
use super::peers::Peers;
use super::program::Program;

/// Moves the node `name` between programs. Each program sends to nodes of kc, and reads from them. `flags` are those for
/// all nodes.
pub(super) fn hand_over(
    name: &str,
    peers: &Peers,
    fleet: &Fleet<'_>,
    flags: &[&str],
) -> anyhow::Result<()> {
    let node = fleet.provision(name, "prodcon", flags)?;
    let producer = fleet.provision(&format!("{name}-producer"), "producer", flags)?;
    let consumer = fleet.provision(&format!("{name}-consumer"), "consumer", flags)?;
    let kc = Side::Kc("pure");
    let [producer, consumer] = [&producer, &consumer].map(|config| Member { side: kc, config });
    let mut programs = vec![kc, Side::Python(&peers.kafka_python), kc];
    if let Some(java) = &peers.java {
        programs.extend([Side::Java(java), kc]);
    }
    for (turn, &side) in programs.iter().enumerate() {
        let node = Member {
            side,
            config: &node,
        };
        let topic = |way| format!("{name}-{turn}-{way}.data");
        let whose = || format!("{name} in {}", side.name());
        exchange(node, consumer, &topic("out"), fleet).with_context(whose)?;
        exchange(producer, node, &topic("in"), fleet).with_context(whose)?;
    }
    let programs = Vec::from_iter(programs.iter().map(|side| side.name())).join(", ");
    println!("{name} ran in {programs}");
    Ok(())
}

/// Moves a node between programs by TLS, on Apache Kafka.
pub(super) fn hand_over_by_tls(peers: &Peers, program: &Program) -> anyhow::Result<()> {
    let kafka = Kafka::builder(Version::V4).tls().start()?;
    let authority = &kafka.certificates().ca;
    if let Some(java) = &peers.java {
        java.trust(authority)?;
    }
    let connection = [
        "-b",
        &kafka.address(Listener::Ssl),
        "--security-protocol",
        "SSL",
        "-X",
        &format!("ssl_cafile={}", authority.display()),
    ]
    .map(str::to_owned);
    let fleet = Fleet::new(program, "tls", &connection)?;
    fleet.create_topics(&MANAGEMENT)?;
    hand_over("tls", peers, &fleet, &[])
}
