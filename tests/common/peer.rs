//! The key exchange of a node without a node; its jobs are done at once.

use std::collections::BTreeMap;
use std::time::Duration;

use kc::core::chain::{Demand, TrustStore, UnverifiedChain, ValidIdentity};
use kc::core::exchange::{
    Effect, Exchange, ExchangeConfig, ExchangeEvent, GATHER_TIME, Input, Job, OutRecord, Output,
    Position, Validity,
};
use kc::core::kem::Suite;
use kc::core::keys::Signer;
use kc::core::keys::SigningKey;
use kc::core::ratchet::{Candidates, DataKey};
use kc::core::types::{KeyId, Now, RootTopic, SideTopic, Timestamp};
use kc::keystore_file::system_rng;

/// An exchange whose jobs are done at once. Its results are kept.
pub(crate) struct Peer<'k> {
    pub(crate) exchange: Exchange,
    pub(crate) trust: TrustStore,
    pub(crate) own: Vec<ValidIdentity>,
    pub(crate) key: &'k SigningKey,
    /// The data keys that the exchange hands out.
    pub(crate) held: BTreeMap<KeyId, DataKey>,
    /// The data keys that the exchange has received.
    pub(crate) received: Vec<(KeyId, DataKey)>,
    pub(crate) events: Vec<ExchangeEvent>,
    pub(crate) now: Now,
}

impl<'k> Peer<'k> {
    pub(crate) fn new(
        trust: TrustStore,
        own: Vec<ValidIdentity>,
        key: &'k SigningKey,
        validity: Validity,
        wall: Timestamp,
    ) -> Self {
        Self {
            exchange: Exchange::new(ExchangeConfig {
                suites: vec![Suite::X25519],
                legacy: false,
                validity,
                interval: Duration::from_secs(60),
            }),
            trust,
            own,
            key,
            held: BTreeMap::new(),
            received: Vec::new(),
            events: Vec::new(),
            now: Now {
                wall,
                mono: Duration::from_secs(1),
            },
        }
    }

    /// Requests a key that is not known yet. Returns the sent records.
    pub(crate) fn want(
        &mut self,
        root_topic: &RootTopic,
        id: KeyId,
        known: Candidates,
    ) -> Vec<OutRecord> {
        let root_topic = root_topic.clone();
        self.exchange.handle(
            Input::Want {
                root_topic,
                id,
                known,
            },
            self.now,
        );
        self.now.mono += GATHER_TIME;
        self.run()
    }

    /// Hands a record of a side topic to the exchange. Returns the sent records.
    pub(crate) fn take(&mut self, side: SideTopic, record: &OutRecord) -> Vec<OutRecord> {
        let input = Input::Record {
            position: Position(0),
            root_topic: record.root_topic.clone(),
            side,
            kafka_key: record.kafka_key.to_vec(),
            value: record.value.to_vec(),
        };
        self.exchange.handle(input, self.now);
        self.run()
    }

    fn run(&mut self) -> Vec<OutRecord> {
        let mut sent = Vec::new();
        while let Some(effect) = self.exchange.poll_effect(self.now) {
            match effect {
                Effect::Run(ticket, job) => {
                    let output = self.work(job, &mut sent);
                    self.exchange
                        .handle(Input::Done(ticket, Ok(output)), self.now);
                }
                Effect::Table(change) => self.received.extend(change.keys),
                Effect::Report(event) => self.events.push(event),
                _ => {}
            }
        }
        sent
    }

    fn work(&self, job: Job, sent: &mut Vec<OutRecord>) -> Output {
        let rng = &mut system_rng().unwrap();
        match job {
            Job::Validate {
                chain,
                root_topic,
                usage,
            } => {
                let demand = Demand::at(self.now.wall)
                    .topic(root_topic.as_str())
                    .usage(usage);
                let chain = UnverifiedChain::parse(&chain);
                Output::Validated(chain.and_then(|chain| chain.validate(&self.trust, &demand)))
            }
            Job::Identities => Output::Identities(Ok(self.own.clone())),
            Job::Grant { .. } => Output::Grant(Ok(())),
            Job::Held { ids, .. } => {
                let held = ids.iter();
                let held = held.filter_map(|id| Some((*id, self.held.get(id)?.expose_copy())));
                Output::Held(held.collect())
            }
            Job::Kem(job) => Output::Kem(job.run(rng)),
            Job::Sign(message) => {
                Output::Signed(self.key.sign(message.certificate(), rng).unwrap())
            }
            Job::Send(record) => {
                sent.push(record);
                Output::Done
            }
            _ => Output::Done,
        }
    }
}
