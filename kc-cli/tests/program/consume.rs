use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::world::{CONSUME_ONE, PRODUCE_ALL, Process, World, complaint, succeed};

#[test]
fn the_broker_holds_none_of_the_lines() {
    let world = World::with_broker(&["--partitions", "3"]);
    world.provision("producer", "alice", &[]);
    let lines: Vec<String> = (0..90)
        .map(|n| format!("a line to be found, {n}"))
        .collect();
    world.write("in.txt", lines.join("\n"));
    world.succeed(&PRODUCE_ALL);
    let raw = |count: &str| {
        let mut command = world.kc(&[
            "consume",
            "t",
            "--raw",
            "-b",
            &world.address,
            "--count",
            count,
        ]);
        succeed(&mut command).stdout
    };
    let found = |raw: &[u8]| {
        let holds = |line: &&String| raw.windows(line.len()).any(|part| part == line.as_bytes());
        lines.iter().filter(holds).count()
    };
    assert_eq!(found(&raw("90")), 0);

    let plain: Vec<&str> = lines.iter().map(String::as_str).collect();
    world.send_plain("t", 0, &plain);
    // Nothing was committed, so this run reads all records of all partitions again.
    assert_eq!(found(&raw("180")), 90);
}

#[test]
fn what_nobody_sealed_is_not_passed_off_as_sealed() {
    let world = World::new();
    world.provision("prodcon", "alice", &[]);
    world.provision("consumer", "bob", &[]);
    world.write("in.txt", "sealed\n");
    let _alice = world.start(&["produce", "t", "--node", "alice", "in.txt"]);
    let consume = |group: &'static str, count, more: &[&'static str]| {
        let mut args = vec!["consume", "t", "--node", "bob", "--from-beginning"];
        args.extend(["--group", group, "--count", count]);
        args.extend(more);
        args
    };
    assert_eq!(world.succeed(&consume("g", "1", &[])), "sealed\n");
    world.send_plain("t", 0, &["slipped in"]);

    let stderr = world.fail(&consume("g", "1", &[]), 1);
    assert!(
        complaint(&stderr).contains("t[0] offset 1: the message is not sealed"),
        "{stderr}"
    );
    let stderr = world.fail(
        &consume("g", "1", &["--foreign", "skip", "--timeout", "5s"]),
        3,
    );
    assert!(
        stderr.contains("stopped after 5s (--timeout): received 0 of 1 record of t"),
        "{stderr}"
    );
    let delivered = world.succeed(&consume("h", "2", &["--foreign", "deliver", "--json"]));
    let outcomes = delivered.lines().map(|line| {
        let record: Value = serde_json::from_str(line).unwrap();
        record["outcome"].as_str().unwrap().to_owned()
    });
    assert_eq!(outcomes.collect::<Vec<_>>(), ["plaintext", "foreign"]);
}

#[test]
fn a_consumer_of_another_root_is_told_so_and_goes_on() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    let root = world.provision_under("another", "consumer", "eve", &[]);
    world.write("in.txt", "secret\n");
    let mut alice = world.start(&["produce", "t", "--node", "alice", "in.txt"]);
    alice.says("sent 1 records");
    let args = [
        "consume",
        "t",
        "--node",
        "eve",
        "--from-beginning",
        "--timeout",
        "15s",
    ];
    let mut eve = world.start(&args);
    eve.says(
        "no node has answered the requests on t.reqs and t.subs for a data key of root topic t",
    );
    eve.says(&root);
    alice.says("check=C04");
    eve.says("no producer has answered yet, and 1 record of t cannot be opened");
    eve.says("(--timeout): received 0 records of t; 1 more without data keys");
    eve.says(
        "advice: The keys are requested on t.reqs and t.subs, because the root topic of t is t",
    );
    assert_eq!(eve.end(), 3);
    assert!(
        alice.child.try_wait().unwrap().is_none(),
        "the producer stays up"
    );
}

#[test]
fn a_consumer_that_starts_first_gets_the_first_record() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    world.provision("consumer", "bob", &[]);
    let mut bob = world.kc(&["-v", "consume", "t", "--node", "bob", "--count", "1"]);
    let mut bob = Process::spawn(bob.stdout(Stdio::piped()));
    bob.says("the consumer reads t");
    world.write("in.txt", "first\n");
    let _alice = world.start(&["produce", "t", "--node", "alice", "in.txt"]);
    assert_eq!(bob.output(), "first\n");
    assert_eq!(bob.end(), 0);
}

#[test]
fn what_could_not_be_printed_comes_again() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    world.provision("consumer", "bob", &[]);
    world.write("in.txt", "a\nb\n");
    let args = ["consume", "t", "--node", "bob", "--from-beginning"];
    let mut bob = Process::spawn(world.kc(&args).stdout(Stdio::piped()));
    drop(bob.child.stdout.take());
    let _alice = world.start(&["produce", "t", "--node", "alice", "in.txt"]);
    assert_eq!(bob.end(), 0);
    let again = [&args[..], &["--count", "2"]].concat();
    assert_eq!(world.succeed(&again), "a\nb\n");
}

#[test]
fn stopping_with_records_that_wait_is_told() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    world.provision("consumer", "bob", &[]);
    world.write("in.txt", "a\nb\n");
    world.succeed(&PRODUCE_ALL);
    let mut bob = world.start(&["consume", "t", "--node", "bob", "--from-beginning"]);
    bob.says("no node has answered the requests");
    bob.terminate();
    bob.says("the data keys of 2 records of t have not arrived");
    assert_eq!(bob.end(), 3);
}

#[test]
fn what_waited_for_its_key_comes_to_the_next_run_even_without_from_beginning() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    world.provision("consumer", "bob", &[]);
    let lines: String = (0..10).map(|n| format!("{n}\n")).collect();
    world.write("in.txt", &lines);
    world.succeed(&["topics", "create", "there", "-b", &world.address]);
    for topic in ["there", "later"] {
        let consume = ["-v", "consume", topic, "--node", "bob"];
        let mut bob = world.start(&consume);
        bob.says(&format!("the consumer reads {topic}"));
        let produce = ["produce", topic, "--node", "alice"];
        let mut produce = world.kc(&[&produce[..], &["--exit-after", "0s", "in.txt"]].concat());
        // Alice must not answer while she produces, so she listens on a side topic that no node sends to.
        produce.env("KC_CONFIG__NODE__TOPIC_SUFFIX_REQS", ".nobody");
        succeed(&mut produce);
        bob.says("no node has answered the requests");
        bob.terminate();
        bob.says("the next run receives these records again");
        assert_eq!(bob.end(), 3);

        let _alice = world.start(&["node", "serve", "--node", "alice"]);
        let again = [&consume[..], &["--count", "10", "--timeout", "30s"]].concat();
        assert_eq!(world.succeed(&again), lines, "{topic}");
    }
}

#[test]
fn an_outage_does_not_hold_up_the_end_of_a_run() {
    let mut world = World::new();
    world.provision("producer", "alice", &[]);
    world.provision("consumer", "bob", &[]);
    world.write("in.txt", "a\n");
    let _alice = world.start(&["produce", "t", "--node", "alice", "in.txt"]);
    let args = ["consume", "t", "--node", "bob", "--from-beginning"];
    let args = [&args[..], &["--timeout", "10s"]].concat();
    let mut bob = Process::spawn(world.kc(&args).stdout(Stdio::piped()));
    let mut line = String::new();
    let mut stdout = BufReader::new(bob.child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "a\n");
    // The record's position cannot be committed, neither during the run nor at its end, and the program reports that.
    let outage = Instant::now();
    world.kill_broker();
    assert_eq!(bob.end(), 4);
    let took = outage.elapsed();
    assert!(took < Duration::from_secs(10 + 30 + 10), "{took:?}");
}

#[test]
fn a_control_topic_with_records_in_several_partitions_is_warned_of() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    world.create("t.reqs", 6);
    world.send_plain("t.reqs", 0, &["junk"]);
    world.send_plain("t.reqs", 5, &["junk"]);
    world.write("in.txt", "a\n");
    let alice = world.start(&["-v", "produce", "t", "--node", "alice", "in.txt"]);
    let warning = alice.says("control topic has records in several partitions");
    assert!(warning.contains("t.reqs"), "{warning}");
}

#[test]
fn the_loss_and_the_return_of_the_broker_are_reported() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    world.provision("consumer", "bob", &[]);
    let mut alice = world.kc(&["produce", "t", "--node", "alice"]);
    let mut alice = Process::spawn(alice.stdin(Stdio::piped()));
    let mut lines = alice.child.stdin.take().unwrap();
    lines.write_all(b"a\n").unwrap();
    let raw = ["consume", "t", "--raw", "-b", &world.address];
    let bob = ["consume", "t", "--node", "bob", "--from-beginning"];
    let readers = [&bob[..], &raw[..]].map(|args| {
        let mut reader = Process::spawn(world.kc(args).stdout(Stdio::piped()));
        let mut stdout = BufReader::new(reader.child.stdout.take().unwrap());
        stdout.read_until(b'\n', &mut Vec::new()).unwrap();
        (reader, stdout)
    });
    world.signal_broker("STOP");
    lines.write_all(b"b\n").unwrap();
    let lost = format!("lost broker {}: ", world.address);
    for (reader, _) in &readers {
        reader.says(&lost);
    }
    let said = alice.hear("1 record queued");
    if !said.iter().any(|line| line.contains(&lost)) {
        alice.says(&lost);
    }
    world.signal_broker("CONT");
    for reader in readers.iter().map(|(reader, _)| reader).chain([&alice]) {
        reader.says("back after ");
    }
    let [(_bob, mut stdout), _] = readers;
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "b\n");
}

/// Sends numbered lines.
fn produce(world: &World, lines: usize) {
    world.provision("producer", "alice", &[]);
    world.provision("consumer", "bob", &[]);
    let text: String = (0..lines).map(|n| format!("line {n}\n")).collect();
    world.write("in.txt", text);
}

#[test]
fn a_reader_that_ends_early_leaves_the_rest_for_the_next_run() {
    const LINES: usize = 2000;
    let world = World::new();
    produce(&world, LINES);
    let _alice = world.start(&["produce", "t", "--node", "alice", "in.txt"]);
    let args = ["consume", "t", "--node", "bob", "--from-beginning"];
    let mut bob = Process::spawn(world.kc(&args).stdout(Stdio::piped()));
    let mut stdout = BufReader::with_capacity(32, bob.child.stdout.take().unwrap());
    for n in 0..3 {
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, format!("line {n}\n"));
    }
    // All other records are in the pipe, and its reader is gone.
    let all = std::fs::metadata(world.path("in.txt")).unwrap().len();
    let since = Instant::now();
    while rustix::io::ioctl_fionread(stdout.get_ref()).unwrap() < all - 64 {
        assert!(since.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(stdout);
    assert_eq!(bob.end(), 0);
    let next = [&args[..], &["--count", "1", "--timeout", "30s"]].concat();
    let next = world.succeed(&next);
    let next: usize = next.trim().strip_prefix("line ").unwrap().parse().unwrap();
    // Records in the buffer of the reader count as taken.
    assert!(next <= 3 + 32 / 7 + 1, "{next} were committed");
}

#[test]
fn nothing_is_committed_if_nothing_is_to_be() {
    const LINES: usize = 20;
    let world = World::new();
    produce(&world, LINES);
    let _alice = world.start(&["produce", "t", "--node", "alice", "in.txt"]);
    let args = ["consume", "t", "--node", "bob", "--from-beginning"];
    let args = [&args[..], &["--count", "5"]].concat();
    let looked = world.succeed(&[&args[..], &["--no-commit"]].concat());
    assert_eq!(looked.lines().last(), Some("line 4"));
    assert_eq!(world.succeed(&args), looked);
    let next = world.succeed(&args);
    assert_eq!(next.lines().next(), Some("line 5"));
}

#[test]
fn a_reader_that_is_slow_gets_each_record_once() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    world.provision("consumer", "bob", &[]);
    // Lines that are so long that a pipe holds only a few.
    let filling = "x".repeat(20_000);
    let mut alice = world.kc(&["produce", "t", "--node", "alice"]);
    let mut alice = Process::spawn(alice.stdin(Stdio::piped()));
    let mut lines = alice.child.stdin.take().unwrap();
    let mut sent = 0..;
    let mut send = || writeln!(lines, "{} {filling}", sent.next().unwrap()).unwrap();
    (0..12).for_each(|_| send());
    let consumed = ["consume", "t", "--node", "bob", "--from-beginning"];
    let raw = ["consume", "t", "--raw", "-b", &world.address];
    let raw_of_group = ["consume", "^t$", "--raw", "-b", &world.address];
    let offsets = ["--format", "%o %v", "--value", "base64"];
    let settings = [
        "-X",
        "max_poll_interval_ms=1000",
        "-X",
        "heartbeat_interval_ms=100",
    ];
    for (args, format, lines) in [
        (&consumed[..], &[][..], 12),
        (&raw, &offsets, 13),
        (&raw_of_group, &offsets, 14),
    ] {
        let args = [args, &settings, format].concat();
        let mut bob = Process::spawn(world.kc(&args).stdout(Stdio::piped()));
        let stdout = BufReader::with_capacity(1024, bob.child.stdout.take().unwrap());
        let numbers = stdout.lines().map(|line| {
            let line = line.unwrap();
            line.split_once(' ').unwrap().0.to_owned()
        });
        // The last record is sent after all others were read, so that none of them can come again before it.
        for (n, number) in numbers.take(lines + 1).enumerate() {
            assert_eq!(number, n.to_string());
            std::thread::sleep(Duration::from_millis(300));
            if n + 1 == lines {
                send();
            }
        }
        bob.terminate();
        assert_eq!(bob.end(), 0);
    }
}

#[test]
fn records_are_printed_as_wanted() {
    let world = World::new();
    world.provision("prodcon", "alice", &[]);
    world.write("in.txt", "k1={\"a\": 1}\n");
    let produce = [
        "produce",
        "t",
        "--node",
        "alice",
        "--key-separator",
        "=",
        "in.txt",
    ];
    let _alice = world.start(&produce);
    world.provision("consumer", "bob", &[]);
    let consume = |group: &str, more: &[&str]| {
        world.succeed(&[&CONSUME_ONE[..], &["--group", group], more].concat())
    };
    assert_eq!(consume("a", &["--format", "%k %v"]), "k1 {\"a\": 1}\n");
    let line = consume("b", &["--format", r"%t\t%p\t%o"]);
    assert_eq!(line, "t\t0\t0\n");
    let value = |group, form| -> Value {
        let line = consume(group, &["--json", "--value", form]);
        serde_json::from_str(&line).unwrap()
    };
    assert_eq!(value("c", "text")["value"], "{\"a\": 1}");
    assert_eq!(value("d", "json")["value"]["a"], 1);
    assert_eq!(value("d2", "json")["key"], "k1");
    assert_eq!(value("e", "base64")["key"], "azE=");
    for wrong in ["xml", "%z"] {
        let stderr = world.fail(&["consume", "t", "--node", "bob", "--format", wrong], 2);
        assert!(stderr.contains("%k"), "{stderr}");
    }
}

#[test]
fn a_group_at_the_end_is_told_that_from_beginning_does_not_count() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    world.provision("consumer", "bob", &[]);
    world.write("in.txt", "a\n");
    let _alice = world.start(&["produce", "t", "--node", "alice", "in.txt"]);
    let consume = ["consume", "t", "--node", "bob", "--from-beginning"];
    let first = [&consume[..], &["--count", "1"]].concat();
    assert!(
        !String::from_utf8(succeed(&mut world.kc(&first)).stderr)
            .unwrap()
            .contains("--group")
    );
    for timeout in ["3s", "20s"] {
        let mut bob = world.start(&[&consume[..], &["--timeout", timeout]].concat());
        let hint = bob.says("--group with a new name");
        assert!(hint.contains("no records"), "{hint}");
        if timeout == "20s" {
            bob.terminate();
        }
        bob.end();
    }
}

#[test]
fn a_copy_of_a_topic_is_opened_with_the_keys_of_its_original() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    world.provision("consumer", "bob", &[]);
    world.write("in.txt", "secret\n");
    let alice = world.start(&["produce", "orders", "--node", "alice", "in.txt"]);
    alice.says("sent 1 records");
    world.copy("orders", "src.orders");
    let node = ["consume", "src.orders", "--node", "bob", "--from-beginning"];
    let mut bob = world.start(&[&node[..], &["--timeout", "15s"]].concat());
    let hint = bob.says("requested on src.reqs and src.subs, because the root topic of src");
    assert!(hint.contains("--root-topic src.orders=ROOT"), "{hint}");
    assert_eq!(bob.end(), 3);
    let mapped = ["--root-topic", r"^src\.(.+)=$1", "--count", "1"];
    let read = world.succeed(&[&node[..], &mapped].concat());
    assert_eq!(read, "secret\n");
    let stderr = world.fail(&[&node[..], &["--root-topic", "orders"]].concat(), 2);
    assert!(stderr.contains("expected TOPIC=ROOT"), "{stderr}");
}
