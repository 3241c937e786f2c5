//! Errors and notes about the passwords, the id and the topics of a new node.

use crate::world::{World, complaint, fail, succeed};

#[test]
fn a_root_password_that_differs_from_the_folders_is_an_error() {
    let world = World::new();
    world.provision("consumer", "alice", &[]);
    let provision = ["provision", "producer", "--node", "bob"];
    let mistyped = |more: &[&str]| {
        let mut command = world.kc(&[&provision, more].concat());
        command.env("KC_ROOT_PASSWORD", "rot");
        command
    };
    let stderr = fail(&mut mistyped(&[]), 5);
    let complaint = complaint(&stderr);
    assert!(complaint.contains("wrong root password?"), "{stderr}");
    assert!(complaint.contains("node alice"), "{stderr}");
    assert!(complaint.contains("--new-root"), "{stderr}");
    assert!(complaint.contains("provision alice again"), "{stderr}");
    assert!(!world.path("bob.config").exists());
    let output = mistyped(&["--new-root"]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    let note = "exchanges no data keys with the other nodes";
    assert!(stderr.contains(note), "{stderr}");
    // The folder now has nodes of both roots.
    succeed(&mut mistyped(&["--force"]));
    world.provision("consumer", "carol", &[]);
    // The root of the other key type has the same password.
    world.provision("consumer", "dave", &["--key-type", "4"]);
}

#[test]
fn a_provisioning_password_that_differs_from_the_folders_is_an_error() {
    let world = World::new();
    world.provision("consumer", "alice", &[]);
    let mistyped = |args: &[&str]| {
        let mut command = world.kc(args);
        command.env("KC_PROVISIONING_PASSWORD", "another word");
        command
    };
    // The provisioner for producers differs from that for consumers, too.
    let producer = ["provision", "producer", "--node", "bob"];
    let issue = ["chain", "issue", "--node", "alice"];
    for args in [
        &producer[..],
        &["provision", "controller", "--node", "bob"],
        &issue,
    ] {
        let stderr = fail(&mut mistyped(args), 5);
        let complaint = complaint(&stderr);
        assert!(
            complaint.contains("wrong provisioning password?"),
            "{stderr}"
        );
        assert!(complaint.contains("node alice"), "{stderr}");
        assert!(!world.path("bob.config").exists());
    }
    succeed(&mut mistyped(
        &[&producer[..], &["--new-provisioner"]].concat(),
    ));
    succeed(&mut mistyped(
        &[&issue[..], &["--new-provisioner"]].concat(),
    ));
    // The root itself certifies nodes with these roles.
    succeed(&mut mistyped(&[
        "provision",
        "chain-server",
        "--node",
        "carol",
    ]));
    // Now both passwords fit a node in the folder: that of bob, and the mistyped one of alice.
    succeed(&mut mistyped(&["provision", "producer", "--node", "dave"]));
}

#[test]
fn a_password_can_come_from_stdin() {
    let world = World::new();
    let root = world.provision("consumer", "alice", &[]);
    world.write("password", "root\n");
    let provision = ["provision", "consumer", "--json", "--node", "bob"];
    let mut command = world.kc(&[&provision[..], &["--root-password-file", "-"]].concat());
    let command = command.stdin(world.open("password"));
    let made = succeed(command.env_remove("KC_ROOT_PASSWORD")).stdout;
    assert!(String::from_utf8(made).unwrap().contains(&root));
}

#[test]
fn ids_servers_and_topics_that_cannot_be_meant_are_refused() {
    let world = World::new();
    for id in ["a>b", "", "-a", ".a", "a/b", "a b", "é"] {
        let node = format!("--node={id}");
        world.fail(&["provision", "producer", &node], 2);
    }
    let provision = ["provision", "producer", "--node", "alice"];
    for (wrong, said) in [
        (["-b", "host:abc"], "\"host:abc\" is not a number"),
        (["-b", "host:99999"], "\"host:99999\" is not a number"),
        (["--topics", "al.*"], "a regular expression begins with ^"),
        (["--topics", "^("], "invalid regular expression"),
    ] {
        let stderr = world.fail(&[&provision[..], &wrong].concat(), 2);
        assert!(stderr.contains(said), "{stderr}");
    }
    world.fail(&["consume", "t", "--raw", "-b", "host:abc"], 2);
    assert!(!world.path("alice.config").exists());

    let cut = [&provision[..], &["--topics", "t.a,^al.*$"]].concat();
    let stderr = world.fail(&cut, 0);
    assert!(
        stderr.contains("t.a is granted as root topic t"),
        "{stderr}"
    );
    assert!(stderr.contains("Python peer"), "{stderr}");
    let status = world.json(&["node", "status", "--node", "alice"]);
    assert_eq!(
        status["chains"][0]["topics"],
        serde_json::json!(["t", "^al.*$"])
    );
}
