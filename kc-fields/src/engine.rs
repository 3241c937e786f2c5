//! Engines: how the value of a field becomes a token, and comes back.

mod deterministic;
mod envelope;
mod fpe;
mod kc;
mod placeholder;

use std::fmt::Debug;

use ::kc::core::wire::Writer;
use async_trait::async_trait;

pub(crate) use self::deterministic::Deterministic;
pub(crate) use self::envelope::Enveloped;
pub(crate) use self::fpe::Fpe;
pub(crate) use self::kc::{Kc, MissingKeys};
pub(crate) use self::placeholder::Placeholder;
use crate::error::Fault;

/// A field of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    /// The topic of the record.
    pub(crate) topic: &'a str,
    /// The path of the rule, as [`FieldPath`](crate::FieldPath) writes it.
    pub(crate) path: &'a str,
    /// The JSON text of the value to which the field is tied, if the rule has `bind`.
    pub(crate) bind: Option<&'a str>,
    /// The JSON text of the value or of the token.
    pub(crate) value: &'a str,
}

/// Encrypts and decrypts the fields of a rule, many at once.
///
/// The results are JSON texts, in the order of the fields. Each field succeeds or fails by itself, so a method returns
/// as many results as it was given fields.
#[async_trait]
pub(crate) trait Engine: Send + Sync + Debug {
    /// Returns the tokens of values.
    ///
    /// Cancel safe: nothing is changed.
    ///
    /// # Errors
    /// Each result may be a [`Fault`].
    async fn encrypt(&self, fields: &[Field<'_>]) -> Vec<Result<String, Fault>>;

    /// Returns the values of tokens.
    ///
    /// Cancel safe: nothing is changed.
    ///
    /// # Errors
    /// Each result may be a [`Fault`]: [`Fault::MissingKey`] if the data key may still arrive or is denied,
    /// [`Fault::Refused`] if the token belongs to another topic, path or record, or was changed.
    async fn decrypt(&self, fields: &[Field<'_>]) -> Vec<Result<String, Fault>>;

    /// Returns the tokens of the same values under the newest version of the key. Engines without versions return
    /// [`Fault::Unsupported`].
    ///
    /// Cancel safe: nothing is changed.
    ///
    /// # Errors
    /// Each result may be a [`Fault`].
    async fn rewrap(&self, fields: &[Field<'_>]) -> Vec<Result<String, Fault>> {
        let reason = "tokens of this engine have no version of a key: decrypt them with the old rules, and encrypt with \
                      the new rules";
        let refused = fields
            .iter()
            .map(|_| Err(Fault::Unsupported(reason.into())));
        refused.collect()
    }
}

/// Returns the place to which a token without a record belongs: a topic and path, or a name that fields share.
fn scope(field: &Field<'_>, join: Option<&str>) -> Vec<u8> {
    let mut writer = Writer::new();
    match join {
        Some(name) => writer.array(2).uint(1).text(name),
        None => writer.array(3).uint(0).text(field.topic).text(field.path),
    };
    writer.into_vec()
}
