//! `kc fields check`.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use kc::core::text::counted;
use kc_fields::{FieldCipher, MAX_RECORD_BYTES, Purpose, Rules};
use serde_json::json;

use crate::error::{CliError, io_failed};
use crate::ui::Ui;

/// The maximum number of lines of a sample.
const MAX_SAMPLE_LINES: usize = 1000;

/// Check rules, and show a sample before and after
///
/// Needs no node and no key management system: the sample shows a placeholder where one of them would be needed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file with the rules
    rules: PathBuf,

    /// A file with JSON lines to show before and after
    sample: Option<PathBuf>,

    /// The topic of the sample [default: the topic that the rules name, if they name only one]
    #[arg(long, requires = "sample")]
    topic: Option<String>,

    /// Print the rules and warnings as JSON
    #[arg(long, conflicts_with = "sample")]
    json: bool,
}

pub(super) async fn run(args: Args, ui: Ui) -> Result<(), CliError> {
    let rules = Rules::read(&args.rules)?;
    let warnings = rules.warnings();
    if args.json {
        let shown = rules.rules().iter().map(|rule| {
            json!({
                "line": rule.line,
                "path": rule.path.to_string(),
                "engine": rule.engine.name(),
                "topics": rule.topics,
                "bind": rule.bind.as_ref().map(ToString::to_string),
            })
        });
        let shown: Vec<_> = shown.collect();
        return ui.result(json!({ "rules": shown, "warnings": warnings }).to_string());
    }
    ui.result(format!(
        "{}: {} valid",
        args.rules.display(),
        counted(rules.rules().len(), "rule")
    ))?;
    for rule in rules.rules() {
        let topics = match rule.topics.as_slice() {
            [] => "all topics".to_owned(),
            topics => topics.join(", "),
        };
        ui.result(format!(
            "  line {:<4} {:<24} {:<14} {topics}",
            rule.line,
            rule.path.to_string(),
            rule.engine.name()
        ))?;
    }
    for warning in warnings {
        ui.note(format!("note: {warning}"));
    }
    match &args.sample {
        Some(sample) => show(&args, &rules, sample, ui).await,
        None => Ok(()),
    }
}

async fn show(args: &Args, rules: &Rules, sample: &PathBuf, ui: Ui) -> Result<(), CliError> {
    let topic = args.topic.as_deref().or(rules.only_topic());
    let topic = topic.ok_or_else(|| {
        CliError::usage("the rules do not name exactly one topic")
            .advise("give --topic TOPIC, the topic of the sample")
    })?;
    let cipher = FieldCipher::builder(rules, Purpose::Preview).open().await?;
    let failed = |error| io_failed("read", sample.display(), &error);
    let limit = u64::try_from(MAX_RECORD_BYTES).unwrap_or(u64::MAX);
    let lines = BufReader::new(File::open(sample).map_err(failed)?.take(limit)).lines();
    for (number, line) in lines.take(MAX_SAMPLE_LINES).enumerate() {
        let line = line.map_err(failed)?;
        let mut record = line.clone().into_bytes();
        let outcome = cipher.encrypt(topic, &mut record).await;
        outcome.map_err(|error| {
            CliError::failure(format!("{}:{}: {error}", sample.display(), number + 1))
                .advise(error.advice())
        })?;
        ui.result(format!("before {line}"))?;
        ui.result(format!("after  {}", String::from_utf8_lossy(&record)))?;
    }
    Ok(())
}
