//! Members of a group that park records are killed: what can be opened is delivered at least once, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::thread;
use std::time::Duration;

use crate::world::{Process, World, until};

/// The number of times that a member is killed. `KC_KILLS` sets it for longer runs.
const KILLS: usize = 5;
const MEMBERS: usize = 3;
/// The number of records that each of two producers sends between two kills.
const EACH: usize = 30;

const CONSUME: [&str; 16] = [
    "consume",
    "t",
    "--group",
    "g",
    "--from-beginning",
    "--patience",
    "1s",
    "--undecryptable",
    "unanswered=park",
    "--format",
    "%p %o %v",
    "-X",
    "session_timeout_ms=2000",
    "-X",
    "heartbeat_interval_ms=500",
    "--node",
];

/// A record that a member has printed.
#[derive(Debug)]
struct Printed {
    partition: i32,
    offset: i64,
    value: String,
}

/// Starts a member, whose output is the file `bob<member>.<run>`.
fn start(world: &World, member: usize, run: usize) -> Process {
    let node = format!("bob{member}");
    let output = OpenOptions::new()
        .create(true)
        .append(true)
        .open(world.path(&format!("{node}.{run}")))
        .unwrap();
    let mut command = world.kc(&[&CONSUME[..], &[&node]].concat());
    Process::spawn(command.stdout(output))
}

fn printed(world: &World, member: usize, run: usize) -> Vec<Printed> {
    let text = String::from_utf8(world.read(&format!("bob{member}.{run}"))).unwrap();
    // A killed process may have written a part of a line.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let record = |line: &str| {
        let mut fields = line.splitn(3, ' ');
        let mut field = || fields.next().unwrap();
        Printed {
            partition: field().parse().unwrap(),
            offset: field().parse().unwrap(),
            value: field().to_owned(),
        }
    };
    whole.lines().map(record).collect()
}

/// Sends values as a node, which is away afterwards. Each value has a key of its own, so that they are spread over the
/// partitions.
fn produce(world: &World, node: &str, round: usize) -> BTreeSet<String> {
    let values = (0..EACH).map(|number| format!("{node}-{round}-{number}"));
    let values: BTreeSet<String> = values.collect();
    let lines = values.iter().map(|value| format!("{value}:{value}\n"));
    world.write("in.txt", lines.collect::<String>());
    let args = ["produce", "t", "--node", node, "--key-separator", ":"];
    let more = ["--exit-after", "0s", "in.txt"];
    world.succeed(&[&args[..], &more].concat());
    values
}

#[test]
fn killed_members_lose_nothing_that_can_be_opened() {
    let kills = std::env::var("KC_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let world = World::new();
    for node in ["alice", "carol"] {
        world.provision("producer", node, &[]);
    }
    for member in 0..MEMBERS {
        world.provision("consumer", &format!("bob{member}"), &[]);
    }
    world.create("t", 3);
    let mut runs = [0; MEMBERS];
    let mut members: Vec<Process> = (0..MEMBERS)
        .map(|member| start(&world, member, 0))
        .collect();
    let all = |runs: &[usize; MEMBERS]| -> Vec<(usize, usize)> {
        let each = runs.iter().enumerate();
        each.flat_map(|(member, last)| (0..=*last).map(move |run| (member, run)))
            .collect()
    };
    let delivered = |runs: &[usize; MEMBERS]| -> BTreeSet<String> {
        let records = all(runs).into_iter();
        let records = records.flat_map(|(member, run)| printed(&world, member, run));
        records.map(|record| record.value).collect()
    };
    let mut sent = BTreeSet::new();
    for kill in 0..kills {
        for node in ["alice", "carol"] {
            sent.extend(produce(&world, node, kill));
        }
        let member = kill % MEMBERS;
        thread::sleep(Duration::from_millis(
            u64::try_from(kill).unwrap() * 373 % 1700,
        ));
        members[member].child.kill().unwrap();
        members[member].child.wait().unwrap();
        runs[member] += 1;
        members[member] = start(&world, member, runs[member]);
    }
    let _producers = ["alice", "carol"].map(|node| world.start(&["node", "serve", "--node", node]));
    until("all records are delivered", || {
        delivered(&runs).is_superset(&sent)
    });
    for mut member in members {
        member.terminate();
        member.end();
    }
    for (member, run) in all(&runs) {
        // Per data key: a producer has one for each time that it ran.
        let mut last: BTreeMap<(i32, String), i64> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for record in printed(&world, member, run) {
            if !seen.insert(record.value.clone()) {
                // A rebalance can deliver a record again.
                continue;
            }
            let sender = record.value.rsplit_once('-').unwrap().0.to_owned();
            let before = last.insert((record.partition, sender), record.offset);
            assert!(
                before < Some(record.offset),
                "{record:?} follows {before:?}"
            );
        }
    }
}
