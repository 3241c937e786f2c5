//! The work of threads, tokens and brokers for a node's exchanges: on time, late, or never.

use std::sync::Arc;
use std::time::Duration;

use kc_core::backend::{BackendError, BackendErrorKind};
use kc_core::chain::{Certificate, Demand, UnverifiedChain, Usage};
use kc_core::exchange::{AnswerJob, Failure, Input, Job, KemJob, Output, Ticket};
use kc_core::keys::{Signer, VerifyingKey};
use kc_core::types::{SideTopic, Timestamp};
use kc_core::work::measure;

use super::Invariant;
use super::core::{Core, Event, Which};
use super::network::Topic;
use super::node::Node;

impl Node {
    /// Starts a job.
    pub(super) fn run_job(&mut self, which: Which, ticket: Ticket, job: Job, core: &mut Core) {
        match &job {
            Job::Validate { chain, .. } => self.look_at_validation(chain, core),
            Job::Kem(KemJob::Answer(answer)) => self.look_at_answer(answer, core),
            _ => {}
        }
        let life = self.life();
        let faults = core.plan.faults;
        if core.fault(faults.never) {
            return core.note(|| format!("node {}: {job:?} is never done", life.node));
        }
        let delay = if core.fault(faults.late) {
            core.dice.millis(10_000, 45_000)
        } else {
            core.dice
                .time(Duration::from_micros(50), Duration::from_millis(8))
        };
        core.after(delay, Event::Work(life, which, ticket, Box::new(job)));
    }

    /// Does a job.
    pub(super) fn work(&mut self, which: Which, ticket: Ticket, job: Job, core: &mut Core) {
        if self.running.is_none() {
            return;
        }
        let is_validation = matches!(job, Job::Validate { .. });
        let result = self.work_out(job, core);
        if is_validation {
            self.run_trust(None, core);
        }
        let life = self.life();
        let done = |result| Event::Done(life, which, ticket, Box::new(result));
        if core.fault(core.plan.faults.twice) {
            let delay = core.dice.millis(1, 1000);
            core.after(delay, done(Err(Failure::Unavailable)));
        }
        if core.fault(core.plan.faults.late) {
            let delay = core.dice.millis(1, 40_000);
            return core.after(delay, done(result));
        }
        let delay = core
            .dice
            .time(Duration::from_micros(20), Duration::from_millis(3));
        core.after(delay, done(result));
    }

    /// Handles the result of a job.
    pub(super) fn done(
        &mut self,
        which: Which,
        ticket: Ticket,
        result: Result<Output, Failure>,
        core: &mut Core,
    ) {
        self.input(which, Input::Done(ticket, result), core);
        self.pump(core);
    }

    fn work_out(&mut self, job: Job, core: &mut Core) -> Result<Output, Failure> {
        let now = self.now(core);
        let running = self.running.as_mut().ok_or(Failure::Unavailable)?;
        let trust = &mut running.trust;
        Ok(match job {
            Job::Validate {
                chain,
                root_topic,
                usage,
            } => {
                let demand = Demand::at(now.wall).topic(root_topic.as_str()).usage(usage);
                let (validated, work) = measure(|| trust.validate(&chain, &demand));
                core.saw_validation("a chain", trust.lists(), &validated, work);
                if let Ok(validated) = &validated {
                    let path = validated.signers().iter();
                    running.seen.extend(path.map(VerifyingKey::to_bytes));
                }
                for record in running.records_mut() {
                    if record.value == chain {
                        record.validated = Some(now.wall);
                    }
                }
                Output::Validated(validated)
            }
            Job::Identities => Output::Identities(trust.valid_identities(now.wall)),
            Job::Grant { root_topic, usages } => {
                Output::Grant(trust.grants(&root_topic, usages, now.wall))
            }
            Job::Held { root_topic, ids } => {
                let ratchet = running.ratchet.as_mut();
                let keys = ratchet.map(|ratchet| ratchet.hand_out(&root_topic, &ids));
                Output::Held(keys.unwrap_or_else(|| self.kept_keys(&root_topic, &ids)))
            }
            Job::Kem(job) => Output::Kem(job.run(&mut core.dice.0)),
            Job::Sign(message) => {
                let signed = self.own.key.sign(message.certificate(), &mut core.dice.0);
                Output::Signed(signed.map_err(|_| Failure::Unavailable)?)
            }
            Job::Send(record) => {
                let topic = Topic::Side(record.root_topic, record.side);
                if record.side == SideTopic::Requests
                    && let Some(update) = core.oracle.ambushes.remove(&self.identity)
                {
                    let delay = core.dice.millis(0, 60);
                    core.after(delay, Event::Administer(update));
                }
                if !self.send(&topic, &record.kafka_key, &record.value, core) {
                    let error = BackendError::new(BackendErrorKind::Timeout, "send");
                    return Err(Failure::Backend(error.retriable(true)));
                }
                Output::Done
            }
            Job::Read(root_topic, side) => {
                if core.fault(core.plan.faults.loss) {
                    let error = BackendError::new(BackendErrorKind::Unreachable, "read");
                    return Err(Failure::Backend(error.retriable(true)));
                }
                let topic = Topic::Side(root_topic, side);
                let committed = core.net.committed(self.identity, &topic);
                running.sources.entry(topic).or_insert(committed);
                self.poll_soon(core);
                Output::Done
            }
            _ => return Err(Failure::Unavailable),
        })
    }

    fn send(&mut self, topic: &Topic, key: &[u8], value: &Arc<[u8]>, core: &mut Core) -> bool {
        core.before_append(topic, key, value);
        let is_acknowledged = core.send(topic, key, value);
        core.after_append(topic, key, value);
        is_acknowledged
    }

    /// Checks that a validated chain belongs to a record whose position is not committed yet.
    fn look_at_validation(&mut self, chain: &Arc<[u8]>, core: &mut Core) {
        let Some(running) = &self.running else {
            return;
        };
        if !running.records().any(|record| record.value == *chain) {
            let node = self.index;
            core.fail(Invariant::SettledIsDone, || {
                format!("node {node} works on a record whose position is settled")
            });
        }
    }

    /// Validates the request of an answer again.
    fn look_at_answer(&mut self, answer: &AnswerJob, core: &mut Core) {
        let now = self.now(core);
        let Some(running) = &self.running else {
            return;
        };
        let request = answer.request();
        let signer = request.chain().signers().last();
        let is_this = |value: &[u8]| {
            let Ok(chain) = UnverifiedChain::parse(value) else {
                return false;
            };
            let extra = chain
                .links()
                .last()
                .and_then(|leaf| Certificate::peek_extra(leaf));
            let random0 = extra.as_ref().and_then(|extra| extra.bytes().ok());
            random0 == Some(request.random0()) && chain.peek_signer().as_ref() == signer
        };
        let validates = |value: &[u8], at: Timestamp| {
            let demand = Demand::at(at)
                .topic(answer.root_topic().as_str())
                .usage(Usage::EncryptRequest);
            let chain = UnverifiedChain::parse(value);
            chain.and_then(|chain| chain.validate(running.trust.lists(), &demand))
        };
        let is_valid = running.records().any(|record| {
            let at = record.validated.unwrap_or(now.wall);
            is_this(&record.value) && validates(&record.value, at).is_ok()
        });
        if !is_valid {
            let node = self.index;
            core.fail(Invariant::OnlyValidRequestsAreAnswered, || {
                let requester = signer.map(VerifyingKey::fingerprint);
                format!("node {node} answers {requester:?}, whose request is not valid")
            });
        }
    }
}
