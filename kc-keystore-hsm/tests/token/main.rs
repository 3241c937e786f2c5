//! Tests of the crate on a real token: SoftHSM, or the module that `KC_HSM_TEST_MODULE` names (kryoptic).
//!
//! `cargo xtask hsm` installs SoftHSM and runs them; with `--kryoptic` it builds kryoptic and runs them on that.
//!
//! Modules read their configuration from the environment when a process starts, and a token belongs to a process, so
//! each case runs in a process of its own: this program starts itself again, with an empty folder for the token.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod concurrent;
mod conformance;
mod faults;
mod keys;
mod kills;
mod objects;
mod opening;
mod ratchet;
mod recovery;
mod setup;
mod world;

use std::env;
use std::path::Path;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};
use world::{CASE, Case, FOLDER, is_softhsm, module_path, write_configuration};

fn main() -> ExitCode {
    let cases = cases();
    if let Ok(wanted) = env::var(CASE) {
        let case = cases.into_iter().find(|case| case.name == wanted);
        (case.expect("a case").run)();
        return ExitCode::SUCCESS;
    }
    let trials = cases
        .into_iter()
        .filter(|case| !case.hidden)
        .map(trial)
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trial(case: Case) -> Trial {
    let kind = if case.only_on_softhsm {
        "only on SoftHSM"
    } else {
        ""
    };
    Trial::test(case.name.clone(), move || run(&case.name))
        .with_kind(kind)
        .with_ignored_flag(case.only_on_softhsm && !is_softhsm())
}

fn cases() -> Vec<Case> {
    [
        concurrent::cases(),
        conformance::cases(),
        faults::cases(),
        keys::cases(),
        kills::cases(),
        objects::cases(),
        opening::cases(),
        ratchet::cases(),
        recovery::cases(),
        setup::cases(),
    ]
    .concat()
}

/// Runs a case in a process with a folder of its own.
fn run(name: &str) -> Result<(), Failed> {
    if !module_path().exists() {
        return Err(format!(
            "no {}: apt-get install --no-install-recommends softhsm2",
            module_path().display()
        )
        .into());
    }
    // In memory if possible: the tests end processes, not power.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() {
        tempfile::tempdir_in(memory)?
    } else {
        tempfile::tempdir()?
    };
    let (variable, path) = write_configuration(folder.path());
    let output = Command::new(env::current_exe()?)
        .env(CASE, name)
        .env(FOLDER, folder.path())
        .env(variable, path)
        .env(faults::REAL_MODULE, module_path())
        .env_remove("KC_HSM_PIN")
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    Err(format!("{}\n{}", output.status, String::from_utf8_lossy(&text)).into())
}
