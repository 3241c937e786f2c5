//! `kc doctor`: a healthy node is all ok, and each fault is found under its id.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::world::{PRODUCE_ALL, Process, World, until};

/// The result of a check on a target.
#[derive(Debug)]
struct Line {
    check: String,
    target: String,
    result: String,
    detail: String,
    fixed: bool,
}

/// What `kc doctor --json` prints.
#[derive(Debug)]
struct Examined(Vec<Line>);

fn examine(world: &World, node: &str, more: &[&str], exit: i32) -> Examined {
    let args = [&["doctor", "--json", "--node", node], more].concat();
    let output = world.kc(&args).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{printed}{stderr}");
    let line = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| value[name].as_str().unwrap().to_owned();
        let is_ok = value["result"] == "ok";
        assert_eq!(value["advice"].is_null(), is_ok, "{line}");
        assert_eq!(value["page"].is_null(), is_ok, "{line}");
        Line {
            check: text("check"),
            target: text("target"),
            result: text("result"),
            detail: text("detail"),
            fixed: value["fixed"] == true,
        }
    };
    Examined(printed.lines().map(line).collect())
}

impl Examined {
    /// Returns the lines of a check.
    fn of(&self, check: &str) -> Vec<&Line> {
        let lines: Vec<_> = self.0.iter().filter(|line| line.check == check).collect();
        assert!(!lines.is_empty(), "{check}: {self:#?}");
        lines
    }

    /// Asserts that these are the checks without the result ok, once for each, in order.
    fn are_not_ok(&self, expected: &[(&str, &str)]) {
        let mut found = Vec::new();
        for line in self.0.iter().filter(|line| line.result != "ok") {
            let pair = (line.check.as_str(), line.result.as_str());
            if !found.contains(&pair) {
                found.push(pair);
            }
        }
        assert_eq!(found, expected, "{self:#?}");
    }
}

fn mode(world: &World, name: &str, mode: u32) {
    fs::set_permissions(world.path(name), Permissions::from_mode(mode)).unwrap();
}

fn edit(world: &World, name: &str, from: &str, to: &str) {
    let text = String::from_utf8(world.read(name)).unwrap();
    assert!(text.contains(from), "{text}");
    world.write(name, text.replacen(from, to, 1));
}

#[test]
fn files_that_others_can_read_are_found_and_made_private() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    mode(&world, "alice.crypto", 0o644);
    let found = examine(&world, "alice", &["--offline"], 5);
    found.are_not_ok(&[("files.permissions", "fail")]);
    let permissions = found.of("files.permissions");
    let failed = permissions
        .iter()
        .find(|line| line.result == "fail")
        .unwrap();
    assert_eq!(failed.target, "alice.crypto");
    assert!(failed.detail.contains("0644"), "{failed:?}");

    let fixed = examine(&world, "alice", &["--offline", "--fix"], 0);
    fixed.are_not_ok(&[]);
    assert_eq!(fixed.0.iter().filter(|line| line.fixed).count(), 1);
    let now = fs::metadata(world.path("alice.crypto"))
        .unwrap()
        .permissions();
    assert_eq!(now.mode() & 0o777, 0o600);
    let again = examine(&world, "alice", &["--offline"], 0);
    assert!(
        again
            .0
            .iter()
            .all(|line| line.result == "ok" && !line.fixed),
        "{again:#?}"
    );

    // The owner may let others read the configuration, but not write it.
    mode(&world, "alice.config", 0o640);
    examine(&world, "alice", &["--offline", "--fix"], 0)
        .are_not_ok(&[("files.permissions", "warn")]);
    mode(&world, "alice.config", 0o660);
    examine(&world, "alice", &["--offline"], 5).are_not_ok(&[("files.permissions", "fail")]);
    examine(&world, "alice", &["--offline", "--fix"], 0).are_not_ok(&[]);

    fs::remove_file(world.path("alice.crypto")).unwrap();
    let missing = examine(&world, "alice", &["--offline"], 5);
    assert_eq!(missing.of("files.exist")[0].result, "fail");
    assert_eq!(missing.of("files.content")[0].result, "fail");
    let chain = missing.of("chain.valid");
    assert_eq!(chain[0].result, "skip");
    assert!(chain[0].detail.contains("files.content"), "{chain:?}");
}

#[test]
fn settings_that_are_unknown_idle_or_a_risk_are_found() {
    let world = World::new();
    world.provision("consumer", "bob", &[]);
    let config = String::from_utf8(world.read("bob.config")).unwrap();
    edit(
        &world,
        "bob.config",
        "[bob]\n",
        "[bob]\ncrypto_max_pgen_aeg : 5\ndenied_keys : keep\n",
    );
    edit(
        &world,
        "bob.config",
        "[bob-kafka]\n",
        "[bob-kafka]\nssl_password : secret\n",
    );
    let found = examine(&world, "bob", &["--offline"], 0);
    found.are_not_ok(&[
        ("config.unknown", "warn"),
        ("config.idle", "warn"),
        ("config.risk", "warn"),
    ]);
    let unknown = found.of("config.unknown");
    assert_eq!(unknown[0].target, "[bob] crypto_max_pgen_aeg");
    assert_eq!(found.of("config.idle")[0].target, "ssl_password");
    assert_eq!(found.of("config.risk")[0].target, "denied_keys");

    world.write(
        "bob.config",
        format!("{config}\n[bob-kafak]\nclient_id : x\n"),
    );
    let found = examine(&world, "bob", &["--offline"], 0);
    found.are_not_ok(&[("config.unknown", "warn")]);
    assert_eq!(found.of("config.unknown")[0].target, "[bob-kafak]");

    world.write(
        "bob.config",
        config.replacen("[bob-kafka]\n", "[bob-kafka]\nclient_idd : x\n", 1),
    );
    let found = examine(&world, "bob", &["--offline"], 5);
    found.are_not_ok(&[("config.kafka", "fail")]);
    assert!(
        found.of("config.kafka")[0].detail.contains("client_id"),
        "{found:?}"
    );
}

#[test]
fn chains_that_end_or_do_not_fit_are_found() {
    let world = World::new();
    world.provision("producer", "alice", &["--topics", "t", "--lifetime", "3d"]);
    let soon = examine(&world, "alice", &["--offline"], 0);
    soon.are_not_ok(&[("chain.end", "warn")]);
    examine(&world, "alice", &["--offline", "--ends-within", "20h"], 0).are_not_ok(&[]);

    let other = ["--offline", "--ends-within", "20h", "--topics", "t,u"];
    let found = examine(&world, "alice", &other, 5);
    found.are_not_ok(&[("chain.topics", "fail")]);
    assert_eq!(found.of("chain.topics")[0].target, "u");

    world.provision("producer", "late", &["--lifetime", "0s"]);
    let found = examine(&world, "late", &["--offline"], 5);
    assert_eq!(found.of("chain.valid")[0].result, "fail");
    assert!(
        found.of("chain.valid")[0].detail.contains("C12"),
        "{found:?}"
    );
    assert_eq!(found.of("chain.end")[0].result, "skip");
}

#[test]
fn a_chain_under_a_root_that_the_node_does_not_trust_is_found() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    world.provision_under("other", "producer", "mallory", &[]);
    let config = String::from_utf8(world.read("mallory.config")).unwrap();
    let entry = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("rot0"));
        line.unwrap().to_owned()
    };
    let own = String::from_utf8(world.read("alice.config")).unwrap();
    edit(&world, "alice.config", &entry(&own), &entry(&config));
    let found = examine(&world, "alice", &["--offline"], 5);
    assert_eq!(found.of("chain.valid")[0].result, "fail");
    assert!(
        found.of("chain.valid")[0].detail.contains("C04"),
        "{found:?}"
    );
}

#[test]
fn a_ratchet_that_was_put_back_or_copied_is_found() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    world.provision("producer", "carl", &[]);
    world.write("in.txt", "a\n");
    let old = world.read("alice.seed");
    world.succeed(&PRODUCE_ALL);
    examine(&world, "alice", &["--offline"], 0).are_not_ok(&[]);

    let present = world.read("alice.seed");
    world.write("alice.seed", &old);
    let found = examine(&world, "alice", &["--offline"], 5);
    found.are_not_ok(&[("ratchet.copy", "fail")]);

    world.write("alice.seed", &present);
    world.write("carl.seed", &present);
    let found = examine(&world, "alice", &["--offline"], 5);
    found.are_not_ok(&[("ratchet.copy", "fail")]);
    assert!(
        found.of("ratchet.copy")[0].detail.contains("carl"),
        "{found:?}"
    );

    fs::remove_file(world.path("alice.seed")).unwrap();
    let found = examine(&world, "alice", &["--offline"], 5);
    found.are_not_ok(&[("ratchet.state", "fail"), ("ratchet.copy", "skip")]);
}

#[test]
fn a_classical_root_beside_a_hybrid_one_is_found() {
    let world = World::new();
    world.provision("producer", "alice", &["--key-type", "4"]);
    let classical = world.line(&["chain", "root"]);
    world.succeed(&["trust", "allow", &classical, "--node", "alice"]);
    let found = examine(&world, "alice", &["--offline"], 0);
    assert_eq!(found.of("trust.password")[0].result, "warn");

    edit(
        &world,
        "alice.config",
        "[alice]\n",
        "[alice]\nallow_classical_root : true\n",
    );
    let found = examine(&world, "alice", &["--offline"], 0);
    found.are_not_ok(&[("trust.password", "warn"), ("trust.classical", "warn")]);
}

/// Provisions a producer and a consumer of the topic `t`, and creates all topics.
fn fleet() -> World {
    let world = World::new();
    world.provision("producer", "alice", &["--topics", "t"]);
    world.provision("consumer", "bob", &["--topics", "t"]);
    create_all(&world);
    world.write("in.txt", "a\n");
    world
}

/// Creates the topic `t`, its side topics and the management topics, unless they exist.
fn create_all(world: &World) {
    let create = ["topics", "create", "t", "chains", "allowlist", "denylist"];
    world.succeed(&[&create[..], &["-b", &world.address]].concat());
}

/// Returns a fleet whose producer runs and stays.
fn with_producer() -> (World, Process) {
    let world = fleet();
    let alice = world.start(&["produce", "t", "--node", "alice", "in.txt"]);
    alice.says("sent 1 record");
    (world, alice)
}

#[test]
fn a_healthy_fleet_is_all_ok() {
    let (world, alice) = with_producer();
    let consumer = examine(&world, "bob", &[], 0);
    consumer.are_not_ok(&[]);
    let answers = consumer.of("exchange.answers");
    assert!(
        answers[0].detail.contains("answered by alice after"),
        "{answers:?}"
    );
    for check in [
        "broker.resolve",
        "broker.connect",
        "broker.answers",
        "topics.access",
        "clock.records",
        "clock.answers",
    ] {
        consumer.of(check);
    }
    // The running producer is asked over its socket.
    let producer = examine(&world, "alice", &[], 0);
    producer.are_not_ok(&[]);
    let lock = producer.of("files.lock")[0];
    assert!(
        lock.detail.contains(&alice.child.id().to_string()),
        "{lock:?}"
    );
    assert!(
        producer.of("exchange.answers")[0]
            .detail
            .contains("answered 1 request"),
        "{producer:#?}"
    );

    let text = world.succeed(&["doctor", "--node", "bob"]);
    assert!(
        text.lines().all(|line| line.starts_with("ok    ")),
        "{text}"
    );
}

#[test]
fn a_producer_that_does_not_run_is_found() {
    let (world, mut alice) = with_producer();
    alice.terminate();
    alice.end();
    let found = examine(&world, "bob", &["--timeout", "20s"], 5);
    found.are_not_ok(&[("exchange.answers", "fail")]);
    let stderr = world.fail(&["doctor", "--node", "bob", "--timeout", "1ms"], 5);
    assert!(stderr.contains("1 check failed"), "{stderr}");
}

#[test]
fn side_topics_that_are_missing_are_created() {
    let world = World::with_broker(&["--no-auto-create"]);
    world.provision("consumer", "bob", &["--topics", "t"]);
    world.create("t", 1);
    let found = examine(&world, "bob", &[], 5);
    let exist = found.of("topics.exist");
    let result = |topic: &str| {
        let line = exist.iter().find(|line| line.target == topic);
        line.unwrap().result.as_str()
    };
    assert_eq!(
        (result("t"), result("t.keys"), result("denylist")),
        ("ok", "fail", "warn")
    );
    assert!(
        found
            .of("topics.retention")
            .iter()
            .all(|line| line.result == "skip")
    );

    let fixed = examine(&world, "bob", &["--fix"], 0);
    let created = fixed.0.iter().filter(|line| line.fixed).count();
    assert_eq!(created, 6, "{fixed:#?}");
    let skipped = [("clock.records", "skip"), ("exchange.answers", "skip")];
    fixed.are_not_ok(&skipped);
    examine(&world, "bob", &[], 0).are_not_ok(&skipped);

    let found = examine(&world, "bob", &["--topics", "t,u"], 5);
    let missing = found.of("topics.exist");
    assert!(
        missing
            .iter()
            .any(|line| line.target == "u" && line.result == "fail")
    );
}

#[test]
fn side_topics_with_the_settings_of_data_topics_are_found() {
    let world = World::new();
    world.provision("consumer", "bob", &["--topics", "t"]);
    world.create("t.keys", 2);
    create_all(&world);
    let found = examine(&world, "bob", &[], 0);
    found.are_not_ok(&[
        ("topics.partitions", "warn"),
        ("topics.retention", "warn"),
        ("clock.records", "skip"),
        ("exchange.answers", "skip"),
    ]);
    let retention = found.of("topics.retention");
    let warned: Vec<_> = retention
        .iter()
        .filter(|line| line.result == "warn")
        .collect();
    assert_eq!(warned.len(), 1);
    assert_eq!(warned[0].target, "t.keys");
}

#[test]
fn a_broker_that_is_away_is_found_and_nothing_else_is_said() {
    let mut world = World::new();
    world.provision("consumer", "bob", &["--topics", "t"]);
    world.kill_broker();
    let found = examine(&world, "bob", &[], 5);
    found.are_not_ok(&[
        ("broker.connect", "fail"),
        ("topics.exist", "skip"),
        ("topics.partitions", "skip"),
        ("topics.retention", "skip"),
        ("topics.access", "skip"),
        ("clock.records", "skip"),
        ("exchange.answers", "skip"),
    ]);
    assert!(
        found.of("topics.exist")[0]
            .detail
            .contains("broker.connect"),
        "{found:#?}"
    );
}

#[test]
fn a_custodian_that_answers_is_named() {
    let world = fleet();
    world.provision("prodcon", "cust", &["--topics", "t"]);
    let custodian = world.start(&["custodian", "--node", "cust"]);
    custodian.says("collects more");
    let with_custodian = [
        "produce",
        "t",
        "--node",
        "alice",
        "--custodian",
        "cust",
        "--exit-after",
        "60s",
        "in.txt",
    ];
    world.succeed(&with_custodian);
    let found = examine(&world, "bob", &[], 0);
    found.are_not_ok(&[]);
    let custody = found.of("exchange.custody");
    assert!(custody[0].detail.contains("cust for alice"), "{custody:?}");
    let running = examine(&world, "cust", &[], 0);
    assert!(
        running.of("exchange.custody")[0]
            .detail
            .contains("misses none"),
        "{running:#?}"
    );
}

#[test]
fn a_running_consumer_is_asked_for_its_unanswered_requests() {
    let (world, mut alice) = with_producer();
    alice.terminate();
    alice.end();
    let bob = world.start(&["consume", "t", "--node", "bob", "--from-beginning"]);
    until("a request of bob is unanswered", || {
        let status = world.json(&["node", "status", "--node", "bob"]);
        status["running"]["unanswered"]["t"] == 1
    });
    let found = examine(&world, "bob", &[], 5);
    found.are_not_ok(&[("exchange.answers", "fail")]);
    assert!(
        found.of("exchange.answers")[0]
            .detail
            .contains("1 data key"),
        "{found:#?}"
    );
    drop(bob);
}

#[test]
fn a_configuration_that_cannot_be_read_skips_what_depends_on_it() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    edit(
        &world,
        "alice.config",
        "[alice]\n",
        "[alice]\nkeytypes : 9\n",
    );
    let found = examine(&world, "alice", &["--offline"], 5);
    assert_eq!(found.of("files.content")[0].result, "fail");
    for check in [
        "files.lock",
        "config.kafka",
        "trust.roots",
        "chain.topics",
        "ratchet.copy",
    ] {
        assert_eq!(found.of(check)[0].result, "skip", "{check}");
    }
}

#[test]
fn a_node_without_a_root_and_one_without_topics_are_found() {
    let world = World::new();
    world.provision("prodcon", "dave", &[]);
    let config = String::from_utf8(world.read("dave.config")).unwrap();
    // Without a list of topics, the topics of the node are not known.
    let found = examine(&world, "dave", &[], 0);
    let topics = found.of("topics.exist");
    assert_eq!(topics[0].result, "skip");
    assert!(topics[0].detail.contains("by name"), "{topics:?}");

    let root = config.lines().find(|line| line.starts_with("rot0"));
    edit(&world, "dave.config", root.unwrap(), "");
    let found = examine(&world, "dave", &[], 5);
    assert_eq!(found.of("trust.roots")[0].result, "fail");
    assert_eq!(found.of("chain.valid")[0].result, "fail");
    let answers = found.of("exchange.answers");
    assert!(answers[0].detail.contains("chain.valid"), "{answers:?}");
}
