//! Members of a group are killed while records that cannot be opened are parked, left out or delivered: what can be
//! opened is delivered at least once, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::world::{Process, World, until};

/// The number of times that a member is killed. `KC_KILLS` sets it for longer runs.
const KILLS: usize = 5;
const MEMBERS: usize = 3;
/// The number of records that each of two producers sends between two kills.
const EACH: usize = 30;

const CONSUME: [&str; 14] = [
    "consume",
    "t",
    "--group",
    "g",
    "--from-beginning",
    "--patience",
    "1s",
    "--format",
    "%p %o %v",
    "-X",
    "session_timeout_ms=2000",
    "-X",
    "heartbeat_interval_ms=500",
    "--undecryptable",
];

/// A record that a member has printed.
#[derive(Debug)]
struct Printed {
    partition: i32,
    offset: i64,
    value: String,
}

/// The members of a group, each with the number of times that it was started again.
struct Members<'a> {
    world: &'a World,
    policy: &'a str,
    running: Vec<(Process, usize)>,
}

impl<'a> Members<'a> {
    fn start(world: &'a World, policy: &'a str) -> Self {
        let mut members = Self {
            world,
            policy,
            running: Vec::new(),
        };
        for member in 0..MEMBERS {
            let process = members.run(member, 0);
            members.running.push((process, 0));
        }
        members
    }

    /// Starts a member, whose output is the file `bob<member>.<run>`.
    fn run(&self, member: usize, run: usize) -> Process {
        let node = format!("bob{member}");
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.world.path(&format!("{node}.{run}")))
            .unwrap();
        let node = [self.policy, "--node", &node];
        let mut command = self.world.kc(&[&CONSUME[..], &node].concat());
        Process::spawn(command.stdout(output))
    }

    /// Kills a member, and starts it again.
    fn kill(&mut self, member: usize) {
        let (process, run) = &mut self.running[member];
        process.child.kill().unwrap();
        process.child.wait().unwrap();
        let run = *run + 1;
        self.running[member] = (self.run(member, run), run);
    }

    /// Returns the records that each member has printed in each of its runs.
    fn printed(&self) -> Vec<Vec<Printed>> {
        let each = self.running.iter().enumerate();
        let runs = each.flat_map(|(member, (_, last))| (0..=*last).map(move |run| (member, run)));
        runs.map(|(member, run)| self.printed_in(member, run))
            .collect()
    }

    fn printed_in(&self, member: usize, run: usize) -> Vec<Printed> {
        let bytes = self.world.read(&format!("bob{member}.{run}"));
        // A killed process may have written a part of a line. A record that was delivered unopened is not text.
        let text = String::from_utf8_lossy(&bytes);
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let record = |line: &str| {
            let mut fields = line.splitn(3, ' ');
            let mut field = || fields.next().map(str::to_owned);
            Some(Printed {
                partition: field()?.parse().ok()?,
                offset: field()?.parse().ok()?,
                value: field()?,
            })
        };
        whole.lines().filter_map(record).collect()
    }

    fn delivered(&self) -> BTreeSet<String> {
        let records = self.printed().into_iter().flatten();
        records.map(|record| record.value).collect()
    }

    fn end(&mut self) {
        for (process, _) in &mut self.running {
            process.terminate();
            process.end();
        }
    }
}

/// Returns values to send, a line each, with a key that spreads them over the partitions.
fn lines(node: &str, round: usize) -> (BTreeSet<String>, String) {
    let values = (0..EACH).map(|number| format!("{node}-{round}-{number}"));
    let values: BTreeSet<String> = values.collect();
    let lines = values.iter().map(|value| format!("{value}:{value}\n"));
    let lines = lines.collect();
    (values, lines)
}

/// Sends records of `alice`, who is away afterwards, and of `carol`, who stays, and kills members meanwhile.
fn kill_members(policy: &str) {
    let kills = std::env::var("KC_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let world = World::new();
    for node in ["alice", "carol"] {
        world.provision("producer", node, &[]);
    }
    for member in 0..MEMBERS {
        world.provision("consumer", &format!("bob{member}"), &[]);
    }
    world.create("t", 3);
    world.create("lost", 1);
    let produce = ["produce", "t", "--key-separator", ":", "--node"];
    let mut carol = world.kc(&[&produce[..], &["carol"]].concat());
    let mut carol = Process::spawn(carol.stdin(Stdio::piped()));
    let mut members = Members::start(&world, policy);
    let (mut lost, mut sent) = (BTreeSet::new(), BTreeSet::new());
    for kill in 0..kills {
        let (values, text) = lines("alice", kill);
        lost.extend(values);
        world.write("in.txt", text);
        let alice = ["alice", "--exit-after", "0s", "in.txt"];
        world.succeed(&[&produce[..], &alice].concat());
        let (values, text) = lines("carol", kill);
        sent.extend(values);
        let input = carol.child.stdin.as_mut().unwrap();
        input.write_all(text.as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(
            u64::try_from(kill).unwrap() * 373 % 1700,
        ));
        members.kill(kill % MEMBERS);
    }
    until("the records that can be opened are delivered", || {
        members.delivered().is_superset(&sent)
    });
    if policy.ends_with("park") {
        let _alice = world.start(&["node", "serve", "--node", "alice"]);
        until("the parked records are delivered", || {
            members.delivered().is_superset(&lost)
        });
    }
    members.end();
    for printed in members.printed() {
        let mut seen = BTreeSet::new();
        // Per data key: alice has one for each time that she ran.
        let mut last: BTreeMap<(i32, String), i64> = BTreeMap::new();
        for record in printed {
            let is_known = sent.contains(&record.value) || lost.contains(&record.value);
            if !is_known || !seen.insert(record.value.clone()) {
                // It was delivered unopened, or a rebalance has delivered it again.
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

#[test]
fn killed_members_lose_nothing_that_is_parked() {
    kill_members("unanswered=park");
}

#[test]
fn killed_members_lose_nothing_beside_records_that_are_left_out() {
    kill_members("unanswered=skip");
}

#[test]
fn killed_members_lose_nothing_beside_records_that_are_delivered_unopened() {
    kill_members("unanswered=deliver");
}

#[test]
fn killed_members_lose_nothing_beside_dead_letters() {
    kill_members("unanswered=dead-letter:lost");
}
