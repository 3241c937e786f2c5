//! The key exchange; its jobs are done at once.

use std::time::Duration;

use kc_core::chain::{Demand, Usage};
use kc_core::exchange::{
    Effect, Exchange, ExchangeConfig, ExchangeEvent, Failure, Input, Job, KemJob, KeyRequest,
    KeyTableChange, OutRecord, Output, Position, ReceivedKeys, RequestForm, Validity,
};
use kc_core::kem::{DecapsulationKey, Suite};
use kc_core::keys::Signer;
use kc_core::store::NodeSecrets;
use kc_core::types::{KeyId, Now, RootTopic, SideTopic, Timestamp};

use crate::draws::{Draws, Source};
use crate::nodes::Credentials;

/// `CRYPTO_SUB_INTERVAL`
const INTERVAL: Duration = Duration::from_secs(60);

/// The number of times that the exchange is polled until it asks: it also wakes to report that a key is unanswered.
const MAX_WAITS: usize = 8;

/// An exchange with a clock of its own; the clock of the case stands still.
pub(crate) struct Pump {
    exchange: Exchange,
    mono: Duration,
}

/// A function that looks up retained keys.
pub(crate) type Held<'h> = dyn Fn(&RootTopic, &[KeyId]) -> ReceivedKeys + 'h;

/// The means to do jobs.
pub(crate) struct Means<'m> {
    pub(crate) now: Timestamp,
    pub(crate) credentials: &'m mut Credentials,
    pub(crate) held: &'m Held<'m>,
    pub(crate) draws: &'m mut Draws,
}

/// The results of an exchange.
#[derive(Default)]
pub(crate) struct Done {
    pub(crate) sent: Vec<OutRecord>,
    pub(crate) read: Vec<(RootTopic, SideTopic)>,
    pub(crate) received: Vec<KeyTableChange>,
    pub(crate) settled: Vec<Position>,
    events: Vec<ExchangeEvent>,
}

impl Pump {
    pub(crate) fn new(secrets: &NodeSecrets, validity: Validity) -> Self {
        let suites: Vec<_> = secrets.suites().collect();
        Self {
            exchange: Exchange::new(ExchangeConfig {
                legacy: secrets.legacy_requests() && RequestForm::legacy_is_safe_beside(&suites),
                suites,
                validity,
                interval: INTERVAL,
            }),
            mono: Duration::ZERO,
        }
    }

    /// Advances the clock of the exchange.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.mono += time;
    }

    pub(crate) fn handle(&mut self, input: Input, wall: Timestamp) {
        self.exchange.handle(input, self.now(wall));
    }

    /// Performs all effects that are due now.
    pub(crate) fn run(&mut self, means: &mut Means<'_>) -> Done {
        let mut done = Done::default();
        self.run_into(means, &mut done);
        done
    }

    /// Advances the time until a request has been sent, or cannot be sent.
    pub(crate) fn run_until_asked(&mut self, means: &mut Means<'_>) -> Done {
        let mut done = self.run(means);
        for _ in 0..MAX_WAITS {
            if done.events.iter().any(ends_asking) {
                break;
            }
            let Some(wait) = self.exchange.next_timeout(self.now(means.now)) else {
                break;
            };
            self.pass(wait);
            self.run_into(means, &mut done);
        }
        done
    }

    fn run_into(&mut self, means: &mut Means<'_>, done: &mut Done) {
        let now = self.now(means.now);
        while let Some(effect) = self.exchange.poll_effect(now) {
            match effect {
                Effect::Run(ticket, job) => {
                    let result = means.work(job, done);
                    self.exchange.handle(Input::Done(ticket, result), now);
                }
                Effect::Table(change) => done.received.push(change),
                Effect::Settled(position) => done.settled.push(position),
                Effect::Report(event) => done.events.push(event),
                _ => {}
            }
        }
    }

    pub(crate) fn wants(&self, root: &RootTopic, id: &KeyId, wall: Timestamp) -> bool {
        self.exchange.why(root, id, self.now(wall)).is_some()
    }

    /// Returns the root topics of the wanted keys.
    pub(crate) fn wanting(&self) -> impl Iterator<Item = RootTopic> {
        self.exchange.wanted().into_keys()
    }

    /// Returns the random value and the ephemeral keys of each request that can still be answered, the oldest first.
    pub(crate) fn outstanding(
        &self,
        root: &RootTopic,
    ) -> impl Iterator<Item = (&[u8; 32], &[DecapsulationKey])> {
        self.exchange.outstanding_of(root)
    }

    fn now(&self, wall: Timestamp) -> Now {
        Now {
            wall,
            mono: self.mono,
        }
    }
}

fn ends_asking(event: &ExchangeEvent) -> bool {
    matches!(
        event,
        ExchangeEvent::Requested { .. }
            | ExchangeEvent::NotSent { .. }
            | ExchangeEvent::NoValidChain { .. }
    )
}

impl Means<'_> {
    fn work(&mut self, job: Job, done: &mut Done) -> Result<Output, Failure> {
        Ok(match job {
            Job::Validate {
                chain,
                root_topic: root,
                usage,
            } => {
                let demand = Demand::at(self.now).topic(root.as_str()).usage(usage);
                let validated = self.credentials.trust.validate(&chain, &demand);
                if let (Usage::EncryptRequest, Ok(chain)) = (usage, &validated)
                    && let Ok(request) = KeyRequest::from_chain(chain.clone())
                {
                    self.draw_for_answer(&request);
                }
                Output::Validated(validated)
            }
            Job::Identities => {
                Output::Identities(self.credentials.trust.valid_identities(self.now))
            }
            Job::Grant { root_topic, usages } => {
                let granted = self.credentials.trust.grants(&root_topic, usages, self.now);
                Output::Grant(granted)
            }
            Job::Held { root_topic, ids } => Output::Held((self.held)(&root_topic, &ids)),
            Job::Kem(job) => {
                if let KemJob::Draw(suites) = &job
                    && suites.contains(&Suite::Sntrup761)
                {
                    self.fill();
                }
                Output::Kem(job.run(self.draws))
            }
            Job::Sign(message) => {
                let key = self.credentials.signer(message.signer());
                let signed = key.map(|key| key.sign(message.certificate(), self.draws));
                let signed = signed.and_then(Result::ok).ok_or(Failure::Unavailable)?;
                Output::Signed(signed)
            }
            Job::Send(record) => {
                done.sent.push(record);
                Output::Done
            }
            Job::Read(root, side) => {
                done.read.push((root, side));
                Output::Done
            }
            _ => return Err(Failure::Unavailable),
        })
    }

    /// Keeps the draws of an answer that have an effect: the reference draws an ephemeral key for each of its key
    /// exchanges, and encapsulates to each key that the request lists.
    fn draw_for_answer(&mut self, request: &KeyRequest) {
        let suites: Vec<_> = self.credentials.secrets.suites().collect();
        let mut offered = request.offers().map(|offer| offer.suite());
        let used = offered.find(|suite| suites.contains(suite));
        let place = suites.iter().position(|suite| Some(*suite) == used);
        let draws = std::mem::take(self.draws);
        *self.draws = draws.keep(|source, len, before| match (source, len) {
            (Source::Sodium, 32) => Some(before) == place || before >= suites.len(),
            (Source::Oqs, 32) => used == Some(Suite::MlKem1024),
            _ => true,
        });
        if used == Some(Suite::Sntrup761) {
            self.fill();
        }
    }

    /// Continues without the draws of sntrup761, which are not recorded.
    fn fill(&mut self) {
        *self.draws = std::mem::take(self.draws).or_filler();
    }
}

impl Done {
    /// Returns the values of the records that were sent to a side topic.
    pub(crate) fn sent_to(&self, side: SideTopic) -> impl Iterator<Item = &OutRecord> {
        self.sent.iter().filter(move |record| record.side == side)
    }

    /// Returns the reason that there was no result.
    pub(crate) fn why_not(&self) -> String {
        let refusal = self.events.iter().find_map(|event| match event {
            ExchangeEvent::Refused { refusal, .. } => Some(format!("{}: {refusal}", refusal.id())),
            ExchangeEvent::NoValidChain { error, .. } => Some(format!("own chain: {error}")),
            _ => None,
        });
        refusal.unwrap_or_else(|| "passed over".to_owned())
    }
}
