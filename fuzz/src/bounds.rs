//! The limits of the work that an input may cause.

use kc_core::chain::{MAX_PATTERNS, MAX_RESTRICTIONS, TrustStore, UnverifiedChain};
use kc_core::work::Work;

/// The maximum number of regular expressions for one certificate: its lists intersect with each other, with the
/// remaining lists of its parent and with the entry of a root, and are matched against the demand.
const REGEXES_PER_LINK: u64 = ((MAX_RESTRICTIONS + 8) * MAX_PATTERNS) as u64;

/// Returns whether the first certificate of a chain is signed by a root of trust.
#[must_use]
pub fn is_vouched_for(chain: &[u8], trust: &TrustStore) -> bool {
    let chain = UnverifiedChain::parse(chain).ok();
    let first = chain.as_ref().and_then(|chain| chain.links().first());
    first.is_some_and(|link| trust.roots().any(|(root, _)| root.verify(link).is_ok()))
}

/// Asserts that the work for a message was within its limits. Until the signature of a root is verified: one Ed25519
/// verification for each root, and no other work. After that: a limited amount for each certificate, and
/// `key_exchanges`.
pub fn assert_bounded(work: Work, message: &[u8], trust: &TrustStore, key_exchanges: u64) {
    let roots = trust.roots().count() as u64;
    let unvouched = Work {
        ed25519: work.ed25519.min(roots),
        ..Work::default()
    };
    if work == unvouched {
        return;
    }
    assert!(is_vouched_for(message, trust), "{work:?} for a stranger");
    let links = UnverifiedChain::parse(message).map_or(0, |chain| chain.links().len() as u64);
    assert!(work.ed25519 <= roots + links, "{work:?}");
    assert!(work.slh_dsa <= links, "{work:?}");
    assert!(work.regexes <= links * REGEXES_PER_LINK, "{work:?}");
    assert!(work.key_exchanges <= key_exchanges, "{work:?}");
}
