//! The invariants, and the state to check them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use kc_core::chain::{ChainError, TrustStore};
use kc_core::keys::{KeyType, VerifyingKey};
use kc_core::message::Envelope;
use kc_core::ratchet::Component;
use kc_core::work::Work;

use super::core::Core;
use super::{Counts, Invariant};

/// The bytes of a data key.
pub(super) type SecretBytes = [u8; 32];

/// The state to check the invariants. No node sees it.
#[derive(Default)]
pub(super) struct Oracle {
    pub(super) counts: Counts,
    /// The identities, by their public keys.
    pub(super) identities: BTreeMap<Vec<u8>, usize>,
    /// The keys along each identity's chain.
    pub(super) paths: BTreeMap<usize, Vec<VerifyingKey>>,
    /// The identities of which copies run.
    pub(super) copied: BTreeSet<usize>,
    /// Updates that are published when an identity requests keys the next time, so that they arrive while it is
    /// answered.
    pub(super) ambushes: BTreeMap<usize, usize>,
    /// The identities of custodians.
    pub(super) custodians: BTreeSet<usize>,
    /// The data keys that each identity was given by a custodian.
    pub(super) given_by_custodians: HashSet<(usize, SecretBytes)>,
    salts: HashSet<(SecretBytes, bool, [u8; 16])>,
    /// The data keys that each identity was given, with the time of the first gift.
    pub(super) given: BTreeMap<usize, BTreeMap<SecretBytes, Duration>>,
}

impl Core {
    /// Checks a record that an honest node sealed.
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

    /// Records that an identity was given a data key.
    pub(super) fn saw_given(&mut self, identity: usize, secret: &SecretBytes) {
        let given = self.oracle.given.entry(identity).or_default();
        given.entry(*secret).or_insert(self.time);
    }

    /// Records that an identity was given a data key by the node with this path.
    pub(super) fn saw_giver(
        &mut self,
        identity: usize,
        secret: &SecretBytes,
        path: &[VerifyingKey],
    ) {
        let giver = path.last().map(VerifyingKey::to_bytes);
        let giver = giver.and_then(|key| self.oracle.identities.get(&key));
        if giver.is_some_and(|giver| self.oracle.custodians.contains(giver)) {
            let given = &mut self.oracle.given_by_custodians;
            given.insert((identity, *secret));
        }
    }

    /// Checks the cost of handling an input before any of its signatures was verified.
    pub(super) fn saw_peek(&mut self, what: &str, work: Work) {
        if work != Work::default() {
            self.fail(Invariant::WorkIsBounded, || {
                format!("{what} without a signature: {work:?}")
            });
        }
    }

    /// Checks the cost of a validation.
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
        // One more for a key in use that may revoke itself.
        let roots = lists.roots().count() as u64 + u64::from(what == "an update");
        // A hybrid root's signature with an altered SLH-DSA half is detected only when that half is verified.
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

/// Returns the time that a denied reader may continue to read: denials turn the ratchet at most once in this time.
pub(super) fn turn_time(in_use: bool) -> Duration {
    let interval = if in_use {
        kc_core::ratchet::DENIAL_INTERVAL
    } else {
        kc_core::ratchet::UNSEEN_DENIAL_INTERVAL
    };
    // A full disk delays the turn.
    interval + Duration::from_secs(100)
}
