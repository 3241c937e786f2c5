//! Compares the checks with the rows in `docs/checks.md`.

use kc_core::chain::{Check, UpdateCheck};
use kc_core::exchange::ExchangeCheck;

const DOCUMENT: &str = include_str!("../../docs/checks.md");

/// Returns the cells of the document's rows whose first cell is a check.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    let rows = DOCUMENT.lines().filter(|line| {
        let kinds = ["| C", "| X", "| M"];
        kinds.iter().any(|kind| line.starts_with(kind))
    });
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
}

#[test]
fn every_check_has_one_row_in_the_order_of_the_numbers() {
    let chain = Check::ALL.iter().map(ToString::to_string);
    let exchange = ExchangeCheck::ALL.iter().map(ToString::to_string);
    let update = UpdateCheck::ALL.iter().map(ToString::to_string);
    let expected: Vec<_> = chain.chain(exchange).chain(update).collect();
    let documented: Vec<_> = rows().filter_map(|row| row.first().copied()).collect();
    assert_eq!(documented, expected);
}

#[test]
fn every_row_says_what_holds_who_is_at_fault_and_what_to_do() {
    for row in rows() {
        assert_eq!(row.len(), 4, "{row:?}");
        assert!(row.iter().all(|cell| !cell.is_empty()), "{row:?}");
    }
}
