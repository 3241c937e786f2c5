//! One turn of the management loop (protocol §9).

use kc_core::chain::{Identity, TrustList, Usage, accept_chain};
use kc_core::exchange::{Forwarder, IncomingRequest, KeyReply, KeyRequest, decode_key_ids};
use kc_core::own_chains::store_chain;
use kc_core::store::config::{Name, Section};
use kc_core::store::opaque;
use kc_core::types::{RootTopic, SideTopic, Timestamp};

use super::files::invalid;
use super::kafka::CHAINS;
use super::node::{Node, OLD_KEYS};
use crate::vectors::families::exchange::draws_of_answer;
use crate::vectors::{Draws, Fields, InputError};

/// A record of partition 0 of a topic.
pub(super) struct Record<'a> {
    topic: &'a str,
    offset: i64,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl<'a> Record<'a> {
    pub(super) fn read(fields: &Fields<'a>) -> Result<Self, InputError> {
        let offset = i64::try_from(fields.integer("offset")?);
        Ok(Self {
            topic: fields.text("topic")?,
            offset: offset.map_err(|_| fields.error("offset", "is too large"))?,
            // A null means no more than nothing in it.
            key: fields.opt_bytes("key")?.unwrap_or_default(),
            value: fields.opt_bytes("value")?.unwrap_or_default(),
        })
    }
}

impl Node {
    /// One turn, in which the poll gives these records.
    pub(super) fn turn(
        &mut self,
        records: &[Record<'_>],
        now: Timestamp,
        draws: Draws,
    ) -> Result<(), InputError> {
        match self.forwarder {
            Some(forwarder) => self.turn_of_controller(forwarder, records, now, draws),
            None => self.turn_of_member(records, now, draws),
        }
    }

    fn turn_of_member(
        &mut self,
        records: &[Record<'_>],
        now: Timestamp,
        draws: Draws,
    ) -> Result<(), InputError> {
        self.kafka.poll(records.len());
        let mut requests = Vec::new();
        for record in records {
            match self.scheme.parse_side_topic(record.topic) {
                Some((root, SideTopic::Requests)) => {
                    requests.extend(self.request(root, record, now));
                }
                Some((root, SideTopic::Keys)) => self.take_reply(&root, record, now),
                Some((_, SideTopic::Subscriptions)) => {}
                None => self.follow(record, now)?,
            }
            self.kafka.handled(record.topic, record.offset);
        }
        let mut draws = match requests.first() {
            Some(incoming) => {
                let suites = self.files.credentials.suites();
                draws_of_answer(&suites, &incoming.request, draws)
            }
            None => draws,
        };
        self.answer(&requests, now, &mut draws);
        self.kafka.flush();
        self.kafka.assign();
        self.ask(now, &mut draws);
        self.producer.turn(now)?;
        self.kafka.flush();
        self.save(&mut draws)
    }

    fn turn_of_controller(
        &mut self,
        forwarder: Forwarder,
        records: &[Record<'_>],
        now: Timestamp,
        mut draws: Draws,
    ) -> Result<(), InputError> {
        self.kafka.subscribe(&self.scheme.subscriptions_suffix, now);
        self.kafka.poll(records.len());
        for record in records {
            match self.scheme.parse_side_topic(record.topic) {
                Some((root, SideTopic::Subscriptions)) => {
                    self.forward(forwarder, &root, record, now, &mut draws);
                }
                Some(_) => {}
                None => self.follow(record, now)?,
            }
        }
        self.kafka.flush();
        self.kafka.commit();
        Ok(())
    }

    /// A valid request for keys that are here.
    fn request(
        &self,
        root: RootTopic,
        record: &Record<'_>,
        now: Timestamp,
    ) -> Option<IncomingRequest> {
        let (usage, trust) = (Usage::EncryptRequest, &self.files.credentials.trust);
        let request = KeyRequest::validate(&record.value, &root, usage, trust, now).ok()?;
        let keys = self
            .producer
            .held(&root, &decode_key_ids(&record.key).ok()?);
        (!keys.is_empty()).then_some(IncomingRequest {
            root,
            request,
            keys,
        })
    }

    fn answer(&mut self, requests: &[IncomingRequest], now: Timestamp, draws: &mut Draws) {
        let own = self.files.credentials.own(now).unwrap_or_default();
        let answers = self.replier.handle(requests, &own, now, draws);
        for answer in answers.into_iter().flatten() {
            let topic = self.scheme.side_topic(&answer.root, SideTopic::Keys);
            for reply in self.files.credentials.sign_all(&answer.drafts, draws) {
                self.kafka.send(&topic, &answer.kafka_key, &reply);
            }
        }
    }

    /// Takes the keys of a valid reply; any other is passed over.
    fn take_reply(&mut self, root: &RootTopic, record: &Record<'_>, now: Timestamp) {
        if !self.requester.may_answer(root, &record.value) {
            return;
        }
        let reply = KeyReply::validate(&record.value, root, &self.files.credentials.trust, now);
        let handled = reply.and_then(|reply| self.requester.handle_reply(root, &reply, now));
        for (id, secret) in handled.into_iter().flat_map(|handled| handled.keys) {
            self.ring.add(root, id, secret);
        }
    }

    fn forward(
        &mut self,
        forwarder: Forwarder,
        root: &RootTopic,
        record: &Record<'_>,
        now: Timestamp,
        draws: &mut Draws,
    ) {
        let credentials = &self.files.credentials;
        let usage = Usage::EncryptSubscribe;
        let request = KeyRequest::validate(&record.value, root, usage, &credentials.trust, now);
        let own = credentials.own(now).unwrap_or_default();
        let drafts = request.and_then(|request| forwarder.forward(root, &request, &own, now));
        let topic = self.scheme.side_topic(root, SideTopic::Requests);
        for forwarded in credentials.sign_all(&drafts.unwrap_or_default(), draws) {
            self.kafka.send(&topic, &record.key, &forwarded);
        }
    }

    /// Sends the requests that are due.
    fn ask(&mut self, now: Timestamp, draws: &mut Draws) {
        let own = self.files.credentials.own(now).unwrap_or_default();
        while let Some(request) = self.requester.poll_request(&own, now, draws) {
            for (draft, direct) in &request.drafts {
                let Some(message) = self.files.credentials.sign(draft, draws) else {
                    continue;
                };
                let to_producers = direct.then_some(SideTopic::Requests);
                for side in [SideTopic::Subscriptions].into_iter().chain(to_producers) {
                    let topic = self.scheme.side_topic(&request.root, side);
                    self.kafka.send(&topic, &request.kafka_key, &message);
                }
            }
        }
    }

    /// Takes what changes trust; what is refused is passed over.
    fn follow(&mut self, record: &Record<'_>, now: Timestamp) -> Result<(), InputError> {
        let lists = [TrustList::Allow, TrustList::Deny];
        match lists.into_iter().find(|list| list.name() == record.topic) {
            Some(list) => self.extend(list, record, now),
            None if record.topic == CHAINS => self.adopt(record, now),
            None => Ok(()),
        }
    }

    fn extend(
        &mut self,
        list: TrustList,
        record: &Record<'_>,
        now: Timestamp,
    ) -> Result<(), InputError> {
        let trust = &mut self.files.credentials.trust;
        let Ok(entry) = list.judge(&record.value, trust, now) else {
            return Ok(());
        };
        let bytes = entry.as_bytes().to_vec();
        trust.add(list, entry);
        let name = Name::of_entry(&bytes);
        self.files.set(Section::named(list.name()), name, bytes)
    }

    fn adopt(&mut self, record: &Record<'_>, now: Timestamp) -> Result<(), InputError> {
        let credentials = &mut self.files.credentials;
        let mut identities = credentials.identities.iter_mut().enumerate();
        let ours = identities.find(|(_, own)| own.key().to_bytes() == record.key);
        let Some((index, identity)) = ours else {
            return Ok(());
        };
        let (key, in_use) = (identity.key().clone(), identity.chain());
        if accept_chain(&key, in_use, &record.value, &credentials.trust, now).is_err() {
            return Ok(());
        }
        *identity = Identity::new(key, Some(record.value.clone()));
        let stored = store_chain(&mut self.files.config, index, &record.value);
        stored.map_err(invalid("chains"))
    }

    /// Keeps new keys in the configuration.
    fn save(&mut self, draws: &mut Draws) -> Result<(), InputError> {
        let Some(keys) = self.producer.take_unsaved() else {
            return Ok(());
        };
        let opaque_key = self.files.credentials.secrets.opaque_key();
        let wrapped = opaque::wrap(keys.expose(), opaque_key, draws);
        self.files.set(Section::CRYPTO, OLD_KEYS, wrapped)
    }
}
