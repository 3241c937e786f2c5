use std::error::Error;
use std::fmt::{self, Debug};

use kc_core::store::{StoreError, StoreErrorKind};
use thiserror::Error;

/// Why a case failed.
#[derive(Error)]
#[non_exhaustive]
pub enum Failure {
    /// The store did not keep a promise.
    #[error("{0}")]
    Broken(String),
    /// The store failed where it must not.
    #[error("unexpected error: {}", chain(.0))]
    Store(#[from] StoreError),
}

// A failed test shows this form.
impl Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn chain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Fails unless it holds.
pub(super) fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Failure> {
    if holds {
        Ok(())
    } else {
        Err(Failure::Broken(otherwise()))
    }
}

/// Fails unless they are equal.
pub(super) fn ensure_eq<T: PartialEq + Debug>(what: &str, got: T, want: T) -> Result<(), Failure> {
    let holds = got == want;
    ensure(holds, || format!("{what}: got {got:?}, want {want:?}"))
}

/// Fails unless it failed in this way.
pub(super) fn ensure_fails<T>(
    what: &str,
    result: Result<T, StoreError>,
    kind: StoreErrorKind,
) -> Result<(), Failure> {
    match result {
        Ok(_) => Err(Failure::Broken(format!("{what}: succeeded"))),
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => Err(Failure::Broken(format!(
            "{what}: want {kind:?}, got {:?}: {}",
            error.kind(),
            chain(&error)
        ))),
    }
}
