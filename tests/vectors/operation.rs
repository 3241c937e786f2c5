//! How a case of an operation is run: its input is read into a type, our code makes an output of it or refuses, and
//! both this and what is recorded are brought into one form.

use std::fmt::Display;

use kc_core::types::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::draws::{Draw, Draws, Faults};
use crate::load::{Case, read};

/// Types that are read, and in which each field must be used: parts of `in`.
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

/// Types that are read as expected and written as ours, so that each field is compared: parts of `out` and `reject`.
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

/// The vectors hold what we do not understand. Always fails the case.
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

/// For what is wrong at a place of the input.
pub(crate) fn invalid<E: Display>(place: &str) -> impl FnOnce(E) -> Invalid {
    move |error| Invalid(format!("in.{place}: {error}"))
}

/// What our code makes of an input.
pub(crate) type Outcome<O, S = Nothing> = Result<O, Stop<S>>;

/// Why there is no output.
pub(crate) enum Stop<S = Nothing> {
    /// Our code refuses; the state after that, and why.
    Refused(S, String),
    Invalid(Invalid),
}

impl<S> From<Invalid> for Stop<S> {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

/// A refusal that leaves no state to compare.
pub(crate) fn refuse<S: Default>(why: impl Display) -> Stop<S> {
    Stop::Refused(S::default(), why.to_string())
}

output! {
    /// An output or a state without fields.
    #[derive(Default)]
    struct Nothing {}
}

/// What an operation has besides its input.
pub(crate) struct Context {
    script: Vec<Draw>,
    time: Option<f64>,
    faults: Faults,
}

impl Context {
    /// The random draws of the case, from their first.
    pub(crate) fn draws(&self) -> Draws {
        self.draws_of(&self.script)
    }

    /// The random draws of a part of the case.
    pub(crate) fn draws_of(&self, script: &[Draw]) -> Draws {
        Draws::new(script, self.faults.clone())
    }

    /// The clock: that of a part of the input, else that of the case.
    pub(crate) fn now(&self, time: Option<f64>) -> Result<Timestamp, Invalid> {
        let time = time.or(self.time);
        let time = time.ok_or_else(|| Invalid::new("there is no time"))?;
        Timestamp::from_secs(time).ok_or_else(|| Invalid::new("the time is not finite"))
    }
}

/// The result of a case, as recorded and ours: `out` or `reject`.
pub(crate) struct Run {
    pub(crate) expected: Value,
    pub(crate) actual: Value,
    /// Whether ours is `out`.
    pub(crate) accepted: bool,
    /// Why we refuse.
    pub(crate) why: String,
}

/// What our code makes of an input of type `I`.
pub(crate) type Operation<I, O, S> = fn(&I, &Context) -> Outcome<O, S>;

/// Brings `out` or `reject`, the expected one as well as ours, into one form where the README allows several.
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

    /// `recorded`: what `in` records of the result, an object whose fields are expected beside those of the result.
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
            // A refusal records as much of the state as it has something to say of.
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
