//! `kc custodian`, and `kc produce --custodian`.

use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::world::{Process, World, complaint, until};

/// The number of times that the custodian is killed. `KC_KILLS` sets it for longer runs.
const KILLS: usize = 10;

const KEEP: [&str; 3] = ["custodian", "--node", "cust"];
const LIST: [&str; 4] = ["custodian", "list", "--node", "cust"];
const PRODUCE: [&str; 8] = [
    "produce",
    "t",
    "--node",
    "alice",
    "--custodian",
    "cust",
    "--exit-after",
    "60s",
];

fn world() -> World {
    let world = World::new();
    for (role, node) in [
        ("producer", "alice"),
        ("consumer", "bob"),
        ("prodcon", "cust"),
    ] {
        world.provision(role, node, &["--topics", "t"]);
    }
    world
}

fn start(world: &World) -> Process {
    let custodian = world.start(&KEEP);
    custodian.says("collects more");
    custodian
}

fn stop(mut custodian: Process) {
    custodian.terminate();
    assert_eq!(custodian.end(), 0);
}

/// Sends a value as alice, and waits until the custodian has its data key.
fn produce(world: &World, value: &str) {
    world.write("in.txt", format!("{value}\n"));
    world.succeed(&[&PRODUCE[..], &["in.txt"]].concat());
}

/// Returns the first values of the topic, as bob opens them.
fn consume(world: &World, count: usize) -> Vec<String> {
    let count = count.to_string();
    let args = [
        "consume",
        "t",
        "--node",
        "bob",
        "--from-beginning",
        "--timeout",
        "60s",
    ];
    let read = world.succeed(&[&args[..], &["--no-commit", "--count", &count]].concat());
    read.lines().map(str::to_owned).collect()
}

#[test]
fn a_job_ends_when_the_custodian_has_its_keys_and_all_can_be_read() {
    let world = world();
    let custodian = start(&world);
    produce(&world, "1");
    // The broker has the key now; the custodian is about to keep it.
    let kept = "t: 1 data key kept, last needed on ";
    until("the key is kept", || world.line(&LIST).starts_with(kept));
    let status = world.succeed(&["node", "status", "--node", "cust"]);
    assert!(status.contains("running: custodian"), "{status}");
    assert!(status.contains("custody of t: 1 data key kept"), "{status}");
    stop(custodian);

    let custodian = start(&world);
    produce(&world, "2");
    assert_eq!(consume(&world, 2), ["1", "2"]);
    stop(custodian);
    let listed = world.json(&LIST);
    assert_eq!(
        (&listed["kept"], &listed["pending"]),
        (&2.into(), &0.into())
    );
    let by_fingerprint = world.json(&["node", "keys", "--node", "cust"]);
    let key = by_fingerprint["keys"][0]["fingerprint"].as_str().unwrap();

    // Nobody answers now.
    world.write("in.txt", "3\n");
    let args = [
        "produce",
        "t",
        "--node",
        "alice",
        "--exit-after",
        "2s",
        "in.txt",
        "--custodian",
    ];
    let error = world.fail(&[&args[..], &[key]].concat(), 3);
    assert!(error.contains("sent 1 records"), "{error}");
    assert!(
        complaint(&error).contains("has not requested 1 data key"),
        "{error}"
    );
    world.fail(&[&args[..], &["nobody"]].concat(), 1);
    world.fail(&["custodian", "--node", "bob"], 5);
}

#[test]
fn no_key_that_was_handed_over_is_lost_when_the_custodian_is_killed() {
    let kills = std::env::var("KC_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let world = world();
    // The group waits for a killed member until its session ends.
    let session = [
        "-X",
        "session_timeout_ms=2000",
        "-X",
        "heartbeat_interval_ms=500",
    ];
    let keep = [&KEEP[..], &session].concat();
    for kill in 0..kills {
        world.write("in.txt", format!("{kill}\n"));
        let mut custodian = world.start(&keep);
        let mut job = world.start(&[&PRODUCE[..], &["in.txt"]].concat());
        // Every second time, it is killed while it is at work, and started again; and each time, it is killed as soon
        // as the broker has the reply of the producer.
        if kill % 2 == 0 {
            thread::sleep(Duration::from_millis(
                u64::try_from(kill).unwrap() * 137 % 1500,
            ));
            custodian.child.kill().unwrap();
            custodian.child.wait().unwrap();
            custodian = world.start(&keep);
        }
        assert_eq!(job.end(), 0, "{:?}", job.rest());
        custodian.child.kill().unwrap();
        custodian.child.wait().unwrap();
    }
    let custodian = start(&world);
    let sent: Vec<_> = (0..kills).map(|kill| kill.to_string()).collect();
    assert_eq!(consume(&world, kills), sent);
    stop(custodian);
    let verify = ["custodian", "audit", "--verify", "--node", "cust"];
    assert!(world.line(&verify).starts_with("the log is complete: "));
}

#[test]
fn what_is_forgotten_is_gone_and_the_log_shows_changes() {
    let world = world();
    let custodian = start(&world);
    produce(&world, "1");
    assert_eq!(consume(&world, 1), ["1"]);
    let forget = ["custodian", "forget", "t", "--node", "cust"];
    let error = world.fail(&forget, 1);
    assert!(complaint(&error).contains("cust"), "{error}");
    stop(custodian);

    let before = world.read("cust.custody/secrets");
    let keep = [&forget[..], &["--before", "2000-01-01"]].concat();
    assert_eq!(world.line(&keep), "0 data keys of t destroyed");
    assert_eq!(world.line(&forget), "1 data key of t destroyed");
    assert_eq!(world.line(&LIST), "no data keys are kept");
    for entry in std::fs::read_dir(world.path("cust.custody")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(before.len()).any(|it| it == before));
    }
    let custodian = start(&world);
    let args = [
        "consume",
        "t",
        "--node",
        "bob",
        "--from-beginning",
        "--no-commit",
    ];
    world.fail(
        &[&args[..], &["--count", "1", "--timeout", "3s"]].concat(),
        3,
    );
    stop(custodian);

    let audit = ["custodian", "audit", "--node", "cust"];
    let log = world.succeed(&audit);
    let entry: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert_eq!(entry["root_topic"], "t");
    assert_eq!(entry["ids"].as_array().unwrap().len(), 1);
    let verify = [&audit[..], &["--verify"]].concat();
    let verified = world.line(&verify);
    assert!(
        verified.ends_with("since its last signature: 0"),
        "{verified}"
    );
    world.write(
        "cust.custody/audit.jsonl",
        log.replacen("\"t\"", "\"u\"", 1),
    );
    let error = world.fail(&verify, 5);
    assert!(error.contains("line 2"), "{error}");
}
