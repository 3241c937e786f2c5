use std::collections::VecDeque;
use std::time::Duration;

use rand_core::CryptoRng;

use super::{
    MAX_OUTSTANDING_PER_ROOT, MAX_REQUESTS_PER_INTERVAL, MAX_WANTED_PER_ROOT, OutgoingRequest,
    RequesterConfig, UNANSWERED_AFTER, Wanted,
};
use crate::chain::MaxAge;
use crate::chain::ValidIdentity;
use crate::exchange::request::{NONCE_LEN, RequestForm, encode_key_ids, request_certificate};
use crate::kem::{DecapsulationKey, PublicKey, Suite};
use crate::ratchet::Candidates;
use crate::types::{KeyId, RootTopic, Timestamp};

/// After so many requests without an answer another key with a known id counts as not there: an id
/// stands for one key unless producers collide.
const NO_OTHER_AFTER: u32 = 1;

/// What is wanted of one root topic, and what was asked.
#[derive(Debug, Default)]
pub(super) struct Root {
    pub(super) wanted: VecDeque<WantedKey>,
    pub(super) outstanding: VecDeque<Outstanding>,
    /// When the interval of the latest requests began, and how many there were in it.
    pub(super) interval: Option<(Timestamp, u32)>,
}

#[derive(Debug)]
pub(super) struct WantedKey {
    pub(super) id: KeyId,
    /// The keys with this id that are here and do not do.
    pub(super) known: Candidates,
    pub(super) last_wanted: Timestamp,
    pub(super) requests: u32,
}

#[derive(Debug)]
pub(super) struct Outstanding {
    pub(super) random0: [u8; NONCE_LEN],
    pub(super) ids: Vec<KeyId>,
    pub(super) ephemerals: Vec<DecapsulationKey>,
    pub(super) sent: Timestamp,
    pub(super) end: MaxAge,
}

impl Root {
    pub(super) fn want(
        &mut self,
        id: KeyId,
        known: Candidates,
        now: Timestamp,
        interval: Duration,
    ) -> Wanted {
        let asked_out = self.requests_that_had_time(now, interval);
        if let Some(wanted) = self.wanted.iter_mut().find(|wanted| wanted.id == id) {
            wanted.last_wanted = now;
            wanted.known = known;
            return Wanted::Again {
                unanswered: asked_out(wanted) >= wanted.in_vain_after(),
            };
        }
        if self.wanted.len() >= MAX_WANTED_PER_ROOT {
            let asked = self.wanted.iter().enumerate();
            let most_asked =
                asked.max_by_key(|(index, wanted)| (wanted.requests, usize::MAX - index));
            match most_asked {
                Some((index, wanted)) if wanted.requests > 0 => self.wanted.remove(index),
                _ => return Wanted::Full,
            };
        }
        self.wanted.push_back(WantedKey {
            id,
            known,
            last_wanted: now,
            requests: 0,
        });
        Wanted::First
    }

    /// When the next request may go out. One at a time, unless it has been answered and more is wanted.
    pub(super) fn due(&self, now: Timestamp, interval: Duration) -> Option<Timestamp> {
        if self.wanted.is_empty() {
            return None;
        }
        // An interval that begins in the future: the clock has been set back.
        let Some((began, requests)) = self.interval.filter(|(began, _)| *began <= now) else {
            return Some(Timestamp::EPOCH);
        };
        let pending = self.outstanding.iter().any(|request| request.sent >= began);
        if pending || requests >= MAX_REQUESTS_PER_INTERVAL {
            Some(began.plus(interval))
        } else {
            Some(began)
        }
    }

    pub(super) fn count_request(&mut self, now: Timestamp, interval: Duration) {
        match &mut self.interval {
            Some((began, requests)) if *began <= now && now < began.plus(interval) => {
                *requests += 1
            }
            interval => *interval = Some((now, 1)),
        }
    }

    pub(super) fn request(
        &mut self,
        root: &RootTopic,
        config: &RequesterConfig,
        own: &[ValidIdentity],
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> OutgoingRequest {
        let suites = config.suites.iter();
        let ephemerals: Vec<_> = suites
            .map(|suite| DecapsulationKey::generate(*suite, rng))
            .collect();
        let mut random0 = [0; NONCE_LEN];
        rng.fill_bytes(&mut random0);

        let mut drafts = Vec::new();
        for (form, keys) in offers(config, &ephemerals) {
            let certificate =
                request_certificate(root, form, &keys, &random0, config.validity, now);
            let draft =
                |identity: &ValidIdentity| (identity.certify(&certificate), identity.may_request());
            drafts.extend(own.iter().map(draft));
        }
        let ids: Vec<_> = self.wanted.iter().map(|wanted| wanted.id).collect();
        self.wanted
            .iter_mut()
            .for_each(|wanted| wanted.requests += 1);
        if self.outstanding.len() >= MAX_OUTSTANDING_PER_ROOT {
            self.outstanding.pop_front();
        }
        self.outstanding.push_back(Outstanding {
            random0,
            ids: ids.clone(),
            ephemerals,
            sent: now,
            end: config.validity.end(now),
        });
        OutgoingRequest {
            root: root.clone(),
            kafka_key: encode_key_ids(ids.iter()),
            random0,
            drafts,
        }
    }

    pub(super) fn forget(&mut self, now: Timestamp, idle: Duration) {
        self.wanted
            .retain(|wanted| now.since(wanted.last_wanted) < idle);
        self.outstanding.retain(|request| !request.end.is_over(now));
    }

    pub(super) fn asked_in_vain(
        &self,
        now: Timestamp,
        interval: Duration,
        of: impl Fn(&WantedKey) -> bool,
    ) -> impl Iterator<Item = KeyId> {
        let asked = self.requests_that_had_time(now, interval);
        let wanted = self.wanted.iter().filter(move |wanted| of(wanted));
        let in_vain = wanted.filter(move |wanted| asked(wanted) >= wanted.in_vain_after());
        in_vain.map(|wanted| wanted.id)
    }

    /// How many requests for a key had their interval to be answered in.
    pub(super) fn requests_that_had_time(
        &self,
        now: Timestamp,
        interval: Duration,
    ) -> impl Fn(&WantedKey) -> u32 + use<> {
        let running = self.interval.map_or(0, |(began, requests)| {
            if now < began.plus(interval) {
                requests
            } else {
                0
            }
        });
        move |wanted| wanted.requests.saturating_sub(running)
    }
}

impl WantedKey {
    /// After how many requests it counts as not to be had for now.
    pub(super) fn in_vain_after(&self) -> u32 {
        if self.known.is_empty() {
            UNANSWERED_AFTER
        } else {
            NO_OTHER_AFTER
        }
    }
}

/// The forms in which a request goes out, each with the keys that it lists.
fn offers(
    config: &RequesterConfig,
    ephemerals: &[DecapsulationKey],
) -> Vec<(RequestForm, Vec<PublicKey>)> {
    let public = |key: &DecapsulationKey| PublicKey::from(key.encapsulation_key().clone());
    let mut offers = vec![(RequestForm::List, ephemerals.iter().map(public).collect())];
    if config.legacy {
        let x25519 = |key: &&DecapsulationKey| key.encapsulation_key().suite() == Suite::X25519;
        let legacy = ephemerals.iter().find(x25519).map(public);
        offers.extend(legacy.map(|key| (RequestForm::Legacy, vec![key])));
    }
    offers
}
