//! The engine `transit` on a server that answers as Transit does, and on one that does not.

use std::time::{Duration, Instant};

use kc_fields::{Fault, FieldCipher, Purpose};

use crate::server::{Server, Trouble};
use crate::world::{TOPIC, World, decrypted, encrypted};

fn rules(server: &Server, more: &str) -> String {
    format!(
        "[transit]\naddress = \"http://{}\"\ntoken = \"file:token\"\ntimeout = \"2s\"\n{more}\n\
         [[rule]]\npath = \"$.v\"\nengine = \"transit\"\nkey = \"transit:address\"\n",
        server.address
    )
}

fn world(token: &str) -> World {
    let world = World::without_broker();
    std::fs::write(world.folder.path().join("token"), token).unwrap();
    world
}

async fn refused(world: &World, rules: &str) -> String {
    let rules = world.rules(rules);
    let refused = FieldCipher::builder(&rules, Purpose::Encrypt).open().await;
    refused.unwrap_err().to_string()
}

#[tokio::test]
async fn many_fields_share_requests_and_connections() {
    let (server, world) = (Server::start(), world("root\n"));
    let cipher = world
        .cipher(&rules(&server, ""), Purpose::Encrypt, None)
        .await;
    let mut records: Vec<Vec<u8>> = (0..1000)
        .map(|id| format!("{{\"v\":{id}}}").into_bytes())
        .collect();
    let plain = records.clone();
    assert!(
        cipher
            .encrypt_batch(TOPIC, &mut records)
            .await
            .iter()
            .all(Result::is_ok)
    );
    assert!(
        records
            .iter()
            .all(|record| record.starts_with(b"{\"v\":\"vault:v1:"))
    );
    assert!(
        cipher
            .decrypt_batch(TOPIC, &mut records)
            .await
            .iter()
            .all(Result::is_ok)
    );
    assert_eq!(records, plain);
    assert_eq!(
        (server.count("/encrypt/"), server.count("/decrypt/")),
        (5, 5)
    );
    assert_eq!(server.state.lock().unwrap().connections, 1);
}

#[tokio::test]
async fn a_bad_entry_spoils_no_other() {
    let (server, world) = (Server::start(), world("root"));
    let cipher = world
        .cipher(&rules(&server, ""), Purpose::Encrypt, None)
        .await;
    let good = encrypted(&cipher, TOPIC, "{\"v\":1}").await.unwrap();
    let mut records = vec![
        good.clone().into_bytes(),
        b"{\"v\":\"vault:v1:AAAA\"}".to_vec(),
        good.into_bytes(),
    ];
    let results = cipher.decrypt_batch(TOPIC, &mut records).await;
    let is_refused = |result: &Result<_, kc_fields::FieldError>| matches!(result, Err(error) if matches!(error.fault, Fault::Refused(_)));
    assert!(
        results[0].is_ok() && is_refused(&results[1]) && results[2].is_ok(),
        "{results:?}"
    );
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    let (server, world) = (Server::start(), world("root"));
    let cipher = world
        .cipher(&rules(&server, ""), Purpose::Encrypt, None)
        .await;
    for trouble in [
        Trouble::Status(503, "Vault is sealed"),
        Trouble::Status(429, ""),
        Trouble::Status(500, "internal error"),
        Trouble::Close,
    ] {
        server.trouble(&[trouble, trouble]);
        let before = server.count("/encrypt/");
        encrypted(&cipher, TOPIC, "{\"v\":1}").await.unwrap();
        assert_eq!(server.count("/encrypt/") - before, 3, "{trouble:?}");
    }
}

#[tokio::test]
async fn what_lasts_ends_at_the_deadline_and_nothing_passes_in_plain() {
    let (server, world) = (Server::start(), world("root"));
    let cipher = world
        .cipher(&rules(&server, ""), Purpose::Encrypt, None)
        .await;
    for (trouble, expected) in [
        (
            Trouble::Status(503, "Vault is sealed"),
            "the server is not ready: Vault is sealed",
        ),
        (Trouble::Silence, "does not answer"),
    ] {
        server.trouble(&[trouble; 100]);
        let began = Instant::now();
        let mut record = b"{\"v\":1}".to_vec();
        let error = cipher.encrypt(TOPIC, &mut record).await.unwrap_err();
        assert!(
            error.is_retriable() && error.to_string().contains(expected),
            "{error}"
        );
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
        server.state.lock().unwrap().troubles.clear();
        encrypted(&cipher, TOPIC, "{\"v\":1}").await.unwrap();
    }
}

#[tokio::test]
async fn a_refused_token_is_read_again_once() {
    let (server, world) = (Server::start(), world("root"));
    let cipher = world
        .cipher(&rules(&server, ""), Purpose::Encrypt, None)
        .await;
    server.state.lock().unwrap().token = "next".into();
    let error = encrypted(&cipher, TOPIC, "{\"v\":1}").await.unwrap_err();
    assert!(
        matches!(&error.fault, Fault::Rejected(text) if text.contains("permission denied")),
        "{error}"
    );
    std::fs::write(world.folder.path().join("token"), "next").unwrap();
    encrypted(&cipher, TOPIC, "{\"v\":1}").await.unwrap();
}

#[tokio::test]
async fn a_role_logs_in_and_again_when_its_token_ends() {
    let (server, world) = (Server::start(), world("secret\n"));
    let role = "approle = { role_id = \"shop\", secret_id = \"file:token\" }";
    let rules = rules(&server, "").replace("token = \"file:token\"", role);
    let cipher = world.cipher(&rules, Purpose::Encrypt, None).await;
    assert_eq!(server.count("/login"), 1);
    server.state.lock().unwrap().token = "next".into();
    encrypted(&cipher, TOPIC, "{\"v\":1}").await.unwrap();
    assert_eq!(server.count("/login"), 2);
    std::fs::write(world.folder.path().join("token"), "wrong").unwrap();
    let refusal = refused(&world, &rules).await;
    assert!(
        refusal.contains("refuses the login") && refusal.contains("invalid role"),
        "{refusal}"
    );
}

#[tokio::test]
async fn a_token_is_renewed_after_half_of_its_life() {
    let (server, world) = (Server::start(), world("secret"));
    server.state.lock().unwrap().lease = 1;
    let role = "approle = { role_id = \"shop\", secret_id = \"file:token\" }";
    let rules = rules(&server, "").replace("token = \"file:token\"", role);
    let cipher = world.cipher(&rules, Purpose::Encrypt, None).await;
    let end = Instant::now() + Duration::from_secs(20);
    while server.count("/renew-self") == 0 {
        encrypted(&cipher, TOPIC, "{\"v\":1}").await.unwrap();
        assert!(Instant::now() < end);
    }
    encrypted(&cipher, TOPIC, "{\"v\":1}").await.unwrap();
    assert_eq!(
        (server.count("/renew-self"), server.count("/login")),
        (1, 1)
    );
}

#[tokio::test]
async fn rewrap_moves_tokens_until_their_version_is_too_old() {
    let (server, world) = (Server::start(), world("root"));
    let cipher = world
        .cipher(&rules(&server, ""), Purpose::Rewrap, None)
        .await;
    let record = "{\"v\":\"ann\"}";
    let old = encrypted(&cipher, TOPIC, record).await.unwrap();
    server.state.lock().unwrap().version = 2;
    let mut records = vec![old.clone().into_bytes()];
    assert!(cipher.rewrap_batch(TOPIC, &mut records).await[0].is_ok());
    let new = String::from_utf8(records.remove(0)).unwrap();
    assert!(new.contains("vault:v2:"), "{new}");
    assert_eq!(decrypted(&cipher, TOPIC, &new).await.unwrap(), record);
    server.state.lock().unwrap().min_version = 2;
    let error = decrypted(&cipher, TOPIC, &old).await.unwrap_err();
    assert!(
        matches!(&error.fault, Fault::Rejected(text) if text.contains("too old")),
        "{error}"
    );
}

#[tokio::test]
async fn keys_are_checked_before_the_first_record() {
    let (server, world) = (Server::start(), world("root"));
    let good = rules(&server, "");
    let refusal = refused(&world, &good.replace("transit:address", "transit:missing")).await;
    assert!(refusal.contains("there is no key missing"), "{refusal}");
    let refusal = refused(&world, &good.replace("transit:address", "transit:plain")).await;
    assert!(refusal.contains("not derived"), "{refusal}");
    assert_eq!(server.count("POST"), 0);
}

#[tokio::test]
async fn strings_can_be_encrypted_as_other_programs_do() {
    let (server, world) = (Server::start(), world("root"));
    let text = rules(&server, "").replace(
        "transit:address\"",
        "transit:plain\"\nplaintext = \"text\"\ncontext = false",
    );
    let cipher = world.cipher(&text, Purpose::Encrypt, None).await;
    let secret = encrypted(&cipher, TOPIC, "{\"v\":\"ann\"}").await.unwrap();
    // The server of these tests does not hide the plaintext: "|" and the base64 of ann.
    assert_eq!(secret, "{\"v\":\"vault:v1:fFlXNXU=\"}");
    assert_eq!(
        decrypted(&cipher, TOPIC, &secret).await.unwrap(),
        "{\"v\":\"ann\"}"
    );
    let error = encrypted(&cipher, TOPIC, "{\"v\":1}").await.unwrap_err();
    assert!(matches!(error.fault, Fault::WrongType(_)), "{error}");
}

#[tokio::test]
async fn envelopes_have_their_data_keys_wrapped() {
    let (server, world) = (Server::start(), world("root"));
    let rules = rules(&server, "").replace(
        "engine = \"transit\"",
        "engine = \"envelope\"\nmax_records = 10",
    );
    let cipher = world.cipher(&rules, Purpose::Encrypt, None).await;
    let mut records: Vec<Vec<u8>> = (0..25)
        .map(|id| format!("{{\"v\":{id}}}").into_bytes())
        .collect();
    let plain = records.clone();
    assert!(
        cipher
            .encrypt_batch(TOPIC, &mut records)
            .await
            .iter()
            .all(Result::is_ok)
    );
    assert!(
        cipher
            .decrypt_batch(TOPIC, &mut records)
            .await
            .iter()
            .all(Result::is_ok)
    );
    assert_eq!(records, plain);
    assert_eq!(server.count("/datakey/"), 3);
    let moved = encrypted(&cipher, TOPIC, "{\"v\":1}").await.unwrap();
    let error = decrypted(&cipher, "sales", &moved).await.unwrap_err();
    assert!(matches!(error.fault, Fault::Refused(_)), "{error}");
}

#[tokio::test]
async fn a_stable_key_can_be_a_wrapped_data_key() {
    let (server, world) = (Server::start(), world("root"));
    // The server of these tests does not hide the key: its context, "|", and 32 bytes of 7.
    let wrapped = "vault:v1:YTJNdFptbGxiR1J6SUdSaGRHRWdhMlY1SURFPXxCd2NIQndjSEJ3Y0hCd2NIQndjSEJ3Y0hCd2NIQndjSEJ3Y0hCd2NIQndjPQ==";
    let rules = rules(&server, "").replace(
        "engine = \"transit\"",
        &format!("engine = \"deterministic\"\nwrapped = \"{wrapped}\""),
    );
    let cipher = world.cipher(&rules, Purpose::Encrypt, None).await;
    let record = "{\"v\":\"ann\"}";
    let secret = encrypted(&cipher, TOPIC, record).await.unwrap();
    assert_eq!(decrypted(&cipher, TOPIC, &secret).await.unwrap(), record);
    assert_eq!(server.count("/decrypt/"), 1);
    let broken = rules.replace("vault:v1:YTJN", "vault:v1:YTJO");
    let refusal = refused(&world, &broken).await;
    assert!(
        refusal.starts_with("$.v: the wrapped data key: "),
        "{refusal}"
    );
}
