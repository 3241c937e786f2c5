//! `kc kafka check` and `kc topics acls`.

use std::net::TcpListener;

use kc_broker::Broker;
use serde_json::Value;

use crate::world::World;

fn lines(text: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap();
    text.lines().map(parse).collect()
}

#[test]
fn a_check_names_each_step_and_the_one_that_fails() {
    let world = World::new();
    world.succeed(&["topics", "create", "t.a", "-b", &world.address]);
    let check = ["kafka", "check", "t.a", "-b", &world.address];
    let text = world.succeed(&check);
    for step in ["resolve", "connect", "versions", "brokers", "topics"] {
        assert!(text.contains(&format!("ok    {step} ")), "{text}");
    }
    assert!(text.contains("t.a: 1 partition\n"), "{text}");

    let steps = |args: &[&str]| -> Vec<(String, bool)> {
        let output = world.kc(&[args, &["--json"]].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(4));
        let steps = lines(&String::from_utf8(output.stdout).unwrap()).into_iter();
        let step = |it: Value| (it["step"].as_str().unwrap().to_owned(), it["ok"] == true);
        steps.map(step).collect()
    };
    let failed = |steps: Vec<(String, bool)>| steps.last().unwrap().clone();
    let missing = ["kafka", "check", "missing", "-b", &world.address];
    assert_eq!(failed(steps(&missing)), ("topics".to_owned(), false));
    let tls = [
        "kafka",
        "check",
        "-b",
        &world.address,
        "--security-protocol",
        "SSL",
    ];
    assert_eq!(failed(steps(&tls)), ("tls".to_owned(), false));
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let closed = closed.to_string();
    assert_eq!(
        failed(steps(&["kafka", "check", "-b", &closed])),
        ("connect".to_owned(), false)
    );
    // Nothing is claimed of TLS with a broker that never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent
        .local_addr()
        .map(|address| (silent, address.to_string()));
    let (_open, address) = silent.unwrap();
    let options = [
        "--security-protocol",
        "SSL",
        "-X",
        "request_timeout_ms=1000",
    ];
    let answers = steps(&[&["kafka", "check", "-b", &address], &options[..]].concat());
    assert!(!answers.contains(&("tls".to_owned(), true)), "{answers:?}");
    let unknown = ["kafka", "check", "-b", "no-such-host.invalid:9092"];
    assert_eq!(failed(steps(&unknown)), ("resolve".to_owned(), false));
}

#[test]
fn a_check_names_the_address_that_a_broker_advertises() {
    let world = World::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let broker = runtime.block_on(Broker::builder().start()).unwrap();
    broker.faults().advertise("kafka.invalid", 9092);
    let check = ["kafka", "check", "-b", &broker.address().to_string()];
    let output = world.kc(&check).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("ok    versions "), "{text}");
    let failed = text.lines().find(|line| line.starts_with("FAIL"));
    let failed = failed.unwrap();
    assert!(failed.starts_with("FAIL  advertised "), "{failed}");
    assert!(
        failed.contains("broker 1 advertises kafka.invalid:9092"),
        "{failed}"
    );
    assert!(text.contains("advertised.listeners"), "{text}");
}

#[test]
fn the_original_of_a_copy_can_be_named_wherever_topics_are() {
    let world = World::new();
    world.provision("consumer", "bob", &["--topics", "orders"]);
    let broker = ["-b", &world.address];
    let copy = ["--root-topic", r"^src\.(.+)=$1"];
    let create = [&["topics", "create", "src.orders"], &copy[..], &broker].concat();
    let created = world.succeed(&create);
    assert_eq!(
        created,
        "created src.orders\ncreated orders.reqs\ncreated orders.keys\ncreated orders.subs\n"
    );
    let list = [&["topics", "list"], &copy[..], &broker].concat();
    let listed = world.succeed(&list);
    assert!(
        listed.contains("src.orders  partitions 1  data of orders\n"),
        "{listed}"
    );
    let of_bob = ["src.orders", "--node", "bob"];
    let acls = [&["topics", "acls"], &of_bob[..], &copy, &broker].concat();
    let acls = world.succeed(&acls);
    for topic in ["src.orders", "orders.reqs", "orders.keys"] {
        assert!(acls.contains(&format!("--topic '{topic}'\n")), "{acls}");
    }
    assert!(!acls.contains("src.reqs"), "{acls}");
    let check = [
        &["kafka", "check"],
        &of_bob[..],
        &copy,
        &broker,
        &["--json"],
    ]
    .concat();
    let output = world.kc(&check).output().unwrap();
    let steps = lines(&String::from_utf8(output.stdout).unwrap());
    let checked = |name: &str| {
        let target = format!("topic {name}");
        let mut of_topic = steps.iter().filter(|step| step["target"] == *target);
        of_topic.any(|step| step["ok"] == true)
    };
    assert!(checked("src.orders") && checked("orders.reqs"), "{steps:?}");
}

#[test]
fn a_file_of_another_client_is_a_connection() {
    let world = World::new();
    let file = format!(
        "bootstrap.servers={}\nsecurity.protocol=PLAINTEXT\nschema.registry.url=http://r\n",
        world.address
    );
    world.write("client.properties", file);
    let list = ["topics", "list", "--kafka-config", "client.properties"];
    let output = world.kc(&list).output().unwrap();
    assert!(output.status.success());
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(notes.contains("kc ignores: schema.registry.url"), "{notes}");
    // A flag overrides the file.
    let other = [&list[..], &["-b", "127.0.0.1:1"]].concat();
    world.fail(&other, 4);
    world.fail(&["topics", "list", "--kafka-config", "no-such-file"], 2);
}

#[test]
fn a_node_gets_the_commands_for_exactly_its_accesses() {
    let world = World::new();
    world.provision("producer", "alice", &["--topics", "t,u"]);
    let acls = [
        "topics",
        "acls",
        "t.a",
        "--node",
        "alice",
        "-b",
        &world.address,
    ];
    let text = world.succeed(&acls);
    let prefix = format!(
        "kafka-acls.sh --bootstrap-server {} --command-config admin.properties --add --allow-principal 'User:alice'",
        world.address
    );
    for line in text.lines() {
        assert!(line.starts_with(&prefix), "{line}");
    }
    assert!(
        text.contains(" --operation Read --topic 't.reqs'\n"),
        "{text}"
    );
    assert!(
        text.contains(" --operation Read --group 'alice.kafkacrypto'\n"),
        "{text}"
    );
    assert!(
        !text.contains("'u'") && !text.contains("--topic 't.subs'"),
        "{text}"
    );
    let json = lines(&world.succeed(&[&acls[..], &["--json", "--principal", "User:x"]].concat()));
    assert_eq!(json.len(), text.lines().count());
    assert!(json.iter().all(|access| access["principal"] == "User:x"));
    // Without topics, those that the chain grants by name.
    let granted = world.succeed(&["topics", "acls", "--node", "alice", "-b", &world.address]);
    assert!(
        granted.contains("--operation Write --topic 'u'\n"),
        "{granted}"
    );
    world.provision("consumer", "bob", &[]);
    world.fail(
        &["topics", "acls", "--node", "bob", "-b", &world.address],
        2,
    );
    let check = [
        "kafka",
        "check",
        "t.a",
        "--node",
        "alice",
        "-b",
        &world.address,
    ];
    world.fail(&check, 4);
    world.succeed(&[
        "topics",
        "create",
        "t.a",
        "chains",
        "allowlist",
        "denylist",
        "-b",
        &world.address,
    ]);
    let text = world.succeed(&check);
    assert!(text.contains("ok    access"), "{text}");
}
