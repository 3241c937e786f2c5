//! Requests of others: answered, or vouched for.

use std::sync::Arc;

use super::Exchange;
use super::dispatch::{Dispatch, Purpose};
use super::tasks::{Record, Step, Task};
use crate::chain::{ChainError, ToBeSigned, ValidIdentity, ValidatedChain};
use crate::exchange::event::{Party, Sender};
use crate::exchange::replays::RequestId;
use crate::exchange::request::{KeyRequest, decode_key_ids, encode_key_ids};
use crate::exchange::{Refusal, forward_request};
use crate::ratchet::TopicSecret;
use crate::types::{KeyId, Now, SideTopic};

impl Exchange {
    pub(super) fn accept_request(
        &mut self,
        mut task: Task,
        record: Record,
        id: RequestId,
        keys: Vec<(KeyId, TopicSecret)>,
        validated: Result<ValidatedChain, ChainError>,
        now: Now,
    ) {
        let request = match self.request_of(&task, &record, validated, now) {
            Some(request) => request,
            None => return,
        };
        if self.answered.contain(&id) {
            return self.settle(task.position);
        }
        let end = request.chain().max_age().timestamp();
        self.answered.remember(id.clone(), end);
        task.step = Step::Compose(record, id, Arc::new(request), keys);
        self.with_identities(task, now);
    }

    /// A validated chain as a request; settles the record if it is none.
    pub(super) fn request_of(
        &mut self,
        task: &Task,
        record: &Record,
        validated: Result<ValidatedChain, ChainError>,
        now: Now,
    ) -> Option<KeyRequest> {
        let chain = match validated {
            Ok(chain) => chain,
            Err(error) => {
                self.refuse_unverified(task, record, error.into(), now);
                return None;
            }
        };
        let sender = Party::of(&chain).map_or(Sender::Unknown, Sender::Verified);
        match KeyRequest::from_chain(chain) {
            Ok(request) => Some(request),
            Err(refusal) => {
                self.refuse(task, record.side, sender, refusal, now);
                None
            }
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a step, taken apart once"
    )]
    pub(super) fn send_answer(
        &mut self,
        mut task: Task,
        record: Record,
        id: RequestId,
        request: &KeyRequest,
        ids: Vec<KeyId>,
        answers: Result<Vec<ToBeSigned>, Refusal>,
        now: Now,
    ) {
        let party = Party::of(request.chain());
        let (answers, requester) = match (answers, party) {
            (Ok(answers), Some(party)) => (answers, party),
            (Err(refusal), party) => {
                let sender = party.map_or(Sender::Unknown, Sender::Verified);
                return self.refuse(&task, record.side, sender, refusal, now);
            }
            (_, None) => return self.settle(task.position),
        };
        task.step = Step::Dispatch(Dispatch::new(
            encode_key_ids(ids.iter()),
            answers
                .into_iter()
                .map(|answer| (answer, vec![SideTopic::Keys])),
            Purpose::Answer { id, ids, requester },
        ));
        self.dispatch(task, now);
    }

    pub(super) fn accept_forward(
        &mut self,
        mut task: Task,
        record: Record,
        id: RequestId,
        validated: Result<ValidatedChain, ChainError>,
        now: Now,
    ) {
        let Some(request) = self.request_of(&task, &record, validated, now) else {
            return;
        };
        if self.forwarded.contain(&id) {
            return self.settle(task.position);
        }
        let end = request.chain().max_age().timestamp();
        self.forwarded.remember(id.clone(), end);
        task.step = Step::Forward(record, id, Arc::new(request));
        self.with_identities(task, now);
    }

    pub(super) fn forward(
        &mut self,
        mut task: Task,
        record: Record,
        id: RequestId,
        request: &KeyRequest,
        own: &[ValidIdentity],
        now: Now,
    ) {
        let validity = self.config.validity;
        let forwarded = forward_request(&task.root_topic, request, own, validity, now.wall);
        let (forwarded, requester) = match (forwarded, Party::of(request.chain())) {
            (Ok(forwarded), Some(party)) => (forwarded, party),
            (Err(refusal), party) => {
                let sender = party.map_or(Sender::Unknown, Sender::Verified);
                return self.refuse(&task, record.side, sender, refusal, now);
            }
            (_, None) => return self.settle(task.position),
        };
        let ids = decode_key_ids(&record.kafka_key).unwrap_or_default();
        task.step = Step::Dispatch(Dispatch::new(
            record.kafka_key.to_vec(),
            forwarded
                .into_iter()
                .map(|message| (message, vec![SideTopic::Requests])),
            Purpose::Forward { id, ids, requester },
        ));
        self.dispatch(task, now);
    }
}
