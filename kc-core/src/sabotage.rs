//! Rules that can be broken on purpose, so that the simulator proves that it would find out.
//!
//! Broken for one thread, and with the feature `sabotage` only; without it [`broken`] is `false` to the compiler.

/// A rule that can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Every valid reply to a request counts, and requests go out as soon as there is something to ask.
    EveryReplyCounts,
    /// Keys that opened nothing make room for others with the same id.
    UnprovenMakeRoom,
    /// A request with other exchange keys is another request.
    RequestsAreByExchangeKeys,
    /// Self-revocations of keys in use wait apart from all others.
    SeenRevocationsWaitApart,
    /// Salts have a random half.
    SaltsHaveRandomHalf,
    /// What was validated under older lists is validated again.
    ChangedListsCount,
    /// A key is used once it is stored.
    StoredBeforeUsed,
    /// A position is settled when its record is done with.
    DoneBeforeSettled,
    /// Restrictions are evaluated once the signature has verified.
    VerifiedBeforeEvaluated,
    /// Requests that can no longer be answered are forgotten.
    OldRequestsAreForgotten,
}

impl Rule {
    /// All of them.
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

    /// Breaks a rule in this thread, or none.
    pub fn break_rule(rule: Option<Rule>) {
        BROKEN.set(rule);
    }
}

#[cfg(feature = "sabotage")]
pub use switch::{break_rule, broken};

/// Returns that no rule is broken.
#[cfg(not(feature = "sabotage"))]
#[inline(always)]
#[must_use]
pub const fn broken(_: Rule) -> bool {
    false
}
