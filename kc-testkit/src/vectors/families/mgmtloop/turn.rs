//! One turn of the management loop (protocol §9).

use kc_core::chain::{Identity, TrustList, accept_chain};
use kc_core::exchange::{GATHER_TIME, Input, Position};
use kc_core::own_chains::store_chain;
use kc_core::store::config::{Name, Section};
use kc_core::store::opaque;
use kc_core::types::{SideTopic, Timestamp};

use super::files::invalid;
use super::kafka::CHAINS;
use super::node::{Node, OLD_KEYS};
use crate::vectors::families::pump::Done;
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
        mut draws: Draws,
    ) -> Result<(), InputError> {
        // New ids have been gathered by the next turn.
        self.pump.pass(GATHER_TIME);
        if self.is_controller {
            self.turn_of_controller(records, now, &mut draws)
        } else {
            self.turn_of_member(records, now, &mut draws)
        }
    }

    fn turn_of_member(
        &mut self,
        records: &[Record<'_>],
        now: Timestamp,
        draws: &mut Draws,
    ) -> Result<(), InputError> {
        self.kafka.poll(records.len());
        let read = [SideTopic::Requests, SideTopic::Keys];
        let done = self.take(records, &read, now, draws)?;
        let (answers, requests): (Vec<_>, Vec<_>) = done
            .sent
            .iter()
            .partition(|record| record.side == SideTopic::Keys);
        answers.into_iter().for_each(|answer| self.send(answer));
        self.kafka.flush();
        self.kafka.assign();
        requests.into_iter().for_each(|request| self.send(request));
        self.producer.turn(now)?;
        self.kafka.flush();
        self.save(draws)
    }

    fn turn_of_controller(
        &mut self,
        records: &[Record<'_>],
        now: Timestamp,
        draws: &mut Draws,
    ) -> Result<(), InputError> {
        self.kafka.subscribe(&self.scheme.subscriptions_suffix, now);
        self.kafka.poll(records.len());
        let done = self.take(records, &[SideTopic::Subscriptions], now, draws)?;
        done.sent.iter().for_each(|request| self.send(request));
        self.kafka.flush();
        self.kafka.commit();
        Ok(())
    }

    /// Takes records, of side topics those of these, and does what follows.
    fn take(
        &mut self,
        records: &[Record<'_>],
        sides: &[SideTopic],
        now: Timestamp,
        draws: &mut Draws,
    ) -> Result<Done, InputError> {
        let places = || (0..).map(Position).zip(records);
        for (position, record) in places() {
            match self.scheme.parse_side_topic(record.topic) {
                Some((root, side)) if sides.contains(&side) => {
                    let record = Input::Record {
                        position,
                        root_topic: root,
                        side,
                        kafka_key: record.key.clone(),
                        value: record.value.clone(),
                    };
                    self.pump.handle(record, now);
                }
                Some(_) => {}
                None => {
                    self.follow(record, now)?;
                    self.pump.handle(Input::TrustChanged, now);
                    self.kafka.handled(record.topic, record.offset);
                }
            }
        }
        let done = self.exchange(now, draws);
        for (position, record) in places() {
            if done.settled.contains(&position) {
                self.kafka.handled(record.topic, record.offset);
            }
        }
        Ok(done)
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
