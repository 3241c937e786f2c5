//! The runner itself, run on made-up cases.

use rand_core::Rng;
use serde_json::{Map, Value, json};

use super::*;

mod mgmtloop;
mod tables;

const OPS: &[Op] = &[
    Op::new("echo", &["value any", "refuse"], echo),
    Op::new("draw", &["length"], draw),
    Op::new("step", &["start", "steps[].result"], step).with_recorded(recorded_steps),
    Op::new("panic", &[], |_| panic!("a bug")),
];

/// Gives back `value`, accepted or refused.
fn echo(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let value = case.fields.raw("value")?.clone();
    if case.fields.has("refuse") {
        return Ok(Outcome::reject_with(value, "asked to refuse"));
    }
    Ok(Outcome::Ok(value))
}

fn draw(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let length = case.fields.integer("length")?;
    let mut bytes = vec![0; usize::try_from(length).unwrap()];
    case.draws().fill_bytes(&mut bytes);
    Ok(Outcome::Ok(json!({"length": length})))
}

/// Counts up from `start`, one step for each recorded one.
fn step(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let start = case.fields.integer("start")?;
    let count = case.fields.objects("steps")?.len() as u64;
    let steps: Vec<_> = (1..=count).map(|n| json!({"result": start + n})).collect();
    Ok(Outcome::Ok(json!({"final": start + count, "steps": steps})))
}

fn recorded_steps(case: &CaseInput<'_>) -> Result<Map<String, Value>, InputError> {
    Ok(Map::from_iter([(
        "steps".to_owned(),
        case.fields.raw("steps")?.clone(),
    )]))
}

fn case(name: &str, op: &str, tier: &str, input: Value, out: Value) -> Value {
    json!({"name": name, "op": op, "tier": tier, "in": input, "result": "ok", "out": out})
}

fn refused(name: &str, tier: &str, input: Value, state: Value) -> Value {
    json!({"name": name, "op": "echo", "tier": tier, "in": input, "result": "reject", "reject": state})
}

fn agreeing(name: &str, tier: &str) -> Value {
    case(
        name,
        "echo",
        tier,
        json!({"value": {"a": "00"}}),
        json!({"a": "00"}),
    )
}

fn document(family: &str, cases: &[Value]) -> Document {
    let file = json!({"format": "kafkacrypto-vectors/1", "family": family, "generated_with": {}, "cases": cases});
    Document::parse(family, &file.to_string()).unwrap()
}

/// These cases in the family `keys`, and one that passes in every other.
fn whole_folder(keys: &[Value]) -> Vec<Document> {
    let cases = |family| {
        if family == "keys" {
            keys.to_vec()
        } else {
            vec![agreeing("other", "must")]
        }
    };
    FAMILIES
        .iter()
        .map(|family| document(family, &cases(*family)))
        .collect()
}

fn run_with(documents: &[Document], tables: Tables<'_>, strict: bool) -> (bool, String) {
    let families = FAMILIES
        .iter()
        .map(|name| Family { name, ops: OPS })
        .collect();
    let suite = Suite { families, tables };
    let report = suite.run(
        documents,
        &Options {
            strict,
            threads: 3,
            selects: &|_| true,
        },
    );
    (report.is_success(), report.render(&tables))
}

/// The report on these cases, which must have failed.
fn failure(cases: &[Value]) -> String {
    let (success, text) = run_with(&[document("keys", cases)], Tables::EMPTY, false);
    assert!(!success, "{text}");
    text
}

fn success(cases: &[Value]) -> String {
    let (success, text) = run_with(&[document("keys", cases)], Tables::EMPTY, false);
    assert!(success, "{text}");
    text
}

/// The report on a whole folder with these cases of the family `keys`.
fn strict(cases: &[Value], tables: Tables<'_>) -> (bool, String) {
    run_with(&whole_folder(cases), tables, true)
}

#[test]
fn agreement_passes_and_every_alteration_is_seen() {
    let text = success(&[
        agreeing("a", "must"),
        refused(
            "b",
            "quirk",
            json!({"value": {"file_after": "00"}, "refuse": 1}),
            json!({"file_after": "00"}),
        ),
    ]);
    assert!(
        text.contains("6 tried, 6 seen, 0 in normalised fields"),
        "{text}"
    );
    let row = |tier| {
        text.lines()
            .find(|line| line.starts_with(&format!("keys           {tier}")))
            .unwrap()
    };
    assert_eq!(
        row("must").split_whitespace().collect::<Vec<_>>(),
        ["keys", "must", "1", "0", "0", "0"]
    );
    assert_eq!(
        row("quirk").split_whitespace().collect::<Vec<_>>(),
        ["keys", "quirk", "1", "0", "0", "0"]
    );
}

#[test]
fn a_difference_names_the_case_and_the_place() {
    let input = json!({"value": {"steps": [{"salt": "00"}]}});
    let text = failure(&[case(
        "a",
        "echo",
        "must",
        input,
        json!({"steps": [{"salt": "01"}]}),
    )]);
    assert!(text.contains("FAILED keys/echo/a (must)"), "{text}");
    assert!(
        text.contains("out.steps[0].salt: expected \"01\", got \"00\""),
        "{text}"
    );
}

#[test]
fn state_after_a_refusal_is_compared() {
    let input = json!({"value": {"file_after": "00"}, "refuse": 1});
    let text = failure(&[refused(
        "a",
        "must",
        input,
        json!({"class": "X", "file_after": "01"}),
    )]);
    assert!(
        text.contains("reject.file_after: expected \"01\", got \"00\""),
        "{text}"
    );
}

#[test]
fn accepting_and_refusing_are_not_the_same() {
    let text = failure(&[
        case(
            "a",
            "echo",
            "must",
            json!({"value": {}, "refuse": 1}),
            json!({}),
        ),
        refused("b", "must", json!({"value": {}}), json!({})),
    ]);
    assert!(
        text.contains("result: expected ok, got reject (asked to refuse)"),
        "{text}"
    );
    assert!(text.contains("result: expected reject, got ok"), "{text}");
}

#[test]
fn what_no_adapter_understands_fails() {
    assert!(
        failure(&[case("a", "novel", "quirk", json!({}), json!({}))])
            .contains("unknown operation `novel`")
    );
    let drifted = case(
        "a",
        "echo",
        "quirk",
        json!({"value": {}, "new": 1}),
        json!({}),
    );
    assert!(failure(&[drifted]).contains("in.new is a field unknown to the adapter"));
    assert!(
        failure(&[case("a", "echo", "quirk", json!({}), json!({}))])
            .contains("input in.value: is missing")
    );
}

#[test]
fn a_panic_fails_its_case_alone() {
    let text = failure(&[
        case("a", "panic", "quirk", json!({}), json!({})),
        agreeing("b", "must"),
    ]);
    assert!(
        text.contains("FAILED keys/panic/a") && text.contains("a bug"),
        "{text}"
    );
    assert!(!text.contains("keys/echo/b"), "{text}");
}

#[test]
fn draws_that_run_dry_fail_the_case() {
    let mut input = case(
        "a",
        "draw",
        "quirk",
        json!({"length": 2}),
        json!({"length": 2}),
    );
    assert!(failure(&[input.clone()]).contains("no recorded draw of 2 bytes is left"));
    input["draws"] = json!([{"src": "oqs", "len": 2}]);
    assert!(failure(&[input.clone()]).contains("not reproducible"));
    input["draws"] = json!([{"src": "oqs", "hex": "0102"}]);
    success(&[input]);
}

#[test]
fn results_recorded_in_the_input_are_compared_and_altered() {
    let input = json!({"start": 4, "steps": [{"result": 5}, {"result": 6}]});
    let text = success(&[case("a", "step", "must", input, json!({"final": 6}))]);
    assert!(text.contains("8 tried, 8 seen"), "{text}");

    let input = json!({"start": 4, "steps": [{"result": 5}, {"result": 7}]});
    let text = failure(&[case("a", "step", "must", input, json!({"final": 6}))]);
    assert!(
        text.contains("out.steps[1].result: expected 7, got 6"),
        "{text}"
    );
}

#[test]
fn a_family_missing_from_the_projects_folder_fails() {
    let documents = [document("keys", &[agreeing("a", "must")])];
    let (success, text) = run_with(&documents, Tables::EMPTY, true);
    assert!(
        !success && text.contains("the family `chains` has no vectors"),
        "{text}"
    );
}

#[test]
fn a_selection_runs_alone_and_asks_nothing_of_the_tables() {
    let deviations = [Deviation {
        family: "keys",
        cases: Cases::Named("gone"),
        instead: Instead::Rejects,
        ours: "we refuse",
        reason: "it is safer",
    }];
    let tables = Tables {
        deviations: &deviations,
        ..Tables::EMPTY
    };
    let suite = Suite {
        families: vec![Family {
            name: "keys",
            ops: OPS,
        }],
        tables,
    };
    let documents = [document(
        "keys",
        &[
            agreeing("a", "must"),
            case("b", "panic", "must", json!({}), json!({})),
        ],
    )];
    let options = Options {
        strict: true,
        threads: 1,
        selects: &|title| title == "keys/echo/a",
    };
    let report = suite.run(&documents, &options);
    assert!(report.is_success(), "{}", report.render(&tables));
}

#[test]
fn the_report_has_the_order_of_the_cases() {
    let cases: Vec<_> = (0..50)
        .map(|n| case(&format!("c{n:02}"), "novel", "must", json!({}), json!({})))
        .collect();
    let text = failure(&cases);
    let names: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("FAILED keys/novel/"))
        .collect();
    assert_eq!(names.len(), 50);
    assert!(names.is_sorted());
}

#[test]
fn the_projects_vectors_are_understood() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors");
    let documents = Document::load_folder(&folder).unwrap();
    assert_eq!(
        documents
            .iter()
            .map(|document| document.family.as_str())
            .collect::<Vec<_>>(),
        FAMILIES
    );

    let mut typed = 0;
    for case in documents.iter().flat_map(|document| &document.cases) {
        count_typed(&Value::Object(case.input.clone()), &mut typed);
        count_typed(&case.expected.body, &mut typed);
    }
    assert!(typed > 1000, "{typed}");
}

/// Checks that every typed value inside is read and written back as it was.
fn count_typed(value: &Value, count: &mut usize) {
    if value.get("t").is_some_and(Value::is_string) {
        let read = Typed::from_value(value).unwrap_or_else(|| panic!("{value}"));
        assert_eq!(&read.to_value(), value);
        *count += 1;
    }
    match value {
        Value::Object(fields) => fields.values().for_each(|value| count_typed(value, count)),
        Value::Array(items) => items.iter().for_each(|value| count_typed(value, count)),
        _ => {}
    }
}
