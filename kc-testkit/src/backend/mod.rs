//! What every Kafka backend must do, as tests.
//!
//! A [`Bench`] joins the backend under test with a broker: kc-broker in this process, or any broker by
//! its address. Each function in [`cases`] checks one promise of the traits in
//! [`kc_core::backend`] on a bench; [`backend_conformance!`](crate::backend_conformance) mounts them as
//! `#[tokio::test]`s, and [`PORTABLE`] lists those that any broker can serve. [`Broken`] is a backend with a fault of choice, to show that the cases catch it.
//!
//! ```no_run
//! # use kc_core::backend::Backend;
//! # fn make_backend(_: &str) -> Box<dyn Backend> { unimplemented!() }
//! mod conformance {
//!     kc_testkit::backend_conformance!(super::make_backend);
//! }
//! # fn main() {}
//! ```
//!
//! The function given makes a backend for a bootstrap address. Its producers must give up on a topic that
//! does not exist, and on a broker that does not answer, within seconds, lest the cases take minutes: [`impatient`]
//! has settings for that.
//! Cases of what a backend's [`Capabilities`](kc_core::backend::Capabilities) exclude check nothing.

mod bench;
mod broken;
pub mod cases;
mod mount;
mod polls;

pub use crate::failure::Failure;
pub use bench::{Bench, impatient};
pub use broken::{Broken, Fault};
pub use mount::{Case, PORTABLE};

use std::time::Duration;

/// The longest that a case may take.
const LIMIT: Duration = Duration::from_mins(2);

/// Runs a case.
///
/// # Errors
/// [`Failure`]: what the backend did wrong; `Hung` if the case did not end within two minutes.
pub async fn run(
    bench: &Bench,
    case: impl AsyncFn(&Bench) -> Result<(), Failure>,
) -> Result<(), Failure> {
    tokio::time::timeout(LIMIT, case(bench))
        .await
        .unwrap_or(Err(Failure::Hung(LIMIT)))
}
