//! Configuration documents and edits. An input is the text of the file, then section, name and value of each edit,
//! separated by the byte 0xff, which no text contains.

#![no_main]

use std::collections::BTreeSet;

use kc_core::store::config::{
    Document, Inherit, KafkaUse, Name, NodeConfig, NodeRole, Section, Value,
};
use libfuzzer_sys::fuzz_target;

/// The maximum number of edits in an input.
const MAX_EDITS: usize = 8;

fuzz_target!(|data: &[u8]| {
    let mut parts = data.split(|byte| *byte == 0xff).map(str::from_utf8);
    let Some(Ok(text)) = parts.next() else { return };
    let Ok(mut document) = Document::parse(text) else {
        return;
    };
    assert_eq!(*document.render(), text);
    assert_parses_to(&document);
    // No edit adds a reference.
    let refers = text.contains("%(");
    let fields: Vec<&str> = parts.map_while(Result::ok).collect();
    for edit in fields.chunks_exact(3).take(MAX_EDITS) {
        if let [section, name, value] = edit {
            set(&mut document, refers, section, &Name::parse(name), value);
        }
    }
    for edit in fields.chunks_exact(3).take(MAX_EDITS) {
        if let [section, name, _] = edit {
            remove(&mut document, refers, section, &Name::parse(name));
        }
    }
    if let Ok(config) = NodeConfig::parse(text) {
        node(config);
    }
});

fn assert_parses_to(document: &Document) {
    let again = Document::parse(&document.render()).expect("what was written reads");
    assert!(again == *document);
}

fn comments(document: &Document) -> Vec<String> {
    let text = document.render();
    let lines = text.lines().map(str::trim);
    let comments = lines.filter(|line| line.starts_with(';'));
    comments.map(str::to_owned).collect()
}

/// Returns all entries but one, with their texts. They may change with other entries if the document contains
/// references (`refers`).
fn others(
    document: &Document,
    refers: bool,
    section: &str,
    name: &Name,
) -> Vec<(String, Name, Option<String>)> {
    let text = |of: &str, entry: &Name| match document.get(of, entry) {
        Ok(Some(text)) if !refers => Some(text.to_string()),
        _ => None,
    };
    let sections: BTreeSet<&str> = document.sections().collect();
    let entries = |of| document.names(of).map(move |entry| (of, entry));
    let others = sections.into_iter().flat_map(entries);
    others
        .filter(|other| *other != (section, name))
        .map(|(of, entry)| (of.to_owned(), entry.clone(), text(of, entry)))
        .collect()
}

fn set(document: &mut Document, refers: bool, section: &str, name: &Name, value: &str) {
    let before = (comments(document), others(document, refers, section, name));
    let text = document.render();
    match document.set(section, name, value) {
        Err(_) => assert_eq!(document.render(), text),
        Ok(changed) => {
            assert_eq!(changed, document.render() != text);
            let read = document.get(section, name).expect("no references");
            assert_eq!(read.as_deref().map(String::as_str), Some(value));
            assert_eq!(comments(document), before.0);
            assert_eq!(others(document, refers, section, name), before.1);
            assert!(!document.set(section, name, value).expect("it is there"));
        }
    }
    assert_parses_to(document);
}

fn remove(document: &mut Document, refers: bool, section: &str, name: &Name) {
    let before = (comments(document), others(document, refers, section, name));
    let there = document.names(section).any(|own| own == name);
    assert_eq!(document.remove(section, name), there);
    assert!(document.names(section).all(|own| own != name));
    assert_eq!(comments(document), before.0);
    assert_eq!(others(document, refers, section, name), before.1);
    assert_parses_to(document);
}

fn node(mut config: NodeConfig) {
    for section in [Section::NODE, Section::CRYPTO, Section::KAFKA] {
        for inherit in [Inherit::Defaults, Inherit::Nothing] {
            let Ok(Some(settings)) = config.load_section(section, inherit) else {
                continue;
            };
            for setting in settings {
                let Some(value) = setting.value() else {
                    continue;
                };
                let again = Value::decode(&value.encode());
                let is_nan = matches!(value, Value::Float(number) if number.is_nan());
                assert!(is_nan || again == Some(value));
            }
        }
    }
    for purpose in [KafkaUse::Consumer, KafkaUse::Producer] {
        let _ = config.kafka_config(purpose, Some("crypto"));
    }
    for role in [NodeRole::Node, NodeRole::Controller] {
        if config.migrate(role).is_ok() {
            let again = config.migrate(role).map(|migrated| migrated.0);
            assert_eq!(again, Ok(0), "moved once");
        }
        let again = NodeConfig::parse(&config.render()).expect("what was written reads");
        assert!(again == config);
    }
}
