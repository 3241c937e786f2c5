//! Descriptions of the program itself: `kc completions`, `kc man`, `kc version` and `kc explain`.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;
use kc::BackendChoice;
use serde::Serialize;

use crate::cli::Cli;
use crate::error::{CliError, io_failed};
use crate::ui::Ui;

const NAME: &str = "kc";

#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell that the script is for
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// The folder for the manual pages; it is created if it does not exist
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct VersionArgs {
    /// Print the version as JSON
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// The JSON of `kc version`.
#[derive(Debug, Serialize)]
struct Version {
    version: &'static str,
    /// The Cargo features that the program was built with.
    features: Vec<&'static str>,
    /// The Kafka clients that are built in. The default is `pure`, even if it is not built in.
    backends: Vec<&'static str>,
    /// The possible places of a node's keys.
    keystores: Vec<&'static str>,
}

pub(crate) fn completions(args: &CompletionsArgs) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), NAME, &mut script);
    match io::stdout().write_all(&script) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(io_failed("write to", "stdout", &error))
        }
        _ => Ok(()),
    }
}

pub(crate) fn man(args: &ManArgs, ui: Ui) -> Result<(), CliError> {
    let folder = args.folder.display();
    let failed = |error: io::Error| io_failed("write manual pages to", &folder, &error);
    fs::create_dir_all(&args.folder).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), &args.folder).map_err(failed)?;
    ui.note(format!(
        "manual pages are in {folder}; `man -l {folder}/{NAME}.1` shows the main page"
    ));
    Ok(())
}

pub(crate) fn version(args: &VersionArgs, ui: Ui) -> Result<(), CliError> {
    let built_in = [
        ("pure", cfg!(feature = "pure")),
        ("rdkafka", cfg!(feature = "rdkafka")),
        ("rdkafka-ssl", cfg!(feature = "rdkafka-ssl")),
        (
            "rdkafka-ssl-vendored",
            cfg!(feature = "rdkafka-ssl-vendored"),
        ),
        ("legacy-kafka", cfg!(feature = "legacy-kafka")),
        ("hsm", cfg!(feature = "hsm")),
    ];
    let features = built_in.into_iter().filter(|(_, there)| *there);
    let mut keystores = vec!["files"];
    if cfg!(feature = "hsm") {
        keystores.push("PKCS#11 tokens");
    }
    let version = Version {
        version: env!("CARGO_PKG_VERSION"),
        features: features.map(|(name, _)| name).collect(),
        backends: BackendChoice::built_in().map(BackendChoice::name).collect(),
        keystores,
    };
    if args.json {
        let json = serde_json::to_string(&version).map_err(CliError::from_error)?;
        return ui.result(json);
    }
    ui.result(format!("{NAME} {}", version.version))?;
    for (what, list) in [
        ("features", &version.features),
        ("backends", &version.backends),
        ("keystores", &version.keystores),
    ] {
        ui.result(format!("{what}: {}", list.join(", ")))?;
    }
    Ok(())
}

/// The descriptions of all checks, in Markdown. Each check is one row of a table.
const CHECKS: &str = include_str!("../../../docs/checks.md");

/// The content of the column "at fault" if a refusal by the check is not a fault.
const NONE: &str = "-";

#[derive(Debug, clap::Args)]
pub(crate) struct ExplainArgs {
    /// The number of the check, such as C04 [default: all checks, one in each line]
    check: Option<String>,

    /// Print the explanation as JSON
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// The description of a check.
#[derive(Clone, Copy, Debug, Serialize)]
struct Described {
    check: &'static str,
    /// The condition that must hold.
    rule: &'static str,
    /// The party at fault; `None` if a refusal by the check is not a fault.
    at_fault: Option<&'static str>,
    advice: &'static str,
}

pub(crate) fn explain(args: &ExplainArgs, ui: Ui) -> Result<(), CliError> {
    let Some(wanted) = &args.check else {
        for check in described() {
            if args.json {
                print_json(&check, ui)?;
            } else {
                ui.result(format!("{} {}", check.check, plain(check.rule)))?;
            }
        }
        return Ok(());
    };
    let found = described().find(|check| check.check.eq_ignore_ascii_case(wanted.trim()));
    let Some(check) = found else {
        return Err(CliError::usage(format!("there is no check {wanted:?}"))
            .advise("`kc explain` lists all checks, such as C01, X01 and M01"));
    };
    if args.json {
        return print_json(&check, ui);
    }
    ui.result(format!("{} {}", check.check, plain(check.rule)))?;
    ui.result(format!(
        "at fault: {}",
        plain(check.at_fault.unwrap_or("no node"))
    ))?;
    ui.result(format!("what to do: {}", plain(check.advice)))
}

fn print_json(check: &Described, ui: Ui) -> Result<(), CliError> {
    ui.result(serde_json::to_string(check).map_err(CliError::from_error)?)
}

/// Returns the checks from the tables in [`CHECKS`], in the same order.
fn described() -> impl Iterator<Item = Described> {
    CHECKS.lines().filter_map(|line| {
        let row = line.strip_prefix("| ")?.strip_suffix(" |")?;
        let mut cells = row.split(" | ");
        let cells = [cells.next()?, cells.next()?, cells.next()?, cells.next()?];
        let [check, rule, at_fault, advice] = cells.map(str::trim);
        let is_number = |text: &str| text.len() == 2 && text.parse::<u8>().is_ok();
        let number = check.strip_prefix(['C', 'X', 'M'])?;
        is_number(number).then_some(Described {
            check,
            rule,
            at_fault: (at_fault != NONE).then_some(at_fault),
            advice,
        })
    })
}

/// Returns a text without the backticks that mark code.
fn plain(text: &str) -> String {
    text.replace('`', "")
}

#[cfg(test)]
mod tests {
    use kc::core::chain::{Check, UpdateCheck};
    use kc::core::exchange::ExchangeCheck;

    use super::*;

    #[test]
    fn the_description_has_all_checks_and_no_others() {
        let chain = Check::ALL.iter().map(ToString::to_string);
        let exchange = ExchangeCheck::ALL.iter().map(ToString::to_string);
        let update = UpdateCheck::ALL.iter().map(ToString::to_string);
        let all: Vec<String> = chain.chain(exchange).chain(update).collect();
        let described: Vec<&str> = described().map(|check| check.check).collect();
        assert_eq!(described, all);
    }
}
