//! The engine `transit` and envelopes on OpenBao. `KC_BAO` names the program `bao`, or it is in the `PATH`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::fs::File;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kc_fields::{Fault, FieldCipher, Purpose, Rules};
use serde_json::{Value, json};
use tempfile::TempDir;

const TOPIC: &str = "purchases";
const DEADLINE: Duration = Duration::from_secs(30);

struct OpenBao {
    process: Child,
    address: String,
    folder: TempDir,
}

impl Drop for OpenBao {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl OpenBao {
    fn start() -> Self {
        let server = Self::spawn(&[]);
        let end = Instant::now() + DEADLINE;
        while server.get("sys/health").is_none() {
            assert!(Instant::now() < end, "OpenBao does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        server.post("sys/mounts/transit", &json!({ "type": "transit" }));
        server.post("transit/keys/address", &json!({ "derived": true }));
        server
    }

    fn spawn(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let program = std::env::var("KC_BAO").unwrap_or_else(|_| "bao".into());
        let log = File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(program);
        command.args([
            "server",
            "-dev",
            "-dev-root-token-id=root",
            "-dev-no-store-token",
        ]);
        command.arg(format!("-dev-listen-address={free}"));
        command.args(flags).current_dir(folder.path());
        command
            .stdin(Stdio::null())
            .stderr(log.try_clone().unwrap())
            .stdout(log);
        let process = command.spawn().unwrap();
        std::fs::write(folder.path().join("token"), "root").unwrap();
        Self {
            process,
            address: format!("http://{free}"),
            folder,
        }
    }

    fn get(&self, path: &str) -> Option<Value> {
        let url = format!("{}/v1/{path}", self.address);
        let mut reply = ureq::get(&url)
            .header("X-Vault-Token", "root")
            .call()
            .ok()?;
        serde_json::from_slice(&reply.body_mut().read_to_vec().ok()?).ok()
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}/v1/{path}", self.address);
        let request = ureq::post(&url).header("X-Vault-Token", "root");
        let mut reply = request.send(body.to_string().as_bytes()).unwrap();
        serde_json::from_slice(&reply.body_mut().read_to_vec().unwrap()).unwrap_or_default()
    }

    fn rules(&self, rule: &str) -> Rules {
        let path = self.folder.path().join("rules.toml");
        let text = format!(
            "[transit]\naddress = \"{}\"\ntoken = \"file:token\"\ntimeout = \"3s\"\n[[rule]]\npath = \"$.v\"\n{rule}\n",
            self.address
        );
        std::fs::write(&path, text).unwrap();
        Rules::read(&path).unwrap()
    }

    async fn cipher(&self, rule: &str, purpose: Purpose) -> FieldCipher {
        let rules = self.rules(rule);
        FieldCipher::builder(&rules, purpose).open().await.unwrap()
    }
}

const TRANSIT: &str = "engine = \"transit\"\nkey = \"transit:address\"";

fn records(count: usize) -> Vec<Vec<u8>> {
    let record = |id| format!("{{\"id\":{id},\"v\":\"{id} Main Street\"}}").into_bytes();
    (0..count).map(record).collect()
}

#[tokio::test]
async fn rotation_keeps_old_tokens_readable_and_rewrap_renews_them() {
    let server = OpenBao::start();
    let cipher = server.cipher(TRANSIT, Purpose::Encrypt).await;
    let plain = records(600);
    let mut old = plain.clone();
    assert!(
        cipher
            .encrypt_batch(TOPIC, &mut old)
            .await
            .iter()
            .all(Result::is_ok)
    );
    assert!(
        old.iter()
            .all(|record| String::from_utf8_lossy(record).contains("vault:v1:"))
    );
    server.post("transit/keys/address/rotate", &json!({}));
    let mut new = plain.clone();
    assert!(
        cipher
            .encrypt_batch(TOPIC, &mut new)
            .await
            .iter()
            .all(Result::is_ok)
    );
    assert!(
        new.iter()
            .all(|record| String::from_utf8_lossy(record).contains("vault:v2:"))
    );
    let mut renewed = old.clone();
    let rewrap = server.cipher(TRANSIT, Purpose::Rewrap).await;
    assert!(
        rewrap
            .rewrap_batch(TOPIC, &mut renewed)
            .await
            .iter()
            .all(Result::is_ok)
    );
    assert!(
        renewed
            .iter()
            .all(|record| String::from_utf8_lossy(record).contains("vault:v2:"))
    );
    for tokens in [&old, &new, &renewed] {
        let mut tokens = tokens.clone();
        assert!(
            cipher
                .decrypt_batch(TOPIC, &mut tokens)
                .await
                .iter()
                .all(Result::is_ok)
        );
        assert_eq!(tokens, plain);
    }
    let mut moved = renewed.clone();
    let results = cipher.decrypt_batch("sales", &mut moved).await;
    assert!(
        results
            .iter()
            .all(|result| matches!(result, Err(error) if matches!(error.fault, Fault::Refused(_))))
    );

    server.post(
        "transit/keys/address/config",
        &json!({ "min_decryption_version": 2 }),
    );
    let error = cipher.decrypt(TOPIC, &mut old[0]).await.unwrap_err();
    assert!(
        matches!(&error.fault, Fault::Rejected(text) if text.contains("too old")),
        "{error}"
    );
    assert!(cipher.decrypt(TOPIC, &mut renewed[0]).await.is_ok());
}

#[tokio::test]
async fn a_typing_error_creates_no_key() {
    let server = OpenBao::start();
    let rules = server.rules(&TRANSIT.replace("address", "missing"));
    let error = FieldCipher::builder(&rules, Purpose::Encrypt)
        .open()
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("there is no key missing"),
        "{error}"
    );
    assert_eq!(server.get("transit/keys/missing"), None);
}

#[tokio::test]
async fn a_deleted_key_a_denied_token_and_a_sealed_server_are_told_apart() {
    let server = OpenBao::start();
    let cipher = server.cipher(TRANSIT, Purpose::Encrypt).await;
    let mut record = records(1).remove(0);
    let plain = record.clone();
    std::fs::write(server.folder.path().join("token"), "wrong").unwrap();
    let rules = server.rules(TRANSIT);
    let error = FieldCipher::builder(&rules, Purpose::Encrypt)
        .open()
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("the server refuses the token"),
        "{error}"
    );

    cipher.encrypt(TOPIC, &mut record).await.unwrap();
    server.post(
        "transit/keys/address/config",
        &json!({ "deletion_allowed": true }),
    );
    let url = format!("{}/v1/transit/keys/address", server.address);
    ureq::delete(&url)
        .header("X-Vault-Token", "root")
        .call()
        .unwrap();
    let error = cipher.decrypt(TOPIC, &mut record).await.unwrap_err();
    assert!(
        matches!(&error.fault, Fault::Rejected(text) if text.contains("not found")),
        "{error}"
    );

    server.post("sys/seal", &json!({}));
    let mut record = plain.clone();
    let error = cipher.encrypt(TOPIC, &mut record).await.unwrap_err();
    assert!(
        error.is_retriable() && error.to_string().contains("not ready"),
        "{error}"
    );
    assert_eq!(record, plain);
}

#[tokio::test]
async fn envelopes_come_back() {
    let server = OpenBao::start();
    let rule =
        "engine = \"envelope\"\nkey = \"transit:address\"\nbind = \"$.id\"\nmax_records = 100";
    let cipher = server.cipher(rule, Purpose::Encrypt).await;
    let plain = records(300);
    let mut sealed = plain.clone();
    assert!(
        cipher
            .encrypt_batch(TOPIC, &mut sealed)
            .await
            .iter()
            .all(Result::is_ok)
    );
    assert!(
        cipher
            .decrypt_batch(TOPIC, &mut sealed)
            .await
            .iter()
            .all(Result::is_ok)
    );
    assert_eq!(sealed, plain);
}

#[tokio::test]
async fn a_server_with_a_private_authority_is_checked() {
    let mut server = OpenBao::spawn(&["-dev-tls", "-dev-tls-cert-dir=."]);
    server.address = server.address.replace("http:", "https:");
    let authority = server.folder.path().join("vault-ca.pem");
    let rules = |more: &str| {
        let path = server.folder.path().join("rules.toml");
        let text = format!(
            "[transit]\naddress = \"{}\"\ntoken = \"file:token\"\ntimeout = \"1s\"\n{more}\n[[rule]]\npath = \"$.v\"\n{TRANSIT}\n",
            server.address
        );
        std::fs::write(&path, text).unwrap();
        Rules::read(&path).unwrap()
    };
    // The key does not exist: the server answers, but only to a client that trusts it.
    let end = Instant::now() + DEADLINE;
    loop {
        if authority.exists() {
            let rules = rules("ca = \"file:vault-ca.pem\"");
            let error = FieldCipher::builder(&rules, Purpose::Encrypt)
                .open()
                .await
                .unwrap_err()
                .to_string();
            if error.contains("there is no key address") {
                break;
            }
        }
        assert!(Instant::now() < end, "OpenBao does not answer");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let rules = rules("");
    let error = FieldCipher::builder(&rules, Purpose::Encrypt)
        .open()
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("does not answer") && error.contains("certificate"),
        "{error}"
    );
}

/// One request for many fields takes far less time than one for each.
#[tokio::test]
async fn batches_are_faster() {
    let server = OpenBao::start();
    let cipher = server.cipher(TRANSIT, Purpose::Encrypt).await;
    let mut one_by_one = records(300);
    let began = Instant::now();
    for record in &mut one_by_one {
        cipher.encrypt(TOPIC, record).await.unwrap();
    }
    let single = 300.0 / began.elapsed().as_secs_f64();
    let mut together = records(10_000);
    let began = Instant::now();
    assert!(
        cipher
            .encrypt_batch(TOPIC, &mut together)
            .await
            .iter()
            .all(Result::is_ok)
    );
    let batched = 10_000.0 / began.elapsed().as_secs_f64();
    println!("{single:.0} records/s one by one, {batched:.0} records/s in batches");
    assert!(batched > 5.0 * single, "{batched} {single}");
}
