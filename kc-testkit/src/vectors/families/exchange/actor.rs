//! A node of a transcript.

use std::collections::BTreeMap;
use std::time::Duration;

use kc_core::chain::Usage;
use kc_core::exchange::{
    Forwarder, KeyReply, KeyRequest, Refusal, Requester, RequesterConfig, Validity, compose_reply,
};
use kc_core::kem::{DecapsulationKey, Suite};
use kc_core::ratchet::TopicSecret;
use kc_core::secret::Secret;
use kc_core::types::{KeyId, RootTopic, Timestamp};
use serde_json::{Value, json};

use crate::vectors::families::convert::{chains, trust};
use crate::vectors::families::credentials::{Credentials, secrets};
use crate::vectors::{Draws, Fields, InputError, Source};

/// The clock of a transcript stands still between two requests: less than it can tell apart.
const INTERVAL: Duration = Duration::from_nanos(1);

pub(super) struct Actor {
    pub(super) credentials: Credentials,
    /// Its random values are longer than those that we draw.
    pub(super) longer_randoms: bool,
    validity: Validity,
    requester: Requester,
}

impl Actor {
    pub(super) fn new(fields: &Fields<'_>) -> Result<Self, InputError> {
        let secrets = secrets(fields)?;
        let max_age = fields.opt_integer("maxage")?.unwrap_or_default();
        let validity = Validity::from_max_age(Duration::from_secs(max_age));
        let random_len = fields.opt_integer("randombytes")?;
        Ok(Self {
            longer_randoms: random_len.is_some_and(|len| len > 32),
            requester: Requester::new(RequesterConfig {
                suites: secrets.suites().collect(),
                legacy: secrets.legacy_requests(),
                validity,
                interval: INTERVAL,
            }),
            validity,
            credentials: Credentials::new(secrets, &chains(fields)?, trust(fields)?),
        })
    }

    /// Wants these keys of a root, and nothing else.
    pub(super) fn want_only(
        &mut self,
        root: &RootTopic,
        keys: &BTreeMap<RootTopic, Vec<KeyId>>,
        now: Timestamp,
    ) {
        for (other, ids) in keys {
            for id in ids {
                if other == root {
                    self.requester.want(root, *id, now);
                } else {
                    self.requester.unwant(other, id);
                }
            }
        }
    }

    /// Asks for what is wanted: the messages, each with whether it goes to producers, too.
    pub(super) fn request(
        &mut self,
        now: Timestamp,
        draws: Draws,
    ) -> Result<Vec<(Vec<u8>, bool)>, Refusal> {
        let mut draws = if self.credentials.suites().contains(&Suite::Sntrup761) {
            draws.or_filler()
        } else {
            draws
        };
        let own = self.credentials.own(now)?;
        let request = self.requester.poll_request(&own, now, &mut draws);
        let request = request.ok_or(Refusal::Unwanted)?;
        let messages = request.drafts.iter();
        let messages = messages.filter_map(|(draft, direct)| {
            Some((self.credentials.sign(draft, &mut draws)?, *direct))
        });
        Ok(messages.collect())
    }

    /// Answers a request with these keys.
    pub(super) fn answer(
        &self,
        root: &RootTopic,
        request: &[u8],
        keys: &[(KeyId, [u8; 32])],
        now: Timestamp,
        draws: Draws,
    ) -> Result<Vec<Vec<u8>>, Refusal> {
        let usage = Usage::EncryptRequest;
        let request = KeyRequest::validate(request, root, usage, &self.credentials.trust, now)?;
        let suites = self.credentials.suites();
        let mut draws = draws_of_answer(&suites, &request, draws);
        let secret = |secret| Secret::fill_with(|bytes| *bytes = secret);
        let keys: Vec<_> = keys
            .iter()
            .map(|(id, bytes)| (*id, TopicSecret::from(secret(*bytes))))
            .collect();
        let own = self.credentials.own(now)?;
        let policy = (suites.as_slice(), self.validity);
        let drafts = compose_reply(&request, root, &keys, policy, (&own, now), &mut draws)?;
        Ok(self.credentials.sign_all(&drafts, &mut draws))
    }

    /// Vouches for a request.
    pub(super) fn forward(
        &self,
        root: &RootTopic,
        request: &[u8],
        now: Timestamp,
        mut draws: Draws,
    ) -> Result<Vec<Vec<u8>>, Refusal> {
        let forwarder = Forwarder {
            validity: self.validity,
        };
        let usage = Usage::EncryptSubscribe;
        let request = KeyRequest::validate(request, root, usage, &self.credentials.trust, now)?;
        let drafts = forwarder.forward(root, &request, &self.credentials.own(now)?, now)?;
        Ok(self.credentials.sign_all(&drafts, &mut draws))
    }

    /// Opens a reply to what was asked.
    pub(super) fn open(
        &mut self,
        root: &RootTopic,
        reply: &[u8],
        now: Timestamp,
    ) -> Result<Vec<(KeyId, Vec<u8>)>, Refusal> {
        let reply = KeyReply::validate(reply, root, &self.credentials.trust, now)?;
        let handled = self.requester.handle_reply(root, &reply, now)?;
        let keys = handled.keys.iter();
        Ok(keys
            .map(|(id, secret)| (*id, secret.expose().to_vec()))
            .collect())
    }

    /// Opens a reply with these ephemeral keys.
    pub(super) fn open_with(
        &self,
        root: &RootTopic,
        reply: &[u8],
        ephemerals: impl FnOnce(&[u8]) -> Vec<DecapsulationKey>,
        now: Timestamp,
    ) -> Result<Vec<(KeyId, Vec<u8>)>, Refusal> {
        let reply = KeyReply::validate(reply, root, &self.credentials.trust, now)?;
        let keys = reply.open(root, &ephemerals(reply.random0()))?;
        let keys = keys.iter();
        Ok(keys
            .map(|(id, secret)| (*id, secret.expose().to_vec()))
            .collect())
    }

    /// For each request of a root that can still be answered, the oldest first: its random value, and the versions
    /// and byte forms of its ephemeral keys.
    pub(super) fn outstanding(&self, root: &RootTopic) -> Vec<(String, Value)> {
        let secret = |key: &DecapsulationKey| {
            let version = key.encapsulation_key().suite().version();
            json!([version, hex::encode(key.expose_bytes().expose())])
        };
        let requests = self.requester.outstanding(root);
        let requests = requests
            .map(|(random0, keys)| (hex::encode(random0), keys.iter().map(secret).collect()));
        requests.collect()
    }
}

/// The draws of an answer that count: the reference draws an ephemeral key for each of its key exchanges, and
/// encapsulates to each key that the request lists.
pub(in crate::vectors::families) fn draws_of_answer(
    suites: &[Suite],
    request: &KeyRequest,
    draws: Draws,
) -> Draws {
    let mut offered = request.offers().map(|offer| offer.suite());
    let used = offered.find(|suite| suites.contains(suite));
    let place = suites.iter().position(|suite| Some(*suite) == used);
    let draws = draws.keep(|source, len, before| match (source, len) {
        (Source::Sodium, 32) => Some(before) == place || before >= suites.len(),
        (Source::Oqs, 32) => used == Some(Suite::MlKem1024),
        _ => true,
    });
    if used == Some(Suite::Sntrup761) {
        draws.or_filler()
    } else {
        draws
    }
}
