//! The choice of a Kafka client, and its settings.

use kc::BackendChoice;

use crate::world::{World, complaint};

#[test]
fn a_backend_that_is_unknown_or_not_built_in_is_usage() {
    let world = World::new();
    world.provision("consumer", "bob", &[]);
    let consume = ["consume", "t", "--node", "bob", "--backend"];
    let stderr = world.fail(&[&consume[..], &["java"]].concat(), 2);
    assert!(stderr.contains("pure, rdkafka and legacy"), "{stderr}");

    let absent = BackendChoice::ALL.into_iter();
    for choice in absent.filter(|choice| !choice.is_built_in()) {
        let stderr = world.fail(&[&consume[..], &[choice.name()]].concat(), 2);
        let feature = format!("the feature `{}`", choice.feature());
        assert!(complaint(&stderr).contains(&feature), "{stderr}");
    }
}

#[test]
fn the_backend_in_the_configuration_counts_unless_another_is_told() {
    let world = World::new();
    world.provision("producer", "alice", &["--backend", "legacy"]);
    let config = String::from_utf8(world.read("alice.config")).unwrap();
    assert!(config.contains("backend : legacy"), "{config}");
    world.write("lines", "a\n");
    let produce = [
        "produce",
        "t",
        "lines",
        "--node",
        "alice",
        "--exit-after",
        "0s",
    ];
    if !BackendChoice::Legacy.is_built_in() {
        world.fail(&produce, 2);
    }
    world.succeed(&[&produce[..], &["--backend", "pure"]].concat());

    world.write("alice.config", config.replace("legacy", "lagacy"));
    let stderr = world.fail(&produce, 1);
    assert!(complaint(&stderr).contains("lagacy"), "{stderr}");
    assert!(complaint(&stderr).contains("alice.config"), "{stderr}");
}

#[test]
fn a_password_comes_from_a_file_and_one_on_the_command_line_is_remarked_on() {
    let world = World::new();
    world.provision("consumer", "bob", &[]);
    world.write("password", "hush\n");
    // The broker speaks no SASL; what matters is what was understood before that.
    let connect = |password: &str| {
        let password = format!("sasl_plain_password={password}");
        let args = [
            "consume",
            "t",
            "--node",
            "bob",
            "--security-protocol",
            "SASL_PLAINTEXT",
            "-X",
            "sasl_mechanism=PLAIN",
            "-X",
            "sasl.username=me",
            "-X",
            &password,
        ];
        world.fail(&args, 4)
    };
    let stderr = connect("hush");
    assert!(stderr.contains("-X sasl_plain_password is for all to see"));
    let stderr = connect("file#password");
    assert!(!stderr.contains("for all to see"), "{stderr}");
    assert!(!stderr.contains("hush"), "{stderr}");
}

#[test]
fn settings_that_mean_nothing_are_named() {
    let world = World::new();
    world.provision("consumer", "bob", &[]);
    for (setting, told) in [
        ("boostrap.servers=x", "`bootstrap.servers`"),
        ("transactional_id=x", "`transactional_id`"),
        ("sasl_plain_password=file#missing", "missing does not exist"),
        ("ssl_keyfile=k.pem", "`ssl_keyfile`"),
    ] {
        let args = ["consume", "t", "--node", "bob", "-X", setting];
        let stderr = world.kc(&args).output().unwrap();
        assert!(!stderr.status.success());
        let stderr = String::from_utf8(stderr.stderr).unwrap();
        assert!(complaint(&stderr).contains(told), "{stderr}");
    }
}
