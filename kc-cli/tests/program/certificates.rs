//! `kc chain inspect` and `kc chain enroll`; names of topics in certificates.

use serde_json::json;

use crate::world::{World, complaint};

/// A value of a node's configuration.
fn value(world: &World, node: &str, name: &str) -> String {
    let config = String::from_utf8(world.read(&format!("{node}.config"))).unwrap();
    let start = format!("{name} : ");
    config
        .lines()
        .find_map(|line| line.strip_prefix(&start))
        .unwrap()
        .to_owned()
}

#[test]
fn what_a_certificate_says_is_shown_and_judged() {
    let world = World::new();
    world.provision("producer", "alice", &["--topics", "t.a"]);
    let root = world.provision_under("other", "consumer", "mallory", &[]);
    world.provision("consumer", "bob", &[]);
    let chain = value(&world, "alice", "chain0");
    let seen = world.json(&["chain", "inspect", &chain, "--node", "bob"]);
    assert_eq!(seen["kind"], "chain");
    let leaf = &seen["certificates"][1];
    assert_eq!(leaf["usages"], json!(["key-encrypt"]));
    assert_eq!(leaf["topics"], json!(["t"]));
    assert_eq!(leaf["pathlen"], 1);
    assert_eq!(
        leaf["keys"][0]["public"],
        world.public_key("alice").as_str()
    );
    assert_eq!(seen["verdict"]["valid"], true);

    world.write("chain", &chain);
    let stderr = world.fail(&["chain", "inspect", "chain", "--node", "mallory"], 5);
    assert!(
        complaint(&stderr).contains("refused by check C04"),
        "{stderr}"
    );
    let entry = value(&world, "mallory", "rot0");
    let seen = world.json(&["chain", "inspect", &entry]);
    assert_eq!(seen["kind"], "unsigned certificate");
    assert_eq!(
        seen["certificates"][0]["keys"][0]["fingerprint"],
        root.as_str()
    );
    assert_eq!(seen["verdict"], json!(null));
    let mut listed = world.kc(&["chain", "inspect", &entry, "--node", "mallory"]);
    let listed = String::from_utf8(listed.output().unwrap().stdout).unwrap();
    assert!(
        listed.contains("the allowlist of mallory has an entry for the last key"),
        "{listed}"
    );

    world.fail(&["chain", "inspect", "AAAA"], 5);
    world.fail(&["chain", "inspect", "kA=="], 5);
    world.fail(&["chain", "inspect", "no-such-file"], 2);
}

#[test]
fn a_self_revocation_is_valid_for_the_denylist() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    let root = world.line(&["chain", "root"]);
    let printed = world.succeed(&["chain", "provisioners", "--root-public", &root]);
    let mut revocations = printed
        .lines()
        .filter_map(|line| line.strip_prefix("  revocation "));
    let revocation = revocations.next().unwrap();
    let seen = world.json(&["chain", "inspect", revocation, "--node", "alice"]);
    assert_eq!(seen["verdict"]["valid"], true);
    let signed = |number: usize| seen["certificates"][number]["signed"].as_bool();
    assert_eq!([signed(0), signed(1)], [Some(false), Some(true)]);
    let text = world.succeed(&["chain", "inspect", revocation, "--node", "alice"]);
    assert!(
        text.contains("alice accepts this self-revocation of key"),
        "{text}"
    );
    let entry = &seen["certificates"][1]["entry"];
    assert_eq!(entry["keys"], seen["certificates"][0]["keys"]);
}

#[test]
fn an_enrolled_key_is_what_a_chain_server_keeps_fresh() {
    let world = World::new();
    world.provision("chain-server", "carol", &[]);
    world.provision("producer", "alice", &["--lifetime", "1h"]);
    let key = world.public_key("alice");
    let enroll = |name, role, more: &[&str]| {
        let args = [
            "chain", "enroll", "--server", "carol", "--name", name, "--role", role, "--key", &key,
        ];
        [&args, more]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let run = |args: Vec<String>, exit: i32| {
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        match exit {
            0 => world.succeed(&args),
            _ => world.fail(&args, exit),
        }
    };
    run(enroll("alice", "producer", &["--topics", "t.a"]), 0);
    run(enroll("alice", "producer", &[]), 1);
    assert!(complaint(&run(enroll("bob", "consumer", &[]), 5)).contains("(check C14)"));
    let not_a_server = enroll("x", "producer", &[])
        .join(" ")
        .replace("carol", "alice");
    run(not_a_server.split(' ').map(str::to_owned).collect(), 5);
    run(
        enroll("alice", "producer", &["--topics", "u", "--force"]),
        0,
    );
    let entry = world.json(&["chain", "inspect", &value(&world, "carol", "alice")]);
    assert_eq!(entry["certificates"][0]["topics"], json!(["u"]));
    let carol = world.start(&["chain-server", "--node", "carol", "-b", &world.address]);
    carol.says("carol renews the chains of 1 key");
}

#[test]
fn topics_are_named_as_the_node_is_told() {
    let world = World::new();
    let names = [
        "--separator",
        "_",
        "--suffix-reqs",
        "_r",
        "--suffix-keys",
        "_k",
        "--suffix-subs",
        "_s",
    ];
    let with_names = |more: &[&'static str]| [&names[..], more].concat();
    world.provision("producer", "alice", &with_names(&["--topics", "t_a"]));
    world.provision("consumer", "bob", &with_names(&[]));
    let seen = world.json(&["chain", "inspect", &value(&world, "alice", "chain0")]);
    assert_eq!(seen["certificates"][1]["topics"], json!(["t"]));
    world.write("in.txt", "hello\n");
    let alice = world.start(&["produce", "t_a", "--node", "alice", "in.txt"]);
    alice.says("sent 1 records");
    let read = [
        "consume",
        "t_a",
        "--node",
        "bob",
        "--from-beginning",
        "--count",
        "1",
    ];
    assert_eq!(world.succeed(&read), "hello\n");
    for wrong in [["--suffix-reqs", ".keys"], ["--suffix-subs", ""]] {
        world.fail(
            &[&["provision", "producer", "--node", "n"][..], &wrong].concat(),
            2,
        );
    }
}
