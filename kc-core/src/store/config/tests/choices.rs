//! Where the test vectors leave a choice (their quirk cases), or tell less than we promise.

use crate::store::config::{
    ConfigError, Document, Inherit, KafkaSettings, KafkaUse, Name, NodeConfig, NodeRole, Section,
    Value,
};

fn parse(own: &str) -> NodeConfig {
    NodeConfig::parse(&format!("[DEFAULT]\nnode_id : n1\n\n[n1]\n{own}")).unwrap()
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn pairs(settings: &KafkaSettings) -> Vec<(&str, &str)> {
    settings.iter().collect()
}

#[test]
fn names_of_settings_ignore_case() {
    let config = parse("MyKey : upper\nmykey2 : lower\nMGMT_LONG_KEYINDEX : False\n");
    for (name, value) in [
        ("MyKey", text("upper")),
        ("mykey", text("upper")),
        ("MYKEY2", text("lower")),
        ("mgmt_long_keyindex", Value::Bool(false)),
    ] {
        let found = config.load_value(Section::NODE, name).unwrap();
        assert_eq!(found, Some(value), "{name}");
    }
    let settings = config.load_section(Section::NODE, Inherit::Defaults);
    let names: Vec<_> = settings.unwrap().unwrap();
    let names: Vec<_> = names.iter().map(|setting| &setting.name).collect();
    let wanted = ["mykey", "mykey2", "mgmt_long_keyindex", "node_id"].map(Name::from);
    assert_eq!(names, wanted.iter().collect::<Vec<_>>());
}

#[test]
fn names_that_differ_by_case_alone_are_refused() {
    let error = NodeConfig::parse("[DEFAULT]\nnode_id : n1\n\n[n1]\nk : 1\nK : 2\n").unwrap_err();
    assert_eq!(
        error,
        ConfigError::DuplicateName {
            line: 6,
            first: 5,
            section: "n1".into(),
            name: "K".into()
        }
    );
}

#[test]
fn refusals_name_the_line() {
    let refusal = |file: &str, node_id: Option<&str>| {
        let opened = Document::parse(file).and_then(|file| NodeConfig::open(file, node_id));
        opened.unwrap_err()
    };
    let default = "[DEFAULT]\nnode_id : n1\n\n";
    assert_eq!(
        refusal(&format!("{default}[n1]\nk = v\n"), None),
        ConfigError::NotAnEntry { line: 5 }
    );
    assert_eq!(
        refusal("k : 1\n", None),
        ConfigError::MissingSectionHeader { line: 1 }
    );
    assert_eq!(
        refusal("[DEFAULT]\nx : 1\n", None),
        ConfigError::NodeIdMissing
    );
    assert_eq!(
        refusal(default, Some("other")),
        ConfigError::NodeIdMismatch {
            found: "n1".into(),
            wanted: "other".into()
        }
    );
}

#[test]
fn a_lone_percent_sign_is_an_error_of_its_entry() {
    let config = parse("k : 50%\nl : 1\n");
    assert!(matches!(
        config.load_value(Section::NODE, "k"),
        Err(ConfigError::PercentSyntax { line: 5, .. })
    ));
    assert_eq!(
        config.load_value(Section::NODE, "l"),
        Ok(Some(Value::Int(1)))
    );
}

#[test]
fn numbers_override_kafka_settings_and_defaults_take_none_away() {
    let config = NodeConfig::parse(
        "[DEFAULT]\nnode_id : n1\nsecurity_protocol : SSL\n\n[n1]\n\n[n1-kafka]\nssl_cafile : /ca\n\
         security_protocol : SSL\nsession_timeout_ms : 10000\n\n[n1-kafka-consumer]\nsession_timeout_ms : 20000\n",
    )
    .unwrap();
    let common = [("ssl_cafile", "/ca"), ("security_protocol", "SSL")];
    let consumer = config.kafka_config(KafkaUse::Consumer, None).unwrap();
    let own = [("session_timeout_ms", "20000"), ("group_id", "n1")];
    assert_eq!(pairs(&consumer), [common, own].concat());
    let producer = config.kafka_config(KafkaUse::Producer, None).unwrap();
    let own = [("session_timeout_ms", "10000")];
    assert_eq!(pairs(&producer), [&common[..], &own[..]].concat());
}

#[test]
fn comments_survive_and_a_percent_sign_reads_back() {
    let file = "; top\n[DEFAULT]\nnode_id : n1\n\n[n1]\n; c\na : 1\n";
    let mut config = NodeConfig::parse(file).unwrap();
    config.set(Section::NODE, "p", &text("50%")).unwrap();
    assert_eq!(config.render().as_str(), format!("{file}p : 50%%\n\n"));
    assert_eq!(config.load_value(Section::NODE, "p"), Ok(Some(text("50%"))));
}

#[test]
fn text_that_looks_like_a_number_comes_back_as_one_and_outer_spaces_are_refused() {
    let mut config = parse("");
    for (written, read) in [
        ("12", Value::Int(12)),
        ("true", Value::Bool(true)),
        ("1e3", Value::Float(1000.0)),
    ] {
        config.set(Section::NODE, "a", &text(written)).unwrap();
        assert_eq!(config.load_value(Section::NODE, "a"), Ok(Some(read)));
    }
    assert_eq!(
        config.set(Section::NODE, "d", &text(" padded ")),
        Err(ConfigError::UnwritableEntry {
            section: "n1".into(),
            name: "d".into()
        })
    );
}

#[test]
fn a_fresh_configuration_trusts_nobody() {
    let config = NodeConfig::create("n1").unwrap();
    assert_eq!(config.own_settings(Section::ALLOWLIST).unwrap(), []);
    assert_eq!(
        config.render().as_str(),
        "[DEFAULT]\nnode_id : n1\n\n[n1]\nmgmt_long_keyindex : True\n\n[n1-allowlist]\n\n[n1-denylist]\n\n\
         [n1-crypto]\n\n"
    );
}

#[test]
fn what_has_been_migrated_is_not_migrated_again() {
    let mut config = NodeConfig::parse(
        "[DEFAULT]\nnode_id : n1\n\n[n1-crypto]\nrot : base64#AQ==\nchain : base64#Ag==\n\n\
         [n1-provisioners]\np : base64#Aw==\n",
    )
    .unwrap();
    assert_eq!(config.migrate(NodeRole::Controller).unwrap().0, 3);
    let migrated = config.render();
    assert_eq!(config.migrate(NodeRole::Controller).unwrap().0, 0);
    assert_eq!(config.render(), migrated);
}

#[test]
fn what_is_inherited_from_default_is_migrated_once() {
    let mut config = NodeConfig::parse(
        "[DEFAULT]\nnode_id : n1\nrot : base64#AQ==\nchainrot : base64#AQ==\nchain : base64#Ag==\n",
    )
    .unwrap();
    assert_eq!(config.migrate(NodeRole::Node).unwrap().0, 2);
    let migrated = config.render();
    assert_eq!(config.migrate(NodeRole::Node).unwrap().0, 0);
    assert_eq!(config.render(), migrated);
}
