//! The choices that a rule leaves to its author, and their defaults.

use serde::Deserialize;

/// What to do if a field is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnMissing {
    /// The record passes without the field.
    #[default]
    Skip,
    /// The record is refused.
    Fail,
}

/// What to do if a field is null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnNull {
    /// Null stays, visible for everyone.
    #[default]
    Keep,
    /// Null is encrypted like a value.
    Encrypt,
    /// The record is refused.
    Fail,
}

/// What to do if a field, or a value on the way to it, has a type that the rule does not expect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnWrongType {
    /// The record is refused.
    #[default]
    Fail,
    /// The value stays, readable for everyone.
    Keep,
}

/// What to do if an array stands where the path expects an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnNestedArray {
    /// The record is refused.
    #[default]
    Fail,
    /// The path continues in each element.
    Enter,
    /// The array stays, readable for everyone.
    Keep,
}

/// What to do if format-preserving encryption cannot encrypt a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnUnfit {
    /// The record is refused.
    #[default]
    Fail,
    /// The text stays, readable for everyone.
    Keep,
}

/// What to do if the data key of a token is missing or denied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnMissingKey {
    /// Waits for the data key; after the patience of the reader, the record is refused.
    Hold,
    /// The token stays in the record.
    #[default]
    Keep,
    /// Null replaces the token.
    Null,
}

/// What Transit encrypts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Plaintext {
    /// The JSON text of the value, of any type: strings with their quotes.
    #[default]
    Json,
    /// The content of a string, as most other programs encrypt it.
    Text,
}

/// The form of the text that format-preserving encryption keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// Card numbers: 12 to 19 digits, with spaces and hyphens anywhere.
    Card,
    /// The characters of an alphabet. Other characters stay in their places.
    Alphabet(Vec<char>),
}
