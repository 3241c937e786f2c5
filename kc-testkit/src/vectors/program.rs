//! The program behind `cargo test --test vectors`.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, FormatSetting};

use super::document::{Document, LoadError};
use super::families;
use super::suite::{Options, Suite, cases};
use super::tables::Tables;

/// Runs the vectors of the folder that the environment variable `KC_VECTORS` names, else of `default_folder`, and
/// prints a report.
///
/// Understands the arguments of the usual test harness that select and list cases. The vectors in `default_folder`
/// are held against the tables strictly: a row that is not needed fails.
#[must_use]
pub fn main(default_folder: &Path) -> ExitCode {
    let arguments = Arguments::from_args();
    let folder =
        std::env::var_os("KC_VECTORS").map_or_else(|| default_folder.to_owned(), PathBuf::from);
    match run(&folder, same_folder(&folder, default_folder), &arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("vectors: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(folder: &Path, strict: bool, arguments: &Arguments) -> Result<ExitCode, LoadError> {
    let documents = Document::load_folder(folder)?;
    let suite = Suite {
        families: families::all(),
        tables: Tables::PROJECT,
    };
    if arguments.list {
        list(&documents, arguments);
        return Ok(ExitCode::SUCCESS);
    }
    let available = std::thread::available_parallelism().map_or(1, NonZero::get);
    let options = Options {
        strict,
        threads: arguments.test_threads.unwrap_or(available),
        selects: &|title| selects(arguments, title),
    };
    let report = suite.run(&documents, &options);
    print!("{}", report.render(&suite.tables));
    Ok(if report.is_success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn list(documents: &[Document], arguments: &Arguments) {
    let ignored_only = arguments.ignored && !arguments.include_ignored;
    let titles = cases(documents).into_iter().map(|case| case.title());
    let listed = titles.filter(|title| !ignored_only && selects_by_name(arguments, title));
    let mut count = 0;
    for title in listed {
        println!("{title}: test");
        count += 1;
    }
    if arguments.format != Some(FormatSetting::Terse) {
        println!("\n{count} tests, 0 benchmarks");
    }
}

/// No case is ignored, and there are no benchmarks.
fn selects(arguments: &Arguments, title: &str) -> bool {
    !arguments.bench && !arguments.ignored && selects_by_name(arguments, title)
}

fn selects_by_name(arguments: &Arguments, title: &str) -> bool {
    let matches = |text: &String| {
        if arguments.exact {
            title == text
        } else {
            title.contains(text.as_str())
        }
    };
    arguments.filter.iter().all(matches) && !arguments.skip.iter().any(matches)
}

fn same_folder(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}
