//! Custodians of kc: they give the keys of nodes that have ended, also to the peers.

use std::path::Path;

use anyhow::{Context, ensure};

use super::contact::BATCH;
use super::data::Report;
use super::fleet::Fleet;
use super::member::{Member, Side};
use super::process::Process;

/// Lets kc send to each peer, and each peer to kc. The sender ends when a custodian has its keys, and the reader starts
/// after that. All nodes and topics are new.
pub(super) fn outlive_senders(fleet: &Fleet<'_>, peers: &[Side<'_>]) -> anyhow::Result<()> {
    let kc = Side::Kc("pure");
    for &peer in peers {
        for (from, to) in [(kc, peer), (peer, kc)] {
            let way = format!("{} to {}", from.name(), to.name());
            outlive_sender(fleet, from, to).with_context(|| format!("{way}, by a custodian"))?;
            println!("{way}: by a custodian, after the sender has ended");
        }
    }
    Ok(())
}

fn outlive_sender(fleet: &Fleet<'_>, from: Side<'_>, to: Side<'_>) -> anyhow::Result<()> {
    let root = format!("custody-{}-{}", from.name(), to.name());
    let topic = format!("{root}.data");
    fleet.create_topics(&[&topic])?;
    let node = |role, flags: &[&str]| fleet.provision(&format!("{root}-{role}"), role, flags);
    let (sender, reader) = (node("producer", &[])?, node("consumer", &[])?);
    let custodian = node("prodcon", &["--topics", &root])?;

    let mut command = fleet.program.command(&["--quiet", "custodian", "--node"]);
    let _custodian = Process::start("kc custodian", command.arg(&custodian))?;
    match from {
        Side::Kc(_) => send_until_kept(fleet, &sender, &topic, &custodian)?,
        _ => {
            let sender = Member {
                side: from,
                config: &sender,
            };
            let sending = sender.send(fleet, &topic, BATCH)?;
            fleet.wait_for(&format!("{root}.keys"), 1)?;
            sending.end()?;
        }
    }
    let reader = Member {
        side: to,
        config: &reader,
    };
    let reading = reader.read(fleet, &topic, BATCH.count, None)?;
    let report = reading.report()?;
    ensure!(report == Report::of(&[BATCH]), "read {report:?}");
    Ok(())
}

/// Sends messages with kc, which ends when the custodian has its keys.
fn send_until_kept(
    fleet: &Fleet<'_>,
    sender: &Path,
    topic: &str,
    custodian: &Path,
) -> anyhow::Result<()> {
    let mut command = fleet.program.command(&["--quiet", "produce", topic]);
    command.args(["--format", "json", "--custodian"]);
    command.arg(custodian).arg("--node").arg(sender);
    let mut process = Process::start("kc produce", &mut command)?;
    process.write_input(&BATCH.lines())?;
    process.stop()
}
