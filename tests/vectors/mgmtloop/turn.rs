//! One turn of the management loop (protocol §9).

use std::time::Duration;

use kc_core::chain::{TrustEffect, TrustInput};
use kc_core::exchange::{GATHER_TIME, Input, Position};
use kc_core::own_chains::store_chain;
use kc_core::store::config::{Name, Section};
use kc_core::store::opaque;
use kc_core::types::{ManagementTopic, ManagementTopics, Now, SideTopic, Timestamp};

use super::Record;
use super::node::{Node, OLD_KEYS};
use crate::draws::Draws;
use crate::operation::{Invalid, invalid};
use crate::pump::Done;

impl Record {
    /// Returns the key of the record; a null counts as empty.
    fn key(&self) -> &[u8] {
        self.key.as_deref().unwrap_or_default()
    }

    fn value(&self) -> &[u8] {
        self.value.as_deref().unwrap_or_default()
    }
}

impl Node {
    /// Performs one turn, in which the poll returns these records.
    pub(super) fn turn(
        &mut self,
        records: &[Record],
        now: Timestamp,
        mut draws: Draws,
    ) -> Result<(), Invalid> {
        // Time passes, so that the ids of earlier turns have been gathered.
        self.pump.pass(GATHER_TIME);
        if self.is_controller {
            self.turn_of_controller(records, now, &mut draws)
        } else {
            self.turn_of_member(records, now, &mut draws)
        }
    }

    fn turn_of_member(
        &mut self,
        records: &[Record],
        now: Timestamp,
        draws: &mut Draws,
    ) -> Result<(), Invalid> {
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
        records: &[Record],
        now: Timestamp,
        draws: &mut Draws,
    ) -> Result<(), Invalid> {
        self.kafka.subscribe(&self.scheme.subscriptions_suffix, now);
        self.kafka.poll(records.len());
        let done = self.take(records, &[SideTopic::Subscriptions], now, draws)?;
        done.sent.iter().for_each(|request| self.send(request));
        self.kafka.flush();
        self.kafka.commit();
        Ok(())
    }

    /// Handles records, of side topics only these, and performs the effects.
    fn take(
        &mut self,
        records: &[Record],
        sides: &[SideTopic],
        now: Timestamp,
        draws: &mut Draws,
    ) -> Result<Done, Invalid> {
        let places = || (0..).map(Position).zip(records);
        for (position, record) in places() {
            match self.scheme.parse_side_topic(&record.topic) {
                Some((root, side)) if sides.contains(&side) => {
                    let record = Input::Record {
                        position,
                        root_topic: root,
                        side,
                        kafka_key: record.key().to_vec(),
                        value: record.value().to_vec(),
                    };
                    self.pump.handle(record, now);
                }
                Some(_) => {}
                None => {
                    let names = ManagementTopics::default();
                    let mut topics = names.names().into_iter().zip(ManagementTopic::ALL);
                    if let Some((_, topic)) = topics.find(|(name, _)| *name == record.topic) {
                        self.follow(topic, record, now)?;
                        self.pump.handle(Input::TrustChanged, now);
                    }
                    self.kafka.handled(&record.topic, record.offset);
                }
            }
        }
        let done = self.exchange(now, draws);
        for (position, record) in places() {
            if done.settled.contains(&position) {
                self.kafka.handled(&record.topic, record.offset);
            }
        }
        Ok(done)
    }

    /// Handles changes of trust; refused ones are ignored.
    fn follow(
        &mut self,
        topic: ManagementTopic,
        record: &Record,
        wall: Timestamp,
    ) -> Result<(), Invalid> {
        let now = Now {
            wall,
            mono: Duration::ZERO,
        };
        let trust = &mut self.files.credentials.trust;
        let (kafka_key, value) = (record.key(), record.value());
        trust.handle(
            TrustInput::Record {
                topic,
                kafka_key,
                value,
            },
            now,
        );
        while let Some(effect) = self.files.credentials.trust.poll_effect(now) {
            match effect {
                TrustEffect::StoreEntry(list, entry) => {
                    let name = Name::of_entry(entry.as_bytes());
                    let section = Section::named(list.name());
                    self.files.set(section, name, entry.as_bytes().to_vec())?;
                }
                TrustEffect::StoreChain(index, chain) => {
                    let stored = store_chain(&mut self.files.config, index, &chain);
                    stored.map_err(invalid("chains"))?;
                }
                TrustEffect::Verify(message) => {
                    let trust = &mut self.files.credentials.trust;
                    let verified = trust.verify(&message);
                    trust.handle(TrustInput::Verified(&verified), now);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Saves new keys to the configuration.
    fn save(&mut self, draws: &mut Draws) -> Result<(), Invalid> {
        let Some(keys) = self.producer.take_unsaved() else {
            return Ok(());
        };
        let opaque_key = self.files.credentials.secrets.opaque_key();
        let wrapped = opaque::wrap(keys.expose(), opaque_key, draws);
        self.files.set(Section::CRYPTO, OLD_KEYS, wrapped)
    }
}
