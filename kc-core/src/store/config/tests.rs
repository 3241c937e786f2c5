//! Behaviour that the test vectors leave open (their quirk cases) or do not cover.

mod documents;

use proptest::prelude::*;

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

/// Text that is usually a valid configuration: sections and names that do not repeat (except `[DEFAULT]`),
/// continuation lines, comments and blank lines, with arbitrary indentation.
fn lines() -> impl Strategy<Value = String> {
    let sections = Just(vec!["a", "b", "DEFAULT", "DEFAULT"]).prop_shuffle();
    let body = (
        Just(vec!["a", "B", "c", "dD"]).prop_shuffle(),
        prop::collection::vec(
            ("[ \t]{0,3}", " ?: ?[a-d%;()s ]{0,6}", trivia(), more()),
            0..4,
        ),
    );
    let section = ("[ \t]{0,2}", trivia(), body);
    let ends = prop_oneof![Just("\n"), Just("\r\n")];
    let parts = (
        trivia(),
        sections,
        prop::collection::vec(section, 0..4),
        ends,
        any::<bool>(),
    );
    parts.prop_map(|(opening, names, sections, end, ended)| {
        let mut lines = opening;
        for (section, (indent, comments, (names, entries))) in names.iter().zip(sections) {
            lines.push(format!("{indent}[{section}]"));
            lines.extend(comments);
            for (name, (indent, rest, comments, more)) in names.iter().zip(entries) {
                lines.push(format!("{indent}{name}{rest}"));
                lines.extend(comments);
                lines.extend(more);
            }
        }
        lines.join(end) + if ended { end } else { "" }
    })
}

fn trivia() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(prop_oneof!["[ \t]{0,3};[ -~]{0,5}", "[ \t]{0,2}"], 0..3)
}

fn more() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[ \t]{4,5}[a-d:\\[\\]]{1,4}", 0..2)
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i128>().prop_map(Value::Int),
        any::<f64>()
            .prop_filter("NaN equals nothing", |number| !number.is_nan())
            .prop_map(Value::Float),
        any::<bool>().prop_map(Value::Bool),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
    ]
}

fn comments(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| line.starts_with(';'))
        .map(str::to_owned)
        .collect()
}

/// Returns all entries except one, with their texts or errors.
fn others(document: &Document, section: &str, name: &Name) -> Vec<String> {
    let sections: Vec<&str> = document.sections().collect();
    let entry = |section: &str, name: &Name| {
        format!(
            "[{section}] {name}: {}",
            document.raw_for_test(section, name)
        )
    };
    let all = sections
        .iter()
        .flat_map(|section| document.names(section).map(move |name| (*section, name)));
    all.filter(|found| *found != (section, name))
        .map(|(section, name)| entry(section, name))
        .collect()
}

proptest! {
    #[test]
    fn any_text_is_refused_or_kept(text in "\\PC{0,80}|[\\s\\S]{0,80}") {
        if let Ok(document) = Document::parse(&text) {
            prop_assert_eq!(document.render().to_string(), text);
        }
    }

    #[test]
    fn parsing_loses_nothing(text in lines()) {
        if let Ok(document) = Document::parse(&text) {
            prop_assert_eq!(document.render().to_string(), text);
            let again = Document::parse(&document.render()).unwrap();
            prop_assert!(again == document);
        }
    }

    #[test]
    fn set_then_get(text in lines(), section in "[a-c]|DEFAULT", name in "[a-eA-E]{1,2}", new in "[ -~\n]{0,12}") {
        let parsed = Document::parse(&text);
        prop_assume!(parsed.is_ok());
        let mut document = parsed.unwrap();
        let name = Name::parse(&name);
        let before = others(&document, &section, &name);
        if document.set(&section, &name, &new).is_err() {
            prop_assert_eq!(document.render().to_string(), text);
            return Ok(());
        }
        prop_assert_eq!(&*document.get(&section, &name).unwrap().unwrap(), &new);
        prop_assert!(Document::parse(&document.render()).unwrap() == document);
        prop_assert_eq!(comments(&document.render()), comments(&text));
        prop_assert_eq!(others(&document, &section, &name), before);
    }

    #[test]
    fn remove_touches_nothing_else(text in lines(), section in "[ab]|DEFAULT", name in "[a-d]{1,2}") {
        let parsed = Document::parse(&text);
        prop_assume!(parsed.is_ok());
        let mut document = parsed.unwrap();
        let name = Name::parse(&name);
        let before = others(&document, &section, &name);
        document.remove(&section, &name);
        prop_assert!(Document::parse(&document.render()).unwrap() == document);
        prop_assert_eq!(comments(&document.render()), comments(&text));
        prop_assert_eq!(others(&document, &section, &name), before);
        prop_assert!(document.names(&section).all(|other| *other != name));
    }

    #[test]
    fn values_come_back(value in value(), name in prop::collection::vec(any::<u8>(), 0..20)) {
        prop_assert_eq!(Value::decode(&value.encode()), Some(value.clone()));
        let mut config = NodeConfig::create("n1").unwrap();
        config.set(Section::CRYPTO, name.as_slice(), &value).unwrap();
        let reopened = NodeConfig::parse(&config.render()).unwrap();
        prop_assert_eq!(reopened.load_value(Section::CRYPTO, name.as_slice()).unwrap(), Some(value));
    }
}
