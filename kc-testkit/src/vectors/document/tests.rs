use serde_json::json;

use super::*;

fn file(change: impl FnOnce(&mut Value)) -> String {
    let mut value = json!({
        "format": "kafkacrypto-vectors/1",
        "family": "get_root",
        "generated_with": {"package": "x"},
        "cases": [{
            "name": "one", "op": "get_root", "tier": "must", "in": {}, "result": "reject",
            "reject": {"class": "X", "reason": "y", "detail_last_root": "z", "file_after": "00"},
            "draws": [{"src": "sodium", "hex": "00ff"}, {"src": "oqs", "len": 3044}],
            "time": 5.0, "note": "n"
        }]
    });
    change(&mut value);
    value.to_string()
}

fn problem(change: impl FnOnce(&mut Value)) -> String {
    Document::parse("get_root", &file(change))
        .unwrap_err()
        .to_string()
}

#[test]
fn informative_fields_of_a_refusal_are_dropped_and_state_is_kept() {
    let document = Document::parse("get_root", &file(|_| ())).unwrap();
    let case = &document.cases[0];
    assert!(!case.expected.accepted);
    assert_eq!(case.expected.body, json!({"file_after": "00"}));
    assert_eq!(case.draws.len(), 2);
    assert_eq!(case.time, Some(5.0));
}

#[test]
fn what_the_readme_does_not_describe_is_refused() {
    assert!(
        problem(|f| f["format"] = json!("kafkacrypto-vectors/2"))
            .contains("format `kafkacrypto-vectors/2`")
    );
    assert!(problem(|f| f["family"] = json!("novel")).contains("unknown family `novel`"));
    assert!(problem(|f| f["family"] = json!("keys")).contains("holds the family `keys`"));
    assert!(problem(|f| f["cases"] = json!([])).contains("no cases"));
    assert!(problem(|f| f["extra"] = json!(1)).contains("unknown field `extra`"));
    assert!(
        problem(|f| f["cases"][0]["tier"] = json!("may"))
            .contains("case `one`: unknown variant `may`")
    );
    assert!(problem(|f| f["cases"][0]["extra"] = json!(1)).contains("unknown field `extra`"));
    assert!(problem(|f| f["cases"][0]["result"] = json!("ok")).contains("`out` belongs to"));
    assert!(problem(|f| f["cases"][0]["out"] = json!({})).contains("`out` belongs to"));
    assert!(problem(|f| f["cases"][0]["draws"][0]["len"] = json!(2)).contains("`hex` or `len`"));
    assert!(
        problem(|f| f["cases"][0]["draws"][0]["src"] = json!("os"))
            .contains("unknown variant `os`")
    );
    let twice = |f: &mut Value| {
        let case = f["cases"][0].clone();
        f["cases"].as_array_mut().unwrap().push(case);
    };
    assert!(problem(twice).contains("second case of this name"));
}

#[test]
fn a_folder_without_vectors_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("README.md"), "no vectors").unwrap();
    assert!(matches!(
        Document::load_folder(folder.path()),
        Err(LoadError::EmptyFolder(_))
    ));
    assert!(matches!(
        Document::load_folder(&folder.path().join("absent")),
        Err(LoadError::Unreadable { .. })
    ));

    std::fs::write(folder.path().join("get_root.json"), file(|_| ())).unwrap();
    assert_eq!(Document::load_folder(folder.path()).unwrap().len(), 1);
}
