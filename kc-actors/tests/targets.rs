//! Every log target has a row in `docs/observability.md`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const DOCUMENT: &str = include_str!("../../docs/observability.md");

/// Collects the log targets in the sources below a folder.
fn logged(folder: &Path, targets: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            logged(&path, targets);
            continue;
        }
        let source = fs::read_to_string(path).unwrap();
        let after = source.split("target: \"").skip(1);
        targets.extend(after.map(|rest| rest.split('"').next().unwrap().to_owned()));
    }
}

#[test]
fn every_target_is_documented_and_every_documented_target_is_logged_to() {
    let mut targets = BTreeSet::new();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    logged(&sources, &mut targets);
    let rows = DOCUMENT.lines().filter_map(|line| {
        let target = line.strip_prefix("| `kc::")?.split('`').next()?;
        Some(format!("kc::{target}"))
    });
    assert_eq!(rows.collect::<BTreeSet<_>>(), targets);
}
