//! `kc inspect`.

use serde_json::Value;

use crate::world::{CONSUME_ONE, PRODUCE_ALL, World};

fn lines(text: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap();
    text.lines().map(parse).collect()
}

/// Two records of alice, who is away, a record that is not sealed, and a record of carol, who runs.
#[test]
fn a_topic_shows_whose_keys_it_needs_and_from_where_it_can_be_read() {
    let world = World::new();
    for node in ["alice", "carol"] {
        world.provision("producer", node, &[]);
    }
    world.provision("consumer", "bob", &[]);
    world.create("t", 2);
    world.write("in.txt", "lost\nlost, too\n");
    world.succeed(&[&PRODUCE_ALL[..], &["--partition", "0"]].concat());
    world.send_to("t", 0, "plain");
    world.write("here.txt", "here\n");
    let carol = [
        "produce",
        "t",
        "--node",
        "carol",
        "--partition",
        "0",
        "here.txt",
    ];
    let carol = world.start(&carol);
    carol.says("sent 1 records");

    // Without a node nothing is opened, but the nodes on this host are known.
    let inspect = ["inspect", "t", "-b", &world.address];
    let text = world.succeed(&inspect);
    assert!(text.contains("partition 0 of t: 4 records\n"), "{text}");
    assert!(text.contains("partition 1 of t: 0 records\n"), "{text}");
    let of_alice = text.lines().find(|line| line.contains("(alice, step 0)"));
    let of_alice = of_alice.unwrap_or_else(|| panic!("{text}"));
    assert!(
        of_alice.contains("2 records under data key ") && of_alice.contains(": offsets 0 to 1, "),
        "{text}"
    );
    assert!(
        text.contains("  1 record not sealed: offsets 2 to 2, "),
        "{text}"
    );
    assert!(!text.contains("opened"), "{text}");

    let as_bob = ["--node", "bob", "--patience", "20s", "--json"];
    let lines = lines(&world.succeed(&[&inspect[..], &as_bob].concat()));
    let groups: Vec<_> = lines
        .iter()
        .filter(|line| line["kind"].is_string())
        .map(|line| {
            (
                line["owner"]["node"].as_str(),
                &line["opens"],
                line["reason"].as_str(),
            )
        })
        .collect();
    let (yes, no) = (&Value::from(true), &Value::from(false));
    assert_eq!(
        groups,
        [
            (Some("alice"), no, Some("unanswered")),
            (None, no, Some("foreign")),
            (Some("carol"), yes, None),
        ]
    );
    let readable: Vec<_> = lines
        .iter()
        .filter_map(|line| line.get("readable_from"))
        .collect();
    assert_eq!(readable, [&Value::from(3), &Value::Null]);
    // It has no group: nothing was committed.
    let read = [
        "consume",
        "t",
        "--node",
        "bob",
        "--from-beginning",
        "--undecryptable",
        "unanswered=skip,foreign=skip",
    ];
    let read = [&read[..], &["--patience", "10s", "--count", "1"]].concat();
    assert_eq!(world.succeed(&read), "here\n");
}

#[test]
fn a_node_elsewhere_is_known_by_the_key_that_signed_its_replies() {
    let world = World::new();
    std::fs::create_dir(world.path("elsewhere")).unwrap();
    world.provision("producer", "alice", &["--dir", "elsewhere"]);
    world.provision("consumer", "bob", &[]);
    world.write("in.txt", "a\n");
    let node = world.path("elsewhere/alice.config");
    let node = node.to_str().unwrap();
    let key = world.json(&["node", "keys", "--node", node]);
    let key = key["keys"][0]["fingerprint"].as_str().unwrap().to_owned();
    let alice = world.start(&["produce", "t", "--node", node, "in.txt"]);
    alice.says("sent 1 records");
    let inspect = ["inspect", "t", "-b", &world.address];
    let text = world.succeed(&inspect);
    assert!(text.contains("(of an unknown node)"), "{text}");
    assert_eq!(world.succeed(&CONSUME_ONE), "a\n");
    let text = world.succeed(&inspect);
    assert!(text.contains(&format!("(key {key}, step 0)")), "{text}");
}

#[test]
fn a_topic_that_does_not_exist_is_reported() {
    let world = World::new();
    let stderr = world.fail(&["inspect", "gone", "-b", &world.address], 4);
    assert!(stderr.contains("kc topics create gone"), "{stderr}");
}
