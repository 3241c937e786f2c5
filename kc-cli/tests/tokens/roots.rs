//! The root of trust and provisioners on a token.

use serde_json::Value;

use crate::earlier;
use crate::tokens::Tokens;
use crate::world::{complaint, fail, succeed};

impl Tokens {
    /// Returns an object on the token.
    fn object(&self, label: &str) -> String {
        self.uri
            .replace("token=kc", &format!("token=kc;object={label}"))
    }

    /// Runs `kc` without any password.
    fn succeed_without_passwords(&self, args: &[&str]) -> String {
        let mut command = self.kc(args);
        command.env_remove("KC_ROOT_PASSWORD");
        command.env_remove("KC_PROVISIONING_PASSWORD");
        String::from_utf8(succeed(&mut command).stdout).unwrap()
    }
}

#[test]
fn a_root_of_trust_on_a_token_signs_in_place_of_its_password() {
    let tokens = Tokens::new();
    let world = &tokens.world;
    world.provision("consumer", "bob", &[]);
    tokens.succeed(&["hsm", "import-root", &tokens.uri]);
    let root_key = tokens.object("kc-root:root:id");
    let by_token = ["chain", "root", "--root-key", &root_key];
    let root = tokens.succeed(&by_token);
    assert_eq!(root, tokens.succeed(&["chain", "root"]));
    let root = root.trim();

    // No password is needed any more.
    let by_hand = ["--by-hand", "--root-public", root];
    let request = tokens.provision("producer", "alice", &by_hand);
    world.write("request", request);
    let sign = ["chain", "sign", "request", "--yes", "--root-key", &root_key];
    world.write("signed", tokens.succeed_without_passwords(&sign));
    tokens.succeed(&["chain", "install", "--node", "alice", "signed"]);
    tokens.exchange("certified by a token");

    let deny = ["trust", "deny", "--publish", "--of", "alice"];
    let by_root = ["--node", "bob", "--root-key", &root_key];
    tokens.succeed_without_passwords(&[&deny[..], &by_root].concat());
}

#[test]
fn provisioners_on_a_token_certify_in_place_of_their_password() {
    let tokens = Tokens::new();
    let world = &tokens.world;
    let root = tokens.succeed(&["chain", "root"]);
    let root = root.trim();
    let request = ["chain", "provisioners", "--json", "--root-public", root];
    let by_password = tokens.succeed(&request);
    let import = ["hsm", "import-provisioners", &tokens.uri];
    tokens.succeed(&[&import[..], &["--root-public", root]].concat());
    let by_token = [&request[..], &["--keystore", &tokens.uri]].concat();
    let requests = tokens.succeed_without_passwords(&by_token);
    assert_eq!(requests, by_password);

    for line in requests.lines() {
        let request: Value = serde_json::from_str(line).unwrap();
        let name = request["provisioner"].as_str().unwrap();
        world.write("request", request["request"].as_str().unwrap());
        let signed = tokens.succeed(&["chain", "sign", "request", "--yes"]);
        world.write(&format!("signed-{name}"), signed);
    }
    let provision = |role: &str, node: &str, by: &str| {
        let (signed, key) = (format!("signed-{by}"), format!("kc-provisioner:{by}:id"));
        let key = tokens.object(&key);
        let provision = ["provision", role, "--node", node, "--keystore", &tokens.uri];
        let elsewhere = ["--root-public", root, "--signed-provisioner", &signed];
        let provision = [&provision[..], &elsewhere, &["--provisioner-key", &key]].concat();
        let connection = ["-b", &world.address];
        tokens.succeed_without_passwords(&[&provision[..], &connection].concat());
    };
    provision("producer", "alice", "producer");
    provision("consumer", "bob", "consumer");
    tokens.exchange("certified by a token");
}

#[test]
fn provisioners_are_drawn_on_a_token_once() {
    let tokens = Tokens::new();
    let root = tokens.succeed(&["chain", "root"]);
    let request = ["chain", "provisioners", "--root-public", root.trim()];
    let request = [&request[..], &["--keystore", &tokens.uri]].concat();
    let drawn = tokens.succeed_without_passwords(&request);
    assert_eq!(tokens.succeed_without_passwords(&request), drawn);
    // The provisioners of a password have other keys.
    let import = ["hsm", "import-provisioners", &tokens.uri];
    let import = [&import[..], &["--root-public", root.trim()]].concat();
    let stderr = fail(&mut tokens.kc(&import), 1);
    assert!(
        complaint(&stderr).contains("kc-provisioner:producer:id"),
        "{stderr}"
    );
}

#[test]
fn no_node_takes_the_key_of_a_root_or_a_provisioner() {
    let tokens = Tokens::new();
    let root = tokens.succeed(&["chain", "root"]);
    tokens.succeed(&["hsm", "import-root", &tokens.uri]);
    let import = ["hsm", "import-provisioners", &tokens.uri];
    tokens.succeed(&[&import[..], &["--root-public", root.trim()]].concat());
    let listed = || tokens.succeed(&["hsm", "list", &tokens.uri]);
    let before = listed();
    for node in ["root", "provisioner-producer"] {
        let make = ["provision", "consumer", "--node", node];
        let make = [&make[..], &["--keystore", &tokens.uri]].concat();
        let generate = ["hsm", "generate", &tokens.uri, "--node", node];
        for command in [&make[..], &[&make[..], &["--force"]].concat(), &generate] {
            let stderr = fail(&mut tokens.kc(command), 1);
            assert!(complaint(&stderr).contains("choose another id"), "{stderr}");
        }
        tokens.world.provision("consumer", node, &[]);
        let stderr = fail(
            &mut tokens.kc(&["hsm", "import", &tokens.uri, "--node", node]),
            1,
        );
        assert!(complaint(&stderr).contains("choose another id"), "{stderr}");
    }
    assert_eq!(listed(), before);

    // A configuration cannot name these keys either.
    tokens.provision("consumer", "alice", &[]);
    tokens.reconfigure(
        tokens.entry("cryptokey").trim_end(),
        &format!("cryptokey : {}", tokens.object("kc-root:root:id")),
    );
    let stderr = fail(&mut tokens.kc(&["node", "serve", "--node", "alice"]), 1);
    assert!(complaint(&stderr).contains("kc-root:root:id"), "{stderr}");
}

#[test]
fn roots_of_an_earlier_version_are_renamed() {
    let tokens = Tokens::new();
    earlier::draw_keys(&tokens, &["root", "corp"]);
    let key = |label| {
        let root_key = tokens.object(label);
        tokens.succeed(&["chain", "root", "--root-key", &root_key])
    };
    // The labels that scripts use still work.
    let root = key("kc:root:id");
    assert_eq!(key("kc-root:root:id"), root);
    assert_eq!(key("kc:root:id"), root);
    // A key with another name may belong to a node.
    key("kc:corp:id");
    let listed = tokens.succeed(&["hsm", "list", &tokens.uri]);
    assert!(listed.contains("kc-root:root:id "), "{listed}");
    assert!(listed.contains("kc:corp:id "), "{listed}");
    assert!(!listed.contains("kc:root:"), "{listed}");
}
