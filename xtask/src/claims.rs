//! Checks the claims in `docs/security.md` against the tests that they name.
//!
//! A claim is a paragraph, an item of a list, or a row of a table. It ends with `Tests:` and their names, or with `No
//! test:` and the reason. A table has a column `tests`, or stands below a claim that names its tests. A paragraph that
//! ends with a colon only introduces the following text.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};

const DOCUMENT: &str = "docs/security.md";

/// Fails with all claims that name no test, and with all named tests that do not exist.
pub(crate) fn check() -> anyhow::Result<()> {
    let document = fs::read_to_string(DOCUMENT).context(DOCUMENT)?;
    let folder = Path::new(DOCUMENT).parent().context(DOCUMENT)?;
    let claims = claims(&document);
    let (mut wrong, mut named) = (Vec::new(), BTreeSet::new());
    for claim in &claims {
        match &claim.proof {
            Proof::Tests(tests) => named.extend(tests),
            Proof::None => {}
            Proof::Missing => wrong.push(format!("no test is named: {}", claim.text)),
        }
    }
    for Test { file, name } in &named {
        match fs::read_to_string(folder.join(file)) {
            Ok(source) if has_test(&source, name) => {}
            Ok(_) => wrong.push(format!("{file} has no test {name}")),
            Err(error) => wrong.push(format!("{file}: {error}")),
        }
    }
    if !wrong.is_empty() {
        bail!("{DOCUMENT} claims too much:\n  {}", wrong.join("\n  "));
    }
    let (claims, tests) = (claims.len(), named.len());
    println!("claims: {claims} in {DOCUMENT}, {tests} tests in their places");
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct Claim<'d> {
    /// The beginning of the claim.
    text: &'d str,
    proof: Proof,
}

#[derive(Debug, PartialEq, Eq)]
enum Proof {
    /// The tests; empty if another chore runs them.
    Tests(Vec<Test>),
    /// The document states that there is no test.
    None,
    Missing,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Test {
    /// The path in the link of the document.
    file: String,
    name: String,
}

/// Returns the claims of all sections.
fn claims(document: &str) -> Vec<Claim<'_>> {
    let mut claims: Vec<Claim<'_>> = Vec::new();
    for block in blocks(document) {
        let Some(text) = block.first().copied() else {
            continue;
        };
        if !text.starts_with('|') {
            let whole = block.join(" ");
            if !whole.ends_with(':') {
                let proof = Proof::of_text(&whole);
                claims.push(Claim { text, proof });
            }
        } else if last_cell(text) == "tests" {
            claims.extend(block.iter().skip(2).map(|row| Claim {
                text: row,
                proof: Proof::of_cell(last_cell(row)),
            }));
        } else if !matches!(claims.last(), Some(above) if matches!(above.proof, Proof::Tests(_))) {
            let proof = Proof::Missing;
            claims.push(Claim { text, proof });
        }
    }
    claims
}

/// Returns the lines of each paragraph, list item and table of all sections, without headings and code.
fn blocks(document: &str) -> Vec<Vec<&str>> {
    let (mut blocks, mut block, mut is_code) = (Vec::new(), Vec::new(), false);
    for line in document.lines().skip_while(|line| !line.starts_with("## ")) {
        let is_fence = line.starts_with("```");
        is_code ^= is_fence;
        let is_apart = is_code || is_fence || line.is_empty() || line.starts_with('#');
        if is_apart || line.starts_with("- ") {
            blocks.push(std::mem::take(&mut block));
        }
        if !is_apart {
            block.push(line.trim());
        }
    }
    blocks.push(block);
    blocks
}

fn last_cell(row: &str) -> &str {
    let cells = row.trim_end_matches('|');
    cells.rsplit('|').next().unwrap_or_default().trim()
}

impl Proof {
    fn of_text(text: &str) -> Self {
        match text.rsplit_once("Tests: ") {
            Some((_, tests)) => Self::of_cell(tests),
            None if text.contains("No test: ") => Self::None,
            None => Self::Missing,
        }
    }

    /// Reads links to files, each with the names of tests in the file.
    fn of_cell(text: &str) -> Self {
        let (mut tests, mut file, mut is_run) = (Vec::new(), None, false);
        for (place, part) in text.split('`').enumerate() {
            let is_name = place % 2 == 1;
            if !is_name {
                let link = part
                    .rsplit_once("](")
                    .and_then(|(_, link)| link.split_once(')'));
                file = link.map(|(file, _)| file.to_owned()).or(file);
            } else if part.starts_with("cargo xtask ") {
                is_run = true;
            } else if let Some(file) = file.clone() {
                let name = part.to_owned();
                tests.push(Test { file, name });
            }
        }
        match text {
            "none" => Self::None,
            _ if is_run || !tests.is_empty() => Self::Tests(tests),
            _ => Self::Missing,
        }
    }
}

/// Returns whether a source file has a test: a function with an attribute `test`, or one that is listed among the cases
/// of a test harness.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let definition = format!("fn {name}(");
    let Some(place) = lines.iter().position(|line| line.contains(&definition)) else {
        return false;
    };
    let above = lines.iter().take(place).rev();
    let mut attributes = above.take_while(|line| line.starts_with("#[") || line.starts_with("//"));
    let is_listed = || {
        let mut items = lines.iter().map(|line| line.trim_end_matches(','));
        source.contains("cases![") && items.any(|item| item == name)
    };
    attributes.any(|line| is_test(line)) || is_listed()
}

/// Returns whether an attribute makes a function a test: `#[test]`, `#[tokio::test(...)]`.
fn is_test(attribute: &str) -> bool {
    let path = attribute.strip_prefix("#[").unwrap_or_default();
    let path = path.split(['(', ']']).next().unwrap_or_default();
    path.rsplit("::").next() == Some("test")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proofs(document: &str) -> Vec<Proof> {
        let claims = claims(document).into_iter();
        claims.map(|claim| claim.proof).collect()
    }

    fn tests(named: &[(&str, &str)]) -> Proof {
        let test = |(file, name): &(&str, &str)| Test {
            file: (*file).to_owned(),
            name: (*name).to_owned(),
        };
        Proof::Tests(named.iter().map(test).collect())
    }

    #[test]
    fn paragraphs_items_and_rows_are_claims() {
        let document = "# Head\n\nNothing yet.\n\n## Section\n\nA claim with `code`.\nTests: [a.rs](../a.rs): `one`, `two`;\n\
            [b.rs](../b.rs): `three`.\n\n```text\ncode\n```\n\nThis introduces:\n\n- An item.\n- Another,\n  longer.\n  \
            No test: why.\n\n| what | tests |\n|---|---|\n| x | [c.rs](c.rs): `four` |\n| y | none |\n| z | |\n";
        let expected = [
            tests(&[("../a.rs", "one"), ("../a.rs", "two"), ("../b.rs", "three")]),
            Proof::Missing,
            Proof::None,
            tests(&[("c.rs", "four")]),
            Proof::None,
            Proof::Missing,
        ];
        assert_eq!(proofs(document), expected);
    }

    #[test]
    fn a_table_without_tests_stands_below_a_claim_that_has_some() {
        let table = "| a | b |\n|---|---|\n| c | d |\n";
        let chore = format!("## S\n\nA claim. Tests: `cargo xtask sim`.\n\n{table}");
        assert_eq!(proofs(&chore), [tests(&[])]);
        let without = format!("## S\n\nA claim. No test: why.\n\n{table}");
        assert_eq!(proofs(&without), [Proof::None, Proof::Missing]);
    }

    #[test]
    fn functions_that_are_run_as_tests_are_found_and_no_others() {
        let source = "#[test]\nfn a() {}\n#[tokio::test(flavor = \"multi_thread\")]\n/// Says more.\nasync fn b() {}\n\
            fn c() {}\n#[cfg(test)]\nfn d() {}\n";
        let found = ["a", "b", "c", "d", "e"].map(|name| has_test(source, name));
        assert_eq!(found, [true, true, false, false, false]);
        let listed = "cases![\n    c,\n]\nfn c() {}\nfn d() {}\n";
        let found = ["c", "d"].map(|name| has_test(listed, name));
        assert_eq!(found, [true, false]);
    }
}
