//! `kc kafka check` on an Apache Kafka that authenticates its users and checks their accesses. Needs Java and Maven:
//! `cargo xtask kafka test` runs it.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

#[allow(dead_code, reason = "shared with other tests, which use more of it")]
#[path = "program/world.rs"]
mod world;

use kc_testkit::kafka::{Kafka, Listener, PASSWORD, USER, Version};
use krafka::admin::{
    AclBinding, AclOperation, AclPatternType, AclPermissionType, AclResourceType, AdminClient,
    CreateAclsOptions,
};
use serde_json::Value;

use crate::world::World;

fn start() -> Kafka {
    Kafka::builder(Version::V4)
        .sasl()
        .auto_create_topics(false)
        .property(
            "authorizer.class.name",
            "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        )
        .property("super.users", "User:ANONYMOUS")
        .start()
        .unwrap()
}

/// A step of a check: its name, its target, whether it succeeded, and its detail.
type Step = (String, String, bool, String);

/// Runs a check as a user, and returns its exit code and its steps.
fn check(world: &World, servers: &str, password: &str, more: &[&str]) -> (i32, Vec<Step>) {
    let args = ["kafka", "check", "--json", "-b", servers];
    let mut command = world.kc(&[&args, more].concat());
    for setting in [
        "security_protocol=SASL_PLAINTEXT",
        "sasl_mechanism=PLAIN",
        &format!("sasl_plain_username={USER}"),
        &format!("sasl_plain_password={password}"),
    ] {
        command.args(["-X", setting]);
    }
    let output = command.output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let step = |line: &str| {
        let step: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| step[name].as_str().unwrap().to_owned();
        let ok = step["ok"] == true;
        assert_eq!(ok, step["advice"].is_null(), "{line}");
        (text("step"), text("target"), ok, text("detail"))
    };
    (
        output.status.code().unwrap(),
        printed.lines().map(step).collect(),
    )
}

fn failed(steps: &[Step]) -> Vec<(&str, &str)> {
    let failed = steps.iter().filter(|(_, _, ok, _)| !ok);
    failed
        .map(|(step, target, ..)| (step.as_str(), target.as_str()))
        .collect()
}

/// Allows the user an operation on a topic or a group.
async fn allow(admin: &AdminClient, kind: AclResourceType, name: &str, operation: AclOperation) {
    let user = format!("User:{USER}");
    let binding = AclBinding::new(kind, name, user, "*", operation, AclPermissionType::Allow)
        // krafka 0.28.1 sends 3 for this, which is LITERAL in Kafka's protocol.
        .with_pattern_type(AclPatternType::Prefixed);
    let created = admin.create_acls(vec![binding], CreateAclsOptions::default());
    for (binding, created) in created.await.unwrap() {
        created.unwrap_or_else(|error| panic!("{binding:?}: {error}"));
    }
}

#[test]
fn a_check_names_a_wrong_password_and_each_access_that_is_missing() {
    let kafka = start();
    let world = World::new();
    world.provision("producer", "alice", &["--topics", "orders"]);
    let servers = kafka.address(Listener::SaslPlaintext);
    let of_alice = ["--node", "alice"];

    let (exit, steps) = check(&world, &servers, "wrong", &of_alice);
    assert_eq!(exit, 4);
    assert_eq!(failed(&steps), [("sasl", servers.as_str())], "{steps:?}");

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let plain = kafka.address(Listener::Plaintext);
    let topics = ["orders", "chains", "allowlist", "denylist"];
    let create = [&["topics", "create", "-b", &plain], &topics[..]].concat();
    world.succeed(&create);
    let admin = runtime.block_on(async {
        let client = krafka::Kafka::builder(&plain).connect().await;
        client.unwrap().admin()
    });
    let (exit, steps) = check(&world, &servers, PASSWORD, &of_alice);
    assert_eq!(exit, 4);
    let is_access = |(step, ..): &&Step| step == "access";
    let missing: Vec<_> = steps.iter().filter(is_access).collect();
    assert!(missing.iter().all(|(_, _, ok, _)| !ok), "{steps:?}");
    let passed = |name: &str| steps.iter().any(|(step, _, ok, _)| step == name && *ok);
    for step in ["resolve", "connect", "sasl", "versions", "brokers"] {
        assert!(passed(step), "{step}: {steps:?}");
    }
    let targets: Vec<_> = missing
        .iter()
        .map(|(_, target, ..)| target.as_str())
        .collect();
    for target in [
        "topic orders",
        "topic orders.keys",
        "topic orders.reqs",
        "group alice.kafkacrypto",
    ] {
        assert!(targets.contains(&target), "{target}: {targets:?}");
    }
    runtime.block_on(async {
        for (_, target, _, detail) in &missing {
            let (kind, name) = match target.split_once(' ').unwrap() {
                ("topic", name) => (AclResourceType::Topic, name),
                ("group", name) => (AclResourceType::Group, name),
                other => panic!("{other:?}"),
            };
            let operation = match detail.as_str() {
                "Read is not allowed" => AclOperation::Read,
                "Write is not allowed" => AclOperation::Write,
                "Create is not allowed" => AclOperation::Create,
                other => panic!("{other}"),
            };
            allow(&admin, kind, name, operation).await;
        }
    });
    let (exit, steps) = check(&world, &servers, PASSWORD, &of_alice);
    assert_eq!(exit, 0, "{steps:?}");
    let allowed = steps.iter().filter(is_access).count();
    assert_eq!(allowed, missing.len());
}
