//! An exchange machine whose jobs are done at once, by the node under test.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use kc_core::chain::{Demand, Trust, TrustStore};
use kc_core::exchange::{
    Effect, Exchange, ExchangeConfig, ExchangeEvent, GATHER_TIME, Input, Job, KemJob, KemOutput,
    KeyTableChange, NONCE_LEN, OutRecord, Output, Position, Validity,
};
use kc_core::kem::{DecapsulationKey, Suite};
use kc_core::ratchet::{Candidates, DataKey};
use kc_core::secret::Secret;
use kc_core::types::{KeyId, Now, RootTopic, SideTopic};
use kc_core::work::{Work, measure};

use crate::world::{TOPIC, WORLD, rng, sign, start, topic};

/// The maximum number of times that time passes until a record is settled.
const MAX_WAITS: usize = 20;

/// The random value of the requests of the node under test.
pub const RANDOM0: [u8; NONCE_LEN] = [0x42; NONCE_LEN];

/// The ephemeral keys of the requests of the node under test.
pub static EPHEMERALS: LazyLock<Arc<[DecapsulationKey]>> = LazyLock::new(|| {
    let mut rng = rng();
    let suites = Suite::ALL.into_iter();
    suites
        .map(|suite| DecapsulationKey::generate(suite, &mut rng))
        .collect()
});

/// The node under test.
pub struct Node {
    /// Its exchange.
    pub exchange: Exchange,
    /// The lists of the node.
    pub trust: Trust,
    /// The present time.
    pub now: Now,
    /// The records that the node has sent.
    pub sent: Vec<OutRecord>,
    /// The data keys that the node has received.
    pub received: Vec<KeyTableChange>,
    /// The events that the node has reported.
    pub events: Vec<ExchangeEvent>,
    settled: Vec<u64>,
    records: u64,
}

impl Default for Node {
    fn default() -> Self {
        let config = ExchangeConfig {
            suites: Suite::ALL.to_vec(),
            legacy: false,
            validity: Validity::default(),
            interval: Duration::from_secs(60),
        };
        Self {
            exchange: Exchange::new(config),
            trust: WORLD.trust.clone(),
            now: start(),
            sent: Vec::new(),
            received: Vec::new(),
            events: Vec::new(),
            settled: Vec::new(),
            records: 0,
        }
    }
}

impl Node {
    /// Returns the lists of the node.
    #[must_use]
    pub fn lists(&self) -> &TrustStore {
        self.trust.lists()
    }

    /// Requests data keys.
    pub fn want(&mut self, ids: impl IntoIterator<Item = KeyId>) {
        for id in ids {
            let known = Candidates::default();
            let root_topic = topic();
            self.exchange.handle(
                Input::Want {
                    root_topic,
                    id,
                    known,
                },
                self.now,
            );
        }
        self.pass(GATHER_TIME);
        self.run();
    }

    /// Hands a record to the node, and lets time pass until the record is settled, exactly once. Returns the work for
    /// the record.
    pub fn take(&mut self, side: SideTopic, kafka_key: &[u8], value: &[u8]) -> Work {
        let position = self.records;
        self.records += 1;
        let input = Input::Record {
            position: Position(position),
            root_topic: topic(),
            side,
            kafka_key: kafka_key.to_vec(),
            value: value.to_vec(),
        };
        let ((), work) = measure(|| {
            self.exchange.handle(input, self.now);
            self.run();
            for _ in 0..MAX_WAITS {
                if self.settled.contains(&position) {
                    return;
                }
                let wait = self.exchange.next_timeout(self.now);
                self.pass(wait.expect("it waits for something"));
                self.run();
            }
        });
        let times = self.settled.iter().filter(|settled| **settled == position);
        assert_eq!(times.count(), 1, "settled once");
        assert_eq!(self.exchange.running(), 0, "nothing is under way");
        work
    }

    fn pass(&mut self, time: Duration) {
        self.now.wall = self.now.wall.plus(time);
        self.now.mono += time;
    }

    fn run(&mut self) {
        while let Some(effect) = self.exchange.poll_effect(self.now) {
            match effect {
                Effect::Run(ticket, job) => {
                    let output = self.work(job);
                    self.exchange
                        .handle(Input::Done(ticket, Ok(output)), self.now);
                }
                Effect::Table(change) => {
                    assert_eq!(change.root_topic.as_str(), TOPIC);
                    self.received.push(change);
                }
                Effect::Settled(Position(position)) => self.settled.push(position),
                Effect::Report(event) => self.events.push(event),
                _ => {}
            }
        }
    }

    fn work(&mut self, job: Job) -> Output {
        match job {
            Job::Validate {
                chain,
                root_topic,
                usage,
            } => {
                let demand = Demand::at(self.now.wall);
                let demand = demand.topic(root_topic.as_str()).usage(usage);
                Output::Validated(self.trust.validate(&chain, &demand))
            }
            Job::Identities => Output::Identities(self.trust.valid_identities(self.now.wall)),
            Job::Grant { root_topic, usages } => {
                Output::Grant(self.trust.grants(&root_topic, usages, self.now.wall))
            }
            Job::Held { root_topic, ids } => Output::Held(held(&root_topic, &ids)),
            Job::Kem(KemJob::Draw(_)) => {
                Output::Kem(KemOutput::Drawn(Arc::clone(&EPHEMERALS), RANDOM0))
            }
            Job::Kem(job) => Output::Kem(job.run(&mut rng())),
            Job::Sign(message) => Output::Signed(sign(&WORLD.node, message.certificate())),
            Job::Send(record) => {
                self.sent.push(record);
                Output::Done
            }
            Job::Read(..) => Output::Done,
            other => panic!("a new job: {other:?}"),
        }
    }
}

/// Returns the data keys that the node under test retains: those with an even id.
fn held(root_topic: &RootTopic, ids: &[KeyId]) -> Vec<(KeyId, DataKey)> {
    assert_eq!(root_topic.as_str(), TOPIC);
    let is_held = |id: &&KeyId| match id {
        KeyId::Short(id) => id % 2 == 0,
        KeyId::Long(id) => id[0] % 2 == 0,
    };
    let held = ids.iter().filter(is_held);
    held.map(|id| (*id, Secret::fill_with(|_| {}).into()))
        .collect()
}
