use std::error::Error;
use std::fmt::{self, Debug};
use std::time::Duration;

use kc_broker::BrokerError;
use kc_core::backend::{BackendError, BackendErrorKind};
use kc_core::store::{StoreError, StoreErrorKind};
use thiserror::Error;

/// The reason why a case failed.
#[derive(Error)]
#[non_exhaustive]
pub enum Failure {
    /// The implementation under test broke a promise.
    #[error("{0}")]
    Broken(String),
    /// The backend returned an error where it must not.
    #[error("unexpected error: {}", chain(.0))]
    Backend(#[from] BackendError),
    /// The keystore, the ratchet store or an archive returned an error where it must not.
    #[error("unexpected error: {}", chain(.0))]
    Store(#[from] StoreError),
    /// The case did not end within this time.
    #[error("did not end within {0:?}")]
    Hung(Duration),
    /// The broker for the test did not start.
    #[error("no broker: {0}")]
    Broker(#[from] BrokerError),
}

// Failed tests print this form.
impl Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An error of a plug-in, with its kind.
pub(crate) trait Kinded: Error + 'static {
    type Kind: Debug + PartialEq;

    fn kind(&self) -> Self::Kind;
}

impl Kinded for BackendError {
    type Kind = BackendErrorKind;

    fn kind(&self) -> BackendErrorKind {
        self.kind()
    }
}

impl Kinded for StoreError {
    type Kind = StoreErrorKind;

    fn kind(&self) -> StoreErrorKind {
        self.kind()
    }
}

fn chain<E: Kinded>(error: &E) -> String {
    let mut text = format!("{error} ({:?})", error.kind());
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Fails unless `holds` is true.
pub(crate) fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Failure> {
    if holds {
        Ok(())
    } else {
        Err(Failure::Broken(otherwise()))
    }
}

/// Fails unless both values are equal.
pub(crate) fn ensure_eq<T: PartialEq + Debug>(what: &str, got: T, want: T) -> Result<(), Failure> {
    let holds = got == want;
    ensure(holds, || format!("{what}: got {got:?}, want {want:?}"))
}

/// Fails unless `result` is an error of one of these kinds.
pub(crate) fn ensure_fails<T, E: Kinded>(
    what: &str,
    result: Result<T, E>,
    kinds: &[E::Kind],
) -> Result<E, Failure> {
    match result {
        Ok(_) => Err(Failure::Broken(format!("{what}: succeeded"))),
        Err(error) if kinds.contains(&error.kind()) => Ok(error),
        Err(error) => Err(Failure::Broken(format!(
            "{what}: want {kinds:?}, got {}",
            chain(&error)
        ))),
    }
}
