//! What an adapter is: the code that runs one operation of the vectors against ours.

use std::fmt::Display;

use serde_json::{Map, Value, json};

use super::fields::{CaseInput, InputError};

/// The adapters of one family, in one file under `families/`.
#[derive(Debug)]
pub struct Family {
    /// Name of the family, one of [`FAMILIES`](super::FAMILIES).
    pub name: &'static str,
    /// Its operations.
    pub ops: &'static [Op],
}

/// Runs one case: the error is for input that the adapter does not understand, never for a refusal by our code.
pub type Run = fn(&CaseInput<'_>) -> Result<Outcome, InputError>;

/// Takes from the input what it records about the run, as further fields to expect.
pub type Recorded = fn(&CaseInput<'_>) -> Result<Map<String, Value>, InputError>;

/// The adapter of one operation.
#[derive(Debug)]
pub struct Op {
    pub(super) name: &'static str,
    pub(super) input: &'static [&'static str],
    pub(super) run: Run,
    pub(super) recorded: Option<Recorded>,
}

impl Op {
    /// The adapter of the operation `name`, which knows the fields `input` of `in`.
    ///
    /// A field is named by its path: `secret`, `calls[].salt` (`[]` is every element), `actors.*.chains` (`*` is
    /// every name). A field holds a scalar or nested lists of scalars, unless its kind follows: `value typed` is a
    /// typed value, `files_before any` is anything. A case with another field fails.
    #[must_use]
    pub const fn new(name: &'static str, input: &'static [&'static str], run: Run) -> Self {
        Self {
            name,
            input,
            run,
            recorded: None,
        }
    }

    /// Also expects, in the output as well as in the state after a refusal, the fields that `recorded` takes from
    /// the input: for operations whose `in` holds results, as the steps of a transcript.
    #[must_use]
    pub const fn with_recorded(mut self, recorded: Recorded) -> Self {
        self.recorded = Some(recorded);
        self
    }
}

/// What our code made of a case.
#[derive(Debug)]
pub enum Outcome {
    /// It accepted; the whole `out`.
    Ok(Value),
    /// It refused.
    Reject {
        /// The whole state that must hold after the refusal: `reject` without `class`, `reason` and
        /// `detail_last_root`.
        state: Value,
        /// Our reason, for people.
        why: String,
    },
}

impl Outcome {
    /// A refusal that leaves no state to compare.
    #[must_use]
    pub fn reject(why: impl Display) -> Self {
        Self::reject_with(json!({}), why)
    }

    /// A refusal after which `state` must hold.
    #[must_use]
    pub fn reject_with(state: Value, why: impl Display) -> Self {
        Self::Reject {
            state,
            why: why.to_string(),
        }
    }
}
