//! Options of `kc produce`, `kc consume` and `kc topics` that users of other Kafka tools know.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::World;

/// End after the last acknowledgement.
const AT_ONCE: [&str; 2] = ["--exit-after", "0s"];

fn lines(text: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap();
    text.lines().map(parse).collect()
}

fn world() -> World {
    let world = World::new();
    world.provision("prodcon", "alice", &[]);
    world.provision("consumer", "bob", &[]);
    world
}

#[test]
fn what_json_output_shows_json_input_sends_again() {
    let world = world();
    world.write("in.txt", "a|1\nNULL|2\nb|NULL\nplain\n");
    let text = [
        "produce",
        "t.text",
        "--node",
        "alice",
        "in.txt",
        "--key-separator",
        "|",
        "--null-marker",
        "NULL",
        "--header",
        "unit=celsius",
    ];
    let mut alice = world.start(&text);
    alice.says("sent 4 records");
    let consume = |topic: &str, more: &[&str]| {
        let args = [
            "consume",
            topic,
            "--node",
            "bob",
            "--from-beginning",
            "--until-end",
            "--json",
        ];
        world.succeed(&[&args[..], more].concat())
    };
    let first = consume("t.text", &["--value", "text"]);
    let parts = |records: Vec<Value>| -> Vec<Value> {
        let part = |record: Value| json!([record["key"], record["value"], record["headers"]]);
        records.into_iter().map(part).collect()
    };
    let headers = json!([{"name": "unit", "value": "Y2Vsc2l1cw=="}]);
    let expected = vec![
        json!(["a", "1", headers]),
        json!([null, "2", headers]),
        json!(["b", null, headers]),
        json!([null, "plain", headers]),
    ];
    assert_eq!(parts(lines(&first)), expected);
    alice.terminate();
    alice.end();

    world.write("in.json", first);
    let json = [
        "produce", "t.json", "--node", "alice", "--format", "json", "--value", "text", "in.json",
    ];
    let mut alice = world.start(&json);
    alice.says("sent 4 records");
    let second = consume("t.json", &["--value", "text"]);
    assert_eq!(parts(lines(&second)), expected);
    // Everything is committed.
    assert_eq!(consume("t.json", &[]), "");
    alice.terminate();
    alice.end();

    world.write("in.json", "{\"value\":\"eA==\"}\nno json\n");
    let wrong = [
        "produce", "t.json", "--node", "alice", "--format", "json", "in.json",
    ];
    let stderr = world.fail(&[&wrong[..], &AT_ONCE].concat(), 1);
    assert!(stderr.contains("line 2 of in.json"), "{stderr}");
    assert!(stderr.contains("sent 1 records"), "{stderr}");
}

#[test]
fn a_line_that_is_too_large_for_kc_is_named_skipped_or_described_elsewhere() {
    let (stderr, sent) = too_large("max_request_size=2000", 3000);
    assert!(stderr.contains("sent 1 records"), "{stderr}");
    assert_eq!(sent, 5);
}

#[test]
fn a_line_that_is_too_large_for_the_broker_is_named_skipped_or_described_elsewhere() {
    let (stderr, sent) = too_large("max_request_size=9000000", 2_000_000);
    // Before the broker refuses the second line, the run that fails may have sent the last one.
    let of_failed = sent.checked_sub(4).unwrap();
    assert!(matches!(of_failed, 1 | 2), "{stderr}");
    assert!(
        stderr.contains(&format!("sent {of_failed} records")),
        "{stderr}"
    );
}

/// Sends three lines, of which the second has `length` bytes, with a setting: once with each policy. Returns the standard
/// error of the run that fails, and the number of records that all runs have sent.
fn too_large(setting: &str, length: usize) -> (String, usize) {
    let world = world();
    world.succeed(&["topics", "create", "t", "letters", "-b", &world.address]);
    let large = "x".repeat(length);
    world.write("in.txt", format!("k|small\nk|{large}\nk|last\n"));
    let produce = [
        "produce",
        "t",
        "--node",
        "alice",
        "in.txt",
        "--key-separator",
        "|",
        "-X",
        setting,
        "--on-too-large",
    ];
    let with = |policy| [&produce[..], &[policy], &AT_ONCE].concat();
    let stderr = world.fail(&with("fail"), 4);
    assert!(stderr.contains("line 2: "), "{stderr}");

    for (policy, summary) in [
        ("skip", "1 record too large: left out"),
        (
            "dead-letter:letters",
            "1 record too large: described in letters",
        ),
    ] {
        let mut alice = world.start(&with(policy));
        alice.says("line 2 not sent: ");
        alice.says("sent 2 records");
        alice.says(summary);
        assert_eq!(alice.end(), 0);
    }
    let raw = [
        "consume",
        "--raw",
        "-b",
        &world.address,
        "--until-end",
        "--json",
    ];
    let sent = lines(&world.succeed(&[&raw[..], &["t"]].concat()));
    let letters = lines(&world.succeed(&[&raw[..], &["letters"]].concat()));
    assert_eq!(letters.len(), 1);
    assert!(letters[0]["key"].is_string() && letters[0]["value"].is_string());
    (stderr, sent.len())
}

#[test]
fn until_end_ends_at_the_end_of_each_partition_and_of_empty_topics() {
    let world = world();
    let create = ["topics", "create", "t.many", "--partitions", "3"];
    world.succeed(&[&create[..], &["-b", &world.address]].concat());
    let consume = ["consume", "t.many", "--node", "bob", "--until-end"];
    let from_beginning = [&consume[..], &["--from-beginning"]].concat();
    let start = Instant::now();
    assert_eq!(world.succeed(&from_beginning), "");
    world.write("in.txt", "k1|1\nk2|2\nk3|3\nk4|4\nk5|5\nk6|6\n");
    let produce = ["produce", "t.many", "--node", "alice", "in.txt"];
    let alice = world.start(&[&produce[..], &["--key-separator", "|"]].concat());
    alice.says("sent 6 records");
    let sorted = |text: String| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let all = ["1", "2", "3", "4", "5", "6"];
    assert_eq!(sorted(world.succeed(&from_beginning)), all);
    assert_eq!(world.succeed(&from_beginning), "", "all are committed");
    let another = [&consume[..], &["--group", "another"]].concat();
    assert_eq!(world.succeed(&another), "", "it starts at the end");
    // The end is known from the offsets, not by waiting.
    assert!(start.elapsed() < Duration::from_secs(50));
}

#[test]
fn one_partition_is_read_from_any_offset_without_a_group() {
    let world = world();
    let create = ["topics", "create", "t.many", "--partitions", "2"];
    world.succeed(&[&create[..], &["-b", &world.address]].concat());
    let produce = ["produce", "t.many", "--node", "alice", "--partition"];
    world.write("in.txt", "a\nb\nc\n");
    world.succeed(&[&produce[..], &["0", "in.txt"], &AT_ONCE].concat());
    world.write("in.txt", "x\ny\n");
    let alice = world.start(&[&produce[..], &["1", "in.txt"]].concat());
    alice.says("sent 2 records");
    let consume = ["consume", "t.many", "--until-end"];
    for (options, text) in [
        (&["--partition", "0"][..], "a\nb\nc\n"),
        (&["--partition", "0", "--offset", "1"], "b\nc\n"),
        (&["--partition", "1", "--offset", "-1"], "y\n"),
        (&["--partition", "1", "--offset", "beginning"], "x\ny\n"),
        (&["--partition", "1", "--offset", "end"], ""),
        (&["--partition", "1", "--offset", "99"], ""),
    ] {
        let sealed = [&consume[..], &["--node", "bob"], options].concat();
        // No position is committed, so that each run reads the same.
        for _ in 0..2 {
            assert_eq!(world.succeed(&sealed), text, "{options:?}");
        }
        let raw = [
            &consume[..],
            &["--raw", "-b", &world.address, "--json"],
            options,
        ]
        .concat();
        let seen = lines(&world.succeed(&raw)).len();
        assert_eq!(seen, text.lines().count(), "{options:?}");
    }
    let last = [&consume[..], &["--node", "bob", "--offset", "-1"]].concat();
    let mut each: Vec<String> = world.succeed(&last).lines().map(str::to_owned).collect();
    each.sort();
    assert_eq!(each, ["c", "y"]);
    world.fail(
        &[&consume[..], &["--node", "bob", "--partition", "2"]].concat(),
        4,
    );
    let regex = ["consume", "^t", "--node", "bob", "--partition", "0"];
    world.fail(&regex, 2);
}

#[test]
fn topics_are_listed_with_their_purpose() {
    let world = world();
    let create = ["topics", "create", "a.b", "chains", "--partitions", "2"];
    world.succeed(&[&create[..], &["-b", &world.address]].concat());
    let list = ["topics", "list", "-b", &world.address];
    let text = world.succeed(&list);
    assert!(text.contains("a.b  partitions 2  data of a\n"), "{text}");
    assert!(
        text.contains("chains  partitions 1  management\n"),
        "{text}"
    );
    let listed = lines(&world.succeed(&[&list[..], &["--json"]].concat()));
    let of = |topic: &str| listed.iter().find(|it| it["topic"] == topic).unwrap();
    assert_eq!(
        *of("a.reqs"),
        json!({"topic": "a.reqs", "partitions": 1, "purpose": "requests", "root_topic": "a"})
    );
}

#[test]
fn a_broker_that_never_answers_is_one_error() {
    let world = world();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let consume = ["consume", "t", "--node", "bob", "-b", &address];
    let stderr = world.fail(
        &[&consume[..], &["-X", "request_timeout_ms=2000"]].concat(),
        4,
    );
    let errors = stderr.lines().filter(|line| line.contains(&address));
    assert_eq!(errors.count(), 1, "{stderr}");
}
