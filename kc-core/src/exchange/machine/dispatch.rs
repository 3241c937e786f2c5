//! Outgoing messages, which are signed and sent one after the other.

use std::collections::VecDeque;
use std::sync::Arc;

use super::tasks::{Step, Task};
use super::{Exchange, MAX_ATTEMPTS, Position, RETRY_DELAY, retry_delay};
use crate::chain::ToBeSigned;
use crate::exchange::event::{ExchangeEvent, Party};
use crate::exchange::jobs::{Failure, Job, OutRecord, Output};
use crate::exchange::replays::RequestId;
use crate::exchange::request::NONCE_LEN;
use crate::exchange::wants::Due;
use crate::types::{KeyId, Now, RootTopic, SideTopic};

/// A sequence of messages to sign and send.
#[derive(Debug)]
pub(super) struct Dispatch {
    purpose: Purpose,
    kafka_key: Arc<[u8]>,
    unsigned: VecDeque<(Arc<ToBeSigned>, Vec<SideTopic>)>,
    /// The message being sent, and the topics to which it must still be sent.
    signed: Option<(Arc<[u8]>, VecDeque<SideTopic>)>,
    /// True if at least one message of this dispatch has reached a topic.
    sent: bool,
    /// The reason why a signed message could not be sent.
    failure: Option<Failure>,
}

#[derive(Debug)]
pub(super) enum Purpose {
    Ask {
        due: Due,
        random0: [u8; NONCE_LEN],
        direct: bool,
    },
    Answer {
        id: RequestId,
        ids: Vec<KeyId>,
        requester: Party,
    },
    Forward {
        id: RequestId,
        ids: Vec<KeyId>,
        requester: Party,
    },
}

impl Exchange {
    /// Signs and sends the next message of a dispatch, or ends the dispatch.
    pub(super) fn dispatch(&mut self, mut task: Task, now: Now) {
        let Step::Dispatch(mut dispatch) = task.take_step() else {
            return;
        };
        // The lists have changed since the chain of the requester was validated: the requester may be denied. It asks
        // again if it is not.
        let is_own = matches!(dispatch.purpose, Purpose::Ask { .. });
        if !is_own && task.trust != self.trust {
            dispatch.give_up();
        }
        if let Some((value, topics)) = &mut dispatch.signed
            && let Some(side) = topics.front()
        {
            let job = Job::Send(OutRecord {
                root_topic: task.root_topic.clone(),
                side: *side,
                kafka_key: Arc::clone(&dispatch.kafka_key),
                value: Arc::clone(value),
            });
            task.step = Step::Dispatch(dispatch);
            return self.run(task, job, now);
        }
        dispatch.signed = None;
        match dispatch.unsigned.front() {
            Some((message, _)) => {
                let job = Job::Sign(Arc::clone(message));
                task.step = Step::Dispatch(dispatch);
                self.run(task, job, now);
            }
            None => self.end_dispatch(task.root_topic, task.position, dispatch, now),
        }
    }

    pub(super) fn continue_dispatch(
        &mut self,
        mut task: Task,
        mut dispatch: Dispatch,
        result: Result<Output, Failure>,
        now: Now,
    ) {
        let is_sending = dispatch.signed.is_some();
        match result {
            Ok(Output::Signed(signed)) if !is_sending => {
                if let Some((message, topics)) = dispatch.unsigned.pop_front()
                    && let Ok(value) = message.finish(&signed)
                {
                    dispatch.signed = Some((value.into(), topics.into()));
                }
            }
            Ok(Output::Done) if is_sending => {
                if let Purpose::Ask {
                    due,
                    random0,
                    direct,
                } = &dispatch.purpose
                    && !dispatch.sent
                {
                    self.wants.sent(due, random0, now.mono);
                    self.missing_due = Some(now.mono);
                    self.report(ExchangeEvent::Requested {
                        root_topic: task.root_topic.clone(),
                        ids: due.ids.clone(),
                        direct: *direct,
                    });
                }
                dispatch.sent_one();
            }
            Err(failure) if is_sending => {
                let is_retriable =
                    matches!(&failure, Failure::Backend(error) if error.is_retriable());
                dispatch.failure = Some(failure);
                task.attempts += 1;
                let vouches = matches!(dispatch.purpose, Purpose::Forward { .. });
                // A controller tries again before the dispatch ends, because the position of the request is committed
                // when the dispatch ends.
                if vouches && is_retriable && task.attempts < MAX_ATTEMPTS {
                    task.step = Step::Dispatch(dispatch);
                    self.retries.push((now.mono + RETRY_DELAY, task));
                    return;
                }
                dispatch.failed_one();
            }
            // The message cannot be signed at present; the signer reports the reason.
            _ => {
                dispatch.unsigned.pop_front();
            }
        }
        task.step = Step::Dispatch(dispatch);
        self.dispatch(task, now);
    }

    pub(super) fn end_dispatch(
        &mut self,
        root_topic: RootTopic,
        position: Option<Position>,
        dispatch: Dispatch,
        now: Now,
    ) {
        let Dispatch {
            purpose,
            sent,
            failure,
            ..
        } = dispatch;
        match purpose {
            Purpose::Ask { .. } if sent => {}
            Purpose::Ask { due, random0, .. } => {
                let is_signed = failure.is_some();
                let error = failure.and_then(Failure::into_backend);
                let until = now.mono + retry_delay(error.as_ref(), RETRY_DELAY);
                self.wants.unsent(&due, Some(&random0), until);
                if is_signed {
                    self.report(ExchangeEvent::NotSent { root_topic, error });
                }
            }
            Purpose::Answer { id, ids, requester } => {
                if sent {
                    self.report(ExchangeEvent::Answered {
                        root_topic,
                        ids,
                        requester,
                    });
                } else {
                    self.answered.forget(&id);
                }
            }
            Purpose::Forward { id, ids, requester } => {
                if sent {
                    self.report(ExchangeEvent::Forwarded {
                        root_topic,
                        ids,
                        requester,
                    });
                } else {
                    self.forwarded.forget(&id);
                }
            }
        }
        self.settle(position);
    }
}

impl Dispatch {
    pub(super) fn new(
        kafka_key: Vec<u8>,
        messages: impl Iterator<Item = (ToBeSigned, Vec<SideTopic>)>,
        purpose: Purpose,
    ) -> Self {
        Self {
            purpose,
            kafka_key: kafka_key.into(),
            unsigned: messages
                .map(|(message, topics)| (Arc::new(message), topics))
                .collect(),
            signed: None,
            sent: false,
            failure: None,
        }
    }

    /// Records that the message being sent has reached a topic.
    fn sent_one(&mut self) {
        self.sent = true;
        if let Some((_, topics)) = &mut self.signed {
            topics.pop_front();
        }
    }

    /// Drops the messages that have not been sent.
    fn give_up(&mut self) {
        self.unsigned.clear();
        self.signed = None;
    }

    /// Records that the message being sent has not reached a topic. The message is not sent to further topics, so that
    /// a request that did not reach the producers does not go to controllers alone.
    fn failed_one(&mut self) {
        if let Some((_, topics)) = &mut self.signed {
            topics.clear();
        }
    }
}
