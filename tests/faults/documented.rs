//! Checks of the documents: `docs/security.md` names all tests of faults, and links lead to files.

use std::collections::BTreeSet;
use std::path::Path;

const DOCUMENT: &str = include_str!("../../docs/security.md");

const DOCUMENTS: [&str; 3] = [
    DOCUMENT,
    include_str!("../../docs/commands.md"),
    include_str!("../../docs/protocol.md"),
];

const SOURCES: [&str; 7] = [
    include_str!("exchange.rs"),
    include_str!("files.rs"),
    include_str!("flood.rs"),
    include_str!("keys.rs"),
    include_str!("lost_keys.rs"),
    include_str!("places.rs"),
    include_str!("trust.rs"),
];

/// Returns the words of a text that name tests of faults.
fn tests_named_in(text: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_name(c));
    words.filter(|word| word.starts_with("fault_")).collect()
}

#[test]
fn the_table_of_faults_names_all_tests_and_none_that_is_not_there() {
    let functions = SOURCES.iter().flat_map(|source| {
        let rest = source.split("fn ").skip(1);
        rest.filter_map(|rest| rest.split('(').next())
    });
    let there: BTreeSet<_> = functions
        .filter(|name| name.starts_with("fault_"))
        .collect();
    assert_eq!(tests_named_in(DOCUMENT), there);
    for fault in (1..=17).filter(|fault| *fault != 10) {
        let prefix = format!("fault_{fault:02}_");
        assert!(
            there.iter().any(|name| name.starts_with(&prefix)),
            "{prefix}"
        );
    }
}

#[test]
fn each_row_of_the_table_names_tests_of_its_own_fault_and_where_they_are() {
    let rows = DOCUMENT.lines().filter(|line| line.starts_with("| "));
    let rows = rows.filter_map(|row| {
        let number = row.split('|').nth(1)?.trim().parse::<u32>().ok()?;
        Some((number, row))
    });
    let mut numbers = Vec::new();
    for (number, row) in rows {
        numbers.push(number);
        for test in tests_named_in(row) {
            assert!(test.starts_with(&format!("fault_{number:02}_")), "{test}");
        }
        if number != 10 {
            assert!(row.contains("(../tests/faults/"), "{row}");
        }
    }
    assert_eq!(numbers, (1..=17).collect::<Vec<_>>());
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let links = DOCUMENTS.iter().flat_map(|document| {
        let rest = document.split("](").skip(1);
        rest.filter_map(|rest| rest.split([')', '#']).next())
    });
    for link in links {
        assert!(docs.join(link).exists(), "{link}");
    }
}
