//! `kc fields`: check, filters, keys and the demonstration.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use crate::world::{Process, World, complaint, fail, succeed};

const RULES: &str = r#"
[[rule]]
topics = ["purchases"]
path = "$.card"
engine = "fpe"
key = "file:key.bin"
format = "card"
keep_last = 4

[[rule]]
topics = ["purchases"]
path = "$.name"
engine = "deterministic"
key = "file:key.bin"
"#;

/// The second line ends without a line feed, and between them is an empty record.
const PLAIN: &str = "{\"card\" : \"4111-1111-1111-1111\", \"total\":1.50, \"name\":\"ann\"}\r\n{}\n{\"name\":\"ann\"}";

fn filter(world: &World, args: &[&str], input: &str) -> String {
    world.write("in.json", input);
    let mut command = world.kc(args);
    let done = succeed(command.stdin(world.open("in.json")));
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn filters_keep_every_other_byte() {
    let world = World::new();
    world.write("rules.toml", RULES);
    world.succeed(&["fields", "key", "key.bin"]);
    let secret = filter(
        &world,
        &["fields", "encrypt", "--rules", "rules.toml"],
        PLAIN,
    );
    assert!(
        secret.starts_with("{\"card\" : \"")
            && secret.contains("-1111\", \"total\":1.50, \"name\":\"det:v1:")
    );
    assert!(
        !secret.contains("4111") && !secret.contains("ann") && secret.contains("\r\n{}\n"),
        "{secret}"
    );
    let names: Vec<_> = secret
        .split("\"name\":")
        .skip(1)
        .map(|rest| &rest[..30])
        .collect();
    assert_eq!(names[0], names[1]);
    let plain = filter(
        &world,
        &["fields", "decrypt", "--rules", "rules.toml"],
        &secret,
    );
    assert_eq!(plain, PLAIN);
}

#[test]
fn a_line_that_cannot_be_encrypted_ends_the_run_and_is_not_written() {
    let world = World::new();
    world.write("rules.toml", RULES);
    world.succeed(&["fields", "key", "key.bin"]);
    for bad in [
        "{\"card\":\"4111\"}",
        "{\"card\":4111111111111111}",
        "{\"card\"",
        "{\"name\":1,\"name\":2}",
    ] {
        world.write(
            "in.json",
            format!("{{\"name\":\"ann\"}}\n{bad}\n{{\"name\":\"bob\"}}\n"),
        );
        let mut command = world.kc(&["fields", "encrypt", "--rules", "rules.toml"]);
        let output = command.stdin(world.open("in.json")).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let (out, err) = (
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        );
        assert_eq!(out.lines().count(), 1, "{out}");
        assert!(
            complaint(&err).contains("line 2: ") && err.contains("advice: "),
            "{err}"
        );
        assert!(!err.contains("4111"), "{err}");
    }
}

#[test]
fn rules_are_checked_with_line_and_path() {
    let world = World::new();
    world.write("rules.toml", "[[rule]]\npath = \"$.a\"\nengine = \"ff3\"\n");
    let stderr = world.fail(&["fields", "check", "rules.toml"], 2);
    assert!(
        complaint(&stderr).contains("rules.toml:3: rule $.a: FF3 is broken"),
        "{stderr}"
    );

    world.write("rules.toml", RULES);
    let stderr = world.fail(&["fields", "encrypt", "--rules", "rules.toml"], 1);
    assert!(
        stderr.contains("key.bin: the file does not exist") && stderr.contains("kc fields key"),
        "{stderr}"
    );
    let checked = world.json(&["fields", "check", "rules.toml"]);
    assert_eq!(checked["rules"][1]["path"], "$.name");
    assert_eq!(checked["warnings"].as_array().unwrap().len(), 2);
}

#[test]
fn a_sample_is_shown_before_and_after_without_a_node() {
    let world = World::new();
    let rules = "[[rule]]\npath = \"$.a\"\nengine = \"kc\"\nkey_topic = \"t--a\"\n";
    world.write("rules.toml", rules);
    world.write("sample.json", "{\"a\":1, \"b\":2}\n");
    world.fail(&["fields", "check", "rules.toml", "sample.json"], 2);
    let shown = world.succeed(&[
        "fields",
        "check",
        "rules.toml",
        "sample.json",
        "--topic",
        "t",
    ]);
    assert!(
        shown.ends_with("before {\"a\":1, \"b\":2}\nafter  {\"a\":\"<kc t--a>\", \"b\":2}\n"),
        "{shown}"
    );
}

#[test]
fn a_key_file_is_never_replaced() {
    let world = World::new();
    world.succeed(&["fields", "key", "key.bin"]);
    let key = world.read("key.bin");
    let stderr = world.fail(&["fields", "key", "key.bin"], 1);
    assert!(stderr.contains("exists already"), "{stderr}");
    assert_eq!(world.read("key.bin"), key);
}

#[test]
fn tokens_move_to_the_newest_key() {
    let world = World::new();
    let rule = "[[rule]]\ntopics = [\"t\"]\npath = \"$.a\"\nengine = \"deterministic\"\nkey = \"file:1.bin\"\n";
    world.write("rules.toml", rule);
    world.succeed(&["fields", "key", "1.bin"]);
    world.succeed(&["fields", "key", "2.bin"]);
    let old = filter(
        &world,
        &["fields", "encrypt", "--rules", "rules.toml"],
        "{\"a\":\"ann\"}\n",
    );
    let previous = "version = 2\nprevious = [{ version = 1, key = \"file:1.bin\" }]\n";
    world.write("rules.toml", rule.replace("1.bin", "2.bin") + previous);
    let new = filter(&world, &["fields", "rewrap", "--rules", "rules.toml"], &old);
    assert!(new.starts_with("{\"a\":\"det:v2:"), "{new}");
    let plain = filter(
        &world,
        &["fields", "decrypt", "--rules", "rules.toml"],
        &new,
    );
    assert_eq!(plain, "{\"a\":\"ann\"}\n");
}

#[test]
fn nodes_exchange_the_data_keys_of_fields() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    world.provision(
        "consumer",
        "bob",
        &["--topics", "purchases,purchases--address"],
    );
    let rule = |field: &str| {
        format!(
            "[[rule]]\ntopics = [\"purchases\"]\npath = \"$.{field}\"\nengine = \"kc\"\nkey_topic = \"purchases--{field}\"\n\
             bind = \"$.id\"\n"
        )
    };
    world.write("write.toml", rule("address") + &rule("phone"));
    world.write(
        "read.toml",
        rule("address") + "on_missing_key = \"hold\"\n" + &rule("phone"),
    );
    let record = "{\"id\":7,\"address\":\"1 Main Street\",\"phone\":\"555\"}\n";
    world.write("in.json", record);
    let encrypt = [
        "fields",
        "encrypt",
        "--rules",
        "write.toml",
        "--node",
        "alice",
    ];
    let out = std::fs::File::create(world.path("secret.json")).unwrap();
    let mut encrypting = world.kc(&encrypt);
    let mut alice = Process::spawn(
        encrypting
            .stdin(world.open("in.json"))
            .stdout(Stdio::from(out)),
    );
    alice.says("encrypted 2 fields in 1 record");
    let secret = String::from_utf8(world.read("secret.json")).unwrap();
    assert!(!secret.contains("Main"), "{secret}");
    let plain = filter(
        &world,
        &["fields", "decrypt", "--rules", "read.toml", "--node", "bob"],
        &secret,
    );
    assert!(
        plain.contains("\"address\":\"1 Main Street\"") && !plain.contains("555"),
        "{plain}"
    );

    let moved = secret.replace("\"id\":7", "\"id\":8");
    world.write("moved.json", &moved);
    let mut decrypting = world.kc(&["fields", "decrypt", "--rules", "read.toml", "--node", "bob"]);
    let stderr = fail(decrypting.stdin(world.open("moved.json")), 1);
    assert!(
        complaint(&stderr).contains("line 1: $.address: the token does not belong here"),
        "{stderr}"
    );
    alice.terminate();
    assert_eq!(alice.end(), 0);
}

#[test]
fn a_consumer_that_is_denied_at_run_time_reads_no_later_fields() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    for node in ["bob", "carol"] {
        world.provision(
            "consumer",
            node,
            &["--topics", "purchases,purchases--address"],
        );
    }
    let rules = "[[rule]]\ntopics = [\"purchases\"]\npath = \"$.address\"\nengine = \"kc\"\nkey_topic = \"purchases--address\"\n\
                 on_missing_key = \"hold\"\n";
    world.write("rules.toml", rules);
    let mut encrypting = world.kc(&[
        "fields",
        "encrypt",
        "--rules",
        "rules.toml",
        "--node",
        "alice",
    ]);
    let mut alice = Process::spawn(encrypting.stdin(Stdio::piped()).stdout(Stdio::piped()));
    let mut input = alice.child.stdin.take().unwrap();
    let mut output = BufReader::new(alice.child.stdout.take().unwrap());
    let mut encrypt = || {
        input
            .write_all(b"{\"address\":\"1 Main Street\"}\n")
            .unwrap();
        let mut secret = String::new();
        output.read_line(&mut secret).unwrap();
        secret
    };
    let decrypt = |node| ["fields", "decrypt", "--rules", "rules.toml", "--node", node];
    let before = encrypt();
    for node in ["bob", "carol"] {
        assert!(
            filter(&world, &decrypt(node), &before).contains("1 Main Street"),
            "{node}"
        );
    }

    world.succeed(&[
        "trust",
        "deny",
        "--of",
        "bob",
        "--publish",
        "--node",
        "carol",
    ]);
    alice.says("was added to the denylist");
    // The id of the data key is in the first 43 characters of a token. The denial brings a new data key.
    let id = |secret: &str| secret[..secret.len().min(12 + 43)].to_owned();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let after = loop {
        let after = encrypt();
        if id(&after) != id(&before) {
            break after;
        }
        assert!(
            std::time::Instant::now() < end,
            "the data key stays the same"
        );
    };
    assert!(filter(&world, &decrypt("carol"), &after).contains("1 Main Street"));
    world.write("in.json", &after);
    let mut denied = world.kc(&decrypt("bob"));
    let mut denied = Process::spawn(
        denied
            .args(["--patience", "2s"])
            .stdin(world.open("in.json"))
            .stdout(Stdio::piped()),
    );
    assert_eq!((denied.output(), denied.end()), (String::new(), 3));
    drop(input);
    alice.says("encrypted");
    alice.terminate();
    assert_eq!(alice.end(), 0);
}

#[test]
fn the_demonstration_shows_who_reads_which_field() {
    let world = World::new();
    let shown = world.succeed(&["fields", "demo", "--records", "20"]);
    for text in [
        "The broker stores",
        "The post reads",
        "The support reads",
        "records/s",
    ] {
        assert!(shown.contains(text), "{shown}");
    }
}

const TOKENS: &str =
    "[[rule]]\npath = \"$.name\"\nengine = \"deterministic\"\nkey = \"file:key.bin\"\n";

/// A world with three records in two partitions of `plain`, and an empty topic `secret`.
fn world_with_topics() -> World {
    let world = World::new();
    world.provision("prodcon", "alice", &[]);
    world.write("rules.toml", TOKENS);
    world.succeed(&["fields", "key", "key.bin"]);
    for topic in ["plain", "secret", "readable", "dead"] {
        world.create(topic, 2);
    }
    world.send_to("plain", 0, "{\"name\":\"ann\", \"n\":1.0}");
    world.send_to("plain", 1, "{\"name\":\"bob\"}");
    world.send_to("plain", 0, "{\"name\":\"cid\"}");
    world
}

/// Returns partition and value of the records in a topic.
fn raw(world: &World, topic: &str, count: &str) -> Vec<(i64, String)> {
    let args = [
        "consume",
        topic,
        "--raw",
        "-b",
        &world.address,
        "--count",
        count,
        "--json",
        "--value",
        "text",
    ];
    let printed = world.succeed(&args);
    let lines = printed
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut records: Vec<_> = lines
        .map(|line| {
            (
                line["partition"].as_i64().unwrap(),
                line["value"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    // The partitions are read in any order, the records of each in theirs.
    records.sort_by_key(|(partition, _)| *partition);
    records
}

const TRANSFORM: [&str; 9] = [
    "fields",
    "transform",
    "--node",
    "alice",
    "--rules",
    "rules.toml",
    "--from-beginning",
    "--count",
    "3",
];

#[test]
fn a_topic_is_transformed_and_back() {
    let world = world_with_topics();
    let to_secret = [&TRANSFORM[..], &["--from", "plain", "--to", "secret"]].concat();
    world.succeed(&to_secret);
    let secret = raw(&world, "secret", "3");
    assert_eq!(
        secret
            .iter()
            .map(|(partition, _)| *partition)
            .collect::<Vec<_>>(),
        [0, 0, 1]
    );
    assert!(
        secret.iter().all(|(_, value)| value.contains("det:v1:")),
        "{secret:?}"
    );
    assert!(secret[0].1.ends_with(", \"n\":1.0}"), "{secret:?}");
    let back = [
        &TRANSFORM[..],
        &[
            "--from",
            "secret",
            "--to",
            "readable",
            "--topic",
            "secret",
            "--decrypt",
        ],
    ]
    .concat();
    world.succeed(&back);
    assert_eq!(raw(&world, "readable", "3"), raw(&world, "plain", "3"));
    world.send_to("plain", 1, "{\"name\":\"dan\"}");
    let mut next = to_secret.clone();
    next[8] = "1";
    world.succeed(&next);
    assert_eq!(world.end_of_partitions("secret"), 4);
}

/// A process that is killed loses no record: the next one begins behind the last committed position.
#[test]
fn a_killed_transform_loses_no_record() {
    const RECORDS: usize = 400;
    let world = World::new();
    world.provision("prodcon", "alice", &[]);
    world.write("rules.toml", TOKENS);
    world.succeed(&["fields", "key", "key.bin"]);
    for topic in ["plain", "secret"] {
        world.create(topic, 1);
    }
    let records: Vec<String> = (0..RECORDS)
        .map(|number| format!("{{\"name\":\"{number}\"}}"))
        .collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    world.send_plain("plain", 0, &records[..RECORDS / 2]);
    let run = [
        &TRANSFORM[..7],
        &[
            "--from",
            "plain",
            "--to",
            "secret",
            "-X",
            "session_timeout_ms=2000",
            "-X",
            "heartbeat_interval_ms=500",
        ],
    ]
    .concat();
    let mut killed = world.start(&run);
    killed.says("at least once");
    while world.end_of("secret") == 0 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    world.send_plain("plain", 0, &records[RECORDS / 2..]);
    let mut next = world.start(&run);
    let tokens = loop {
        let count = world.end_of("secret");
        if count >= RECORDS {
            let tokens: std::collections::BTreeSet<_> = raw(&world, "secret", &count.to_string())
                .into_iter()
                .collect();
            if tokens.len() == RECORDS {
                break tokens;
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    };
    assert_eq!(tokens.len(), RECORDS);
    next.terminate();
    assert_eq!(next.end(), 0);
}

/// Nothing is written while a data key is missing, and the run goes on when it comes.
#[test]
fn a_transform_waits_for_a_data_key() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    world.provision("prodcon", "bob", &[]);
    let rules = "[[rule]]\ntopics = [\"secret\"]\npath = \"$.a\"\nengine = \"kc\"\nkey_topic = \"secret--a\"\n\
                 on_missing_key = \"hold\"\n";
    world.write("rules.toml", rules);
    let encrypt = [
        "fields",
        "encrypt",
        "--rules",
        "rules.toml",
        "--node",
        "alice",
        "--exit-after",
        "0s",
    ];
    let secret = filter(&world, &encrypt, "{\"a\":\"ann\"}");
    world.create("secret", 1);
    world.create("readable", 1);
    world.send_plain("secret", 0, &[&secret, "{\"b\":1}"]);
    let mut bob = world.start(&[
        "fields",
        "transform",
        "--rules",
        "rules.toml",
        "--node",
        "bob",
        "--from",
        "secret",
        "--to",
        "readable",
        "--decrypt",
        "--from-beginning",
        "--count",
        "2",
        "--patience",
        "200ms",
    ]);
    bob.says("waiting: $.a: key topic secret--a");
    assert_eq!(world.end_of("readable"), 0);
    let alice = world.start(&["node", "serve", "--node", "alice"]);
    bob.says("transformed 2 records with 1 field");
    assert_eq!(bob.end(), 0);
    let values: Vec<_> = raw(&world, "readable", "2")
        .into_iter()
        .map(|(_, value)| value)
        .collect();
    assert_eq!(values, ["{\"a\":\"ann\"}", "{\"b\":1}"]);
    alice.terminate();
}

#[test]
fn a_record_that_cannot_be_transformed_ends_the_run_or_goes_to_the_dead_letters() {
    let world = world_with_topics();
    world.send_to("plain", 0, "no JSON");
    let mut run = [&TRANSFORM[..], &["--from", "plain", "--to", "secret"]].concat();
    run[8] = "4";
    let stderr = world.fail(&run, 1);
    assert!(
        complaint(&stderr).contains("plain, partition 0, offset 2: the record is not JSON"),
        "{stderr}"
    );
    let sent = world.end_of_partitions("secret");
    assert!((2..=3).contains(&sent), "{sent}");
    let left = (4 - sent).to_string();
    run[8] = &left;
    let stderr = succeed(&mut world.kc(&[&run[..], &["--dead-letter", "dead"]].concat())).stderr;
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(
        stderr.contains("1 record to the dead-letter topic"),
        "{stderr}"
    );
    assert_eq!(raw(&world, "dead", "1")[0].1, "no JSON");
    assert_eq!(world.end_of_partitions("secret"), 3);
}
