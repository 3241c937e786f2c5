//! Runs all selected cases, in parallel, and checks that the tables are neither stale nor at odds with the adapters.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use super::adapter::{Family, Op};
use super::document::{Case, Document, FAMILIES};
use super::judge::{Judge, Verdict};
use super::report::{Entry, Report};
use super::tables::Tables;

/// The adapters and the tables that cases are run with.
#[derive(Debug)]
pub struct Suite<'t> {
    /// The adapters.
    pub families: Vec<Family>,
    /// The exceptions.
    pub tables: Tables<'t>,
}

/// Which cases run, and how.
pub struct Options<'o> {
    /// The vectors are the project's own: every row of the tables must be needed, every family be there.
    pub strict: bool,
    /// Threads that run cases.
    pub threads: usize,
    /// Whether the case of this name (`family/op/case`) runs.
    pub selects: &'o dyn Fn(&str) -> bool,
}

impl Suite<'_> {
    /// Runs the selected cases of `documents`.
    #[must_use]
    pub fn run(&self, documents: &[Document], options: &Options<'_>) -> Report {
        let all = cases(documents);
        let total = all.len();
        let selected: Vec<_> = all
            .into_iter()
            .filter(|case| (options.selects)(&case.title()))
            .collect();
        let complete = options.strict && selected.len() == total;
        let judge = Judge {
            tables: self.tables,
            strict: options.strict,
        };

        let entries: Vec<_> = self
            .verdicts(&judge, &selected, options.threads)
            .into_iter()
            .zip(&selected)
            .map(|(verdict, selected)| Entry {
                family: selected.family.to_owned(),
                tier: selected.case.tier,
                title: selected.title(),
                note: selected.case.note.clone(),
                verdict,
            })
            .collect();
        let mut problems = self.inconsistencies();
        if complete {
            problems.extend(missing_families(documents));
            problems.extend(self.unused_rows(&selected, &entries));
        }
        Report { entries, problems }
    }

    fn op(&self, family: &str, op: &str) -> Option<&Op> {
        let families = self.families.iter().filter(|known| known.name == family);
        families
            .flat_map(|known| known.ops)
            .find(|known| known.name == op)
    }

    /// One verdict a case, in the order of the cases.
    fn verdicts(
        &self,
        judge: &Judge<'_>,
        selected: &[Selected<'_>],
        threads: usize,
    ) -> Vec<Verdict> {
        let next = AtomicUsize::new(0);
        let (sender, receiver) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..threads.max(1) {
                let (next, sender) = (&next, sender.clone());
                scope.spawn(move || {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(case) = selected.get(index) else {
                            break;
                        };
                        // The receiver outlives this scope.
                        let _ = sender.send((index, self.verdict(judge, case)));
                    }
                });
            }
        });
        drop(sender);
        let mut verdicts: Vec<_> = receiver.into_iter().collect();
        verdicts.sort_by_key(|(index, _)| *index);
        verdicts.into_iter().map(|(_, verdict)| verdict).collect()
    }

    fn verdict(&self, judge: &Judge<'_>, Selected { family, case }: &Selected<'_>) -> Verdict {
        match self.op(family, &case.op) {
            Some(op) => judge.judge(family, case, op),
            None => Verdict::Failed(vec![format!("unknown operation `{}`", case.op)]),
        }
    }

    /// Rows and adapters that contradict each other, whatever the vectors are.
    fn inconsistencies(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for family in &self.families {
            if !FAMILIES.contains(&family.name) {
                problems.push(format!("adapters: unknown family `{}`", family.name));
            }
        }
        for row in self.tables.normalisations {
            if self.op(row.family, row.op).is_none() {
                problems.push(format!(
                    "NORMALISATIONS: {}/{} has no adapter",
                    row.family, row.op
                ));
            }
        }
        problems
    }

    fn unused_rows(&self, selected: &[Selected<'_>], entries: &[Entry]) -> Vec<String> {
        let mut deviations = BTreeSet::new();
        let mut normalised = BTreeSet::new();
        for (Selected { family, case }, entry) in selected.iter().zip(entries) {
            match &entry.verdict {
                Verdict::Deviates(row) => drop(deviations.insert(*row)),
                Verdict::Passed(count) if count.normalisation_used => {
                    normalised.insert((*family, case.op.as_str()));
                }
                _ => {}
            }
        }
        let mut problems = Vec::new();
        for (index, row) in self.tables.deviations.iter().enumerate() {
            if !deviations.contains(&index) {
                problems.push(format!(
                    "DEVIATIONS: {} {:?} is not needed: the row is stale",
                    row.family, row.cases
                ));
            }
        }
        for row in self.tables.normalisations {
            if !normalised.contains(&(row.family, row.op)) {
                problems.push(format!(
                    "NORMALISATIONS: {}/{} changes nothing: the row is stale",
                    row.family, row.op
                ));
            }
        }
        problems
    }
}

/// A case with the family it belongs to.
pub(super) struct Selected<'d> {
    pub(super) family: &'d str,
    pub(super) case: &'d Case,
}

impl Selected<'_> {
    /// `family/op/case`
    pub(super) fn title(&self) -> String {
        format!("{}/{}/{}", self.family, self.case.op, self.case.name)
    }
}

pub(super) fn cases(documents: &[Document]) -> Vec<Selected<'_>> {
    documents
        .iter()
        .flat_map(|document| {
            document.cases.iter().map(|case| Selected {
                family: &document.family,
                case,
            })
        })
        .collect()
}

fn missing_families(documents: &[Document]) -> Vec<String> {
    let present: BTreeSet<_> = documents
        .iter()
        .map(|document| document.family.as_str())
        .collect();
    let missing = FAMILIES.iter().filter(|family| !present.contains(**family));
    missing
        .map(|family| format!("the family `{family}` has no vectors"))
        .collect()
}
