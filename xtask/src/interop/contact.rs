//! First contacts: one program sends, the other reads, with new nodes of `kc provision`.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::data::{Batch, Report};
use super::fleet::Fleet;
use super::member::{Member, Side};

/// Messages without nulls, which the peers send as something else.
pub(super) const BATCH: Batch = Batch {
    seed: "contact",
    count: 40,
    size: 200,
};
/// The time limit of a first contact, from the start of both processes.
const LIMIT: Duration = Duration::from_secs(10);

/// Tries first contacts in both directions with each peer, all with new nodes and topics. Fails if one takes too long.
pub(super) fn first_contacts(
    fleet: &Fleet<'_>,
    peers: &[Side<'_>],
    contacts: usize,
) -> anyhow::Result<()> {
    let kc = Side::Kc("pure");
    let mut late = Vec::new();
    for &peer in peers {
        for (from, to) in [(peer, kc), (kc, peer)] {
            let way = format!("{} to {}", from.name(), to.name());
            let mut times = Vec::new();
            for contact in 0..contacts {
                let name = format!("{}-{}-{contact}", from.name(), to.name());
                let [sender, reader] = ["producer", "consumer"]
                    .map(|role| fleet.provision(&format!("{name}-{role}"), role, &[]));
                let (sender, reader) = (sender?, reader?);
                let [from, to] =
                    [(from, &sender), (to, &reader)].map(|(side, config)| Member { side, config });
                times.push(exchange(from, to, &format!("{name}.data"), fleet)?);
            }
            let seconds = times
                .iter()
                .map(|time| format!("{:.1}", time.as_secs_f32()));
            println!(
                "{way}: first contacts in {} s",
                Vec::from_iter(seconds).join(", ")
            );
            if times.iter().any(|time| *time > LIMIT) {
                late.push(way);
            }
        }
    }
    ensure!(
        late.is_empty(),
        "first contact took more than {LIMIT:?}: {}",
        late.join(", ")
    );
    Ok(())
}

/// Sends messages from one member to the other on a new topic, and lets both end. Returns the time from the start of
/// both until all messages are read.
pub(super) fn exchange(
    from: Member<'_>,
    to: Member<'_>,
    topic: &str,
    fleet: &Fleet<'_>,
) -> anyhow::Result<Duration> {
    let what = || format!("{} to {} on {topic}", from.side.name(), to.side.name());
    fleet.create_topics(&[topic])?;
    let start = Instant::now();
    let reader = to
        .read(fleet, topic, BATCH.count, None)
        .with_context(what)?;
    let sender = from.send(fleet, topic, BATCH).with_context(what)?;
    let report = reader.report().with_context(what)?;
    let time = start.elapsed();
    ensure!(
        report == Report::of(&[BATCH]),
        "{}: read {report:?}",
        what()
    );
    sender.end().with_context(what)?;
    Ok(time)
}
