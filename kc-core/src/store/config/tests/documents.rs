use crate::store::config::{
    ConfigError, Document, KafkaUse, Name, NodeConfig, NodeRole, Section, Value,
};

fn name(written: &str) -> Name {
    Name::parse(written)
}

#[test]
fn edits_leave_a_persons_layout_alone() {
    let file = "; about this file\r\n\r\n[DEFAULT]\r\nnode_id:n1\r\n[n1]\r\n  ; long\r\n  a = b :one\r\n    ; why two\r\n    two\r\n  C : 3\r\n  ; c too\r\n\r\n; next\r\n[other]\r\nx:1";
    let mut document = Document::parse(file).unwrap();
    assert_eq!(document.render().as_str(), file);
    assert_eq!(
        document
            .get("n1", &name("A = B"))
            .unwrap()
            .unwrap()
            .as_str(),
        "one\ntwo"
    );

    assert!(document.set("n1", &name("a = b"), "new").unwrap());
    assert!(document.set("n1", &name("d"), "4\n5").unwrap());
    assert!(document.set("other", &name("y"), "2").unwrap());
    assert_eq!(
        document.render().as_str(),
        "; about this file\r\n\r\n[DEFAULT]\r\nnode_id:n1\r\n[n1]\r\n  ; long\r\n  a = b : new\r\n    ; why two\r\n  C : 3\r\n  ; c too\r\n  d : 4\r\n  \t5\r\n\r\n; next\r\n[other]\r\nx:1\r\ny : 2\r\n\r\n"
    );
    assert!(document.remove("n1", &name("c")));
    assert!(!document.remove("n1", &name("c")));
    assert_eq!(document, Document::parse(&document.render()).unwrap());
}

#[test]
fn setting_what_is_there_changes_nothing() {
    let file = "[DEFAULT]\n[n1]\na:1\nB:2";
    let mut document = Document::parse(file).unwrap();
    assert!(!document.set("n1", &name("a"), "1").unwrap());
    assert!(!document.add_section("n1").unwrap());
    assert_eq!(document.render().as_str(), file);
    // A name in capitals is written in lower case at its next change, because the peers look for names in lower case.
    assert!(document.set("n1", &name("B"), "2").unwrap());
    assert_eq!(
        document.render().as_str(),
        "[DEFAULT]\n[n1]\na:1\nb : 2\n\n"
    );
}

#[test]
fn an_indented_neighbour_is_not_swallowed() {
    let mut document = Document::parse("[a]\n    [b]\n    x : 1\n").unwrap();
    document.set("a", &name("new"), "v").unwrap();
    document.set("b", &name("y"), "w").unwrap();
    assert_eq!(
        document.render().as_str(),
        "[a]\n    new : v\n    [b]\n    x : 1\n    y : w\n\n"
    );
    assert_eq!(document, Document::parse(&document.render()).unwrap());
}

#[test]
fn default_goes_below_the_opening_comment() {
    let mut document = Document::parse("; licence\n\n; of n1\n[n1]\n").unwrap();
    document.set("DEFAULT", &name("node_id"), "n1").unwrap();
    assert_eq!(
        document.render().as_str(),
        "; licence\n\n[DEFAULT]\nnode_id : n1\n\n; of n1\n[n1]\n\n"
    );
}

#[test]
fn references_resolve_in_the_scope_of_the_section() {
    let file = "[DEFAULT]\nhost : h\nurl : https://%(HOST)s:%(port)s/%%\nport : 1\n[s]\nport : 2\n";
    let document = Document::parse(file).unwrap();
    assert_eq!(
        document.get("s", &name("url")).unwrap().unwrap().as_str(),
        "https://h:2/%"
    );
    assert_eq!(
        document
            .get("absent", &name("url"))
            .unwrap()
            .unwrap()
            .as_str(),
        "https://h:1/%"
    );
}

#[test]
fn references_are_bounded() {
    let refusal = |file: &str| {
        Document::parse(file)
            .unwrap()
            .get("s", &name("a"))
            .unwrap_err()
    };
    let at = (2, "s".to_owned(), "a".to_owned());
    let (line, section, entry) = at.clone();
    assert_eq!(
        refusal("[s]\na : %(a)s\n"),
        ConfigError::UnboundedReference {
            line,
            section,
            name: entry
        }
    );
    let wide: String = (0..9)
        .map(|level| format!("n{level} : {}\n", format!("%(n{})s", level + 1).repeat(99)))
        .collect();
    let bomb = format!("[s]\na : %(n0)s\n{wide}n9 : x\n");
    assert!(matches!(
        refusal(&bomb),
        ConfigError::UnboundedReference { line: 2, .. }
    ));
    let long = format!(
        "[s]\na : {}\nb : {}\n",
        "%(b)s".repeat(900),
        "x".repeat(2000)
    );
    assert!(matches!(
        refusal(&long),
        ConfigError::UnboundedReference { line: 2, .. }
    ));
    let (line, section, entry) = at;
    assert_eq!(
        refusal("[s]\na : %(b)s\n"),
        ConfigError::UnknownReference {
            line,
            section,
            name: entry,
            reference: "b".into()
        }
    );
    for broken in ["%", "%x", "%(a", "%()s", "%(b)d"] {
        let file = format!("[s]\nb : 1\na : 1{broken}\n");
        assert!(
            matches!(refusal(&file), ConfigError::PercentSyntax { line: 3, .. }),
            "{broken}"
        );
    }
}

#[test]
fn references_nest_nine_deep() {
    let get = |links: usize| {
        let chain: String = (0..links)
            .map(|link| format!("n{link} : %(n{})s\n", link + 1))
            .collect();
        let document = Document::parse(&format!("[s]\n{chain}n{links} : 100%%\n")).unwrap();
        document.get("s", &name("n0"))
    };
    assert_eq!(get(9).unwrap().unwrap().as_str(), "100%");
    assert!(matches!(
        get(10),
        Err(ConfigError::UnboundedReference { line: 2, .. })
    ));
}

#[test]
fn what_would_not_read_back_is_refused() {
    let mut document = Document::parse("[s]\na : 1\n").unwrap();
    let names = ["", ";x", "[x]", "a:b", " a", "a ", "a\nb", "a\rb"];
    let refused = names.iter().map(|written| (name(written), "v"));
    let values = [" x", "x ", "x\n", "x\n;y", "x\n y", "x\ry", "\u{a0}x"];
    let constructed = [
        (Name::Text("UPPER".into()), "v"),
        (Name::Text("base64#AA==".into()), "v"),
    ];
    let refused = refused
        .chain(values.iter().map(|text| (name("b"), *text)))
        .chain(constructed);
    for (name, text) in refused {
        let error = document.set("new", &name, text).unwrap_err();
        assert!(
            matches!(error, ConfigError::UnwritableEntry { .. }),
            "{name:?} {text:?}"
        );
    }
    for section in ["", "a\nb", "a\r"] {
        assert!(
            matches!(
                document.add_section(section),
                Err(ConfigError::UnwritableSection { .. })
            ),
            "{section:?}"
        );
        assert!(document.set(section, &name("a"), "1").is_err());
    }
    assert_eq!(document.render().as_str(), "[s]\na : 1\n");
}

#[test]
fn sections_repeat_only_default() {
    let file = "[s]\na : 1\n[DEFAULT]\nx : 1\n[t]\n[DEFAULT]\ny : 2\n";
    let document = Document::parse(file).unwrap();
    assert_eq!(
        document.get("t", &name("x")).unwrap().unwrap().as_str(),
        "1"
    );
    assert_eq!(
        document.get("t", &name("y")).unwrap().unwrap().as_str(),
        "2"
    );
    let refused = |more: &str| Document::parse(&format!("{file}{more}")).unwrap_err();
    assert_eq!(
        refused("[s]\n"),
        ConfigError::DuplicateSection {
            line: 8,
            first: 1,
            section: "s".into()
        }
    );
    assert!(matches!(
        refused("X : 3\n"),
        ConfigError::DuplicateName {
            line: 8,
            first: 4,
            ..
        }
    ));
    assert_eq!(
        refused("z : a\rb\n"),
        ConfigError::StrayCarriageReturn { line: 8 }
    );
    assert_eq!(refused(": v\n"), ConfigError::NotAnEntry { line: 8 });
}

#[test]
fn debug_shows_no_value() {
    let file =
        "[DEFAULT]\nnode_id : n1\n[n1-kafka]\n; was hunter1\nsasl_plain_password : hunter2\n";
    let config = NodeConfig::parse(file).unwrap();
    let kafka = config.kafka_config(KafkaUse::Producer, None).unwrap();
    let settings = config.own_settings(Section::KAFKA).unwrap();
    let value = config
        .load_value(Section::KAFKA, "sasl_plain_password")
        .unwrap();
    let shown = format!("{config:?} {kafka:?} {settings:?} {value:?}");
    assert!(shown.contains("sasl_plain_password"), "{shown}");
    assert!(!shown.contains("hunter"), "{shown}");
}

#[test]
fn a_password_of_digits_stays_text() {
    let file = "[DEFAULT]\nnode_id : n1\n[n1-kafka]\nsasl_plain_password : 007\n";
    let config = NodeConfig::parse(file).unwrap();
    assert_eq!(
        config
            .load_text(Section::KAFKA, "SASL_plain_password")
            .unwrap()
            .unwrap()
            .as_str(),
        "007"
    );
    let kafka = config.kafka_config(KafkaUse::Producer, None).unwrap();
    assert_eq!(kafka.text("sasl_plain_password"), Some("007"));
    assert_eq!(kafka.value("sasl_plain_password"), Some(Value::Int(7)));
}

#[test]
fn migration_overwrites_nothing() {
    let file = "[DEFAULT]\nnode_id : n1\n[n1-crypto]\nrot : base64#AQ==\nchainrot : base64#AQ==\nchain : base64#Ag==\n\
                [n1-allowlist]\nrot : base64#Aw==\n[n1-chains]\nchain0 : base64#BA==\n";
    let mut config = NodeConfig::parse(file).unwrap();
    assert_eq!(config.migrate(NodeRole::Node).unwrap().0, 2);
    assert_eq!(
        config.render().as_str(),
        "[DEFAULT]\nnode_id : n1\n[n1-crypto]\nchain : base64#Ag==\n[n1-allowlist]\nrot : base64#Aw==\n\
         base64#S/Xy2Tw0+AoHXgnXeEApuDSCEkp4l7dH3MQG64twsFo= : base64#AQ==\n[n1-chains]\nchain0 : base64#BA==\n\n"
            .replace("S/Xy2Tw0+AoHXgnXeEApuDSCEkp4l7dH3MQG64twsFo=", &sha256_of_one())
    );
}

fn sha256_of_one() -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(crate::symmetric::sha256(&[&[1]]))
}

#[test]
fn floats_are_written_as_python_writes_them() {
    let texts = [
        (1e15, "1000000000000000.0"),
        (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
        (9_999_999_999_999_998.0, "9999999999999998.0"),
        (1e16, "1e+16"),
        (1e-4, "0.0001"),
        (1e-5, "1e-05"),
        (5e-324, "5e-324"),
        (1.5e300, "1.5e+300"),
        (-0.0, "-0.0"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
    ];
    for (number, text) in texts {
        assert_eq!(Value::Float(number).encode(), text);
    }
}

#[test]
fn numbers_are_read_as_python_reads_them() {
    let int = |text: &str| {
        Value::decode(text) == Value::decode(text).filter(|value| matches!(value, Value::Int(_)))
    };
    for text in [
        "-0",
        "+1_2",
        "000",
        "170141183460469231731687303715884105727",
    ] {
        assert!(int(text), "{text}");
    }
    assert_eq!(Value::decode("-0_0"), Some(Value::Int(0)));
    assert_eq!(
        Value::decode("-0170141183460469231731687303715884105729")
            .unwrap()
            .encode(),
        "-170141183460469231731687303715884105729"
    );
    for (text, number) in [
        ("1_0.5", 10.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("-1E-0_2", -0.01),
        ("-Infinity", f64::NEG_INFINITY),
    ] {
        assert_eq!(Value::decode(text), Some(Value::Float(number)), "{text}");
    }
    for text in [
        "_1", "1_", "1__0", "1_.5", "0x10", "1e", "+-1", "in_f", "", "-", "e5", ".",
    ] {
        assert_eq!(Value::decode(text), Some(Value::from(text)), "{text}");
    }
}
