//! A node of a transcript.

use std::time::Duration;

use kc_core::chain::Usage;
use kc_core::exchange::{Input, KeyReply, KeyRequest, Position, Validity, encode_key_ids};
use kc_core::kem::DecapsulationKey;
use kc_core::ratchet::{Candidates, DataKey};
use kc_core::secret::Secret;
use kc_core::types::{KeyId, RootTopic, SideTopic, Timestamp};

use super::{ActorForm, Done, Ephemeral, Forwarded, Request, Sent, Step, fresh};
use crate::draws::Draws;
use crate::nodes::{Credentials, chains, secrets, trust};
use crate::operation::{Invalid, invalid};
use crate::pump::{self, Held, Means, Pump};
use crate::values::{Hex, hex_list};

/// The length of the random values that kc draws, in bytes.
const RANDOM_LEN: usize = 32;

pub(super) struct Actor {
    pub(super) credentials: Credentials,
    /// True if the random values of the node are longer than those of kc.
    pub(super) longer_randoms: bool,
    validity: Validity,
    /// The exchange with which the node asks.
    pump: Pump,
}

impl Actor {
    pub(super) fn new(form: &ActorForm) -> Result<Self, Invalid> {
        let secrets = secrets(&form.crypto_file)?;
        let max_age = Duration::from_secs(form.maxage.unwrap_or_default());
        let validity = Validity::from_max_age(max_age);
        let trust = trust(&form.allowlist, &form.denylist).map_err(invalid("actors"))?;
        Ok(Self {
            longer_randoms: form.randombytes.is_some_and(|len| len > RANDOM_LEN),
            validity,
            pump: Pump::new(&secrets, validity),
            credentials: Credentials::new(secrets, &chains(&form.chains), trust),
        })
    }

    /// Requests these data keys. Returns the messages, each with whether it also goes to producers.
    pub(super) fn request(
        &mut self,
        root: &RootTopic,
        ids: &[KeyId],
        now: Timestamp,
        mut draws: Draws,
    ) -> Done {
        for id in ids {
            let want = Input::Want {
                root_topic: root.clone(),
                id: *id,
                known: Candidates::default(),
            };
            self.pump.handle(want, now);
        }
        let done = self.pump.run_until_asked(&mut Means {
            now,
            credentials: &mut self.credentials,
            held: &|_, _| Vec::new(),
            draws: &mut draws,
        });
        let direct = |value: &[u8]| {
            let mut to_producers = done.sent_to(SideTopic::Requests);
            to_producers.any(|record| *record.value == *value)
        };
        let to_controllers = done.sent_to(SideTopic::Subscriptions);
        let requests = to_controllers.map(|record| Request {
            message: (&*record.value).into(),
            direct: direct(&record.value),
        });
        let mut step = Done::new(something(requests, &done).map(Sent::Requests));
        if step.result.is_some() {
            (step.random0, step.ephemeral_secrets) = self.outstanding(root).pop().unzip();
        }
        step
    }

    /// Answers a request with these data keys.
    pub(super) fn answer(
        &mut self,
        root: &RootTopic,
        request: &[u8],
        keys: &[(KeyId, [u8; 32])],
        now: Timestamp,
        draws: Draws,
    ) -> Result<Sent, String> {
        let held = |_: &RootTopic, ids: &[KeyId]| {
            let held = keys.iter().filter(|(id, _)| ids.contains(id));
            let secret = |secret| DataKey::from(Secret::fill_with(|bytes| *bytes = secret));
            held.map(|(id, bytes)| (*id, secret(*bytes))).collect()
        };
        let kafka_key = encode_key_ids(keys.iter().map(|(id, _)| id));
        let record = record(root, SideTopic::Requests, &kafka_key, request);
        let done = self.serve(record, &held, now, draws);
        let replies = done.sent_to(SideTopic::Keys).map(|record| &*record.value);
        something(replies, &done).map(|replies| Sent::Replies(hex_list(replies)))
    }

    /// Vouches for a request.
    pub(super) fn forward(
        &mut self,
        root: &RootTopic,
        kafka_key: &[u8],
        request: &[u8],
        now: Timestamp,
        draws: Draws,
    ) -> Result<Sent, String> {
        let record = record(root, SideTopic::Subscriptions, kafka_key, request);
        let done = self.serve(record, &|_, _| Vec::new(), now, draws);
        match something(done.sent_to(SideTopic::Requests), &done)?.as_slice() {
            [record] => Ok(Sent::Forwarded(Forwarded {
                msgkey: (&*record.kafka_key).into(),
                message: (&*record.value).into(),
            })),
            _ => Err("forwarded more than once".to_owned()),
        }
    }

    /// Handles a record as if no node had served it before, because an actor stands for all nodes with its keys.
    fn serve(
        &mut self,
        record: Input,
        held: &Held<'_>,
        now: Timestamp,
        mut draws: Draws,
    ) -> pump::Done {
        let mut pump = Pump::new(&self.credentials.secrets, self.validity);
        pump.handle(record, now);
        pump.run(&mut Means {
            now,
            credentials: &mut self.credentials,
            held,
            draws: &mut draws,
        })
    }

    /// Opens a reply to a request of this node.
    pub(super) fn open(&mut self, root: &RootTopic, reply: &[u8], now: Timestamp) -> Done {
        self.pump
            .handle(record(root, SideTopic::Keys, &[], reply), now);
        let done = self.pump.run(&mut Means {
            now,
            credentials: &mut self.credentials,
            held: &|_, _| Vec::new(),
            draws: &mut Draws::default(),
        });
        let keys = done.received.iter().flat_map(|change| &change.keys);
        let keys = keys.map(|(id, secret)| (*id, secret.expose().to_vec()));
        let step = Done::new(something(keys, &done).map(|keys| Sent::keys(&keys)));
        let (random0, mut ephemerals): (Vec<_>, Vec<_>) =
            self.outstanding(root).into_iter().unzip();
        Done {
            outstanding_random0_after: Some(random0),
            ephemeral_secrets_after: ephemerals.pop(),
            ..step
        }
    }

    /// Opens a reply with these ephemeral keys.
    pub(super) fn open_with(
        &self,
        root: &RootTopic,
        reply: &[u8],
        ephemerals: impl FnOnce(&[u8]) -> Vec<DecapsulationKey>,
        now: Timestamp,
    ) -> Result<Vec<(KeyId, Vec<u8>)>, String> {
        let reply = KeyReply::validate(reply, root, self.credentials.trust.lists(), now);
        let reply = reply.map_err(|refusal| refusal.to_string())?;
        let keys = reply.open(root, &ephemerals(reply.random0()));
        let keys = keys.map_err(|refusal| refusal.to_string())?;
        let keys = keys.iter();
        Ok(keys
            .map(|(id, secret)| (*id, secret.expose().to_vec()))
            .collect())
    }

    /// Returns whether a message is a request with the random value and the ephemeral keys that a step recorded.
    pub(super) fn is_request(
        &self,
        root: &RootTopic,
        request: &[u8],
        step: &Step,
        now: Timestamp,
    ) -> bool {
        let trust = self.credentials.trust.lists();
        let usage = Usage::EncryptSubscribe;
        let Ok(request) = KeyRequest::validate(request, root, usage, trust, now) else {
            return false;
        };
        let ephemerals = step.ephemeral_secrets.iter().flatten().filter_map(fresh);
        let offers: Vec<_> = request.offers().collect();
        step.random0.as_deref() == Some(request.random0())
            && ephemerals
                .map(|key| key.encapsulation_key().clone())
                .eq(offers)
    }

    /// Returns the random value and the ephemeral keys of each request of a root topic that can still be answered, the
    /// oldest first.
    fn outstanding(&self, root: &RootTopic) -> Vec<(Hex, Vec<Ephemeral>)> {
        let secret = |key: &DecapsulationKey| {
            let version = key.encapsulation_key().suite().version();
            (version, key.expose_bytes().expose().into())
        };
        let requests = self.pump.outstanding(root);
        let requests =
            requests.map(|(random0, keys)| (random0.into(), keys.iter().map(secret).collect()));
        requests.collect()
    }
}

fn record(root: &RootTopic, side: SideTopic, kafka_key: &[u8], value: &[u8]) -> Input {
    Input::Record {
        position: Position(0),
        root_topic: root.clone(),
        side,
        kafka_key: kafka_key.to_vec(),
        value: value.to_vec(),
    }
}

/// Returns the first result, or the reason that there is none.
fn something<T>(came: impl Iterator<Item = T>, done: &pump::Done) -> Result<Vec<T>, String> {
    let came: Vec<_> = came.collect();
    if came.is_empty() {
        return Err(done.why_not());
    }
    Ok(came)
}
