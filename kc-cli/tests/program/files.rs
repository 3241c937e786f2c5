//! Files through Kafka.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde_json::Value;

use crate::world::{Process, World, complaint, until};

const CHUNK: usize = 512 << 10;
/// The number of times that the sender and the receiver are killed.
const KILLS: u64 = 16;
/// The number of files that must arrive in spite of the kills.
const FILES: usize = 300;
/// A killed receiver holds its partitions for this time, in milliseconds.
const SESSION: &str = "session_timeout_ms=1000";
const HEARTBEAT: &str = "heartbeat_interval_ms=200";

const SEND: [&str; 6] = ["files", "send", "here", "t", "--node", "alice"];
const RECEIVE: [&str; 6] = ["files", "receive", "t", "there", "--node", "bob"];

fn world() -> World {
    let world = World::with_broker(&["--partitions", "3"]);
    world.provision("producer", "alice", &[]);
    world.provision("consumer", "bob", &[]);
    fs::create_dir(world.path("here")).unwrap();
    world
}

fn with<'a>(args: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [args, more].concat()
}

/// Returns bytes that differ for each seed.
fn content(seed: usize, bytes: usize) -> Vec<u8> {
    let mut state = seed as u64 + 1;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

fn write(world: &World, name: &str, content: &[u8]) {
    let path = world.path("here").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Returns the files below a folder, without the state of kc.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap() == ".kc-files" {
            } else if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap();
                found.insert(name.to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn a_folder_arrives_as_it_is() {
    let world = world();
    let sizes = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 5 * CHUNK];
    let names = [
        "empty",
        "one byte",
        "a.bin",
        "run 1/b.bin",
        "run 1/größe/漢字.dat",
        "c",
        "d.d",
    ];
    for (seed, (name, bytes)) in names.into_iter().zip(sizes).enumerate() {
        write(&world, name, &content(seed, bytes));
    }
    write(&world, ".hidden", b"stays");
    write(&world, "run 1/x.tmp", b"stays, too");
    let old = UNIX_EPOCH + Duration::from_nanos(1_234_567_890_123_456_000);
    let times = fs::FileTimes::new().set_modified(old);
    let one = fs::File::options()
        .append(true)
        .open(world.path("here/a.bin"));
    one.unwrap().set_times(times).unwrap();

    let sender = world.start(&with(&SEND, &["--exclude", "*.tmp"]));
    sender.says("sending the files of here to t");
    let printed = world.succeed(&with(&RECEIVE, &["--count", "7"]));
    assert!(
        printed.contains("received run 1/größe/漢字.dat (524289 bytes)\n"),
        "{printed}"
    );
    let mut expected = files(&world.path("here"));
    expected.remove(".hidden");
    expected.remove("run 1/x.tmp");
    assert_eq!(files(&world.path("there")), expected);
    let time = fs::metadata(world.path("there/a.bin"))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(time, old);

    let mode = fs::metadata(world.path("there/a.bin"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o100, 0);

    // The sender watches the folder, and new sub-folders.
    write(&world, "run 2/later.csv", b"1,2,3");
    let printed = world.succeed(&with(&RECEIVE, &["--count", "1"]));
    assert_eq!(printed, "received run 2/later.csv (5 bytes)\n");
    let status = world.json(&["files", "status", "here"]);
    assert_eq!(status["sent"]["running"], true);
    sender.terminate();
    sender.says("sent 8 files");
}

#[test]
fn each_version_of_a_file_is_sent_once() {
    let world = world();
    world.create("t", 3);
    for name in ["a", "b", "c/d"] {
        write(&world, name, name.as_bytes());
    }
    let once = with(&SEND, &["--once", "--json"]);
    let summary = |printed: &str| -> Value {
        let summary = printed.lines().last().unwrap();
        let events: Vec<Value> = printed
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert!(events.iter().all(|event| event["event"].is_string()));
        serde_json::from_str(summary).unwrap()
    };
    let first = summary(&world.succeed(&once));
    assert_eq!(
        (&first["sent"], &first["unchanged"]),
        (&3.into(), &0.into())
    );
    let again = summary(&world.succeed(&once));
    assert_eq!(
        (&again["sent"], &again["unchanged"]),
        (&0.into(), &3.into())
    );
    write(&world, "a", b"a");
    write(&world, "b", b"changed");
    let changed = summary(&world.succeed(&once));
    assert_eq!(
        (&changed["sent"], &changed["unchanged"]),
        (&1.into(), &2.into())
    );
    let elsewhere = [
        "files", "send", "here", "u", "--node", "alice", "--once", "--json",
    ];
    world.create("u", 1);
    assert_eq!(summary(&world.succeed(&elsewhere))["sent"], 3);
    // The registry makes the difference.
    fs::remove_dir_all(world.path("here/.kc-files")).unwrap();
    assert_eq!(summary(&world.succeed(&once))["sent"], 3);
}

#[test]
fn permissions_and_the_exact_time_arrive_if_the_sender_adds_them() {
    let world = world();
    world.create("t", 1);
    write(&world, "run.sh", b"#!/bin/sh");
    let path = world.path("here/run.sh");
    let time = UNIX_EPOCH + Duration::from_nanos(1_234_567_890_123_456_789);
    let times = fs::FileTimes::new().set_modified(time);
    let file = fs::File::options().append(true).open(&path).unwrap();
    file.set_times(times).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4700)).unwrap();
    let alice = world.start(&with(&SEND, &["--wire", "kc"]));
    world.succeed(&with(&RECEIVE, &["--count", "1"]));
    let found = fs::metadata(world.path("there/run.sh")).unwrap();
    assert_eq!(found.permissions().mode() & 0o7777, 0o700);
    assert_eq!(found.modified().unwrap(), time);
    drop(alice);
}

#[test]
fn a_late_data_key_completes_the_file() {
    let world = world();
    world.create("t", 1);
    write(&world, "a", &content(1, 3 * CHUNK));
    let sent = world.succeed(&with(&SEND, &["--once"]));
    assert_eq!(sent, "sent a (1572864 bytes)\n");
    let impatient = ["--count", "1", "--patience", "500ms", "--timeout", "6s"];
    let stderr = world.fail(&with(&RECEIVE, &impatient), 3);
    assert!(stderr.contains("3 parts parked or left out"), "{stderr}");
    assert!(complaint(&stderr).contains("kc node serve"), "{stderr}");
    assert!(files(&world.path("there")).is_empty());
    let alice = world.start(&["node", "serve", "--node", "alice"]);
    alice.says("hands out its retained data keys");
    world.succeed(&with(&RECEIVE, &["--count", "1"]));
    assert_eq!(files(&world.path("there")), files(&world.path("here")));
}

#[test]
fn parts_whose_data_key_is_missing_are_kept_and_sent_again() {
    let world = world();
    world.create("t", 1);
    write(&world, "a", &content(1, 3 * CHUNK + 1));
    write(&world, "b", b"b");
    world.succeed(&with(&SEND, &["--once"]));
    let kept = world.path("there/ENCRYPTED_MESSAGES");
    let keep = [
        "--undecryptable-dir",
        kept.to_str().unwrap(),
        "--patience",
        "500ms",
        "--timeout",
        "6s",
        "--count",
        "2",
    ];
    let stderr = world.fail(&with(&RECEIVE, &keep), 3);
    assert!(stderr.contains("5 parts kept"), "{stderr}");
    assert!(
        complaint(&stderr).contains("kc files reproduce"),
        "{stderr}"
    );
    let names: Vec<_> = files(&kept).into_keys().collect();
    assert_eq!(names.len(), 10, "{names:?}");
    assert!(
        names
            .iter()
            .all(|name| name.starts_with("encrypted_message_from_t_produced_20"))
    );
    fs::write(kept.join("notes.txt"), "not to be sent").unwrap();

    let reproduce = ["files", "reproduce", kept.to_str().unwrap()];
    let elsewhere = with(&reproduce, &["u", "--node", "alice", "--json"]);
    world.create("u", 1);
    let printed = world.succeed(&elsewhere);
    let summary: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&summary["reproduced"], &summary["left_out"]),
        (&0.into(), &6.into())
    );
    let before = world.end_of("t");
    let mut again = world.kc(&with(&reproduce, &["t", "--node", "alice", "--delete"]));
    let stderr = String::from_utf8(crate::world::succeed(&mut again).stderr).unwrap();
    assert!(
        stderr.contains("\"notes.txt\" left out: its name")
            && stderr.contains("sent 5 records again; left out 1 file"),
        "{stderr}"
    );
    assert_eq!(world.end_of("t"), before + 5);
    assert_eq!(files(&kept).into_keys().collect::<Vec<_>>(), ["notes.txt"]);
    fs::remove_dir_all(&kept).unwrap();
    let alice = world.start(&["node", "serve", "--node", "alice"]);
    alice.says("hands out its retained data keys");
    world.succeed(&with(&RECEIVE, &["--count", "2"]));
    assert_eq!(files(&world.path("there")), files(&world.path("here")));
}

#[test]
fn chunks_are_fitted_to_the_limits_of_the_client_and_of_the_broker() {
    let world = world();
    world.create("t", 1);
    write(&world, "a", &content(1, 5 * CHUNK));
    write(&world, "b", b"b");
    // The broker takes record batches of 1048588 bytes.
    for limit in ["8388608", "1048576"] {
        let limit = format!("max_request_size={limit}");
        let flags = ["--once", "--json", "--chunk", "4M", "-X", &limit];
        let printed = world.succeed(&with(&SEND, &flags));
        let events: Vec<Value> = printed
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let fitted = |event: &&Value| event["event"] == "fitted";
        let last = events.iter().rfind(fitted).unwrap();
        assert_eq!(last["chunk_bytes"], (1 << 20) - (8 << 10));
        let sent = |event: &&Value| event["event"] == "sent" && event["file"] == "a";
        assert_eq!(events.iter().find(sent).unwrap()["chunks"], 3);
        fs::remove_dir_all(world.path("here/.kc-files")).unwrap();
    }
    let alice = world.start(&["node", "serve", "--node", "alice"]);
    alice.says("hands out its retained data keys");
    world.succeed(&with(&RECEIVE, &["--count", "2"]));
    assert_eq!(files(&world.path("there")), files(&world.path("here")));
}

#[test]
fn the_configuration_of_openmsistream_is_understood() {
    let world = world();
    world.create("t", 1);
    write(&world, "a", b"a");
    let address = &world.address;
    let config = |node: &str| {
        format!(
            "[kafkacrypto]\n{node}\n[broker]\nbootstrap.servers = {address}\nsecurity.protocol = PLAINTEXT\n\
             [producer]\nlinger.ms = 100\nkey.serializer = StringSerializer\nretries.of.mine = 3\n\
             [consumer]\ngroup.id = create_new\nfetch.min.bytes = 1\n"
        )
    };
    world.write("up.config", config("node_id = alice"));
    let receiver = world.files("bob").config();
    world.write(
        "down.config",
        config(&format!("config_file = {}", receiver.display())),
    );
    let mut send = world.kc(&[
        "files",
        "send",
        "here",
        "t",
        "--openmsi-config",
        "up.config",
        "--once",
    ]);
    let stderr = String::from_utf8(crate::world::succeed(&mut send).stderr).unwrap();
    assert!(
        stderr.contains("up.config has settings that kc ignores: retries.of.mine\n"),
        "{stderr}"
    );
    let alice = world.start(&["node", "serve", "--node", "alice"]);
    alice.says("hands out its retained data keys");
    let receive = [
        "files",
        "receive",
        "t",
        "there",
        "--openmsi-config",
        "down.config",
        "--count",
        "1",
    ];
    let stderr = String::from_utf8(crate::world::succeed(&mut world.kc(&receive)).stderr).unwrap();
    assert!(stderr.contains("group.id = create_new"), "{stderr}");
    assert_eq!(files(&world.path("there")), files(&world.path("here")));

    world.write(
        "plain.config",
        format!("[broker]\nbootstrap.servers = {address}\n"),
    );
    let plain = [
        "files",
        "send",
        "here",
        "t",
        "--openmsi-config",
        "plain.config",
        "--plain",
    ];
    assert!(complaint(&world.fail(&plain, 2)).contains("plain.config has no node_id"));
}

#[test]
fn files_without_encryption_arrive_beside_what_is_no_file() {
    let world = world();
    world.create("t", 1);
    world.send_to("t", 0, "this is no file");
    write(&world, "a", &content(1, CHUNK + 7));
    world.succeed(&with(&SEND, &["--once", "--plain"]));
    let output = world
        .kc(&with(&RECEIVE, &["--plain", "--count", "1", "--json"]))
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert!(
        stderr.contains("record 0 of partition 0 left out: not a chunk"),
        "{stderr}"
    );
    let events: Vec<Value> = printed
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    assert_eq!(events[0]["event"], "refused");
    assert_eq!(files(&world.path("there")), files(&world.path("here")));
    let status = world.succeed(&["files", "status", "there"]);
    assert!(status.contains("1 file complete"), "{status}");
    assert!(
        status.contains("failed: partition 0, offset 0: not a chunk"),
        "{status}"
    );
}

#[test]
fn a_folder_has_one_receiver_and_one_sender() {
    let world = world();
    world.provision("consumer", "carl", &[]);
    world.provision("producer", "dora", &[]);
    world.create("t", 1);
    let first = world.start(&RECEIVE);
    first.says("receiving files from t into there");
    until("the folder is in use", || {
        world.path("there/.kc-files/receive.status").exists()
    });
    let second = ["files", "receive", "t", "there", "--node", "carl"];
    assert!(complaint(&world.fail(&second, 1)).contains("there/.kc-files/receive.redb is in use"));
    let sender = world.start(&SEND);
    sender.says("sending the files");
    until("the folder is in use", || {
        world.path("here/.kc-files/send.status").exists()
    });
    let second = ["files", "send", "here", "t", "--node", "dora", "--once"];
    assert!(complaint(&world.fail(&second, 1)).contains("send.redb is in use"));
    assert!(
        complaint(&world.fail(&["files", "send", "gone", "t", "--node", "dora"], 1))
            .contains("gone")
    );
}

/// Returns the number of files that a sender, which printed these events, had on their way.
fn on_their_way(events: &str) -> usize {
    let count = |name: &str| events.matches(&format!("{{\"event\":\"{name}\"")).count();
    count("started") - count("sent")
}

#[test]
fn files_arrive_once_and_complete_although_both_sides_are_killed() {
    let world = world();
    world.create("t", 3);
    for number in 0..FILES {
        let bytes = if number % 4 == 0 {
            5 * CHUNK + number
        } else {
            number * 37
        };
        write(
            &world,
            &format!("d{}/f{number}", number % 7),
            &content(number, bytes),
        );
    }
    let expected = files(&world.path("here"));
    let parts = world.path("there/.kc-files/parts");
    let has_parts = || fs::read_dir(&parts).is_ok_and(|mut entries| entries.next().is_some());
    let fast = ["-X", SESSION, "-X", HEARTBEAT];
    let receive = with(&RECEIVE, &fast);
    let start_receiver = || Process::spawn(world.kc(&receive).stdout(Stdio::null()));
    let (mut senders, mut receivers) = (0, 0);
    let mut receiver = start_receiver();
    let mut random = 1_u64;
    for _ in 0..KILLS {
        let mut command = world.kc(&with(&SEND, &["--json"]));
        let mut sender = Process::spawn(command.stdout(Stdio::piped()));
        let mut events = BufReader::new(sender.child.stdout.take().unwrap());
        let mut printed = String::new();
        let mut line = String::new();
        while on_their_way(&printed) == 0 && events.read_line(&mut line).unwrap() > 0 {
            printed.push_str(&std::mem::take(&mut line));
        }
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        thread::sleep(Duration::from_millis(random >> 59));
        sender.child.kill().unwrap();
        sender.child.wait().unwrap();
        events.read_to_string(&mut printed).unwrap();
        senders += u64::from(on_their_way(&printed) > 0);
    }
    receiver.child.kill().unwrap();
    receiver.child.wait().unwrap();
    let mut last = world.kc(&with(&SEND, &["--once"]));
    let mut sender = Process::spawn(last.stdout(Stdio::null()));
    assert_eq!(sender.end(), 0, "{:?}", sender.rest());
    let sender = world.start(&["node", "serve", "--node", "alice"]);
    receiver = start_receiver();
    let has_all = || files(&world.path("there")).len() >= expected.len();
    for _ in 0..KILLS {
        until("a file arrives in part", || has_parts() || has_all());
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        thread::sleep(Duration::from_millis(random >> 60));
        receiver.child.kill().unwrap();
        receiver.child.wait().unwrap();
        receivers += u64::from(has_parts());
        let arrived = files(&world.path("there"));
        assert!(
            arrived
                .iter()
                .all(|(name, content)| expected[name] == *content)
        );
        receiver = start_receiver();
        if has_all() {
            break;
        }
    }
    until("all files arrive", has_all);
    receiver.terminate();
    assert_eq!(receiver.end(), 0, "{:?}", receiver.rest());
    drop(sender);
    assert!(files(&world.path("there")) == expected, "files differ");
    let status = world.json(&["files", "status", "there"]);
    assert_eq!(status["received"]["complete"], FILES);
    assert_eq!(status["received"]["failed"], Value::Array(Vec::new()));
    assert!(
        5 * senders >= 4 * KILLS,
        "{senders} of {KILLS} senders had a file on its way"
    );
    assert!(receivers > 0, "no receiver had a file in part");
    eprintln!(
        "a file was on its way at {senders} kills of the sender and {receivers} of the receiver"
    );
}

#[test]
fn a_file_that_grows_is_sent_when_it_rests() {
    let world = world();
    world.create("t", 1);
    let sender = world.start(&with(&SEND, &["--poll", "100ms", "--settle", "700ms"]));
    sender.says("sending the files");
    let end = Instant::now() + Duration::from_millis(900);
    let mut grown = Vec::new();
    while Instant::now() < end {
        grown.extend(content(grown.len(), 10_000));
        write(&world, "log.csv", &grown);
        thread::sleep(Duration::from_millis(50));
    }
    let printed = world.succeed(&with(&RECEIVE, &["--count", "1"]));
    assert_eq!(
        printed,
        format!("received log.csv ({} bytes)\n", grown.len())
    );
    drop(sender);
}

#[test]
fn the_demonstration_shows_files_arriving() {
    let printed = World::new().succeed(&["files", "demo"]);
    assert!(printed.contains("received: 6 files"), "{printed}");
    assert!(printed.contains("none contains readable text"), "{printed}");
}
