//! The run of a case: its input is read into a type, kc makes an output of it or refuses, and this result and the
//! recorded one are brought into the same form.

use std::fmt::Display;

use kc_core::types::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::draws::{Draw, Draws, Faults};
use crate::load::{Case, read};

/// Declares types that are read, and in which each field must be used: parts of `in`.
macro_rules! input {
    ($($(#[$attr:meta])* struct $name:ident {
        $($(#[$field_attr:meta])* $vis:vis $field:ident: $type:ty),* $(,)?
    })*) => { $(
        $(#[$attr])*
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name { $($(#[$field_attr])* $vis $field: $type),* }
    )* };
}

/// Declares types that are read from the expected result and written from that of kc, so that each field is compared:
/// parts of `out` and `reject`.
macro_rules! output {
    ($($(#[$attr:meta])* struct $name:ident {
        $($(#[$field_attr:meta])* $vis:vis $field:ident: $type:ty),* $(,)?
    })*) => { $(
        $(#[$attr])*
        #[derive(serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name { $($(#[$field_attr])* $vis $field: $type),* }
    )* };
}

/// An error of a vector with content that the runner does not know. It always fails the case.
#[derive(Debug)]
pub(crate) struct Invalid(pub(crate) String);

impl Invalid {
    pub(crate) fn new(problem: impl Display) -> Self {
        Self(problem.to_string())
    }

    pub(crate) fn unknown_op(op: &str) -> Self {
        Self(format!("unknown operation `{op}`"))
    }
}

/// Returns the error for a wrong value at a place of the input.
pub(crate) fn invalid<E: Display>(place: &str) -> impl FnOnce(E) -> Invalid {
    move |error| Invalid(format!("in.{place}: {error}"))
}

/// The result of kc for an input.
pub(crate) type Outcome<O, S = Nothing> = Result<O, Stop<S>>;

/// The reason that there is no output.
pub(crate) enum Stop<S = Nothing> {
    /// kc refuses: the state after the refusal, and the reason.
    Refused(S, String),
    Invalid(Invalid),
}

impl<S> From<Invalid> for Stop<S> {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

/// Returns a refusal without a state to compare.
pub(crate) fn refuse<S: Default>(why: impl Display) -> Stop<S> {
    Stop::Refused(S::default(), why.to_string())
}

output! {
    /// An output or a state without fields.
    #[derive(Default)]
    struct Nothing {}
}

/// The context of an operation besides its input.
pub(crate) struct Context {
    script: Vec<Draw>,
    time: Option<f64>,
    faults: Faults,
}

impl Context {
    /// Returns the random draws of the case, from the first one on.
    pub(crate) fn draws(&self) -> Draws {
        self.draws_of(&self.script)
    }

    /// Returns the random draws of a part of the case.
    pub(crate) fn draws_of(&self, script: &[Draw]) -> Draws {
        Draws::new(script, self.faults.clone())
    }

    /// Returns the time: that of a part of the input, else that of the case.
    pub(crate) fn now(&self, time: Option<f64>) -> Result<Timestamp, Invalid> {
        let time = time.or(self.time);
        let time = time.ok_or_else(|| Invalid::new("there is no time"))?;
        Timestamp::from_secs(time).ok_or_else(|| Invalid::new("the time is not finite"))
    }
}

/// The recorded result of a case, and that of kc: `out` or `reject`.
pub(crate) struct Run {
    pub(crate) expected: Value,
    pub(crate) actual: Value,
    /// True if the result of kc is `out`.
    pub(crate) accepted: bool,
    /// The reason of a refusal by kc.
    pub(crate) why: String,
}

/// A function that runs kc on an input of type `I`.
pub(crate) type Operation<I, O, S> = fn(&I, &Context) -> Outcome<O, S>;

/// A function that brings `out` or `reject`, of the reference and of kc, into one form, where the README allows
/// several.
pub(crate) type Normalise<I> = fn(&I, &Context, &mut Value) -> Result<(), Invalid>;

impl Case {
    pub(crate) fn run<I: DeserializeOwned, O, S>(
        &self,
        op: Operation<I, O, S>,
    ) -> Result<Run, Invalid>
    where
        O: Serialize + DeserializeOwned,
        S: Serialize + DeserializeOwned,
    {
        self.run_normalised(op, |_, _, _| Ok(()))
    }

    pub(crate) fn run_normalised<I: DeserializeOwned, O, S>(
        &self,
        op: Operation<I, O, S>,
        normalise: Normalise<I>,
    ) -> Result<Run, Invalid>
    where
        O: Serialize + DeserializeOwned,
        S: Serialize + DeserializeOwned,
    {
        self.run_recorded(op, normalise, |_| Ok(json!({})))
    }

    /// Runs a case whose `in` records parts of the result: the fields of the object `recorded` are expected in addition
    /// to those of the result.
    pub(crate) fn run_recorded<I: DeserializeOwned, O, S>(
        &self,
        op: Operation<I, O, S>,
        normalise: Normalise<I>,
        recorded: fn(&I) -> Result<Value, Invalid>,
    ) -> Result<Run, Invalid>
    where
        O: Serialize + DeserializeOwned,
        S: Serialize + DeserializeOwned,
    {
        let input: I = read(&self.input).map_err(|error| Invalid(format!("in: {error}")))?;
        let context = Context {
            script: self.draws.clone(),
            time: self.time,
            faults: Faults::default(),
        };
        let mut expected = match self.accepted {
            true => {
                write(&read::<O>(&self.body).map_err(|error| Invalid(format!("out: {error}")))?)?
            }
            false => {
                let state = read::<S>(&self.body);
                write(&state.map_err(|error| Invalid(format!("reject: {error}")))?)?
            }
        };
        let (accepted, mut actual, why) = match op(&input, &context) {
            Ok(out) => (true, write(&out)?, String::new()),
            Err(Stop::Refused(state, why)) => (false, write(&state)?, why),
            Err(Stop::Invalid(invalid)) => return Err(invalid),
        };
        if let Some(fault) = context.faults.first() {
            return Err(Invalid(fault));
        }
        let recorded = recorded(&input)?;
        if !self.accepted && !accepted {
            // A refusal records only those parts of the state that are relevant for it.
            let bodies = [&mut expected, &mut actual].into_iter();
            for body in bodies.filter_map(Value::as_object_mut) {
                body.retain(|name, _| self.body.get(name).or(recorded.get(name)).is_some());
            }
        }
        if let (Value::Object(expected), Value::Object(recorded)) = (&mut expected, recorded) {
            expected.extend(recorded);
        }
        normalise(&input, &context, &mut expected)?;
        normalise(&input, &context, &mut actual)?;
        Ok(Run {
            expected,
            actual,
            accepted,
            why,
        })
    }
}

pub(crate) fn write(value: &impl Serialize) -> Result<Value, Invalid> {
    serde_json::to_value(value).map_err(Invalid::new)
}
