//! Counters of costly operations. With these counters, tests prove how little work untrusted input causes.
//!
//! Operations are counted in unit tests and with the feature `count-work`; otherwise `count` does nothing.

/// Numbers of costly operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// The number of regular expressions that were compiled.
    pub regexes: u64,
    /// The number of Ed25519 signatures that were verified.
    pub ed25519: u64,
    /// The number of SLH-DSA signatures that were verified.
    pub slh_dsa: u64,
    /// The number of encapsulations and decapsulations.
    pub key_exchanges: u64,
}

#[cfg(any(test, feature = "count-work"))]
mod counted {
    use std::cell::Cell;

    use super::Work;

    thread_local! {
        static DONE: Cell<Work> = const { Cell::new(Work { regexes: 0, ed25519: 0, slh_dsa: 0, key_exchanges: 0 }) };
    }

    pub(crate) fn count(count: impl FnOnce(&mut Work)) {
        let mut done = DONE.get();
        count(&mut done);
        DONE.set(done);
    }

    /// Calls `f`. Returns its result and the numbers of operations that this thread performed during the call.
    pub fn measure<T>(f: impl FnOnce() -> T) -> (T, Work) {
        let before = DONE.replace(Work::default());
        let result = f();
        (result, DONE.replace(before))
    }
}

#[cfg(any(test, feature = "count-work"))]
pub(crate) use counted::count;
#[cfg(any(test, feature = "count-work"))]
pub use counted::measure;

#[cfg(not(any(test, feature = "count-work")))]
#[inline(always)]
pub(crate) fn count(_: impl FnOnce(&mut Work)) {}
