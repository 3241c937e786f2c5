//! The result of a run, in words.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::document::Tier;
use super::judge::{Alterations, Verdict};
use super::tables::Tables;

/// Differences shown of one case.
const SHOWN_LINES: usize = 8;

/// The result of a run.
#[derive(Debug)]
pub struct Report {
    pub(super) entries: Vec<Entry>,
    pub(super) problems: Vec<String>,
}

/// The result of one case.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) family: String,
    pub(super) tier: Tier,
    /// `family/op/case`
    pub(super) title: String,
    pub(super) note: Option<String>,
    pub(super) verdict: Verdict,
}

impl Report {
    /// No case failed, and the tables fit.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.problems.is_empty()
            && !self
                .entries
                .iter()
                .any(|entry| matches!(entry.verdict, Verdict::Failed(_)))
    }

    /// The report for people: failures first, counts by family and tier last.
    #[must_use]
    pub fn render(&self, tables: &Tables<'_>) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text, tables);
        text
    }

    fn write(&self, text: &mut String, tables: &Tables<'_>) -> fmt::Result {
        for entry in &self.entries {
            match &entry.verdict {
                Verdict::Failed(lines) => write_case(text, "FAILED", entry, lines)?,
                Verdict::Undocumented(lines) => {
                    write_case(text, "quirk deviation (undocumented)", entry, lines)?
                }
                Verdict::Deviates(row) => {
                    if let Some(row) = tables.deviations.get(*row) {
                        writeln!(
                            text,
                            "deviates {}: {} ({})",
                            entry.title, row.ours, row.reason
                        )?;
                    }
                }
                Verdict::Passed(_) => {}
            }
        }
        for problem in &self.problems {
            writeln!(text, "PROBLEM {problem}")?;
        }
        self.write_counts(text)
    }

    fn write_counts(&self, text: &mut String) -> fmt::Result {
        let mut counts: BTreeMap<(&str, Tier), Counts> = BTreeMap::new();
        let mut total = Counts::default();
        let mut alterations = Alterations::default();
        for entry in &self.entries {
            counts
                .entry((&entry.family, entry.tier))
                .or_default()
                .add(&entry.verdict);
            total.add(&entry.verdict);
            if let Verdict::Passed(count) = entry.verdict {
                alterations.seen += count.seen;
                alterations.normalised += count.normalised;
            }
        }
        writeln!(text)?;
        writeln!(
            text,
            "{:14} {:5} {:>7} {:>7} {:>9} {:>13}",
            "family", "tier", "passed", "failed", "deviating", "undocumented"
        )?;
        for ((family, tier), counts) in &counts {
            counts.write(text, family, tier.name())?;
        }
        total.write(text, "total", "")?;
        writeln!(
            text,
            "\nalterations of the expected results of passing cases: {} tried, {} seen, {} in normalised fields",
            alterations.seen + alterations.normalised,
            alterations.seen,
            alterations.normalised
        )?;
        writeln!(
            text,
            "vectors: {}",
            if self.is_success() { "ok" } else { "FAILED" }
        )
    }
}

fn write_case(text: &mut String, status: &str, entry: &Entry, lines: &[String]) -> fmt::Result {
    writeln!(text, "{status} {} ({})", entry.title, entry.tier.name())?;
    for line in lines.iter().take(SHOWN_LINES) {
        writeln!(text, "    {line}")?;
    }
    if let Some(more) = lines
        .len()
        .checked_sub(SHOWN_LINES)
        .filter(|more| *more > 0)
    {
        writeln!(text, "    and {more} more")?;
    }
    if let Some(note) = &entry.note {
        writeln!(text, "    note: {note}")?;
    }
    Ok(())
}

#[derive(Default)]
struct Counts {
    passed: usize,
    failed: usize,
    deviating: usize,
    undocumented: usize,
}

impl Counts {
    fn add(&mut self, verdict: &Verdict) {
        *match verdict {
            Verdict::Passed(_) => &mut self.passed,
            Verdict::Failed(_) => &mut self.failed,
            Verdict::Deviates(_) => &mut self.deviating,
            Verdict::Undocumented(_) => &mut self.undocumented,
        } += 1;
    }

    fn write(&self, text: &mut String, family: &str, tier: &str) -> fmt::Result {
        writeln!(
            text,
            "{family:14} {tier:5} {:>7} {:>7} {:>9} {:>13}",
            self.passed, self.failed, self.deviating, self.undocumented
        )
    }
}
