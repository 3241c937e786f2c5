use std::error::Error;
use std::fmt;

use kc_core::store::StoreError;

/// Which of a node's stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Store {
    /// That of the signing keys.
    Keys,
    /// The ratchet's.
    Ratchet,
    /// That of retained keys, kept for late consumers.
    RetainedKeys,
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keys => "signing keys",
            Self::Ratchet => "ratchet",
            Self::RetainedKeys => "retained keys",
        })
    }
}

/// Why a store fails, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFault {
    /// The error, and what is behind it.
    pub reason: String,
    /// What can be done about it, if the store knows.
    pub advice: Option<&'static str>,
}

impl StoreFault {
    pub(super) fn of(error: &StoreError) -> Self {
        let mut reason = error.to_string();
        let mut behind = error.source();
        while let Some(error) = behind {
            reason.push_str(&format!(": {error}"));
            behind = error.source();
        }
        Self {
            reason,
            advice: error.advice(),
        }
    }
}
