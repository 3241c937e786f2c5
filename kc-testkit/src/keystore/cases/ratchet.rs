//! The ratchet.

use std::collections::HashSet;

use kc_core::ratchet::Step;
use kc_core::store::StoreErrorKind;
use kc_core::types::RootTopic;

use crate::failure::{ensure, ensure_eq, ensure_fails};
use crate::keystore::{Bench, Failure};

/// Steps count up by one, and no two have the same secret.
///
/// # Errors
/// [`Failure::Broken`] if the store breaks this promise; [`Failure::Store`] if another call fails.
pub fn counts(bench: &dyn Bench) -> Result<(), Failure> {
    let mut ratchet = bench.ratchet_store()?;
    let mut seen = Seen::default();
    for _ in 0..20 {
        seen.take(&ratchet.step()?)?;
    }
    Ok(())
}

/// A ratchet that is dropped at any time and reopened continues after the last step, and opening takes no step.
///
/// # Errors
/// [`Failure::Broken`] if the store breaks this promise; [`Failure::Store`] if another call fails.
pub fn after_reopening(bench: &dyn Bench) -> Result<(), Failure> {
    let mut seen = Seen::default();
    for steps in [1, 0, 3, 0, 0, 2] {
        let mut ratchet = bench.ratchet_store()?;
        for _ in 0..steps {
            seen.take(&ratchet.step()?)?;
        }
    }
    Ok(())
}

/// A ratchet can be opened only once at a time; two openers would take the same steps.
///
/// # Errors
/// [`Failure::Broken`] if the store breaks this promise; [`Failure::Store`] if another call fails.
pub fn in_use(bench: &dyn Bench) -> Result<(), Failure> {
    let mut seen = Seen::default();
    let mut first = bench.ratchet_store()?;
    seen.take(&first.step()?)?;
    ensure_fails(
        "opening an open ratchet",
        bench.ratchet_store(),
        &[StoreErrorKind::InUse],
    )?;
    seen.take(&first.step()?)?;
    drop(first);
    seen.take(&bench.ratchet_store()?.step()?)
}

/// The steps so far.
#[derive(Default)]
struct Seen {
    last: Option<u64>,
    secrets: HashSet<[u8; 32]>,
}

impl Seen {
    fn take(&mut self, step: &Step) -> Result<(), Failure> {
        if let Some(last) = self.last {
            ensure_eq("index of a step", step.index(), last + 1)?;
        }
        self.last = Some(step.index());
        let secret = *step.data_key(&RootTopic::from("topic")).expose();
        ensure(self.secrets.insert(secret), || {
            format!("step {} repeats a secret", step.index())
        })
    }
}
