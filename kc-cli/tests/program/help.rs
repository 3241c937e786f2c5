//! The help, and other descriptions of the program itself.

use std::fs;

use serde_json::{Value, json};

use crate::world::{PRODUCE_ALL, World, complaint, fail, succeed};

#[test]
fn help_is_as_wide_as_the_terminal() {
    let world = World::new();
    for width in ["60", "100"] {
        let mut command = world.kc(&["provision", "--help"]);
        let help = succeed(command.env("COLUMNS", width)).stdout;
        let help = String::from_utf8(help).unwrap();
        let (longest, width) = (
            help.lines().map(str::len).max().unwrap(),
            width.parse().unwrap(),
        );
        assert!(
            longest <= width && longest > width - 15,
            "{longest}: {help}"
        );
    }
}

#[test]
fn help_says_what_the_passwords_are_for() {
    let world = World::new();
    let help = world.succeed(&["provision", "--help"]);
    assert!(
        help.contains("The provisioning password gives the provisioners"),
        "{help}"
    );
    let short = world.succeed(&["provision", "-h"]);
    assert!(short.starts_with("Make a node"), "{short}");
}

#[test]
fn what_was_meant_is_suggested() {
    let world = World::new();
    world.provision("consumer", "alice", &[]);
    let stderr = world.fail(&["prodouce", "t"], 2);
    assert!(stderr.contains("'produce'"), "{stderr}");
    let stderr = world.fail(&["consume", "t", "--node", "alcie"], 1);
    assert!(
        complaint(&stderr).contains("did you mean alice?"),
        "{stderr}"
    );
    let stderr = world.fail(&["consume", "t", "--node", "zebra"], 1);
    assert!(complaint(&stderr).contains("kc node list"), "{stderr}");
}

#[test]
fn shells_and_man_get_what_they_need() {
    let world = World::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = world.succeed(&["completions", shell]);
        assert!(script.contains("chain-server"), "{shell}: {script}");
    }
    world.fail(&["completions", "csh"], 2);
    world.succeed(&["man", "pages/man1"]);
    for page in ["kc", "kc-provision", "kc-chain-issue"] {
        let page = fs::read_to_string(world.path(&format!("pages/man1/{page}.1"))).unwrap();
        assert!(page.contains(".SH NAME"), "{page}");
    }
    let page = String::from_utf8(world.read("pages/man1/kc-provision.1")).unwrap();
    assert!(page.contains("provisioning password"), "{page}");
}

#[test]
fn the_version_names_what_is_built_in() {
    let world = World::new();
    let version = world.json(&["version"]);
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    let has = |list: &str, name: &str| {
        let list = version[list].as_array().unwrap();
        list.contains(&json!(name))
    };
    assert_eq!(has("features", "hsm"), cfg!(feature = "hsm"));
    assert_eq!(has("backends", "rdkafka"), cfg!(feature = "rdkafka"));
    assert!(has("backends", "pure"));
    assert!(has("keystores", "files"));
    let people = world.succeed(&["version"]);
    assert!(people.contains("\nbackends: pure"), "{people}");
}

#[test]
fn a_check_is_explained_by_its_number() {
    let world = World::new();
    let explained = world.succeed(&["explain", "c04"]);
    assert!(explained.starts_with("C04 A root of trust"), "{explained}");
    assert!(
        explained.contains("\nat fault: sender or this node's operator\n"),
        "{explained}"
    );
    assert!(!explained.contains('`'), "{explained}");
    assert_eq!(world.json(&["explain", "X04"])["check"], "X04");
    let explained = world.succeed(&["explain", "X09"]);
    assert!(explained.contains("at fault: no node"), "{explained}");
    assert!(world.succeed(&["explain"]).lines().count() > 30);
    assert!(complaint(&world.fail(&["explain", "C99"], 2)).contains("kc explain"));
}

#[test]
fn the_node_and_its_folder_can_be_in_the_environment() {
    let world = World::new();
    fs::create_dir(world.path("home")).unwrap();
    let provision = [
        "provision",
        "prodcon",
        "--node",
        "alice",
        "-b",
        &world.address,
    ];
    succeed(world.kc(&provision).env("KC_HOME", "home"));
    assert!(world.path("home/alice.config").exists());
    world.write("in.txt", "a\n");
    let kc = |args: &[&str]| {
        let mut command = world.kc(args);
        command.env("KC_HOME", "home").env("KC_NODE", "alice");
        String::from_utf8_lossy(&succeed(&mut command).stdout).into_owned()
    };
    kc(&["produce", "t", "--exit-after", "0s", "in.txt"]);
    assert!(kc(&["node", "status"]).starts_with("node alice "));
    let consume = ["consume", "t", "--from-beginning", "--count", "1"];
    assert_eq!(kc(&consume), "a\n");
    // `KC_NODE` conflicts with no flag.
    kc(&[
        "consume",
        "t",
        "--raw",
        "--count",
        "1",
        "-b",
        &world.address,
    ]);
    let key = world.line(&["chain", "root"]);
    kc(&["chain", "issue", "--for", &key, "--role", "producer"]);
    kc(&["chain", "issue"]);

    let mut nameless = world.kc(&consume);
    let stderr = fail(nameless.env("KC_NODE", ""), 2);
    assert!(complaint(&stderr).contains("KC_NODE"), "{stderr}");
}

#[test]
fn stderr_is_json_if_wanted() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    world.write("in.txt", "a\n");
    let lines = |args: &[&str]| {
        let args = [&["--log-format", "json", "-v"], args].concat();
        let stderr = world.kc(&args).output().unwrap().stderr;
        let stderr = String::from_utf8(stderr).unwrap();
        let lines = stderr.lines().map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
            line
        });
        lines.collect::<Vec<_>>()
    };
    let said = lines(&PRODUCE_ALL);
    let sent = said
        .iter()
        .find(|line| line["fields"]["message"] == "sent 1 records");
    assert_eq!(sent.unwrap()["level"], "INFO");
    let said = lines(&["produce", "t", "--node", "alcie"]);
    let error = said.last().unwrap();
    assert_eq!(error["level"], "ERROR");
    assert!(
        error["fields"]["advice"]
            .as_str()
            .unwrap()
            .contains("alice")
    );
}

/// kc reports the result of failed attempts itself.
#[test]
fn warnings_of_kafka_clients_are_not_shown() {
    let mut world = World::new();
    world.provision("producer", "alice", &[]);
    let mut alice = world.start(&["-v", "node", "serve", "--node", "alice"]);
    alice.says("hands out its retained data keys");
    world.kill_broker();
    alice.says("kc tries again");
    alice.terminate();
    let end = alice.end();
    let said = alice.rest();
    assert!(
        !said.iter().any(|line| line.contains("krafka")),
        "{said:#?}"
    );
    assert!([0, 1, 4].contains(&end), "{end}");
}

#[test]
fn side_and_management_topics_are_no_data_topics() {
    let world = World::new();
    world.provision("prodcon", "alice", &[]);
    for topic in [
        "denylist",
        "allowlist",
        "chains",
        "t.reqs",
        "t.keys",
        "t.subs",
    ] {
        for args in [
            ["produce", topic, "--node", "alice"].as_slice(),
            &["consume", topic, "--node", "alice"],
        ] {
            let stderr = world.fail(args, 2);
            assert!(complaint(&stderr).contains("not messages"), "{stderr}");
        }
    }
    let stderr = world.fail(&["topics", "create", "t.reqs", "-b", &world.address], 2);
    assert!(complaint(&stderr).contains("not messages"), "{stderr}");
    // A management topic is created without side topics.
    let created = world.succeed(&["topics", "create", "chains", "-b", &world.address]);
    assert_eq!(created, "created chains\n");
    // A node's settings can give management topics other names.
    let mut renamed = world.kc(&["produce", "nein", "--node", "alice"]);
    fail(
        renamed.env("KC_CONFIG__NODE__MGMT_TOPIC_DENYLIST", "nein"),
        2,
    );
}
