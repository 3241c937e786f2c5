//! A node of a transcript.

use std::time::Duration;

use kc_core::exchange::{Input, KeyReply, OutRecord, Position, Refusal, Validity, encode_key_ids};
use kc_core::kem::DecapsulationKey;
use kc_core::ratchet::{Candidates, TopicSecret};
use kc_core::secret::Secret;
use kc_core::types::{KeyId, RootTopic, SideTopic, Timestamp};
use serde_json::{Value, json};

use crate::vectors::families::convert::{chains, trust};
use crate::vectors::families::credentials::{Credentials, secrets};
use crate::vectors::families::pump::{Done, Held, Means, Pump};
use crate::vectors::{Draws, Fields, InputError};

pub(super) struct Actor {
    pub(super) credentials: Credentials,
    /// Its random values are longer than those that we draw.
    pub(super) longer_randoms: bool,
    validity: Validity,
    /// What it asks with.
    pump: Pump,
}

impl Actor {
    pub(super) fn new(fields: &Fields<'_>) -> Result<Self, InputError> {
        let secrets = secrets(fields)?;
        let max_age = fields.opt_integer("maxage")?.unwrap_or_default();
        let validity = Validity::from_max_age(Duration::from_secs(max_age));
        let random_len = fields.opt_integer("randombytes")?;
        Ok(Self {
            longer_randoms: random_len.is_some_and(|len| len > 32),
            validity,
            pump: Pump::new(&secrets, validity),
            credentials: Credentials::new(secrets, &chains(fields)?, trust(fields)?),
        })
    }

    /// Asks for these keys: the messages, each with whether it goes to producers, too.
    pub(super) fn request(
        &mut self,
        root: &RootTopic,
        ids: &[KeyId],
        now: Timestamp,
        mut draws: Draws,
    ) -> Result<Vec<(Vec<u8>, bool)>, String> {
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
            credentials: &self.credentials,
            held: &|_, _| Vec::new(),
            draws: &mut draws,
        });
        let direct = |value: &[u8]| {
            let mut to_producers = done.sent_to(SideTopic::Requests);
            to_producers.any(|record| *record.value == *value)
        };
        let to_controllers = done.sent_to(SideTopic::Subscriptions);
        let messages = to_controllers.map(|record| (record.value.to_vec(), direct(&record.value)));
        something(messages, &done)
    }

    /// Answers a request with these keys.
    pub(super) fn answer(
        &self,
        root: &RootTopic,
        request: &[u8],
        keys: &[(KeyId, [u8; 32])],
        now: Timestamp,
        draws: Draws,
    ) -> Result<Vec<Vec<u8>>, String> {
        let held = |_: &RootTopic, ids: &[KeyId]| {
            let held = keys.iter().filter(|(id, _)| ids.contains(id));
            let secret = |secret| TopicSecret::from(Secret::fill_with(|bytes| *bytes = secret));
            held.map(|(id, bytes)| (*id, secret(*bytes))).collect()
        };
        let kafka_key = encode_key_ids(keys.iter().map(|(id, _)| id));
        let record = record(root, SideTopic::Requests, &kafka_key, request);
        let done = self.serve(record, &held, now, draws);
        let replies = done.sent_to(SideTopic::Keys);
        something(replies.map(|record| record.value.to_vec()), &done)
    }

    /// Vouches for a request.
    pub(super) fn forward(
        &self,
        root: &RootTopic,
        kafka_key: &[u8],
        request: &[u8],
        now: Timestamp,
        draws: Draws,
    ) -> Result<Vec<OutRecord>, String> {
        let record = record(root, SideTopic::Subscriptions, kafka_key, request);
        let done = self.serve(record, &|_, _| Vec::new(), now, draws);
        something(done.sent_to(SideTopic::Requests).cloned(), &done)
    }

    /// Takes a record as one that has served nobody yet: an actor stands for all nodes with its keys.
    fn serve(&self, record: Input, held: &Held<'_>, now: Timestamp, mut draws: Draws) -> Done {
        let mut pump = Pump::new(&self.credentials.secrets, self.validity);
        pump.handle(record, now);
        pump.run(&mut Means {
            now,
            credentials: &self.credentials,
            held,
            draws: &mut draws,
        })
    }

    /// Opens a reply to what was asked.
    pub(super) fn open(
        &mut self,
        root: &RootTopic,
        reply: &[u8],
        now: Timestamp,
    ) -> Result<Vec<(KeyId, Vec<u8>)>, String> {
        let record = record(root, SideTopic::Keys, &[], reply);
        self.pump.handle(record, now);
        let done = self.pump.run(&mut Means {
            now,
            credentials: &self.credentials,
            held: &|_, _| Vec::new(),
            draws: &mut Draws::default(),
        });
        let keys = done.received.iter().flat_map(|change| &change.keys);
        let keys = keys.map(|(id, secret)| (*id, secret.expose().to_vec()));
        something(keys, &done)
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
        let requests = self.pump.outstanding(root);
        let requests = requests
            .map(|(random0, keys)| (hex::encode(random0), keys.iter().map(secret).collect()));
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

/// What came of it, or why nothing did.
fn something<T>(came: impl Iterator<Item = T>, done: &Done) -> Result<Vec<T>, String> {
    let came: Vec<_> = came.collect();
    if came.is_empty() {
        return Err(done.why_not());
    }
    Ok(came)
}
