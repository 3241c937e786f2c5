//! Runs one case and judges the result.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::deviations::{self, Deviation, Instead};
use crate::diff::{Difference, differences};
use crate::load::{Case, Entry, Tier};
use crate::operation::Run;

/// The result of a case.
pub(crate) enum Verdict {
    /// kc agrees with the reference in every field.
    Passed,
    /// kc deviates as this row describes.
    Deviates(&'static Deviation),
    /// A quirk case of external vectors differs, and no row describes the deviation.
    Undocumented(Vec<String>),
    Failed(Vec<String>),
}

/// Runs and judges a case; a panic is a failure. `strict` is true for the vectors of the project, which the deviations
/// must match exactly.
pub(crate) fn judge(entry: &Entry, strict: bool) -> Verdict {
    let case = match &entry.case {
        Ok(case) => case,
        Err(problem) => return Verdict::Failed(vec![problem.clone()]),
    };
    match catch_unwind(AssertUnwindSafe(|| crate::run(&entry.family, case))) {
        Ok(Ok(run)) => compare(entry, case, &run, strict),
        Ok(Err(invalid)) => Verdict::Failed(vec![invalid.0]),
        Err(_) => Verdict::Failed(vec!["panicked".to_owned()]),
    }
}

fn compare(entry: &Entry, case: &Case, run: &Run, strict: bool) -> Verdict {
    let mut found = Vec::new();
    let mut lines = Vec::new();
    match (case.accepted, run.accepted) {
        (true, false) => lines.push(format!("result: expected ok, got reject ({})", run.why)),
        (false, true) => lines.push("result: expected reject, got ok".to_owned()),
        (accepted, _) => {
            let body = if accepted { "out" } else { "reject" };
            found = differences(&run.expected, &run.actual);
            lines.extend(found.iter().map(|found| found.line(body)));
        }
    }
    let row = deviations::row(&entry.family, &entry.label, &case.op);
    let fits = |row: &Deviation| match row.instead {
        Instead::Rejects => case.accepted && !run.accepted,
        Instead::Accepts => !case.accepted && run.accepted,
        Instead::Differs(fields) => {
            let documented = |place: &Difference| fields.iter().any(|field| place.is_in(field));
            case.accepted == run.accepted && found.iter().all(documented)
        }
    };
    match (case.tier, row) {
        (_, Some(row)) if lines.is_empty() && (strict || row.names_one()) => {
            Verdict::Failed(vec!["agrees, and has a row in DEVIATIONS".to_owned()])
        }
        _ if lines.is_empty() => Verdict::Passed,
        (Tier::Quirk, Some(row)) if fits(row) => Verdict::Deviates(row),
        (Tier::Quirk, None) if !strict => Verdict::Undocumented(lines),
        (Tier::Quirk, _) => {
            lines.insert(0, "deviates otherwise than DEVIATIONS says".to_owned());
            Verdict::Failed(lines)
        }
        (Tier::Must, _) => Verdict::Failed(lines),
    }
}
