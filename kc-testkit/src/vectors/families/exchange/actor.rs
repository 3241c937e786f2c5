//! A node of a transcript.

use std::collections::BTreeMap;
use std::time::Duration;

use kc_core::chain::{TrustStore, Usage};
use kc_core::exchange::{
    Draft, Forwarder, Identity, KeyReply, KeyRequest, Refusal, Requester, RequesterConfig,
    ValidIdentity, Validity, compose_reply,
};
use kc_core::kem::{DecapsulationKey, Suite};
use kc_core::keys::Signer;
use kc_core::ratchet::TopicSecret;
use kc_core::secret::Secret;
use kc_core::store::NodeSecrets;
use kc_core::types::{KeyId, RootTopic, Timestamp};
use serde_json::{Value, json};

use crate::vectors::families::convert::{chains, trust};
use crate::vectors::{Draws, Fields, InputError, Source};

/// The clock of a transcript stands still between two requests: less than it can tell apart.
const INTERVAL: Duration = Duration::from_nanos(1);

pub(super) struct Actor {
    secrets: NodeSecrets,
    identities: Vec<Identity>,
    pub(super) trust: TrustStore,
    validity: Validity,
    requester: Requester,
}

impl Actor {
    pub(super) fn new(fields: &Fields<'_>) -> Result<Self, InputError> {
        let crypto_file = fields.bytes("crypto_file")?;
        let secrets = NodeSecrets::decode(&crypto_file)
            .map_err(|error| fields.error("crypto_file", &error.to_string()))?
            .secrets;
        let max_age = fields.opt_integer("maxage")?.unwrap_or_default();
        let validity = Validity::from_max_age(Duration::from_secs(max_age));
        if fields
            .opt_integer("randombytes")?
            .is_some_and(|len| len > 32)
        {
            return Err(fields.error("randombytes", "is more than ours"));
        }
        let chains = chains(fields)?.into_iter().chain(std::iter::repeat(None));
        let keys = secrets.signing_keys().zip(chains);
        Ok(Self {
            identities: keys
                .map(|(key, chain)| Identity::new(key.verifying_key().clone(), chain))
                .collect(),
            trust: trust(fields)?,
            validity,
            requester: Requester::new(RequesterConfig {
                suites: secrets.suites().collect(),
                legacy: secrets.legacy_requests(),
                validity,
                interval: INTERVAL,
            }),
            secrets,
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
        let mut draws = if self.secrets.suites().any(|suite| suite == Suite::Sntrup761) {
            draws.or_filler()
        } else {
            draws
        };
        let own = self.own(now)?;
        let request = self.requester.poll_request(&own, now, &mut draws);
        let request = request.ok_or(Refusal::Unwanted)?;
        let messages = request.drafts.iter();
        let messages =
            messages.filter_map(|(draft, direct)| Some((self.sign(draft, &mut draws)?, *direct)));
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
        let request = KeyRequest::validate(request, root, usage, &self.trust, now)?;
        let mut draws = self.draws_of_answer(&request, draws);
        let secret = |secret| Secret::fill_with(|bytes| *bytes = secret);
        let keys: Vec<_> = keys
            .iter()
            .map(|(id, bytes)| (*id, TopicSecret::from(secret(*bytes))))
            .collect();
        let suites: Vec<_> = self.secrets.suites().collect();
        let own = self.own(now)?;
        let policy = (suites.as_slice(), self.validity);
        let drafts = compose_reply(&request, root, &keys, policy, (&own, now), &mut draws)?;
        Ok(self.sign_all(&drafts, &mut draws))
    }

    /// The draws that count: the reference draws an ephemeral key for each of its key exchanges, and encapsulates to
    /// each key that the request lists.
    fn draws_of_answer(&self, request: &KeyRequest, draws: Draws) -> Draws {
        let suites: Vec<_> = self.secrets.suites().collect();
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
        let request = KeyRequest::validate(request, root, usage, &self.trust, now)?;
        let drafts = forwarder.forward(root, &request, &self.own(now)?, now)?;
        Ok(self.sign_all(&drafts, &mut draws))
    }

    /// Opens a reply to what was asked.
    pub(super) fn open(
        &mut self,
        root: &RootTopic,
        reply: &[u8],
        now: Timestamp,
    ) -> Result<Vec<(KeyId, Vec<u8>)>, Refusal> {
        let reply = KeyReply::validate(reply, root, &self.trust, now)?;
        let handled = self.requester.handle_reply(root, &reply, now)?;
        let keys = handled.keys.iter();
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

    /// What it can sign with.
    fn own(&self, now: Timestamp) -> Result<Vec<ValidIdentity>, Refusal> {
        let valid = |identity: &Identity| identity.validated(&self.trust, now);
        let (valid, refused): (Vec<_>, Vec<_>) =
            self.identities.iter().map(valid).partition(Result::is_ok);
        match refused.into_iter().find_map(Result::err) {
            Some(error) if valid.is_empty() => Err(Refusal::OwnChain(error)),
            _ => Ok(valid.into_iter().flatten().collect()),
        }
    }

    fn sign_all(&self, drafts: &[Draft], draws: &mut Draws) -> Vec<Vec<u8>> {
        drafts
            .iter()
            .filter_map(|draft| self.sign(draft, draws))
            .collect()
    }

    fn sign(&self, draft: &Draft, draws: &mut Draws) -> Option<Vec<u8>> {
        let mut keys = self.secrets.signing_keys();
        let key = keys.find(|key| key.verifying_key() == draft.signer())?;
        draft.sign(key, draws).ok()
    }
}
