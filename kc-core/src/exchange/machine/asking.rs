//! Requests of this node, the replies to them, and the reasons why keys are missing.

use std::sync::Arc;
use std::time::Duration;

use super::dispatch::{Dispatch, Purpose};
use super::tasks::{Record, Step, Task};
use super::{Effect, Exchange, KeyTableChange, MAX_TICKETS};
use crate::chain::{ChainError, Usage, ValidIdentity, ValidatedChain};
use crate::exchange::Refusal;
use crate::exchange::event::{ExchangeEvent, Party, Sender};
use crate::exchange::jobs::{EphemeralKeys, Job, KemJob};
use crate::exchange::reply::KeyReply;
use crate::exchange::request::{
    NONCE_LEN, RequestForm, decode_key_ids, encode_key_ids, request_certificate,
};
use crate::exchange::wants::Due;
use crate::kem::{DecapsulationKey, PublicKey, Suite};
use crate::keys::VerifyingKey;
use crate::ratchet::DataKey;
use crate::types::{KeyId, Now, RootTopic, SideTopic};

const ASKING: &[Usage] = &[Usage::EncryptRequest, Usage::EncryptSubscribe];

impl Exchange {
    pub(super) fn ask(&mut self, now: Now) -> bool {
        if self.lacks_seeds() {
            return false;
        }
        let due = self
            .wants
            .next_due(|root_topic| self.has_ticket(root_topic));
        if due.is_none_or(|(due, _)| due > now.mono) {
            return false;
        }
        let Some(due) = due.map(|(_, root_topic)| root_topic.clone()) else {
            return false;
        };
        let Some(due) = self.wants.leave(&due, now) else {
            return false;
        };
        // This node receives replies only if it reads the topic.
        self.read(due.root_topic.clone(), SideTopic::Keys, now);
        let task = Task::new(&due.root_topic.clone(), None, self.trust, Step::Ask(due));
        self.with_identities(task, now);
        true
    }

    pub(super) fn send_request(
        &mut self,
        mut task: Task,
        due: Due,
        own: &[ValidIdentity],
        ephemerals: Arc<[DecapsulationKey]>,
        random0: [u8; NONCE_LEN],
        now: Now,
    ) {
        let mut messages = Vec::new();
        let validity = self.config.validity;
        for (form, keys) in offers(self.config.legacy, &ephemerals) {
            let certificate =
                request_certificate(&due.root_topic, form, &keys, &random0, validity, now.wall);
            messages.extend(own.iter().map(|identity| {
                let topics = if identity.may_request() {
                    vec![SideTopic::Requests, SideTopic::Subscriptions]
                } else {
                    vec![SideTopic::Subscriptions]
                };
                (identity.certify(&certificate), topics)
            }));
        }
        let direct = own.iter().any(ValidIdentity::may_request);
        let end = validity.end(now.wall);
        self.wants.sending(&due, random0, ephemerals, end, now.mono);
        task.step = Step::Dispatch(Dispatch::new(
            encode_key_ids(due.ids.iter()),
            messages.into_iter(),
            Purpose::Ask {
                due,
                random0,
                direct,
            },
        ));
        self.dispatch(task, now);
    }

    pub(super) fn look_up_grant(&mut self, now: Now) -> bool {
        let looking = |(_, task): &(Duration, Task)| matches!(task.step, Step::LookUpGrant);
        if self.tasks.values().any(looking) || self.running() >= MAX_TICKETS {
            return false;
        }
        let Some(root_topic) = self.wants.ungranted().cloned() else {
            return false;
        };
        let task = Task::new(&root_topic, None, self.trust, Step::LookUpGrant);
        let usages = ASKING;
        self.run(task, Job::Grant { root_topic, usages }, now);
        true
    }

    pub(super) fn tell_missing(&mut self, now: Now) -> bool {
        if self.missing_due.is_none_or(|due| due > now.mono) {
            return false;
        }
        self.missing_due = self.wants.next_unanswered(now.mono);
        for (root_topic, ids) in self.wants.newly_unanswered(now.mono) {
            self.report(ExchangeEvent::Unanswered { root_topic, ids });
        }
        let missing = self.wants.missing(now.mono);
        self.effects.push_back(Effect::Missing(missing));
        true
    }
}

/// Returns the forms in which a request is sent, each with the keys that it lists.
fn offers(legacy: bool, ephemerals: &[DecapsulationKey]) -> Vec<(RequestForm, Vec<PublicKey>)> {
    let public = |key: &DecapsulationKey| PublicKey::from(key.encapsulation_key().clone());
    let mut offers = vec![(RequestForm::List, ephemerals.iter().map(public).collect())];
    if legacy {
        let x25519 = |key: &&DecapsulationKey| key.encapsulation_key().suite() == Suite::X25519;
        let bare = ephemerals.iter().find(x25519).map(public);
        offers.extend(bare.map(|key| (RequestForm::Legacy, vec![key])));
    }
    offers
}

impl Exchange {
    /// Returns whether a reply to the request with this random value matters to this node.
    pub(super) fn awaits_reply(&self, root_topic: &RootTopic, random0: &[u8]) -> bool {
        let custody = self.custody.as_ref();
        self.wants.answerable(root_topic, random0).is_some()
            || self.is_own_request(root_topic, random0)
            || custody.is_some_and(|custody| custody.waits(root_topic, random0))
    }

    /// Returns whether a seed of this custodian made the random value of a request.
    fn is_own_request(&self, root_topic: &RootTopic, random0: &[u8]) -> bool {
        let custody = self.custody.as_ref();
        custody.is_some_and(|custody| custody.maker(root_topic, random0).is_some())
    }

    fn ephemerals(&self, root_topic: &RootTopic, random0: &[u8]) -> Option<EphemeralKeys> {
        if let Some(known) = self.wants.answerable(root_topic, random0) {
            return Some(EphemeralKeys::Known(Arc::clone(known)));
        }
        let (seed, random0) = self.custody.as_ref()?.maker(root_topic, random0)?;
        Some(EphemeralKeys::Derived {
            seed: Arc::clone(seed),
            random0,
            suites: self.config.suites.clone(),
        })
    }

    /// Records which keys a valid reply has named, for the answers of a custodian that wait.
    fn note_reply(&mut self, task: &Task, record: &Record, random0: &[u8]) {
        if let Some(custody) = &mut self.custody
            && let Ok(ids) = decode_key_ids(&record.kafka_key)
        {
            custody.note_reply(&task.root_topic, random0, &ids);
        }
    }

    pub(super) fn open_reply(
        &mut self,
        mut task: Task,
        record: Record,
        validated: Result<ValidatedChain, ChainError>,
        now: Now,
    ) {
        let chain = match validated {
            Ok(chain) => chain,
            Err(error) => return self.refuse_unverified(&task, &record, error.into(), now),
        };
        let giver: Arc<[VerifyingKey]> = chain.signers().into();
        let party = Party::of(&chain);
        let reply = KeyReply::from_chain(chain);
        let (reply, party) = match (reply, party) {
            (Ok(reply), Some(party)) => (reply, party),
            (Err(refusal), Some(party)) => {
                return self.refuse(&task, record.side, Sender::Verified(party), refusal, now);
            }
            (_, None) => return self.settle(task.position),
        };
        let random0 = reply.random0().to_vec();
        self.note_reply(&task, &record, &random0);
        let Some(ephemerals) = self.ephemerals(&task.root_topic, &random0) else {
            // Another reply was faster, and no other key is wanted; or it is a reply to another node.
            return self.settle(task.position);
        };
        let job = Job::Kem(KemJob::Open {
            root_topic: task.root_topic.clone(),
            reply: Box::new(reply),
            ephemerals,
        });
        task.step = Step::OpenReply(record, giver, party, random0);
        self.run(task, job, now);
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a step, taken apart once"
    )]
    pub(super) fn take_keys(
        &mut self,
        task: Task,
        record: Record,
        giver: Arc<[VerifyingKey]>,
        party: Party,
        random0: &[u8],
        opened: Result<Vec<(KeyId, DataKey)>, Refusal>,
        now: Now,
    ) {
        let keys = match opened {
            Ok(keys) => keys,
            Err(refusal) => {
                return self.refuse(&task, record.side, Sender::Verified(party), refusal, now);
            }
        };
        // A custodian takes all keys that it has ever asked for: it knows only its latest requests.
        let takes_all = self.is_own_request(&task.root_topic, random0);
        if let Some(custody) = self.custody.as_mut().filter(|_| takes_all) {
            custody.note_processed(&record.value);
        }
        let (keys, after) =
            self.wants
                .receive(&task.root_topic, random0, keys, takes_all, now.mono);
        if keys.is_empty() {
            // Another reply was faster.
            return self.settle(task.position);
        }
        let root_topic = task.root_topic.clone();
        let ids = keys.iter().map(|(id, _)| *id).collect();
        self.effects.push_back(Effect::Table(KeyTableChange {
            root_topic: root_topic.clone(),
            keys,
            giver,
        }));
        self.report(ExchangeEvent::Received {
            root_topic,
            ids,
            giver: party,
            after,
        });
        self.missing_due = Some(now.mono);
        self.settle(task.position);
    }
}
