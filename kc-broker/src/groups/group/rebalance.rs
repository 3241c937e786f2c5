//! The rounds of a rebalance: from `Preparing` to the answers to all joins.

use std::time::{Duration, Instant};

use kafka_protocol::error::ResponseError;

use super::{Group, Joined, Reply, State, Waiting};
use crate::limits::INITIAL_REBALANCE_DELAY;

impl Group {
    /// Begins a rebalance: all members are to join again.
    pub(super) fn prepare(&mut self, now: Instant) {
        let mut interrupted = Vec::new();
        for member in self.members.values_mut() {
            if let Waiting::Sync(_) = member.waiting {
                interrupted.push(std::mem::replace(&mut member.waiting, Waiting::Nothing));
                member.heard_of(now);
            }
        }
        for waiting in interrupted {
            self.refuse(waiting, ResponseError::RebalanceInProgress);
        }
        let initial = self.state == State::Empty;
        let patience = if initial {
            INITIAL_REBALANCE_DELAY
        } else {
            self.longest_rebalance_timeout()
        };
        self.state = State::Preparing {
            deadline: now + patience,
            initial,
        };
        self.complete_if_ready(now);
    }

    /// After members are gone: an empty group, or a rebalance among those who remain.
    pub(super) fn rebalance_after_loss(&mut self, now: Instant) {
        if self.members.is_empty() {
            self.become_empty();
        } else if matches!(self.state, State::Preparing { .. }) {
            self.complete_if_ready(now);
        } else {
            self.prepare(now);
        }
    }

    /// Ends `Preparing` when its time is up, or all are there and no one is expected.
    pub(super) fn complete_if_ready(&mut self, now: Instant) {
        let State::Preparing { deadline, initial } = self.state else {
            return;
        };
        let mut members = self.members.values();
        let all_joined = members.all(|m| matches!(m.waiting, Waiting::Join(_)));
        let ready = all_joined && !initial && self.pending.is_empty();
        if !ready && now < deadline {
            return;
        }
        self.remove_all(|m| !matches!(m.waiting, Waiting::Join(_)));
        if self.members.is_empty() {
            self.become_empty();
        } else {
            self.complete(now);
        }
    }

    /// A new generation: chooses leader and protocol and answers all joins.
    fn complete(&mut self, now: Instant) {
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        if self.leader.is_none() {
            self.leader = self.members.keys().next().cloned();
        }
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id));
        let preferred = leader.map(|m| m.protocols.as_slice()).unwrap_or_default();
        let common = preferred
            .iter()
            .find(|(name, _)| self.members.values().all(|m| m.supports(name)));
        self.protocol = common.map(|(name, _)| name.clone()).unwrap_or_default();
        self.state = State::Completing {
            deadline: now + self.longest_rebalance_timeout(),
        };
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in &ids {
            self.answer_join(id, now);
        }
    }

    /// Tells a member the state of the current generation.
    pub(super) fn answer_join(&mut self, id: &str, now: Instant) {
        let leader = self.leader.clone().unwrap_or_default();
        let members = if leader == id {
            let metadata = self.members.iter().map(|(id, m)| {
                let metadata = m.metadata(&self.protocol);
                (id.clone(), m.instance_id.clone(), metadata)
            });
            metadata.collect()
        } else {
            Vec::new()
        };
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        member.heard_of(now);
        if let Waiting::Join(ticket) = std::mem::replace(&mut member.waiting, Waiting::Nothing) {
            let joined = Joined::Member {
                generation: self.generation,
                protocol_type: self.protocol_type.clone(),
                protocol: self.protocol.clone(),
                leader,
                member_id: id.to_owned(),
                members,
            };
            self.replies.push(Reply::Join(ticket, Ok(joined)));
        }
    }

    fn become_empty(&mut self) {
        self.state = State::Empty;
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.protocol.clear();
        self.leader = None;
    }

    fn longest_rebalance_timeout(&self) -> Duration {
        let timeouts = self.members.values().map(|m| m.rebalance_timeout);
        timeouts.max().unwrap_or_default()
    }
}
