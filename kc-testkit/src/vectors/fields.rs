//! Reading the `in` of a case, with errors that name the field.

use serde_json::{Map, Value};
use thiserror::Error;

use super::draws::{Draw, Draws, Faults};
use super::typed::Typed;

/// The input of a case is not what its adapter understands. Always fails the case.
#[derive(Debug, Error)]
#[error("input {at}: {problem}")]
pub struct InputError {
    at: String,
    problem: String,
}

impl InputError {
    /// An error about the field (or path) `at`.
    pub fn new(at: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            at: at.into(),
            problem: problem.into(),
        }
    }
}

/// The fields of one JSON object of the input.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    at: String,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(at: &str, map: &'a Map<String, Value>) -> Self {
        Self {
            at: at.to_owned(),
            map,
        }
    }

    /// Whether the field is there and not null.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.map.get(name).is_some_and(|value| !value.is_null())
    }

    /// The JSON value of a field.
    ///
    /// # Errors
    ///
    /// The field is missing.
    pub fn raw(&self, name: &str) -> Result<&'a Value, InputError> {
        self.map
            .get(name)
            .ok_or_else(|| self.error(name, "is missing"))
    }

    /// All fields of this object: for objects whose names are data.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
        self.map.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Text.
    ///
    /// # Errors
    ///
    /// The field is missing or of another type.
    pub fn text(&self, name: &str) -> Result<&'a str, InputError> {
        self.read(name, "text", Value::as_str)
    }

    /// Text, or `None` if absent or null.
    ///
    /// # Errors
    ///
    /// The field is of another type.
    pub fn opt_text(&self, name: &str) -> Result<Option<&'a str>, InputError> {
        self.optional(name, Self::text)
    }

    /// A byte string.
    ///
    /// # Errors
    ///
    /// The field is missing or not hex.
    pub fn bytes(&self, name: &str) -> Result<Vec<u8>, InputError> {
        self.read(name, "hex", as_bytes)
    }

    /// A byte string, or `None` if absent or null.
    ///
    /// # Errors
    ///
    /// The field is not hex.
    pub fn opt_bytes(&self, name: &str) -> Result<Option<Vec<u8>>, InputError> {
        self.optional(name, Self::bytes)
    }

    /// A list of byte strings.
    ///
    /// # Errors
    ///
    /// The field is missing or not a list of hex.
    pub fn bytes_list(&self, name: &str) -> Result<Vec<Vec<u8>>, InputError> {
        self.read(name, "a list of hex", |value| {
            value.as_array()?.iter().map(as_bytes).collect()
        })
    }

    /// A list of byte strings, or `None` if absent or null.
    ///
    /// # Errors
    ///
    /// The field is not a list of hex.
    pub fn opt_bytes_list(&self, name: &str) -> Result<Option<Vec<Vec<u8>>>, InputError> {
        self.optional(name, Self::bytes_list)
    }

    /// A list of texts.
    ///
    /// # Errors
    ///
    /// The field is missing or not a list of texts.
    pub fn texts(&self, name: &str) -> Result<Vec<&'a str>, InputError> {
        self.read(name, "a list of texts", |value| {
            value.as_array()?.iter().map(Value::as_str).collect()
        })
    }

    /// A non-negative integer.
    ///
    /// # Errors
    ///
    /// The field is missing or of another type.
    pub fn integer(&self, name: &str) -> Result<u64, InputError> {
        self.read(name, "a non-negative integer", Value::as_u64)
    }

    /// A non-negative integer, or `None` if absent or null.
    ///
    /// # Errors
    ///
    /// The field is of another type.
    pub fn opt_integer(&self, name: &str) -> Result<Option<u64>, InputError> {
        self.optional(name, Self::integer)
    }

    /// A number; times are Unix seconds.
    ///
    /// # Errors
    ///
    /// The field is missing or of another type.
    pub fn number(&self, name: &str) -> Result<f64, InputError> {
        self.read(name, "a number", Value::as_f64)
    }

    /// A boolean.
    ///
    /// # Errors
    ///
    /// The field is missing or of another type.
    pub fn flag(&self, name: &str) -> Result<bool, InputError> {
        self.read(name, "a boolean", Value::as_bool)
    }

    /// A typed value.
    ///
    /// # Errors
    ///
    /// The field is missing or not a typed value.
    pub fn typed(&self, name: &str) -> Result<Typed, InputError> {
        self.read(name, "a typed value", Typed::from_value)
    }

    /// An object.
    ///
    /// # Errors
    ///
    /// The field is missing or of another type.
    pub fn object(&self, name: &str) -> Result<Fields<'a>, InputError> {
        let map = self.read(name, "an object", Value::as_object)?;
        Ok(Fields::new(&self.path(name), map))
    }

    /// A list of objects.
    ///
    /// # Errors
    ///
    /// The field is missing or not a list of objects.
    pub fn objects(&self, name: &str) -> Result<Vec<Fields<'a>>, InputError> {
        let maps: Vec<_> = self.read(name, "a list of objects", |value| {
            value.as_array()?.iter().map(Value::as_object).collect()
        })?;
        let nth = |(position, map)| Fields::new(&format!("{}[{position}]", self.path(name)), map);
        Ok(maps.into_iter().enumerate().map(nth).collect())
    }

    /// The error that the field `name` has this problem.
    #[must_use]
    pub fn error(&self, name: &str, problem: &str) -> InputError {
        InputError::new(self.path(name), problem)
    }

    fn path(&self, name: &str) -> String {
        format!("{}.{name}", self.at)
    }

    fn read<T>(
        &self,
        name: &str,
        kind: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<T, InputError> {
        read(self.raw(name)?).ok_or_else(|| self.error(name, &format!("is not {kind}")))
    }

    fn optional<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Self, &str) -> Result<T, InputError>,
    ) -> Result<Option<T>, InputError> {
        if self.has(name) {
            read(self, name).map(Some)
        } else {
            Ok(None)
        }
    }
}

fn as_bytes(value: &Value) -> Option<Vec<u8>> {
    hex::decode(value.as_str()?).ok()
}

/// What an adapter gets: the input of one case, its clock and its random draws.
#[derive(Debug)]
pub struct CaseInput<'a> {
    /// The fields of `in`.
    pub fields: Fields<'a>,
    /// The clock during the operation in Unix seconds, where the case has one.
    pub time: Option<f64>,
    draws: &'a [Draw],
    faults: Faults,
}

impl<'a> CaseInput<'a> {
    pub(super) fn new(
        input: &'a Map<String, Value>,
        time: Option<f64>,
        draws: &'a [Draw],
        faults: Faults,
    ) -> Self {
        Self {
            fields: Fields::new("in", input),
            time,
            draws,
            faults,
        }
    }

    /// The random draws of the case, from their first.
    #[must_use]
    pub fn draws(&self) -> Draws {
        Draws::new(self.draws, self.faults.clone())
    }

    /// The random draws that a part of the input recorded in its field `draws` (none if it has no such field).
    ///
    /// # Errors
    ///
    /// The field is not a list of draws.
    pub fn draws_of(&self, part: &Fields<'_>) -> Result<Draws, InputError> {
        let script: Vec<Draw> = if part.has("draws") {
            let read = |value: &Value| serde_json::from_value(value.clone()).ok();
            part.read("draws", "a list of draws", read)?
        } else {
            Vec::new()
        };
        Ok(Draws::new(&script, self.faults.clone()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_name_the_place() {
        let input = json!({"calls": [{"salt": "00"}, {"salt": "0g"}], "ctx": null});
        let fields = Fields::new("in", input.as_object().unwrap());
        let calls = fields.objects("calls").unwrap();
        assert_eq!(calls[0].bytes("salt").unwrap(), [0]);
        assert_eq!(
            calls[1].bytes("salt").unwrap_err().to_string(),
            "input in.calls[1].salt: is not hex"
        );
        assert_eq!(
            calls[1].flag("last").unwrap_err().to_string(),
            "input in.calls[1].last: is missing"
        );
    }

    #[test]
    fn null_and_absent_are_none_and_a_wrong_type_is_not() {
        let input = json!({"ctx": null, "salt": 5});
        let fields = Fields::new("in", input.as_object().unwrap());
        assert_eq!(fields.opt_bytes("ctx").unwrap(), None);
        assert_eq!(fields.opt_bytes("absent").unwrap(), None);
        assert!(fields.opt_bytes("salt").is_err());
    }
}
