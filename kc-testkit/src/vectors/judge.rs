//! Runs one case and judges the result.

use serde_json::Value;

use super::adapter::{Op, Outcome};
use super::alter::{alter, places};
use super::catch::catching;
use super::compare::{Difference, differences};
use super::document::{Case, Expectation, Tier};
use super::draws::Faults;
use super::fields::{CaseInput, InputError};
use super::path::{Path, Pattern};
use super::schema::unknown_field;
use super::tables::{Cases, Deviation, Instead, Normalisation, Tables};

/// What became of a case.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Agrees with the reference in every compared field.
    Passed(Alterations),
    /// Does what this row of the deviations says.
    Deviates(usize),
    /// A quirk case in another folder than the default differs, and no row says so.
    Undocumented(Vec<String>),
    Failed(Vec<String>),
}

/// Count of the alterations of a passing case's expectation.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Alterations {
    pub(super) seen: usize,
    /// In fields that a normalisation names.
    pub(super) normalised: usize,
    /// The normalisations changed something.
    pub(super) normalisation_used: bool,
}

/// What every case of a run is judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judge<'a> {
    pub(super) tables: Tables<'a>,
    /// The vectors are the project's own: the deviations must fit them exactly.
    pub(super) strict: bool,
}

impl Judge<'_> {
    /// Runs and judges a case; a panic is a failure.
    pub(super) fn judge(&self, family: &str, case: &Case, op: &Op) -> Verdict {
        match catching(|| self.try_judge(family, case, op)) {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(error)) => failed(error.to_string()),
            Err(panic) => failed(panic),
        }
    }

    fn try_judge(&self, family: &str, case: &Case, op: &Op) -> Result<Verdict, InputError> {
        if let Some(problem) = unknown_field(&case.input, op.input) {
            return Ok(failed(problem));
        }
        let faults = Faults::default();
        let input = CaseInput::new(&case.input, case.time, &case.draws, faults.clone());
        let expected = expectation(case, op, &input)?;
        let (actual, why) = observe((op.run)(&input)?);
        if let Some(fault) = faults.first() {
            return Ok(failed(fault));
        }
        let rows = self.tables.normalisations.iter();
        let comparison = Comparison {
            input: &input,
            rows: rows
                .filter(|row| row.family == family && row.op == op.name)
                .collect(),
            actual,
        };
        let found = comparison.differences(&expected)?;
        let row = self.deviation(family, case);
        if found.is_agreement() {
            return match row {
                Some((_, row)) if self.strict || names_one(row) => Ok(failed(misplaced(case.tier))),
                _ => comparison.alterations(&expected),
            };
        }
        let lines = found.lines(&expected, &why);
        Ok(match (case.tier, row) {
            (Tier::Must, _) => Verdict::Failed(lines),
            (Tier::Quirk, Some((index, row))) if found.fits(&expected, &row.instead) => {
                Verdict::Deviates(index)
            }
            (Tier::Quirk, Some(_)) => Verdict::Failed(with_heading(
                "deviates otherwise than its row of DEVIATIONS says",
                lines,
            )),
            (Tier::Quirk, None) if self.strict => Verdict::Failed(with_heading(
                "deviates from a quirk without a row in DEVIATIONS",
                lines,
            )),
            (Tier::Quirk, None) => Verdict::Undocumented(lines),
        })
    }

    fn deviation(&self, family: &str, case: &Case) -> Option<(usize, &Deviation)> {
        let mut rows = self.tables.deviations.iter().enumerate();
        rows.find(|(_, row)| row.family == family && row.cases.include(&case.name, &case.op))
    }
}

fn names_one(row: &Deviation) -> bool {
    matches!(row.cases, Cases::Named(_))
}

fn misplaced(tier: Tier) -> String {
    match tier {
        Tier::Must => "a must case stands in DEVIATIONS".to_owned(),
        Tier::Quirk => "stands in DEVIATIONS and agrees: the row is stale".to_owned(),
    }
}

fn failed(problem: String) -> Verdict {
    Verdict::Failed(vec![problem])
}

fn with_heading(heading: &str, lines: Vec<String>) -> Vec<String> {
    std::iter::once(heading.to_owned()).chain(lines).collect()
}

/// What the case records in `out` or `reject`, and what the adapter finds recorded in `in`.
fn expectation(case: &Case, op: &Op, input: &CaseInput<'_>) -> Result<Expectation, InputError> {
    let mut expected = case.expected.clone();
    if let (Some(recorded), Value::Object(body)) = (op.recorded, &mut expected.body) {
        for (name, value) in recorded(input)? {
            if body.insert(name.clone(), value).is_some() {
                return Err(InputError::new(
                    name,
                    "is recorded in the output and in the input",
                ));
            }
        }
    }
    Ok(expected)
}

/// Our result in the form of an expectation, and our reason for a refusal.
fn observe(outcome: Outcome) -> (Expectation, String) {
    match outcome {
        Outcome::Ok(body) => (
            Expectation {
                accepted: true,
                body,
            },
            String::new(),
        ),
        Outcome::Reject { state, why } => (
            Expectation {
                accepted: false,
                body: state,
            },
            why,
        ),
    }
}

/// Our result of a case, to be compared with the expected one and with alterations of it.
struct Comparison<'c> {
    input: &'c CaseInput<'c>,
    rows: Vec<&'c Normalisation>,
    actual: Expectation,
}

/// How a result differs.
enum Found {
    /// One accepts and the other refuses.
    Acceptance,
    Fields(Vec<Difference>),
}

impl Comparison<'_> {
    fn differences(&self, expected: &Expectation) -> Result<Found, InputError> {
        if expected.accepted != self.actual.accepted {
            return Ok(Found::Acceptance);
        }
        let expected = self.normalised(&expected.body)?;
        let actual = self.normalised(&self.actual.body)?;
        Ok(Found::Fields(differences(&expected, &actual)))
    }

    fn normalised(&self, body: &Value) -> Result<Value, InputError> {
        let mut body = body.clone();
        for row in &self.rows {
            (row.apply)(self.input, &mut body)?;
        }
        Ok(body)
    }

    /// Alters the expectation everywhere; an alteration that goes unseen means that the comparison is blind there.
    fn alterations(&self, expected: &Expectation) -> Result<Verdict, InputError> {
        let normalisation_used = self.normalised(&expected.body)? != expected.body;
        let mut count = Alterations {
            normalisation_used,
            ..Alterations::default()
        };
        let mut blind = Vec::new();

        let opposite = Expectation {
            accepted: !expected.accepted,
            body: expected.body.clone(),
        };
        match self.differences(&opposite)?.is_agreement() {
            true => blind.push("blind to an alteration of result".to_owned()),
            false => count.seen += 1,
        }
        for place in places(&expected.body) {
            let mut altered = expected.clone();
            if let Some(node) = place.find_mut(&mut altered.body) {
                alter(node);
            }
            // A normalisation that cannot read the altered form has seen the alteration.
            if !self
                .differences(&altered)
                .is_ok_and(|found| found.is_agreement())
            {
                count.seen += 1;
            } else if self.is_normalised(&place) {
                count.normalised += 1;
            } else {
                blind.push(format!(
                    "blind to an alteration of {}",
                    expected.place(&place)
                ));
            }
        }
        Ok(if blind.is_empty() {
            Verdict::Passed(count)
        } else {
            Verdict::Failed(blind)
        })
    }

    fn is_normalised(&self, place: &Path) -> bool {
        self.rows
            .iter()
            .flat_map(|row| row.fields)
            .any(|field| Pattern::new(field).covers(place))
    }
}

impl Found {
    fn is_agreement(&self) -> bool {
        matches!(self, Found::Fields(differences) if differences.is_empty())
    }

    /// Exactly this deviation from `expected` was found.
    fn fits(&self, expected: &Expectation, instead: &Instead) -> bool {
        match (self, instead) {
            (Found::Acceptance, Instead::Rejects) => expected.accepted,
            (Found::Acceptance, Instead::Accepts) => !expected.accepted,
            (Found::Fields(differences), Instead::Differs(fields)) => {
                let allowed: Vec<_> = fields.iter().map(|field| Pattern::new(field)).collect();
                differences
                    .iter()
                    .all(|found| allowed.iter().any(|field| field.covers(&found.path)))
            }
            _ => false,
        }
    }

    fn lines(&self, expected: &Expectation, why: &str) -> Vec<String> {
        match self {
            Found::Acceptance if expected.accepted => {
                vec![format!("result: expected ok, got reject ({why})")]
            }
            Found::Acceptance => vec!["result: expected reject, got ok".to_owned()],
            Found::Fields(differences) => {
                let line =
                    |found: &Difference| format!("{}: {}", expected.place(&found.path), found.text);
                differences.iter().map(line).collect()
            }
        }
    }
}

impl Expectation {
    /// A place of the body, from the field of the case that holds it.
    fn place(&self, path: &Path) -> String {
        let field = if self.accepted { "out" } else { "reject" };
        let path = path.to_string();
        if path.is_empty() {
            field.to_owned()
        } else {
            format!("{field}.{path}")
        }
    }
}
