//! The result of a run as a text.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use libtest_mimic::Failed;

use crate::deviations::{DEVIATIONS, Deviation};
use crate::judge::Verdict;
use crate::load::{Entry, FAMILIES, Tier};

/// The number of differences that are shown of a case.
const SHOWN_LINES: usize = 8;

/// The results of all cases.
#[derive(Default)]
pub(crate) struct Report(Mutex<Vec<Line>>);

struct Line {
    family: String,
    /// The tier; `None` for a case that cannot be read.
    tier: Option<Tier>,
    count: Count,
    /// The row that describes the deviation of the case.
    row: Option<&'static Deviation>,
    text: Option<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Count {
    Passed,
    Failed,
    Deviating,
    Undocumented,
}

impl Report {
    /// Records the verdict. An error is for the test harness to show.
    pub(crate) fn add(&self, entry: &Entry, verdict: Verdict) -> Result<(), Failed> {
        let case = entry.case.as_ref().ok();
        let tier = case.map(|case| case.tier);
        let (count, row, text) = match verdict {
            Verdict::Passed => (Count::Passed, None, None),
            Verdict::Deviates(row) => {
                let text = format!("deviates {}: {} ({})", entry.title(), row.ours, row.reason);
                (Count::Deviating, Some(row), Some(text))
            }
            Verdict::Undocumented(lines) => {
                let head = format!("quirk deviation (undocumented) {}", entry.title());
                (Count::Undocumented, None, Some(paragraph(&head, &lines)))
            }
            Verdict::Failed(mut lines) => {
                lines.extend(case.and_then(|case| Some(format!("note: {}", case.note.as_ref()?))));
                let head = format!("{}.json, case {}, {tier:?}", entry.family, entry.label);
                (Count::Failed, None, Some(paragraph(&head, &lines)))
            }
        };
        let failure = text.clone().filter(|_| count == Count::Failed);
        self.lock().push(Line {
            family: entry.family.clone(),
            tier,
            count,
            row,
            text: text.filter(|_| count != Count::Failed),
        });
        failure.map_or(Ok(()), |text| Err(text.into()))
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Prints the deviations, and the counts by family and tier. After a complete run, also prints the rows of unused
    /// deviations and the missing families. Returns whether there are any of these.
    pub(crate) fn print(&self, complete: bool) -> bool {
        let lines = self.lock();
        let mut texts: Vec<_> = lines.iter().filter_map(|line| line.text.as_ref()).collect();
        texts.sort();
        texts.iter().for_each(|text| println!("{text}"));

        let mut counts: BTreeMap<(&str, Option<Tier>), [usize; 4]> = BTreeMap::new();
        let mut total = [0; 4];
        for line in lines.iter() {
            let row = counts.entry((&line.family, line.tier)).or_default();
            for counts in [row, &mut total] {
                if let Some(count) = counts.get_mut(line.count as usize) {
                    *count += 1;
                }
            }
        }
        let [passed, failed, deviating, undocumented] =
            ["passed", "failed", "deviating", "undocumented"];
        println!(
            "\n{:14} {:5} {passed:>7} {failed:>7} {deviating:>9} {undocumented:>13}",
            "family", "tier"
        );
        for ((family, tier), counts) in &counts {
            let tier = match tier {
                Some(Tier::Must) => "must",
                Some(Tier::Quirk) => "quirk",
                None => "-",
            };
            print_counts(family, tier, *counts);
        }
        print_counts("total", "", total);
        complete && print_stale(&lines)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn print_counts(family: &str, tier: &str, [passed, failed, deviating, undocumented]: [usize; 4]) {
    println!("{family:14} {tier:5} {passed:>7} {failed:>7} {deviating:>9} {undocumented:>13}");
}

fn print_stale(lines: &[Line]) -> bool {
    let used: Vec<_> = lines.iter().filter_map(|line| line.row).collect();
    let unused = DEVIATIONS
        .iter()
        .filter(|row| !used.iter().any(|used| std::ptr::eq(*used, *row)));
    let unused = unused.map(|row| format!("DEVIATIONS: {}/{} is not needed", row.family, row.case));
    let present: BTreeSet<_> = lines.iter().map(|line| line.family.as_str()).collect();
    let missing = FAMILIES.iter().filter(|family| !present.contains(**family));
    let missing = missing.map(|family| format!("the family `{family}` has no vectors"));
    let problems: Vec<_> = unused.chain(missing).collect();
    problems
        .iter()
        .for_each(|problem| println!("PROBLEM {problem}"));
    !problems.is_empty()
}

fn paragraph(head: &str, lines: &[String]) -> String {
    let mut text = head.to_owned();
    for line in lines.iter().take(SHOWN_LINES) {
        text.push_str(&format!("\n    {line}"));
    }
    if lines.len() > SHOWN_LINES {
        text.push_str(&format!("\n    and {} more", lines.len() - SHOWN_LINES));
    }
    text
}
