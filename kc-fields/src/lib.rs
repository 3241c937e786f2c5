//! Encrypts fields of JSON records, with or without a key management system. Records go in, records come out: there is
//! no Kafka client in this crate, so that it works with any transport.
//!
//! | start with | to |
//! |---|---|
//! | [`Rules::read`] | read from TOML which fields are encrypted, and how |
//! | [`FieldCipher::builder`] | open the engines and keys of the rules |
//! | [`FieldCipher::encrypt`], [`FieldCipher::decrypt`] | convert a record |
//! | [`FieldCipher::encrypt_batch`], [`FieldCipher::decrypt_batch`] | convert many records at once |
//! | [`envelope::DataKeys`] | seal payloads of any size, such as files |
//! | [`create_key`] | make a key file |
//!
//! Only the bytes of the fields change. Numbers, escapes, the order of members and white space stay as they are.
//!
//! ```
//! use kc_fields::{FieldCipher, Purpose, Rules, create_key};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! # let folder = tempfile::tempdir()?;
//! create_key(&folder.path().join("key.bin"))?;
//! let rules = folder.path().join("rules.toml");
//! std::fs::write(&rules, r#"
//!     [[rule]]
//!     topics = ["purchases"]
//!     path = "$.card"
//!     engine = "fpe"
//!     key = "file:key.bin"
//!     format = "card"
//!     keep_last = 4
//! "#)?;
//! let rules = Rules::read(&rules)?;
//! let cipher = FieldCipher::builder(&rules, Purpose::Encrypt).open().await?;
//!
//! let mut record = br#"{"card": "4111-1111-1111-1111", "total": 1.50}"#.to_vec();
//! cipher.encrypt("purchases", &mut record).await?;
//! assert!(record.ends_with(br#"-1111", "total": 1.50}"#));
//! cipher.decrypt("purchases", &mut record).await?;
//! assert_eq!(record, br#"{"card": "4111-1111-1111-1111", "total": 1.50}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Avro and Protobuf have no fields that can be found in the bytes without a schema: encrypt their values as a whole.

mod cipher;
mod engine;
pub mod envelope;
mod error;
mod json;
mod keys;
mod path;
mod rules;
mod transit;

pub use cipher::{DEFAULT_PATIENCE, FieldCipher, FieldCipherBuilder, Outcome, Purpose};
pub use error::{Fault, FieldError, SetupError};
pub use json::{JsonType, MAX_DEPTH, MAX_FIELDS, MAX_RECORD_BYTES};
pub use keys::{KEY_BYTES, create_key, read_key};
pub use path::{FieldPath, MAX_STEPS, PathError, Step};
pub use rules::{
    EngineRule, Format, KeySource, MAX_RULES, OnMissing, OnMissingKey, OnNestedArray, OnNull,
    OnUnfit, OnWrongType, Plaintext, Rule, Rules,
};
pub use transit::{TokenSource, TransitSettings};
