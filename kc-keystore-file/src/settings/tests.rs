use std::ffi::OsString;
use std::path::Path;

use kc_core::store::config::{KafkaUse, NodeConfig, Section};
use serde::Deserialize;

use super::{Settings, SettingsError};

const FILE: &str = "\
[DEFAULT]
node_id : n1
poll : 1_000

[n1]
mgmt_long_keyindex : True
MGMT_poll_interval : 500
crypto_max_pgen_age : 604800.5

[n1-kafka]
bootstrap_servers : file:1
sasl_plain_password : 007
client_id : base

[n1-kafka-consumer]
bootstrap_servers : file:2
session_timeout_ms : many
client_id :

[n1-kafka-crypto-consumer]
fetch_max_bytes : 50
";

#[derive(Debug, PartialEq, Deserialize)]
struct Own {
    mgmt_long_keyindex: bool,
    mgmt_poll_interval: u16,
    crypto_max_pgen_age: f64,
    node_id: String,
    mgmt_poll_records: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct Timeout {
    #[serde(rename = "session_timeout_ms")]
    _milliseconds: u32,
}

const CONSUMER: Section<'static> = Section::named("kafka-consumer");

fn config() -> NodeConfig {
    NodeConfig::parse(FILE).unwrap()
}

fn variables(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables
        .iter()
        .map(|(name, text)| (name.into(), text.into()))
        .collect()
}

#[test]
fn a_struct_comes_out_of_a_section_and_what_it_inherits() {
    let config = config();
    let settings = Settings::new(&config, Path::new("n1.config"));
    let own: Own = settings.extract(Section::NODE).unwrap();
    let expected = Own {
        mgmt_long_keyindex: true,
        mgmt_poll_interval: 500,
        crypto_max_pgen_age: 604_800.5,
        node_id: "n1".to_owned(),
        mgmt_poll_records: None,
    };
    assert_eq!(own, expected);
}

#[test]
fn a_section_that_does_not_exist_still_inherits() {
    #[derive(Deserialize)]
    struct Any {
        node_id: String,
        other: Option<u8>,
    }
    let config = config();
    let any: Any = Settings::new(&config, Path::new("n1.config"))
        .extract(Section::named("none"))
        .unwrap();
    assert_eq!((any.node_id.as_str(), any.other), ("n1", None));
}

#[test]
fn flags_win_over_environment_wins_over_file() {
    let config = config();
    let environment = variables(&[
        ("KC_CONFIG__NODE__MGMT_POLL_INTERVAL", "250"),
        ("kc_config__node__mgmt_long_keyindex", "false"),
        ("KC_CONFIG__NODE__MGMT_POLL_RECORDS", "8"),
        ("KC_CONFIG__NODE", "malformed"),
        ("OTHER__NODE__MGMT_POLL_INTERVAL", "1"),
        ("KC", "1"),
    ]);
    let settings = Settings::new(&config, Path::new("n1.config"))
        .environment(environment)
        .flag(Section::NODE, "MGMT_POLL_RECORDS", "1")
        .flag(Section::NODE, "MGMT_POLL_RECORDS", "16")
        .flag(Section::CRYPTO, "mgmt_poll_interval", "7");
    let own: Own = settings.extract(Section::NODE).unwrap();
    assert_eq!(
        (
            own.mgmt_poll_interval,
            own.mgmt_long_keyindex,
            own.mgmt_poll_records
        ),
        (250, false, Some(16))
    );
}

#[test]
fn kafka_layers_merge_before_sections_of_higher_layers() {
    let config = config();
    let file = Settings::new(&config, Path::new("n1.config"));
    let merged = file.kafka(KafkaUse::Consumer, Some("crypto")).unwrap();
    assert_eq!(merged.text("bootstrap_servers"), Some("file:2"));
    assert_eq!(merged.text("sasl_plain_password"), Some("007"));
    assert_eq!(merged.text("client_id"), None);
    assert_eq!(merged.text("group_id"), Some("n1.kafkacrypto"));
    assert_eq!(
        file.kafka(KafkaUse::Consumer, None).unwrap(),
        config.kafka_config(KafkaUse::Consumer, None).unwrap()
    );

    let environment = variables(&[
        ("KC_CONFIG__KAFKA__BOOTSTRAP_SERVERS", "env:1"),
        ("KC_CONFIG__KAFKA_CRYPTO_CONSUMER__GROUP_ID", "env"),
        ("KC_CONFIG__KAFKA__SASL_PLAIN_PASSWORD", ""),
    ]);
    let above = file.environment(environment);
    let merged = above.kafka(KafkaUse::Consumer, Some("crypto")).unwrap();
    assert_eq!(
        merged.text("bootstrap_servers"),
        Some("env:1"),
        "over the more special section of the file"
    );
    assert_eq!(merged.text("group_id"), Some("env"));
    assert_eq!(merged.text("sasl_plain_password"), None);
    let flagged = above.flag(Section::KAFKA, "bootstrap_servers", "flag:1");
    assert_eq!(
        flagged
            .kafka(KafkaUse::Producer, None)
            .unwrap()
            .text("bootstrap_servers"),
        Some("flag:1")
    );
}

#[test]
fn names_of_librdkafka_override_the_same_setting() {
    let text = "[DEFAULT]\nnode_id : n1\n[n1-kafka]\nbootstrap_servers : a:1\n[n1-kafka-producer]\nbootstrap.servers : b:2\n";
    let config = NodeConfig::parse(text).unwrap();
    let settings = Settings::new(&config, Path::new("n1.config"));
    let servers = |settings: &Settings<'_>, purpose| {
        let kafka = settings.kafka(purpose, None).unwrap();
        kafka.text("bootstrap_servers").map(str::to_owned)
    };
    assert_eq!(servers(&settings, KafkaUse::Producer).unwrap(), "b:2");
    assert_eq!(servers(&settings, KafkaUse::Consumer).unwrap(), "a:1");
    let settings = settings.flag(Section::KAFKA, "metadata.broker.list", "c:3");
    assert_eq!(servers(&settings, KafkaUse::Producer).unwrap(), "c:3");
}

#[test]
fn passwords_and_paths_may_refer_to_files() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password"), "two\nlines\n\n").unwrap();
    let text = "[DEFAULT]\nnode_id : n1\n[n1-kafka]\nsasl.password : file#password\nssl_cafile : file#ca.pem\n\
                sasl.oauthbearer.client.secret : file#password\nsasl_oauth_token_file : file#token\n";
    let config = NodeConfig::parse(text).unwrap();
    let path = folder.path().join("n1.config");
    let settings = || Settings::new(&config, &path);
    let kafka = settings().kafka(KafkaUse::Producer, None).unwrap();
    assert_eq!(kafka.text("sasl_plain_password"), Some("two\nlines\n"));
    let authorities = folder.path().join("ca.pem");
    assert_eq!(kafka.text("ssl_cafile"), authorities.to_str());
    assert_eq!(kafka.text("sasl_oauth_client_secret"), Some("two\nlines\n"));
    let token = folder.path().join("token");
    assert_eq!(kafka.text("sasl_oauth_token_file"), token.to_str());

    let elsewhere = settings().flag(Section::KAFKA, "ssl_keyfile", "file#key.pem");
    let kafka = elsewhere.kafka(KafkaUse::Producer, None).unwrap();
    assert_eq!(kafka.text("ssl_keyfile"), Some("key.pem"));
    let missing = settings().flag(Section::KAFKA, "ssl_password", "file#/nowhere/password");
    let error = missing.kafka(KafkaUse::Producer, None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot use the file that `ssl_password` refers to"
    );
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "/nowhere/password does not exist");
}

#[test]
fn errors_name_the_entry_and_its_origin_and_no_text() {
    let config = config();
    let message = |settings: Settings<'_>| {
        let error = settings.extract::<Timeout>(CONSUMER).unwrap_err();
        assert!(matches!(error, SettingsError::Value(_)));
        error.to_string()
    };
    let file = || Settings::new(&config, Path::new("n1.config"));
    assert_eq!(
        message(file()),
        "invalid type: found text, expected u32 for key \"[n1-kafka-consumer] session_timeout_ms\" in n1.config configuration file"
    );
    let environment = variables(&[("KC_CONFIG__KAFKA_CONSUMER__SESSION_TIMEOUT_MS", "hunter2")]);
    assert_eq!(
        message(file().environment(environment)),
        "invalid type: found text, expected u32 for key \"KC_CONFIG__KAFKA_CONSUMER__SESSION_TIMEOUT_MS\" in the environment"
    );
    assert_eq!(
        message(file().flag(CONSUMER, "session_timeout_ms", "hunter2")),
        "invalid type: found text, expected u32 for key \"session_timeout_ms\" in a flag"
    );
    let debug = format!(
        "{:?}",
        file().flag(Section::KAFKA, "sasl_plain_password", "hunter2")
    );
    assert!(
        !debug.contains("hunter2") && debug.contains("sasl_plain_password"),
        "{debug}"
    );
}

#[test]
fn a_broken_reference_names_the_file() {
    let config = NodeConfig::parse("[DEFAULT]\nnode_id : n1\n[n1-kafka]\na : %(b)s\n").unwrap();
    let error = Settings::new(&config, Path::new("n1.config"))
        .kafka(KafkaUse::Admin, None)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "n1.config: line 4: `a` in [n1-kafka] refers to `b`, which is not set"
    );
}
