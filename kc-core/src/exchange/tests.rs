//! Exchanges that send records to each other. Their jobs run at once or, in a silent node, not at all.

mod asking;
mod custody;
mod serving;

use std::collections::BTreeMap;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::request::request_certificate;
use super::*;
use crate::backend::{BackendError, BackendErrorKind};
use crate::chain::{
    Constraints, Demand, Identity, MaxAge, TrustEntry, TrustStore, UnverifiedChain, Usage,
    ValidIdentity, encode_certificate, encode_chain,
};
use crate::kem::Suite;
use crate::keys::{KeyType, Signer, SigningKey};
use crate::ratchet::{Candidates, DataKey};
use crate::secret::Secret;
use crate::types::{KeyId, Now, RootTopic, SideTopic, Timestamp};

const INTERVAL: Duration = Duration::from_secs(60);

/// A root of trust, and the time.
struct World {
    rng: StdRng,
    root: SigningKey,
    trust: TrustStore,
    now: Now,
}

/// A node that runs its jobs at once.
struct Node {
    exchange: Exchange,
    key: SigningKey,
    identity: Identity,
    held: BTreeMap<KeyId, DataKey>,
    /// The received keys.
    received: Vec<(KeyId, DataKey)>,
    settled: Vec<u64>,
    events: Vec<ExchangeEvent>,
    missing: Vec<MissingKeys>,
    /// The maximum number of jobs that ran at once.
    peak: usize,
    /// Side topics that nothing can be sent to.
    unreachable: Vec<SideTopic>,
    /// True if the node's token is absent.
    cannot_sign: bool,
    /// True if the node leaves its jobs undone.
    silent: bool,
    /// The jobs that were left undone.
    undone: Vec<(Ticket, Job)>,
    positions: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let root = SigningKey::generate(KeyType::Ed25519, &mut rng);
        let entry = TrustEntry::unrestricted(root.verifying_key());
        Self {
            rng,
            root,
            trust: TrustStore::new(Some(vec![entry]), vec![]),
            now: Now {
                wall: Timestamp::from_secs(1_700_000_000.0).unwrap(),
                mono: Duration::from_secs(100),
            },
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now.wall = self.now.wall.plus(time);
        self.now.mono += time;
    }

    fn node(&mut self, usages: &[Usage]) -> Node {
        self.node_with(usages, false)
    }

    fn node_with(&mut self, usages: &[Usage], legacy: bool) -> Node {
        self.node_within(usages, legacy, Some(1))
    }

    fn node_within(&mut self, usages: &[Usage], legacy: bool, path_length: Option<i64>) -> Node {
        let key = SigningKey::generate(KeyType::Ed25519, &mut self.rng);
        let constraints = Constraints {
            topics: Some(vec!["^.*$".into()]),
            usages: Some(usages.iter().map(|usage| usage.as_str().into()).collect()),
            path_length,
        };
        let until = MaxAge::until(self.now.wall.plus(Duration::from_secs(1_000_000)));
        let write_key = |writer: &mut _| key.verifying_key().write_to(writer);
        let certificate = encode_certificate(until, &constraints.encode(), write_key, (0, |_| {}));
        let link = self.root.sign(&certificate, &mut self.rng).unwrap();
        let chain = encode_chain(&[&link]);
        let config = ExchangeConfig {
            suites: vec![Suite::X25519],
            legacy,
            validity: Validity::default(),
            interval: INTERVAL,
        };
        Node {
            exchange: Exchange::new(config),
            identity: Identity::new(key.verifying_key().clone(), Some(chain)),
            key,
            held: BTreeMap::new(),
            received: Vec::new(),
            settled: Vec::new(),
            events: Vec::new(),
            missing: Vec::new(),
            peak: 0,
            unreachable: Vec::new(),
            cannot_sign: false,
            silent: false,
            undone: Vec::new(),
            positions: 0,
        }
    }

    fn consumer(&mut self) -> Node {
        self.node(&[Usage::EncryptRequest, Usage::EncryptSubscribe])
    }

    /// Returns a producer that has these keys.
    fn producer(&mut self, ids: &[u64]) -> Node {
        let mut producer = self.node(&[Usage::Encrypt]);
        for id in ids {
            producer.held.insert(KeyId::Short(*id), held(*id));
        }
        producer
    }

    /// Makes a node want keys, and waits until they have been gathered. Returns the records that the node sends.
    fn want(&mut self, node: &mut Node, ids: &[u64]) -> Vec<OutRecord> {
        for id in ids {
            node.want(self, KeyId::Short(*id), Candidates::default());
        }
        self.pass(GATHER_TIME);
        node.run(self)
    }
}

impl Node {
    fn want(&mut self, world: &mut World, id: KeyId, known: Candidates) {
        let root_topic = root_topic();
        let input = Input::Want {
            root_topic,
            id,
            known,
        };
        self.exchange.handle(input, world.now);
    }

    /// Passes a record in. Returns the records that the node sends.
    fn take(&mut self, world: &mut World, record: &OutRecord) -> Vec<OutRecord> {
        self.enqueue(world, record);
        self.run(world)
    }

    fn enqueue(&mut self, world: &mut World, record: &OutRecord) {
        let input = Input::Record {
            position: Position(self.positions),
            root_topic: record.root_topic.clone(),
            side: record.side,
            kafka_key: record.kafka_key.to_vec(),
            value: record.value.to_vec(),
        };
        self.positions += 1;
        self.exchange.handle(input, world.now);
    }

    /// Performs all effects of the machine. Returns the records that the node sends.
    fn run(&mut self, world: &mut World) -> Vec<OutRecord> {
        let mut sent = Vec::new();
        while let Some(effect) = self.exchange.poll_effect(world.now) {
            self.peak = self.peak.max(self.exchange.running());
            match effect {
                Effect::Run(ticket, job) if self.silent => self.undone.push((ticket, job)),
                Effect::Run(ticket, job) => {
                    let result = self.work(world, job, &mut sent);
                    let input = Input::Done(ticket, result);
                    self.exchange.handle(input, world.now);
                }
                Effect::Table(change) => self.received.extend(change.keys),
                Effect::Missing(missing) => self.missing = missing,
                Effect::Settled(Position(position)) => self.settled.push(position),
                Effect::Report(event) => self.events.push(event),
            }
        }
        sent
    }

    /// Runs the undone jobs and those that follow. Returns the records that the node sends.
    fn catch_up(&mut self, world: &mut World) -> Vec<OutRecord> {
        self.silent = false;
        let mut sent = Vec::new();
        for (ticket, job) in std::mem::take(&mut self.undone) {
            let result = self.work(world, job, &mut sent);
            let input = Input::Done(ticket, result);
            self.exchange.handle(input, world.now);
        }
        sent.extend(self.run(world));
        sent
    }

    /// Runs the undone jobs, and leaves the jobs that follow undone. Returns whether there were undone jobs.
    fn catch_up_once(&mut self, world: &mut World) -> bool {
        let undone = std::mem::take(&mut self.undone);
        let any = !undone.is_empty();
        for (ticket, job) in undone {
            let result = self.work(world, job, &mut Vec::new());
            let input = Input::Done(ticket, result);
            self.exchange.handle(input, world.now);
        }
        self.run(world);
        any
    }

    /// Returns a request of this node with the random value of another request.
    fn request_with(&self, world: &mut World, other: &OutRecord) -> OutRecord {
        let chain = UnverifiedChain::parse(&other.value).unwrap();
        let leaf = crate::chain::Certificate::peek_extra(chain.links().last().unwrap()).unwrap();
        self.request_of(world, other, leaf.bytes().unwrap())
    }

    /// Returns a request of this node with this random value, for the keys of another request.
    fn request_of(&self, world: &mut World, other: &OutRecord, random0: &[u8]) -> OutRecord {
        let key = crate::kem::DecapsulationKey::generate(Suite::X25519, &mut world.rng);
        let certificate = request_certificate(
            &root_topic(),
            RequestForm::List,
            &[key.encapsulation_key().clone().into()],
            random0,
            Validity::default(),
            world.now.wall,
        );
        let to_be_signed = self.own(world).unwrap().certify(&certificate);
        OutRecord {
            value: to_be_signed.sign(&self.key, &mut world.rng).unwrap().into(),
            ..other.clone()
        }
    }

    fn work(
        &mut self,
        world: &mut World,
        job: Job,
        sent: &mut Vec<OutRecord>,
    ) -> Result<Output, Failure> {
        Ok(match job {
            Job::Validate {
                chain,
                root_topic,
                usage,
            } => {
                let demand = Demand::at(world.now.wall)
                    .topic(root_topic.as_str())
                    .usage(usage);
                let chain = UnverifiedChain::parse(&chain);
                Output::Validated(chain.and_then(|chain| chain.validate(&world.trust, &demand)))
            }
            Job::Identities => Output::Identities(self.own(world).map(|own| vec![own])),
            Job::Grant { root_topic, usages } => {
                let demand = Demand::at(world.now.wall).topic(root_topic.as_str());
                let granted = |usage: &Usage| {
                    let demand = demand.usage(*usage);
                    self.identity.validate(&world.trust, &demand)
                };
                let mut results = usages.iter().map(granted);
                let first = results.next().unwrap();
                Output::Grant(
                    first.or_else(|error| results.find(Result::is_ok).unwrap_or(Err(error))),
                )
            }
            Job::Held { ids, .. } => {
                let held = ids
                    .iter()
                    .filter_map(|id| Some((*id, self.held.get(id)?.expose_copy())));
                Output::Held(held.collect())
            }
            Job::Kem(job) => Output::Kem(job.run(&mut world.rng)),
            Job::Sign(_) if self.cannot_sign => return Err(Failure::Unavailable),
            Job::Sign(message) => Output::Signed(
                self.key
                    .sign(message.certificate(), &mut world.rng)
                    .unwrap(),
            ),
            Job::Send(record) if self.unreachable.contains(&record.side) => {
                let error = BackendError::new(BackendErrorKind::Unreachable, "send");
                return Err(Failure::Backend(error));
            }
            Job::Send(record) => {
                sent.push(record);
                Output::Done
            }
            Job::Read(..) => Output::Done,
        })
    }

    fn own(&self, world: &World) -> Result<ValidIdentity, crate::chain::ChainError> {
        self.identity.validated(&world.trust, world.now.wall)
    }

    /// Returns the numbers of the received keys.
    fn ids(&self) -> Vec<u64> {
        let ids = self.received.iter().map(|(id, _)| match id {
            KeyId::Short(id) => *id,
            KeyId::Long(_) => u64::MAX,
        });
        ids.collect()
    }

    fn bound_hits(&self) -> usize {
        let hits = self.events.iter();
        hits.filter(|event| matches!(event, ExchangeEvent::BoundHit))
            .count()
    }

    /// Returns the checks that refused records, in order.
    fn refusals(&self) -> Vec<String> {
        let refusals = self.events.iter().filter_map(|event| match event {
            ExchangeEvent::Refused { refusal, .. } => Some(refusal.id().to_string()),
            _ => None,
        });
        refusals.collect()
    }
}

fn root_topic() -> RootTopic {
    "t".into()
}

/// Returns the secret of the key with this number.
fn held(id: u64) -> DataKey {
    Secret::fill_with(|secret| secret.fill(id as u8)).into()
}

/// Returns the records for a side topic.
fn to(side: SideTopic, records: Vec<OutRecord>) -> Vec<OutRecord> {
    records
        .into_iter()
        .filter(|record| record.side == side)
        .collect()
}
