//! The invariants, with what must be remembered to look after them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use kc_core::chain::{ChainError, TrustStore};
use kc_core::keys::{KeyType, VerifyingKey};
use kc_core::message::Envelope;
use kc_core::ratchet::Component;
use kc_core::work::Work;

use super::core::Core;
use super::{Counts, Invariant};

/// A topic secret.
pub(super) type SecretBytes = [u8; 32];

/// What the invariants remember. No node sees it.
#[derive(Default)]
pub(super) struct Oracle {
    pub(super) counts: Counts,
    /// The identities by their public keys.
    pub(super) identities: BTreeMap<Vec<u8>, usize>,
    /// The keys along each identity's chain.
    pub(super) paths: BTreeMap<usize, Vec<VerifyingKey>>,
    /// The identities of which copies run.
    pub(super) copied: BTreeSet<usize>,
    /// Updates that are published when an identity asks for keys the next time, so that they come while it is answered.
    pub(super) ambushes: BTreeMap<usize, usize>,
    salts: HashSet<(SecretBytes, bool, [u8; 16])>,
    /// The secrets that each identity was given, and when first.
    pub(super) given: BTreeMap<usize, BTreeMap<SecretBytes, Duration>>,
}

impl Core {
    /// An honest node sealed this.
    pub(super) fn saw_sealed(
        &mut self,
        secret: &SecretBytes,
        component: Component,
        envelope: &[u8],
    ) {
        self.oracle.counts.sealed += 1;
        let Ok(Envelope {
            body: Some((salt, _)),
            ..
        }) = Envelope::parse(envelope)
        else {
            return self.fail(Invariant::SaltsAreUnique, || {
                "sealed no envelope".to_owned()
            });
        };
        let salts = &mut self.oracle.salts;
        if !salts.insert((*secret, component == Component::Value, *salt)) {
            let salt = *salt;
            self.fail(Invariant::SaltsAreUnique, || {
                format!("salt {salt:02x?} of one secret came twice ({component:?})")
            });
        }
    }

    /// An identity was given a secret.
    pub(super) fn saw_given(&mut self, identity: usize, secret: &SecretBytes) {
        let given = self.oracle.given.entry(identity).or_default();
        given.entry(*secret).or_insert(self.time);
    }

    /// Input was handled before any signature of it was verified.
    pub(super) fn saw_peek(&mut self, what: &str, work: Work) {
        if work != Work::default() {
            self.fail(Invariant::WorkIsBounded, || {
                format!("{what} without a signature: {work:?}")
            });
        }
    }

    /// A chain was validated.
    pub(super) fn saw_validation<T>(
        &mut self,
        what: &str,
        lists: &TrustStore,
        result: &Result<T, ChainError>,
        work: Work,
    ) {
        let trusted_nothing = matches!(
            result,
            Err(ChainError::UnknownRoot
                | ChainError::Encoding(_)
                | ChainError::Length(_)
                | ChainError::LinkLength(_)
                | ChainError::NoAllowlist)
        );
        // One more for a key in use that denies itself, perhaps.
        let roots = lists.roots().count() as u64 + u64::from(what == "an update");
        // A copy of what a hybrid root signed, with its SLH-DSA signature changed, shows only when that is verified.
        let hybrid = lists
            .roots()
            .filter(|(root, _)| root.key_type() == KeyType::Hybrid);
        let is_little =
            work.ed25519 <= roots && work.regexes == 0 && work.slh_dsa <= hybrid.count() as u64;
        if trusted_nothing && !(is_little && work.key_exchanges == 0) {
            self.fail(Invariant::WorkIsBounded, || {
                format!("{what} that no root signed: {work:?} with {roots} roots")
            });
        }
    }

    pub(super) fn expect_at_most(&mut self, what: &str, found: usize, most: usize) {
        if found > most {
            self.fail(Invariant::MemoryIsBounded, || {
                format!("{found} {what}, at most {most} allowed")
            });
        }
    }
}

/// How long a denied reader may read on: a denial turns the ratchet once in this time at most.
pub(super) fn turn_time(in_use: bool) -> Duration {
    let interval = if in_use {
        kc_core::ratchet::DENIAL_INTERVAL
    } else {
        kc_core::ratchet::UNSEEN_DENIAL_INTERVAL
    };
    // A disk that is full makes the turn wait.
    interval + Duration::from_secs(100)
}
