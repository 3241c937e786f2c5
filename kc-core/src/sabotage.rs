//! Rules that a test can break on purpose, to prove that the simulator detects the damage.
//!
//! A rule is broken in one thread only, and only with the feature `sabotage`; without the feature, [`broken`] is
//! the constant `false`.

/// A rule that can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// An exchange accepts all valid replies to a request, not only the first, and sends requests at the usual
    /// pace.
    EveryReplyCounts,
    /// A key that has opened no record is dropped to make room for another key with the same id.
    UnprovenMakeRoom,
    /// Two requests with different key-exchange keys are different requests, even if all else is equal.
    RequestsAreByExchangeKeys,
    /// Self-revocations of keys in use wait in a queue of their own.
    SeenRevocationsWaitApart,
    /// The high half of a salt is random.
    SaltsHaveRandomHalf,
    /// A chain is validated again after the allowlist or the denylist has changed.
    ChangedListsCount,
    /// A sealing key is used only after the data key has been stored for late consumers.
    StoredBeforeUsed,
    /// The position of a record may be committed only after the record has been processed.
    DoneBeforeSettled,
    /// The constraints of a certificate are evaluated only after its signature has verified.
    VerifiedBeforeEvaluated,
    /// An exchange forgets its oldest request for each new one when the maximum number is reached.
    OldRequestsAreForgotten,
}

impl Rule {
    /// All rules.
    pub const ALL: [Self; 10] = [
        Self::EveryReplyCounts,
        Self::UnprovenMakeRoom,
        Self::RequestsAreByExchangeKeys,
        Self::SeenRevocationsWaitApart,
        Self::SaltsHaveRandomHalf,
        Self::ChangedListsCount,
        Self::StoredBeforeUsed,
        Self::DoneBeforeSettled,
        Self::VerifiedBeforeEvaluated,
        Self::OldRequestsAreForgotten,
    ];
}

#[cfg(feature = "sabotage")]
mod switch {
    use std::cell::Cell;

    use super::Rule;

    thread_local! {
        static BROKEN: Cell<Option<Rule>> = const { Cell::new(None) };
    }

    /// Returns whether a rule is broken in this thread.
    #[must_use]
    pub fn broken(rule: Rule) -> bool {
        BROKEN.get() == Some(rule)
    }

    /// Breaks `rule` in this thread. `None` restores all rules.
    pub fn break_rule(rule: Option<Rule>) {
        BROKEN.set(rule);
    }
}

#[cfg(feature = "sabotage")]
pub use switch::{break_rule, broken};

/// Returns `false`: without the feature `sabotage` no rule is broken.
#[cfg(not(feature = "sabotage"))]
#[inline(always)]
#[must_use]
pub const fn broken(_: Rule) -> bool {
    false
}
