//! The conversion of a batch: finds the fields, applies the policies, and lets the engines work.

use std::ops::Range;

use super::Outcome;
use crate::engine::{Engine, Field};
use crate::error::{Fault, FieldError};
use crate::json::{self, JsonType, Selected, Target};
use crate::path::Step;
use crate::rules::{
    EngineRule, OnMissing, OnMissingKey, OnNestedArray, OnNull, OnUnfit, OnWrongType, Rule,
};

/// A rule, with its engine.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) rule: Rule,
    /// The path as tokens are bound to it.
    pub(super) path: String,
    pub(super) engine: Box<dyn Engine>,
}

/// The direction of a conversion.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Encrypt,
    Decrypt,
    Rewrap,
}

/// The text of a record, or why the record is refused.
type Text<'t> = Result<&'t str, FieldError>;
/// New values and their places.
type Replacements = Vec<(Range<usize>, String)>;

/// A value to convert.
struct Job {
    record: usize,
    span: Range<usize>,
    bind: Option<String>,
}

/// The conversion of a batch: what each rule has to do, and what it has done.
pub(super) struct Plan<'t> {
    /// The texts of the records, or why a record is refused.
    texts: Vec<Text<'t>>,
    /// The values to convert, by rule.
    jobs: Vec<Vec<Job>>,
    /// The new values, by record.
    done: Vec<Replacements>,
    outcomes: Vec<Outcome>,
}

impl<'t> Plan<'t> {
    pub(super) fn new(records: &'t [Vec<u8>], active: &[&Active], direction: Direction) -> Self {
        let targets: Vec<_> = active.iter().map(|active| target(&active.rule)).collect();
        let mut jobs: Vec<Vec<Job>> = active.iter().map(|_| Vec::new()).collect();
        let mut texts = Vec::with_capacity(records.len());
        for (record, bytes) in records.iter().enumerate() {
            texts.push(
                look(bytes, &targets, active, direction).map(|(text, found)| {
                    for (rule, span, bind) in found {
                        if let Some(jobs) = jobs.get_mut(rule) {
                            jobs.push(Job { record, span, bind });
                        }
                    }
                    text
                }),
            );
        }
        Self {
            texts,
            jobs,
            done: records.iter().map(|_| Vec::new()).collect(),
            outcomes: records.iter().map(|_| Outcome::default()).collect(),
        }
    }

    /// Lets the engine of a rule convert its values.
    pub(super) async fn run(
        &mut self,
        number: usize,
        active: &Active,
        topic: &str,
        direction: Direction,
    ) {
        let jobs = self
            .jobs
            .get_mut(number)
            .map(std::mem::take)
            .unwrap_or_default();
        let texts = &self.texts;
        // Records that another rule has refused need no more work.
        let open = jobs.iter().filter_map(|job| {
            let text = texts.get(job.record)?.as_ref().ok()?;
            let field = Field {
                topic,
                path: &active.path,
                bind: job.bind.as_deref(),
                value: text.get(job.span.clone())?,
            };
            Some((job, field))
        });
        let (jobs, fields): (Vec<&Job>, Vec<Field<'_>>) = open.unzip();
        if fields.is_empty() {
            return;
        }
        let results = match direction {
            Direction::Encrypt => active.engine.encrypt(&fields).await,
            Direction::Decrypt => active.engine.decrypt(&fields).await,
            Direction::Rewrap => active.engine.rewrap(&fields).await,
        };
        let lost = || Err(Fault::Unavailable("the engine gave no result".into()));
        let results = results.into_iter().chain(std::iter::repeat_with(lost));
        for (job, result) in jobs.into_iter().zip(results) {
            let (Some(done), Some(outcome)) = (
                self.done.get_mut(job.record),
                self.outcomes.get_mut(job.record),
            ) else {
                continue;
            };
            match result {
                Ok(value) => {
                    outcome.fields += 1;
                    done.push((job.span.clone(), value));
                }
                Err(fault) => match on_fault(&active.rule, &fault) {
                    Remedy::Keep => {}
                    Remedy::KeepToken => outcome.missing_keys += 1,
                    Remedy::Null => {
                        outcome.missing_keys += 1;
                        done.push((job.span.clone(), "null".to_owned()));
                    }
                    Remedy::Refuse => {
                        if let Some(text) = self.texts.get_mut(job.record) {
                            *text = Err(FieldError::at(&active.path, fault));
                        }
                    }
                },
            }
        }
    }

    /// Returns the converted records.
    pub(super) fn finish(self) -> Vec<Result<Converted, FieldError>> {
        let records = self.texts.into_iter().zip(self.done).zip(self.outcomes);
        let splice = |((text, mut done), outcome): ((Text<'t>, Replacements), Outcome)| {
            let text = text?;
            done.sort_by_key(|(span, _)| span.start);
            let values = done.iter().map(|(span, value)| (span, value.as_str()));
            let record = json::splice(text, values).into_bytes();
            Ok(Converted { record, outcome })
        };
        records.map(splice).collect()
    }
}

/// A record after its conversion.
pub(super) struct Converted {
    pub(super) record: Vec<u8>,
    pub(super) outcome: Outcome,
}

/// What to do with a value that an engine did not convert.
enum Remedy {
    Refuse,
    Keep,
    KeepToken,
    Null,
}

fn on_fault(rule: &Rule, fault: &Fault) -> Remedy {
    match (&rule.engine, fault) {
        (EngineRule::Kc { on_missing_key, .. }, Fault::MissingKey(_)) => match on_missing_key {
            OnMissingKey::Hold => Remedy::Refuse,
            OnMissingKey::Keep => Remedy::KeepToken,
            OnMissingKey::Null => Remedy::Null,
        },
        (
            EngineRule::Fpe {
                on_unfit: OnUnfit::Keep,
                ..
            },
            Fault::Unfit(_),
        ) => Remedy::Keep,
        _ => Remedy::Refuse,
    }
}

fn target(rule: &Rule) -> Target<'_> {
    Target {
        steps: rule.path.steps(),
        enters_arrays: rule.on_nested_array == OnNestedArray::Enter,
    }
}

/// A value to convert: the number of its rule, its place, and the value to which it is tied.
type Found = (usize, Range<usize>, Option<String>);

/// Finds the values of a record that are to be converted.
fn look<'t>(
    record: &'t [u8],
    targets: &[Target<'_>],
    active: &[&Active],
    direction: Direction,
) -> Result<(&'t str, Vec<Found>), FieldError> {
    let text = json::parse(record)?;
    let mut found = Vec::new();
    for selected in json::select(text, targets)? {
        let (Selected::Value { target, .. }
        | Selected::Missing { target }
        | Selected::WrongType { target, .. }
        | Selected::NestedArray { target }) = selected;
        let Some(Active { rule, path, .. }) = active.get(target) else {
            continue;
        };
        match judge(rule, text, selected, direction) {
            Ok(Some(span)) => found.push((target, span, None)),
            Ok(None) => {}
            Err(fault) => return Err(FieldError::at(path, fault)),
        }
    }
    for (number, Active { rule, path, .. }) in active.iter().enumerate() {
        let mut of_rule = found.iter_mut().filter(|(of, ..)| *of == number).peekable();
        if let Some(bind) = &rule.bind
            && of_rule.peek().is_some()
        {
            let value = bound(text, bind.steps()).map_err(|fault| FieldError::at(path, fault))?;
            of_rule.for_each(|(_, _, bind)| *bind = Some(value.clone()));
        }
    }
    Ok((text, found))
}

/// Applies the policies of a rule. Returns the place of a value that is to be converted.
fn judge(
    rule: &Rule,
    text: &str,
    selected: Selected,
    direction: Direction,
) -> Result<Option<Range<usize>>, Fault> {
    let on_wrong_type = |found| match rule.on_wrong_type {
        OnWrongType::Fail => Err(Fault::WrongType(found)),
        OnWrongType::Keep => Ok(None),
    };
    let span = match selected {
        Selected::Value { span, .. } => span,
        Selected::Missing { .. } => {
            return match rule.on_missing {
                OnMissing::Skip => Ok(None),
                OnMissing::Fail => Err(Fault::Missing),
            };
        }
        Selected::WrongType { found, .. } => return on_wrong_type(found),
        Selected::NestedArray { .. } => {
            return match rule.on_nested_array {
                OnNestedArray::Fail | OnNestedArray::Enter => Err(Fault::NestedArray),
                OnNestedArray::Keep => Ok(None),
            };
        }
    };
    let found = JsonType::of(text.get(span.clone()).unwrap_or_default());
    match (direction, found) {
        (Direction::Encrypt, JsonType::Null) => match rule.on_null {
            OnNull::Keep => Ok(None),
            OnNull::Encrypt => Ok(Some(span)),
            OnNull::Fail => Err(Fault::Null),
        },
        (Direction::Encrypt, found) if rule.types.contains(&found) => Ok(Some(span)),
        (_, JsonType::Null) => Ok(None),
        (Direction::Decrypt | Direction::Rewrap, JsonType::String) => Ok(Some(span)),
        (Direction::Decrypt | Direction::Rewrap, found) if rule.types.contains(&found) => {
            Err(Fault::NotAToken(format!("it has the type {found}")))
        }
        (_, found) => on_wrong_type(found),
    }
}

/// Returns the JSON text of a bound value, with strings in one spelling.
fn bound(text: &str, steps: &[Step]) -> Result<String, Fault> {
    let target = Target {
        steps,
        enters_arrays: false,
    };
    let selected = json::select(text, &[target])?;
    let Some(Selected::Value { span, .. }) = selected.first() else {
        return Err(Fault::Bind);
    };
    let value = text.get(span.clone()).unwrap_or_default();
    match JsonType::of(value) {
        JsonType::String => json::string(value)
            .map(|content| json::quote(&content))
            .ok_or(Fault::Bind),
        JsonType::Number => Ok(value.to_owned()),
        _ => Err(Fault::Bind),
    }
}
