//! Replies to this node's requests.

use std::sync::Arc;

use super::tasks::{Record, Step, Task};
use super::{Effect, Exchange, KeyTableChange};
use crate::chain::{ChainError, ValidatedChain};
use crate::exchange::Refusal;
use crate::exchange::event::{ExchangeEvent, Party, Sender};
use crate::exchange::jobs::{Job, KemJob};
use crate::exchange::reply::KeyReply;
use crate::keys::VerifyingKey;
use crate::ratchet::TopicSecret;
use crate::types::{KeyId, Now};

impl Exchange {
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
        let giver: Arc<[VerifyingKey]> = chain.path().into();
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
        let Some(ephemerals) = self.wants.answerable(&task.root_topic, &random0) else {
            // Another reply was faster, and nothing more is wanted.
            return self.settle(task.position);
        };
        let job = Job::Kem(KemJob::Open {
            root_topic: task.root_topic.clone(),
            reply: Box::new(reply),
            ephemerals: Arc::clone(ephemerals),
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
        opened: Result<Vec<(KeyId, TopicSecret)>, Refusal>,
        now: Now,
    ) {
        let keys = match opened {
            Ok(keys) => keys,
            Err(refusal) => {
                return self.refuse(&task, record.side, Sender::Verified(party), refusal, now);
            }
        };
        let (keys, after) = self
            .wants
            .receive(&task.root_topic, random0, keys, now.mono);
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
