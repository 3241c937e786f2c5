use std::collections::HashSet;
use std::io::{Read, Write};
use std::process::Stdio;
use std::thread;

use serde_json::Value;

use crate::world::{PRODUCE_ALL, Process, World, succeed};

#[test]
fn a_text_file_comes_out_as_it_went_in() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    world.provision("consumer", "bob", &[]);
    let mut text = "first\n\n\ncarriage return\r\n\ttab\n".repeat(500);
    text.push_str("no line feed at the end");
    world.write("in.txt", &text);

    let mut alice = world.start(&["produce", "t.text", "--node", "alice", "in.txt"]);
    let wanted = text.lines().count().to_string();
    let args = [
        "consume",
        "t.text",
        "--node",
        "bob",
        "--from-beginning",
        "--count",
        &wanted,
    ];
    assert_eq!(world.succeed(&args), format!("{text}\n"));
    alice.terminate();
    assert_eq!(alice.end(), 0);
    alice.says(&format!("sent {wanted} records"));
}

#[test]
fn keys_stand_before_the_separator() {
    let world = World::new();
    world.provision("prodcon", "alice", &[]);
    world.provision("consumer", "bob", &[]);
    world.write("in.txt", "k1::v1::more\nno key\n::\n");
    let args = [
        "produce",
        "t",
        "--node",
        "alice",
        "--key-separator",
        "::",
        "in.txt",
    ];
    let _alice = world.start(&args);
    let args = [
        "consume",
        "t",
        "--node",
        "bob",
        "--from-beginning",
        "--count",
        "3",
        "--json",
    ];
    let records: Vec<Value> = world
        .succeed(&args)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let names: Vec<_> = records[0].as_object().unwrap().keys().collect();
    let expected = [
        "headers",
        "key",
        "offset",
        "outcome",
        "partition",
        "timestamp",
        "topic",
        "value",
    ];
    assert_eq!(names, expected);
    let of = |name: &str| -> Vec<_> { records.iter().map(|record| record[name].clone()).collect() };
    assert_eq!(of("key"), [Value::from("azE="), Value::Null, "".into()]);
    assert_eq!(of("value"), ["djE6Om1vcmU=", "bm8ga2V5", ""]);
    assert_eq!(of("offset"), [0, 1, 2]);
    assert_eq!(of("outcome"), ["plaintext", "plaintext", "plaintext"]);
    assert_eq!(of("topic"), ["t", "t", "t"]);
    let timestamp = records[0]["timestamp"].as_str().unwrap();
    assert!(
        timestamp.ends_with('Z') && timestamp.len() == 24,
        "{timestamp}"
    );
    assert_eq!(records[0]["headers"], Value::Array(Vec::new()));
}

#[test]
fn a_producer_stopped_in_the_middle_goes_on_behind_what_it_said() {
    stopped_in_the_middle("TERM");
}

#[test]
fn a_producer_that_loses_its_terminal_goes_on_behind_what_it_said() {
    stopped_in_the_middle("HUP");
}

fn stopped_in_the_middle(signal: &str) {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    world.provision("consumer", "bob", &[]);
    let lines: Vec<String> = (0..4000).map(|n| format!("line number {n}\n")).collect();
    let consume = |count: &str| {
        let args = [
            "consume",
            "t",
            "--node",
            "bob",
            "--from-beginning",
            "--count",
            count,
        ];
        world.succeed(&args)
    };

    let mut command = world.kc(&["produce", "t", "--node", "alice"]);
    let mut alice = Process::spawn(command.stdin(Stdio::piped()));
    let mut stdin = alice.child.stdin.take().unwrap();
    stdin.write_all(lines[..2000].concat().as_bytes()).unwrap();
    // The program has sent some lines, and more lines follow.
    let mut read = consume("300");
    alice.signal(signal);
    let sent = alice.says("sent ");
    assert_eq!(alice.end(), 0);
    let sent: usize = sent.split(' ').nth(1).unwrap().parse().unwrap();
    assert!((300..=2000).contains(&sent), "{sent}");

    // The same lines as `tail -n +$((N+1))` prints.
    world.write("rest.txt", lines[sent..].concat());
    let mut command = world.kc(&["produce", "t", "--node", "alice", "-"]);
    let _alice = Process::spawn(command.stdin(world.open("rest.txt")));
    read.push_str(&consume("3700"));
    assert_eq!(read, lines.concat());
}

#[test]
fn ten_megabytes_come_out_as_they_went_in_though_both_sides_are_stopped_in_the_middle() {
    const LINES: usize = 100_000;
    let world = World::new();
    world.provision("producer", "alice", &[]);
    world.provision("consumer", "bob", &[]);
    let lines: Vec<String> = (0..LINES)
        .map(|n| format!("{n:08} {}\n", "tells of itself ".repeat(6)))
        .collect();
    let consume = |more: &[&str]| {
        let args = ["consume", "t", "--node", "bob", "--from-beginning"];
        let mut command = world.kc(&[&args[..], more].concat());
        Process::spawn(command.stdout(Stdio::piped()))
    };

    let mut bob = consume(&[]);
    let mut command = world.kc(&["produce", "t", "--node", "alice"]);
    let mut alice = Process::spawn(command.stdin(Stdio::piped()));
    let mut stdin = alice.child.stdin.take().unwrap();
    let begun = lines[..LINES / 2].concat();
    // Alice may end before she has read all lines; then she reports the number of bytes that were not sent.
    let feeding = thread::spawn(move || stdin.write_all(begun.as_bytes()).map(|()| stdin));
    let mut read = vec![0; 2_000_000];
    let stdout = bob.child.stdout.as_mut().unwrap();
    stdout.read_exact(&mut read).unwrap();
    bob.terminate();
    read.extend(bob.output().into_bytes());
    assert_eq!(bob.end(), 0);
    alice.terminate();
    let sent = alice.says("sent ");
    assert_eq!(alice.end(), 0);
    drop(feeding.join().unwrap());
    let sent: usize = sent.split(' ').nth(1).unwrap().parse().unwrap();

    let printed = read.iter().filter(|byte| **byte == b'\n').count();
    assert!((1..=sent).contains(&printed), "{printed} of {sent}");
    world.write("rest.txt", lines[sent..].concat());
    let alice = world.start(&["produce", "t", "--node", "alice", "rest.txt"]);
    let mut bob = consume(&["--count", &(LINES - printed).to_string()]);
    read.extend(bob.output().into_bytes());
    assert_eq!(bob.end(), 0);
    assert!(read == lines.concat().into_bytes(), "not what was sent");
    alice.says("the input has ended");

    let begins: HashSet<&[u8]> = lines.iter().map(|line| &line.as_bytes()[..12]).collect();
    let raw = ["consume", "t", "--raw", "-b", &world.address];
    let count = LINES.to_string();
    let raw = [&raw[..], &["--count", &count]].concat();
    let raw = succeed(&mut world.kc(&raw)).stdout;
    assert!(raw.len() > 10_000_000);
    assert!(!raw.windows(12).any(|window| begins.contains(window)));
}

#[test]
fn what_a_stopped_producer_sealed_is_opened_by_serving_its_keys() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    world.provision("consumer", "bob", &[]);
    world.write("in.txt", "a\nb\n");
    let stderr = succeed(&mut world.kc(&PRODUCE_ALL)).stderr;
    assert!(
        String::from_utf8(stderr)
            .unwrap()
            .contains("sent 2 records")
    );

    let mut bob = world.kc(&[
        "consume",
        "t",
        "--node",
        "bob",
        "--from-beginning",
        "--count",
        "2",
    ]);
    let mut bob = Process::spawn(bob.stdout(Stdio::piped()));
    bob.says("no node has answered the requests");
    let mut alice = world.start(&["node", "serve", "--node", "alice"]);
    assert_eq!(bob.output(), "a\nb\n");
    assert_eq!(bob.end(), 0);
    alice.terminate();
    assert_eq!(alice.end(), 0);
}

#[test]
fn a_file_that_is_interrupted_says_what_was_not_sent() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    let too_large = format!("{}\n", "x".repeat(2_000_000));
    // Far more than can be sent before the signal.
    let lines = format!("{}\n", "x".repeat(1000)).repeat(200_000);
    world.write("in.txt", &(too_large + &lines));
    world.succeed(&["topics", "create", "t", "-b", &world.address]);
    let skipping = ["--on-too-large", "skip"];
    let produce = ["produce", "t", "--node", "alice", "in.txt"];
    let mut alice = world.start(&[&produce[..], &skipping[..]].concat());
    let mut raw = world.kc(&[
        "consume",
        "t",
        "--raw",
        "-b",
        &world.address,
        "--count",
        "1",
    ]);
    succeed(&mut raw);
    alice.signal("INT");
    let sent = alice.says("sent ");
    let sent: usize = sent.split(' ').nth(1).unwrap().parse().unwrap();
    let left = lines.len() - 1001 * sent;
    alice.says(&format!("interrupted: {left} bytes of the file not sent"));
    alice.says(&format!("`tail -n +{} FILE", sent + 2));
    assert_eq!(alice.end(), 130);
}
