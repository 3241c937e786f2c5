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
