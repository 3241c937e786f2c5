//! What a deviation leaves open: that a simulated node does what its row says.

use kc_core::message::Envelope;
use kc_core::store::config::{Name, Value as ConfigValue};
use kc_core::types::KeyId;

use super::super::draws::Faults;
use super::super::families::mgmtloop::{normalise_seeks, normalise_sends};
use super::*;

/// What each event of a trace came to, with its input changed.
fn steps_of(name: &str, change: impl FnOnce(&mut Map<String, Value>)) -> Vec<Value> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors");
    let documents = Document::load_folder(&folder).unwrap();
    let mut cases = documents.iter().flat_map(|document| &document.cases);
    let case = cases.find(|case| case.name == name).unwrap();
    let mut input = case.input.clone();
    change(&mut input);

    let families = families::all();
    let mut ops = families.iter().flat_map(|family| family.ops);
    let op = ops.find(|op| op.name == case.op).unwrap();
    let input = CaseInput::new(&input, case.time, &case.draws, Faults::default());
    let Outcome::Ok(out) = (op.run)(&input).unwrap() else {
        panic!("{name} is refused");
    };
    out["steps"].as_array().unwrap().clone()
}

fn steps(name: &str) -> Vec<Value> {
    steps_of(name, |_| {})
}

fn key_id(step: &Value) -> KeyId {
    let sealed = hex::decode(step["result"].as_str().unwrap()).unwrap();
    Envelope::parse(&sealed).unwrap().key_id
}

#[test]
fn list_entries_that_arrive_are_stored_under_their_hash() {
    let after = &steps("list-updates-in-real-deployment")[0]["config_sections_after"];
    let lines = |list: &str| {
        let text = after[list][0].as_str().unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines("allowlist").len(), 2);
    assert_eq!(lines("denylist").len(), 1);
    for line in [&lines("allowlist")[1], &lines("denylist")[0]] {
        let (name, entry) = line.split_once(" : ").unwrap();
        let entry = match ConfigValue::decode(entry) {
            Some(ConfigValue::Bytes(entry)) => entry,
            _ => panic!("{line}"),
        };
        assert_eq!(Name::parse(name), Name::of_entry(&entry));
    }
}

#[test]
fn a_seed_file_that_was_put_back_gives_no_key_twice() {
    let steps = steps("restored-seed-file");
    assert_ne!(key_id(&steps[3]), key_id(&steps[0]));
    assert_eq!(key_id(&steps[3]), key_id(&steps[4]));
    assert_ne!(steps[3]["result"], steps[4]["result"]);
}

#[test]
fn a_restart_goes_on_with_the_next_step() {
    let put_back = steps("restored-seed-file");
    let plain = steps_of("restored-seed-file", |input| {
        input["events"][2]["do"] = json!("restart");
    });
    assert_eq!(plain, put_back);
}

#[test]
fn an_unanswered_request_is_repeated_once_with_fresh_values() {
    let steps = steps("request-interval");
    let requests = |step: &Value| {
        let effects = step["effects"].as_array().unwrap().iter();
        let direct = effects.filter(|effect| effect["topic"] == "foo.reqs");
        direct
            .map(|send| (send["key"].clone(), send["value"].clone()))
            .collect::<Vec<_>>()
    };
    let asked: Vec<_> = steps.iter().map(requests).collect();
    let counts: Vec<_> = asked.iter().map(Vec::len).collect();
    assert_eq!(counts, [0, 0, 1, 0, 0, 1, 1, 0]);
    assert_eq!(asked[2][0].0, asked[5][0].0, "the keys");
    assert_ne!(asked[2][0].1, asked[5][0].1);
}

#[test]
fn sends_in_between_are_compared_within_each_topic() {
    let send = |topic: &str, value: &str| json!({"do": "send", "topic": topic, "value": value});
    let flush = json!({"do": "flush"});
    let normal = |effects: &[Value]| {
        let mut body = json!({"steps": [{"effects": effects}]});
        let case = case("a", "trace", "must", json!({}), json!({}));
        let input = CaseInput::new(
            case["in"].as_object().unwrap(),
            None,
            &[],
            Faults::default(),
        );
        normalise_sends(&input, &mut body).unwrap();
        body["steps"][0]["effects"].as_array().unwrap().clone()
    };
    let [one, other, later] = [send("a", "1"), send("b", "1"), send("a", "0")];
    assert_eq!(
        normal(&[other.clone(), one.clone(), later.clone()]),
        [one.clone(), later.clone(), other.clone()]
    );
    for kept in [
        [other.clone(), flush.clone(), one.clone()],
        [one, later, flush],
    ] {
        assert_eq!(normal(&kept), kept);
    }
}

#[test]
fn only_a_seek_that_changes_nothing_is_taken_away() {
    let seek = json!({"do": "seek_to_beginning"});
    let assigned = |offset: i64| {
        let items = json!([["chains", 0, -2], ["foo.reqs", 0, offset]]);
        json!({"do": "assign_and_seek", "items": items})
    };
    let flush = json!({"do": "flush"});
    let normal = |effects: &[Value]| {
        let mut body = json!({"steps": [{"effects": effects}]});
        let case = case("a", "trace", "must", json!({}), json!({}));
        let input = case["in"].as_object().unwrap();
        normalise_seeks(
            &CaseInput::new(input, None, &[], Faults::default()),
            &mut body,
        )
        .unwrap();
        body["steps"][0]["effects"].as_array().unwrap().clone()
    };
    let first = [assigned(0), flush.clone()];
    assert_eq!(normal(&[assigned(0), seek.clone(), flush.clone()]), first);
    for kept in [
        vec![assigned(1), seek.clone()],
        vec![assigned(0), flush, seek.clone()],
        vec![seek],
    ] {
        assert_eq!(normal(&kept), kept);
    }
}
