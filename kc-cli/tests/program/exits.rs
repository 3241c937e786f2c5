use std::fs::File;
use std::process::{Command, Stdio};

use crate::world::{PRODUCE_ALL, Process, World, complaint, fail, succeed};

#[test]
fn bad_usage_is_2() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    for args in [
        ["produce", "t"].as_slice(),
        &["consume", "t", "--node", "alice", "--timeout", "20"],
        &["consume", "t", "--node", "alice", "--count", "0"],
        &["consume", "t", "--raw"],
        &["consume", "t", "--raw", "--node", "alice"],
        &["provision", "king", "--node", "k"],
        &[
            "produce",
            "t",
            "--node",
            "alice",
            "-X",
            "bootstrap_server=x",
        ],
        &["produce", "t", "--node", "alice", "-X", "linger_ms"],
    ] {
        world.fail(args, 2);
    }
}

#[test]
fn a_missing_password_is_asked_for_or_an_error() {
    let world = World::new();
    let provision = ["provision", "consumer", "--node", "n"];
    let stderr = fail(world.kc(&provision).env_remove("KC_ROOT_PASSWORD"), 2);
    assert!(complaint(&stderr).contains("--root-password-file"));
    let stderr = fail(world.kc(&provision).env("KC_PROVISIONING_PASSWORD", ""), 2);
    assert!(stderr.contains("the provisioning password is empty"));
    assert!(!world.path("n.config").exists());
}

#[test]
fn a_chain_server_needs_the_root_password_alone() {
    let world = World::new();
    let root = world.provision("producer", "carol", &[]);
    assert!(world.path("carol.seed").exists());
    let provision = ["provision", "chain-server", "--node", "carol", "--force"];
    let made = succeed(world.kc(&provision).env_remove("KC_PROVISIONING_PASSWORD"));
    let stdout = String::from_utf8(made.stdout).unwrap();
    assert!(stdout.contains("chain-server carol"), "{stdout}");
    assert!(stdout.contains(&root), "{stdout}");
    // This node has no ratchet, and the ratchet of the replaced node is gone.
    assert!(!world.path("carol.seed").exists());
    world.succeed(&["node", "status", "--node", "carol"]);
}

#[test]
fn one_line_feed_of_a_password_file_is_cut() {
    let world = World::new();
    let root = world.provision("consumer", "n", &[]);
    world.write("once", "root\n");
    world.write("twice", "root\n\n");
    let of_file = |node: &str, file: &str| {
        let more = ["--root-password-file", file, "--new-root"];
        world.provision("consumer", node, &more)
    };
    assert_eq!(of_file("m", "once"), root);
    assert_ne!(of_file("o", "twice"), root);
}

#[test]
fn a_node_is_not_replaced_by_mistake() {
    let world = World::new();
    world.provision("consumer", "bob", &[]);
    let config = || std::fs::read(world.path("bob.config")).unwrap();
    let before = config();
    let provision = ["provision", "producer", "--node", "bob"];
    let stderr = world.fail(&provision, 1);
    assert!(complaint(&stderr).contains("--force"), "{stderr}");

    let forced = [&provision[..], &["--force"]].concat();
    let stderr = fail(world.kc(&forced).env("KC_ROOT_PASSWORD", "rot"), 5);
    assert!(
        complaint(&stderr).contains("wrong root password?"),
        "{stderr}"
    );
    assert_eq!(config(), before);
    world.succeed(&forced);
    assert_ne!(config(), before);
}

#[test]
fn nodes_and_files_that_are_not_there_are_named() {
    let world = World::new();
    let stderr = world.fail(&["consume", "t", "--node", "nobody"], 1);
    assert!(
        complaint(&stderr).contains("./nobody/nobody.config"),
        "{stderr}"
    );

    world.provision("producer", "alice", &[]);
    let stderr = world.fail(&["produce", "t", "--node", "alice", "no.txt"], 1);
    assert!(stderr.contains("no.txt"), "{stderr}");

    let crypto = std::fs::read(world.path("alice.crypto")).unwrap();
    world.write("alice.crypto", &crypto[..20]);
    let stderr = world.fail(&["produce", "t", "--node", "alice"], 1);
    assert!(complaint(&stderr).contains("alice.crypto"), "{stderr}");
    std::fs::remove_file(world.path("alice.crypto")).unwrap();
    let stderr = world.fail(&["produce", "t", "--node", "alice"], 1);
    assert!(
        complaint(&stderr).contains("alice.crypto does not exist"),
        "{stderr}"
    );
}

#[test]
fn a_damaged_seed_is_told_before_anything_is_connected() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    let seed = world.read("alice.seed");
    let foreign = world.read("alice.crypto");
    // No broker listens on port 1.
    let told = |what: &str| {
        for command in [["produce", "t"].as_slice(), &["node", "serve"]] {
            let args = [command, &["--node", "alice", "-b", "127.0.0.1:1"]].concat();
            let stderr = world.fail(&args, 1);
            let complaint = complaint(&stderr);
            assert!(complaint.contains("alice.seed"), "{stderr}");
            assert!(complaint.contains(what), "{stderr}");
            assert!(complaint.contains("--force"), "{stderr}");
        }
    };
    for damaged in [&seed[..seed.len() / 2], b"", &foreign] {
        world.write("alice.seed", damaged);
        told("malformed");
        assert_eq!(world.read("alice.seed"), damaged);
    }
    std::fs::remove_file(world.path("alice.seed")).unwrap();
    told("does not exist");
}

#[test]
fn a_damaged_configuration_is_told_with_advice() {
    let world = World::new();
    for node in ["alice", "carol"] {
        world.provision("producer", node, &[]);
    }
    world.write("in.txt", "a\n");
    let produce = ["produce", "t", "--exit-after", "0s", "in.txt", "--node"];
    world.succeed(&[&produce[..], &["carol"]].concat());
    let own = world.read("alice.config");
    let foreign = String::from_utf8(world.read("carol.config")).unwrap();
    let told = |config: &[u8], what: &str| {
        world.write("alice.config", config);
        let stderr = world.fail(&[&produce[..], &["alice"]].concat(), 1);
        assert!(complaint(&stderr).contains(what), "{stderr}");
    };
    // The name of its section is cut off.
    let section = own.windows(7).position(|part| part == b"[alice-").unwrap();
    told(&own[..section + 5], "alice.config: line");
    told(b"\xff", "is not UTF-8");
    let foreign = foreign.replace("carol", "alice");
    let different = "do not belong together";
    told(foreign.as_bytes(), different);
    std::fs::remove_file(world.path("alice.config")).unwrap();
    let stderr = world.fail(&[&produce[..], &["alice"]].concat(), 1);
    assert!(complaint(&stderr).contains("./alice.config"), "{stderr}");
}

#[test]
fn a_ratchet_that_was_taken_away_meanwhile_is_told_with_advice() {
    let world = World::with_broker(&["--no-auto-create"]);
    world.provision("producer", "alice", &[]);
    let mut alice = world.start(&["produce", "t", "--node", "alice"]);
    crate::world::until("alice.sock is there", || world.path("alice.sock").exists());
    std::fs::remove_file(world.path("alice.seed")).unwrap();
    world.succeed(&["topics", "create", "t", "-b", &world.address]);
    alice.says("alice.seed does not exist");
    alice.says("advice: restore the missing file");
    assert_eq!(alice.end(), 1);
}

#[test]
fn a_link_in_the_place_of_the_lock_is_not_followed() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    std::fs::remove_file(world.path("alice.lock")).unwrap();
    world.write("precious", "kept");
    std::os::unix::fs::symlink(world.path("precious"), world.path("alice.lock")).unwrap();
    let stderr = world.fail(&["produce", "t", "--node", "alice"], 1);
    let complaint = complaint(&stderr);
    assert!(
        complaint.contains("alice.lock is a symbolic link"),
        "{stderr}"
    );
    assert_eq!(world.read("precious"), b"kept");
}

#[test]
fn a_node_has_one_process() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    let alice = world.start(&["node", "serve", "--node", "alice"]);
    alice.says("hands out its retained data keys");
    let stderr = world.fail(&["produce", "t", "--node", "alice"], 1);
    let process = format!("in use by process {}", alice.child.id());
    assert!(complaint(&stderr).contains(&process), "{stderr}");
}

#[test]
fn a_broker_that_is_not_there_is_named() {
    let world = World::new();
    world.provision("prodcon", "alice", &[]);
    // No broker listens on port 1.
    for args in [
        ["produce", "t", "--node", "alice"].as_slice(),
        &["consume", "t", "--node", "alice"],
        &["consume", "t", "--raw"],
        &["node", "serve", "--node", "alice"],
        &["topics", "create", "t"],
    ] {
        let stderr = world.fail(&[args, &["-b", "127.0.0.1:1"]].concat(), 4);
        assert!(stderr.contains("without TLS (PLAINTEXT)"), "{stderr}");
        assert!(complaint(&stderr).contains("127.0.0.1:1"), "{stderr}");
    }
}

#[test]
fn a_topic_that_is_not_there_is_named() {
    let world = World::with_broker(&["--no-auto-create"]);
    world.provision("prodcon", "alice", &[]);
    for args in [
        ["produce", "gone", "--node", "alice"].as_slice(),
        &["consume", "gone", "--node", "alice"],
        &["consume", "gone", "--raw", "-b", &world.address],
    ] {
        let stderr = world.fail(args, 4);
        let advice = format!("kc topics create gone -b {}", world.address);
        assert!(complaint(&stderr).contains(&advice), "{stderr}");
    }
}

#[test]
fn what_the_certificate_does_not_grant_is_refused_by_number() {
    let world = World::new();
    world.provision("consumer", "bob", &["--topics", "mine"]);
    world.provision("producer", "alice", &[]);
    for (args, check) in [
        (["consume", "t", "--node", "bob"], "C13"),
        (["consume", "t", "--node", "alice"], "C14"),
        (["produce", "mine", "--node", "bob"], "C14"),
        (["node", "serve", "--node", "bob"], "C14"),
    ] {
        let stderr = world.fail(&args, 5);
        assert!(
            complaint(&stderr).contains(&format!("(check {check})")),
            "{stderr}"
        );
    }
}

#[test]
fn the_time_of_the_run_is_limited() {
    let world = World::new();
    world.provision("consumer", "bob", &[]);
    let stderr = world.fail(&["consume", "t", "--node", "bob", "--timeout", "500ms"], 3);
    assert!(
        stderr.contains("stopped after 500ms (--timeout)"),
        "{stderr}"
    );
}

#[test]
fn a_broker_ends_at_a_signal() {
    let world = World::new();
    let mut broker = world.start(&["broker", "--listen", "127.0.0.1:0"]);
    broker.says("Ctrl-C stops it");
    broker.terminate();
    assert_eq!(broker.end(), 0);
    let stderr = world.fail(&["broker", "--listen", &world.address], 1);
    assert!(complaint(&stderr).contains(&world.address), "{stderr}");
    assert!(stderr.contains("take a free port"), "{stderr}");
    let elsewhere = ["broker", "--listen", "192.0.2.1:0", "--expose-to-network"];
    let stderr = world.fail(&elsewhere, 1);
    assert!(stderr.contains("an address of this host"), "{stderr}");
}

#[test]
fn a_hang_up_that_is_ignored_stays_so() {
    let kc = env!("CARGO_BIN_EXE_kc");
    let script = format!("trap '' HUP; exec {kc} broker --listen 127.0.0.1:0");
    let mut command = Command::new("sh");
    let mut broker = Process::spawn(command.args(["-c", &script]).stdout(Stdio::null()));
    broker.says("Ctrl-C stops it");
    broker.signal("HUP");
    broker.terminate();
    assert_eq!(broker.end(), 0);
}

#[test]
fn a_broker_that_others_may_reach_is_asked_for_and_warned_of() {
    let world = World::new();
    let stderr = world.fail(&["broker", "--listen", "0.0.0.0:0"], 2);
    assert!(stderr.contains("--expose-to-network"), "{stderr}");
    // A form of a loopback address that does not count as one.
    let spelled = "[::ffff:127.0.0.1]:0";
    let mut broker = world.start(&["-q", "broker", "--listen", spelled, "--expose-to-network"]);
    broker.says("can read and delete everything");
    broker.terminate();
    assert_eq!(broker.end(), 0);
}

#[test]
fn a_terminal_is_not_told_what_to_do() {
    let world = World::new();
    world.provision("prodcon", "alice", &[]);
    let topic = "t\u{1b}[2J\u{9b}31m";
    for args in [
        ["topics", "create", topic, "-b", &world.address].as_slice(),
        &["consume", topic, "--raw", "-b", &world.address],
        &["produce", topic, "--node", "alice"],
        &["node", "status", "--node", topic],
    ] {
        let output = world.kc(args).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let obeyed = |letter: char| letter.is_control() && letter != '\n';
        assert!(!said.contains(obeyed), "{said:?}");
        assert!(said.contains('2'), "{said:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_log_that_cannot_be_written_stops_nothing() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    world.write("in.txt", "a\nb\nc\n");
    let produce = || world.kc(&[&PRODUCE_ALL[..], &["-vv"]].concat());
    let full = File::options().write(true).open("/dev/full").unwrap();
    assert!(produce().stderr(full).status().unwrap().success());

    let mut deserted = produce().stderr(Stdio::piped()).spawn().unwrap();
    drop(deserted.stderr.take());
    assert!(deserted.wait().unwrap().success());

    let raw = ["consume", "t", "--raw", "--json", "--count", "6"];
    let stored = world.succeed(&[&raw[..], &["-b", &world.address]].concat());
    assert_eq!(stored.lines().count(), 6);
}

#[test]
fn a_demonstration_whose_reader_is_gone_ends_quietly() {
    let world = World::new();
    let mut demo = world.kc(&["demo", "--messages", "10"]);
    let mut demo = demo
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(demo.stdout.take());
    let ended = demo.wait_with_output().unwrap();
    assert!(ended.status.success(), "{:?}", ended.status);
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "");
}
