//! A node that moves between programs: its folder is used by kc, by a peer, and by kc again.

use anyhow::Context;
use kc_testkit::kafka::{Kafka, Listener, Version};

use super::contact::{Member, Side, exchange};
use super::peers::Peers;
use super::program::Program;

/// Moves the node `name` between programs. Each program sends to nodes of kc, and reads from them.
pub(super) fn hand_over(
    name: &str,
    peers: &Peers,
    program: &Program,
    connection: &[String],
) -> anyhow::Result<()> {
    let partners = ["producer", "consumer"].map(|role| format!("{name}-{role}"));
    program.provision(name, "prodcon", connection)?;
    program.provision(&partners[0], "producer", connection)?;
    program.provision(&partners[1], "consumer", connection)?;
    let [producer, consumer] = partners.each_ref().map(|node| Member {
        side: Side::Ours,
        node,
    });
    let mut hands = vec![Side::Ours, Side::Python(&peers.kafka_python), Side::Ours];
    if let Some(java) = &peers.java {
        hands.extend([Side::Java(java), Side::Ours]);
    }
    for (turn, side) in hands.iter().enumerate() {
        let node = Member {
            side: *side,
            node: name,
        };
        let topic = |way| format!("{name}-{turn}-{way}.data");
        let whose = || format!("{name} in the hands of {}", side.name());
        exchange(node, consumer, &topic("out"), program, connection).with_context(whose)?;
        exchange(producer, node, &topic("in"), program, connection).with_context(whose)?;
    }
    let hands = Vec::from_iter(hands.iter().map(|side| side.name())).join(", ");
    println!("{name} went through the hands of {hands}");
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
    program.create_topics(&["chains", "allowlist", "denylist"], &connection)?;
    hand_over("tls", peers, program, &connection)
}
