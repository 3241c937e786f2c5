//! When what failed is tried again, and what is said of it.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use kc_core::backend::BackendError;

/// How long to wait where only a person can help: a password that is tried again and again locks an account.
pub(super) const FATAL_DELAY: Duration = Duration::from_secs(60);

/// How many failures are remembered; beyond, all are forgotten, and told once more.
const MAX_TOLD: usize = 4096;

/// How long to wait before trying again: as usual, unless only a person can help.
pub(super) fn delay(error: &BackendError, usual: Duration) -> Duration {
    if error.is_fatal() {
        FATAL_DELAY.max(usual)
    } else {
        usual
    }
}

/// What has been said of failures, so that each is told when it begins or changes and not each time.
#[derive(Debug)]
pub(super) struct Told<K>(HashMap<K, String>);

impl<K> Default for Told<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Told<K> {
    /// Notes that something failed; whether that is to be told.
    pub(super) fn fails(&mut self, what: K, error: &BackendError) -> bool {
        if self.0.len() >= MAX_TOLD {
            self.0.clear();
        }
        let failure = error.to_string();
        let before = self.0.insert(what, failure.clone());
        before != Some(failure)
    }

    /// Notes that something works.
    pub(super) fn works(&mut self, what: &K) {
        self.0.remove(what);
    }
}

#[cfg(test)]
mod tests {
    use kc_core::backend::BackendErrorKind;

    use super::*;

    #[test]
    fn a_failure_is_told_when_it_begins_or_changes() {
        let mut told = Told::default();
        let timeout = BackendError::new(BackendErrorKind::Timeout, "send");
        let refused = BackendError::new(BackendErrorKind::Authorization, "send");
        assert!(told.fails("a", &timeout));
        assert!(!told.fails("a", &timeout));
        assert!(told.fails("b", &timeout));
        assert!(told.fails("a", &refused));
        assert!(!told.fails("a", &refused));
        told.works(&"a");
        assert!(told.fails("a", &refused));
    }
}
