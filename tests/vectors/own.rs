//! Tests of the runner: it finds differences, and fails cases that it does not understand.

use std::collections::BTreeSet;
use std::fs;

use kc_core::message::Envelope;
use kc_core::store::config::{Name, Value as ConfigValue};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::judge::{Verdict, judge};
use crate::load::{self, Entry, FAMILIES};

type Test = (&'static str, fn());

const TESTS: [Test; 7] = [
    ("an-altered-expectation-fails", an_altered_expectation_fails),
    ("an-altered-step-fails", an_altered_step_fails),
    (
        "a-deviation-is-what-its-row-says",
        a_deviation_is_what_its_row_says,
    ),
    ("what-is-not-described-fails", what_is_not_described_fails),
    (
        "list-entries-are-stored-by-hash",
        list_entries_are_stored_by_hash,
    ),
    (
        "a-seed-put-back-gives-no-key-twice",
        a_seed_put_back_gives_no_key_twice,
    ),
    ("a-repeated-request-is-fresh", a_repeated_request_is_fresh),
];

pub(crate) fn trials() -> impl Iterator<Item = Trial> {
    let trial = |(name, test): Test| {
        Trial::test(format!("runner/{name}"), move || {
            test();
            Ok(())
        })
    };
    TESTS.into_iter().map(trial)
}

/// Returns the cases of a family of the project's vectors.
fn cases(family: &str) -> Vec<Value> {
    let text = fs::read_to_string(format!("{}/{family}.json", crate::FOLDER)).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    file["cases"].as_array().unwrap().clone()
}

fn case(family: &str, name: &str) -> Value {
    let mut cases = cases(family).into_iter();
    cases.find(|case| case["name"] == name).unwrap()
}

/// Returns the entry of a case that is alone in its file.
fn entry(family: &str, case: &Value) -> Entry {
    let file = json!({"format": "kafkacrypto-vectors/1", "family": family, "cases": [case]});
    load::file(family, &file.to_string()).unwrap().remove(0)
}

#[track_caller]
fn fails(family: &str, case: &Value, says: &str) {
    match judge(&entry(family, case), true) {
        Verdict::Failed(lines) => {
            let text = lines.join("\n");
            assert!(text.contains(says), "{family}/{}: {text}", case["name"]);
        }
        _ => panic!("{family}/{} does not fail: {says}", case["name"]),
    }
}

/// Changes the first value in `value` that is a text, a number or a boolean.
fn alter(value: &mut Value) -> bool {
    match value {
        Value::Null => return false,
        Value::Bool(flag) => *flag = !*flag,
        Value::Number(number) => *value = json!(number.as_f64().unwrap() + 1.0),
        Value::String(text) => {
            let first = if text.starts_with('0') { "1" } else { "0" };
            *text = first.chars().chain(text.chars().skip(1)).collect();
        }
        Value::Array(items) => return items.iter_mut().any(alter),
        Value::Object(fields) => {
            // The field with the type of a typed value is not a value.
            let mut values = fields.iter_mut().filter(|(name, _)| *name != "t");
            return values.any(|(_, value)| alter(value));
        }
    }
    true
}

fn an_altered_expectation_fails() {
    for family in FAMILIES {
        let mut altered = BTreeSet::new();
        for mut case in cases(family) {
            let op = format!("{} {}", case["op"], case["result"]);
            let body = if case["result"] == "ok" {
                "out"
            } else {
                "reject"
            };
            for informative in ["class", "reason", "detail_last_root"] {
                case[body].as_object_mut().unwrap().remove(informative);
            }
            if case["tier"] == "must" && !altered.contains(&op) && alter(&mut case[body]) {
                altered.insert(op);
                fails(family, &case, "");
            }
        }
        assert!(!altered.is_empty(), "{family}");
    }
}

fn an_altered_step_fails() {
    for (family, steps) in [("exchange", "steps"), ("mgmtloop", "events")] {
        let mut case = cases(family).remove(0);
        let mut steps = case["in"][steps].as_array_mut().unwrap().iter_mut().rev();
        assert!(steps.any(|step| alter(&mut step["result"])));
        fails(family, &case, "steps[");
    }
}

fn a_deviation_is_what_its_row_says() {
    let mut case = case("get_root", "empty-separator");
    let verdict = judge(&entry("get_root", &case), true);
    assert!(matches!(verdict, Verdict::Deviates(_)));
    let mut elsewhere = case.clone();
    assert!(alter(&mut elsewhere["out"]["roots"][0]["topic"]));
    fails("get_root", &elsewhere, "deviates otherwise");

    case["name"] = json!("another");
    fails("get_root", &case, "deviates otherwise");
    let verdict = judge(&entry("get_root", &case), false);
    assert!(matches!(verdict, Verdict::Undocumented(_)));
    case["tier"] = json!("must");
    fails("get_root", &case, "out.roots[0].root: expected");
}

fn what_is_not_described_fails() {
    let original = case("keys", "sign1");
    let changed = |change: fn(&mut Value), says: &str| {
        let mut case = original.clone();
        change(&mut case);
        fails("keys", &case, says);
    };
    changed(|case| case["extra"] = json!(1), "unknown field `extra`");
    changed(
        |case| case["tier"] = json!("may"),
        "tier: unknown variant `may`",
    );
    changed(|case| case["result"] = json!("reject"), "`out` belongs to");
    changed(
        |case| case["op"] = json!("novel"),
        "unknown operation `novel`",
    );
    changed(
        |case| case["in"]["extra"] = json!(1),
        "in: extra: unknown field `extra`",
    );
    changed(
        |case| case["in"] = json!({"secret": "00"}),
        "in: missing field `message`",
    );
    changed(
        |case| case["in"]["secret"] = json!("0g"),
        "in: secret: Invalid character",
    );
    changed(
        |case| case["out"]["extra"] = json!(1),
        "out: extra: unknown field `extra`",
    );
    changed(
        |case| case["draws"] = json!([{"src": "os", "hex": "00"}]),
        "unknown variant `os`",
    );

    let mut hybrid = case("keys", "sign4");
    hybrid["draws"] = json!([]);
    fails("keys", &hybrid, "no recorded draw of 16 bytes is left");
    let other = json!({"format": "2", "family": "keys", "cases": [original]});
    let problem = load::file("keys", &other.to_string()).err().unwrap();
    assert!(problem.contains("format `2`"), "{problem}");
}

/// Returns the results of kc for the events of a trace.
fn steps(name: &str) -> Vec<Value> {
    let entry = entry("mgmtloop", &case("mgmtloop", name));
    let run = crate::run("mgmtloop", &entry.case.unwrap()).unwrap();
    run.actual["steps"].as_array().unwrap().clone()
}

fn list_entries_are_stored_by_hash() {
    let after = &steps("list-updates-in-real-deployment")[0]["config_sections_after"];
    for (list, count) in [("allowlist", 2), ("denylist", 1)] {
        let lines: Vec<_> = after[list][0].as_str().unwrap().lines().collect();
        assert_eq!(lines.len(), count);
        let (name, entry) = lines[count - 1].split_once(" : ").unwrap();
        let Some(ConfigValue::Bytes(entry)) = ConfigValue::decode(entry) else {
            panic!("{list}: {entry}");
        };
        assert_eq!(Name::parse(name), Name::of_entry(&entry));
    }
}

fn a_seed_put_back_gives_no_key_twice() {
    let steps = steps("restored-seed-file");
    let key_id = |step: &Value| {
        let sealed = hex::decode(step["result"].as_str().unwrap()).unwrap();
        Envelope::parse(&sealed).unwrap().key_id
    };
    assert_ne!(key_id(&steps[3]), key_id(&steps[0]));
    assert_eq!(key_id(&steps[3]), key_id(&steps[4]));
    assert_ne!(steps[3]["result"], steps[4]["result"]);
}

fn a_repeated_request_is_fresh() {
    let steps = steps("request-interval");
    let requests = |step: &Value| {
        let effects = step["effects"].as_array().unwrap().iter();
        let direct = effects.filter(|effect| effect["topic"] == "foo.reqs");
        direct.cloned().collect::<Vec<_>>()
    };
    let asked: Vec<_> = steps.iter().map(requests).collect();
    let counts: Vec<_> = asked.iter().map(Vec::len).collect();
    assert_eq!(counts, [0, 0, 1, 0, 0, 1, 1, 0]);
    assert_eq!(asked[2][0]["key"], asked[5][0]["key"]);
    assert_ne!(asked[2][0]["value"], asked[5][0]["value"]);
}
