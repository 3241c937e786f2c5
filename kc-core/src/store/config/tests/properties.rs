use proptest::prelude::*;

use crate::store::config::{Document, Name, NodeConfig, Section, Value};

/// Text that is a configuration more often than not: sections that do not repeat (but for `[DEFAULT]`), with
/// names that do not repeat, continuation lines, comments and blank lines, indented anyhow.
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

/// All entries but one, with their texts or the error.
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
