//! The lists of one node.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value as Json;

use super::{key_of, list, root_key};
use crate::world::{World, complaint};

#[test]
fn a_node_is_told_by_itself_whom_to_trust() {
    let world = World::new();
    let root = world.provision("producer", "alice", &[]);
    world.provision("consumer", "bob", &["--key-type", "4"]);
    let hybrid = root_key(&world, "bob");
    let key = key_of(&world, "bob");
    let fingerprint = key.fingerprint();
    let hex: String = key
        .to_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    world.write("key", &hex);
    world.write("key.bin", key.to_bytes());
    let base64 = BASE64.encode(key.to_bytes());
    for how in [
        ["@key"].as_slice(),
        &["@key.bin"],
        &[&hex],
        &[&base64],
        &["--of", "bob"],
    ] {
        let deny = [&["trust", "deny", "--node", "alice"], how].concat();
        assert!(world.succeed(&deny).contains(&fingerprint));
        assert_eq!(
            list(&world, "alice")["denylist"][0]["fingerprint"],
            fingerprint.as_str()
        );
        let stderr = world.fail(&deny, 5);
        assert!(complaint(&stderr).contains("(check M03)"), "{stderr}");
        let remove = [&deny[..], &["--remove"]].concat();
        world.succeed(&remove);
        assert_eq!(list(&world, "alice")["denylist"], Json::Array(vec![]));
        assert!(complaint(&world.fail(&remove, 1)).contains("kc trust list"));
    }

    let allow = [
        "trust",
        "allow",
        "--node",
        "alice",
        &hybrid,
        "--topics",
        "a.b,^c.*$",
    ];
    world.succeed(&allow);
    let roots = &list(&world, "alice")["allowlist"];
    assert_eq!(roots[0]["name"], "rot0");
    assert_eq!(roots[0]["fingerprint"], root.as_str());
    assert_eq!(roots[0]["ignored"], Json::Null);
    assert_eq!(roots[1]["type"], 4);
    assert_eq!(roots[1]["topics"], Json::from(["a", "^c.*$"].as_slice()));
    assert_eq!(roots[1]["ignored"], Json::Null);
    world.fail(&allow, 5);

    let allow = ["trust", "allow", "--node", "alice", &hybrid];
    world.succeed(&[&allow[..], &["--remove"]].concat());
    world.succeed(&allow);
    let roots = &list(&world, "alice")["allowlist"];
    assert!(roots[0]["ignored"].as_str().unwrap().contains("hybrid"));
    assert_eq!(roots[1]["topics"], Json::Null);
    assert_eq!(roots[1]["ignored"], Json::Null);
    let people = world.succeed(&["trust", "list", "--node", "alice"]);
    assert!(
        people.contains("IGNORED: it is the classical half"),
        "{people}"
    );
    assert!(people.contains(&hybrid), "{people}");
    world.succeed(&["trust", "deny", "--node", "alice", &hybrid]);
    let people = world.succeed(&["trust", "list", "--node", "alice"]);
    let why = "IGNORED: it is the classical half of a hybrid key that is on the denylist";
    assert!(people.contains(why), "{people}");

    let temporary = kc::core::chain::TEMPORARY_ROOT.to_bytes();
    let stderr = world.fail(
        &[
            "trust",
            "allow",
            "--node",
            "alice",
            &BASE64.encode(temporary),
        ],
        5,
    );
    assert!(complaint(&stderr).contains("public"), "{stderr}");
}
