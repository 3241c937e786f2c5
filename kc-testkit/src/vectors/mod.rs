//! Runs the protocol's test vectors against our code.
//!
//! `cargo test --test vectors` at the root runs the files of `tests/vectors` (their `README.md` describes them), or
//! of the folder named by `KC_VECTORS`. The result of a case, accepted output as well as state after a refusal, is
//! compared in every field; then each field of the expectation is altered in turn, and the comparison has to see it.
//!
//! | part | what it does |
//! |---|---|
//! | `document` | reads the files, refuses what the README does not describe |
//! | `families` | the adapters, one file a family |
//! | `adapter`, `fields`, `typed`, `draws` | what adapters are written with |
//! | `tables`, `deviations` | quirks deviated from, fields normalised: the only exceptions |
//! | `judge` (`schema`, `compare`, `alter`) | one case |
//! | `suite`, `report`, `program` | all cases |
//!
//! # Adding an adapter
//!
//! 1. In `families/<family>.rs`, write a function from [`CaseInput`] to [`Outcome`] and name it in the family's
//!    constant, with the input fields it knows (see [`Op::new`]).
//! 2. Name the constant in `families::all`.
//! 3. A quirk case that we mean to treat otherwise gets a row in [`DEVIATIONS`].
//!
//! ```
//! use kc_testkit::vectors::{CaseInput, Document, Family, InputError, Op, Options, Outcome, Suite, Tables};
//! use serde_json::json;
//!
//! const GET_ROOT: Family =
//!     Family { name: "get_root", ops: &[Op::new("get_root", &["separator", "topics"], get_root)] };
//!
//! fn get_root(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
//!     let separator = case.fields.opt_text("separator")?.unwrap_or(".");
//!     if separator.is_empty() {
//!         return Ok(Outcome::reject("empty separator"));
//!     }
//!     let topics = case.fields.texts("topics")?;
//!     let roots: Vec<_> = topics.iter().map(|topic| topic.split(separator).next()).collect();
//!     Ok(Outcome::Ok(json!({"roots": roots})))
//! }
//!
//! let document = Document::parse("get_root", r#"{
//!     "format": "kafkacrypto-vectors/1", "family": "get_root", "generated_with": {}, "cases": [{
//!         "name": "default", "op": "get_root", "tier": "must",
//!         "in": {"topics": ["a.b"]}, "result": "ok", "out": {"roots": ["a"]}
//!     }]
//! }"#)?;
//! let suite = Suite { families: vec![GET_ROOT], tables: Tables::EMPTY };
//! let report = suite.run(&[document], &Options { strict: false, threads: 1, selects: &|_| true });
//! assert!(report.is_success(), "{}", report.render(&suite.tables));
//! # Ok::<(), kc_testkit::vectors::LoadError>(())
//! ```

mod adapter;
mod alter;
mod catch;
mod compare;
mod deviations;
mod document;
mod draws;
pub mod families;
mod fields;
mod judge;
mod path;
mod program;
mod report;
mod schema;
mod suite;
mod tables;
mod typed;

pub use adapter::{Family, Op, Outcome, Recorded, Run};
pub use document::{Document, FAMILIES, LoadError};
pub(in crate::vectors) use draws::Zeros;
pub use draws::{Draws, Source};
pub use fields::{CaseInput, Fields, InputError};
pub use program::main;
pub use report::Report;
pub use suite::{Options, Suite};
pub use tables::{Cases, DEVIATIONS, Deviation, Instead, NORMALISATIONS, Normalisation, Tables};
pub use typed::{KeyKind, Typed};

#[cfg(test)]
mod tests;
