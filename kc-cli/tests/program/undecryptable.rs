//! `--undecryptable` and `--patience` of `kc consume`.

use serde_json::Value;

use crate::world::{PRODUCE_ALL, Process, World};

const CONSUME: [&str; 7] = [
    "consume",
    "t",
    "--node",
    "bob",
    "--from-beginning",
    "--patience",
    "5s",
];

/// A topic with a record of alice, who is away, and a record of carol, who runs.
fn with_a_lost_record(world: &World) -> Process {
    world.provision("producer", "alice", &[]);
    world.provision("producer", "carol", &[]);
    world.provision("consumer", "bob", &[]);
    world.write("in.txt", "lost\n");
    world.succeed(&PRODUCE_ALL);
    world.write("here.txt", "here\n");
    let carol = world.start(&["produce", "t", "--node", "carol", "here.txt"]);
    carol.says("sent 1 records");
    carol
}

#[test]
fn a_lost_record_does_not_stop_the_others() {
    let world = World::new();
    let _carol = with_a_lost_record(&world);
    let no_commit = |policies| {
        let more = ["--undecryptable", policies, "--no-commit", "--count", "1"];
        world.succeed(&[&CONSUME[..], &more].concat())
    };
    assert_eq!(no_commit("unanswered=skip"), "here\n");
    let delivered: Value = serde_json::from_str(
        &world.succeed(
            &[
                &CONSUME[..],
                &[
                    "--json",
                    "--undecryptable",
                    "deliver",
                    "--no-commit",
                    "--count",
                    "1",
                ],
            ]
            .concat(),
        ),
    )
    .unwrap();
    assert_eq!(delivered["outcome"], "awaiting-key", "{delivered}");

    world.create("lost", 1);
    let dead_letters = [
        "--undecryptable",
        "unanswered=dead-letter:lost",
        "--count",
        "1",
    ];
    assert_eq!(
        world.succeed(&[&CONSUME[..], &dead_letters].concat()),
        "here\n"
    );
    assert_eq!(world.end_of("lost"), 1);
}

#[test]
fn a_held_partition_is_shown() {
    let world = World::new();
    let _carol = with_a_lost_record(&world);
    let mut bob = world.start(&CONSUME);
    bob.says("partition 0 of t is held at offset 0: ");
    let status = world.json(&["node", "status", "--node", "bob"]);
    let held = &status["running"]["held"][0];
    assert_eq!(held["topic"], "t");
    assert_eq!(
        (&held["partition"], &held["offset"]),
        (&Value::from(0), &Value::from(0))
    );
    let text = world.succeed(&["node", "status", "--node", "bob"]);
    assert!(
        text.contains("partition 0 of t has been held at offset 0 for "),
        "{text}"
    );
    bob.terminate();
    assert_eq!(bob.end(), 3);
}

#[test]
fn a_policy_that_is_not_known_is_refused_at_once() {
    let world = World::new();
    world.provision("consumer", "bob", &[]);
    for policies in [
        "drop",
        "late=skip",
        "dead-letter:",
        "foreign=dead-letter:a b",
    ] {
        world.fail(&[&CONSUME[..], &["--undecryptable", policies]].concat(), 2);
    }
    let both = ["--undecryptable", "skip", "--foreign", "skip"];
    world.fail(&[&CONSUME[..], &both].concat(), 2);
}

#[test]
fn a_parked_record_is_printed_when_its_producer_is_back() {
    let world = World::new();
    let _carol = with_a_lost_record(&world);
    let park = ["--undecryptable", "unanswered=park", "--count", "1"];
    let park = [&CONSUME[..], &park].concat();
    assert_eq!(world.succeed(&park), "here\n");
    assert_eq!(world.end_of("t.parked"), 1);
    let listed = world.succeed(&["topics", "list", "-b", &world.address]);
    assert!(
        listed.contains("t.parked  partitions 1  parked records of t"),
        "{listed}"
    );
    let refused = world.fail(&["produce", "t.parked", "--node", "alice", "in.txt"], 2);
    assert!(refused.contains("parked records of t"), "{refused}");

    let inspect = || world.succeed(&["inspect", "t", "-b", &world.address]);
    let waiting = "1 record parked for group bob: offsets 0 to 0";
    assert!(inspect().contains(waiting), "{}", inspect());

    let _alice = world.start(&["node", "serve", "--node", "alice"]);
    let json = [&park[..], &["--json"]].concat();
    let late: Value = serde_json::from_str(&world.succeed(&json)).unwrap();
    assert_eq!((&late["topic"], &late["offset"]), (&"t".into(), &0.into()));
    assert!(!inspect().contains("parked"), "{}", inspect());
}

#[test]
fn records_before_an_offset_are_left_out() {
    let world = World::new();
    let _carol = with_a_lost_record(&world);
    let skip = [&CONSUME[..5], &["--count", "1", "--skip-until"]].concat();
    assert_eq!(world.succeed(&[&skip[..], &["1"]].concat()), "here\n");
    for wrong in ["-1", "x", "1:", ":1", "-1:1"] {
        world.fail(&[&skip[..], &[wrong]].concat(), 2);
    }
    world.create("wide", 2);
    let wide = ["consume", "wide", "--node", "bob", "--skip-until", "1"];
    let refused = world.fail(&wide, 2);
    assert!(refused.contains("--skip-until PARTITION:1"), "{refused}");
}
