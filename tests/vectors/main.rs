//! Runs the protocol's test vectors: `cargo test --test vectors`.
//!
//! The runner takes the files `*.json` in this folder, or in the folder that `KC_VECTORS` names; their `README.md`
//! describes them. Each case is a test `family/case`: its input is read into the types of its operation, kc runs on
//! this input, and the whole result is compared: the output, or the state after a refusal. Nothing is left out: a case
//! with a field that the types do not describe fails, and a field that is read and not used does not compile.
//!
//! | module | content |
//! |---|---|
//! | `load` | the files and their cases |
//! | `operation`, `judge`, `diff` | the run of a case, its comparison and its verdict |
//! | `deviations` | the quirks that kc does not share |
//! | `draws` | the recorded random draws |
//! | `values`, `nodes`, `pump` | common parts of the families |
//! | the others | one family each |
//! | `own` | tests of the runner |

#![deny(dead_code)]

#[macro_use]
mod operation;

mod chains;
mod deviations;
mod diff;
mod draws;
mod exchange;
mod get_root;
mod judge;
mod keygenerator;
mod keys;
mod load;
mod management;
mod message;
mod mgmtloop;
mod nodes;
mod provisioning;
mod pump;
mod ratchet;
mod report;
mod stores;
mod values;

#[cfg(test)]
mod own;

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

use load::{Case, Entry};
use operation::{Invalid, Run};
use report::Report;

/// The folder of the project's vectors.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let named = env::var_os("KC_VECTORS").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| FOLDER.into());
    let ours = folder.canonicalize().ok() == Path::new(FOLDER).canonicalize().ok();

    let report = Arc::new(Report::default());
    let entries = load::folder(&folder);
    let cases = entries.len();
    let mut trials: Vec<_> = entries
        .into_iter()
        .map(|entry| trial(entry, ours, &report))
        .collect();
    if ours {
        trials.extend(own::trials());
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if arguments.list {
        return conclusion.exit_code();
    }
    let complete = ours && report.len() == cases;
    let stale = report.print(complete);
    if stale {
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

fn trial(entry: Entry, strict: bool, report: &Arc<Report>) -> Trial {
    let report = Arc::clone(report);
    Trial::test(entry.title(), move || {
        let verdict = judge::judge(&entry, strict);
        report.add(&entry, verdict)
    })
}

/// Runs a case by the operation of its family.
fn run(family: &str, case: &Case) -> Result<Run, Invalid> {
    match family {
        "chains" => chains::run(case),
        "exchange" => exchange::run(case),
        "get_root" => get_root::run(case),
        "keygenerator" => keygenerator::run(case),
        "keys" => keys::run(case),
        "management" => management::run(case),
        "message" => message::run(case),
        "mgmtloop" => mgmtloop::run(case),
        "provisioning" => provisioning::run(case),
        "ratchet" => ratchet::run(case),
        "stores" => stores::run(case),
        _ => Err(Invalid::new("unknown family")),
    }
}
