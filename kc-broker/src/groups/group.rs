//! The state machine of one classic consumer group (the rebalance protocol of KIP-62, with the member ids of KIP-394).
//! It does no I/O: callers pass the time, and match the answers to requests by their [`Ticket`].
//!
//! A group is `Empty` until the first join. In the state `Preparing`, members join, until all members have joined or
//! the deadline has passed. In the state `Completing`, the group waits for the sync request of the leader, which
//! contains the assignments of all members. After this request, the group is `Stable`. A change of the members leads
//! back to `Preparing`, and the loss of the last member to `Empty`.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka_protocol::error::ResponseError;

use super::member::{JoinRequest, Joined, Member, Reply, SyncRequest, Synced, Ticket, Waiting};
use crate::limits::INITIAL_REBALANCE_DELAY;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Empty,
    /// The members join. If `initial` is true, the group was empty before, and waits until the deadline even if all
    /// members have joined.
    Preparing {
        deadline: Instant,
        initial: bool,
    },
    Completing {
        deadline: Instant,
    },
    Stable,
}

impl State {
    /// Returns the name of the state in the Kafka protocol.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Preparing { .. } => "PreparingRebalance",
            Self::Completing { .. } => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Group {
    state: State,
    generation: i32,
    protocol_type: String,
    protocol: String,
    leader: Option<String>,
    members: BTreeMap<String, Member>,
    /// The member ids that clients have received but not yet used in a join request, with the times at which these ids
    /// expire.
    pending: BTreeMap<String, Instant>,
    replies: Vec<Reply>,
}

impl Group {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Empty,
            generation: 0,
            protocol_type: String::new(),
            protocol: String::new(),
            leader: None,
            members: BTreeMap::new(),
            pending: BTreeMap::new(),
            replies: Vec::new(),
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    pub(crate) fn protocol_type(&self) -> &str {
        &self.protocol_type
    }

    /// Returns the protocol of the current generation or, during a rebalance, of the last generation. The result is
    /// empty while the group is `Empty`, and during the first rebalance after that.
    pub(crate) fn protocol(&self) -> &str {
        &self.protocol
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &Member)> {
        self.members
            .iter()
            .map(|(id, member)| (id.as_str(), member))
    }

    /// Returns the id of the member with this instance id.
    pub(crate) fn instance(&self, instance_id: &str) -> Option<&str> {
        let mut members = self.members();
        members
            .find(|(_, m)| m.instance_id.as_deref() == Some(instance_id))
            .map(|(id, _)| id)
    }

    /// Returns the number of members and of pending member ids together.
    pub(crate) fn size(&self) -> usize {
        self.members.len() + self.pending.len()
    }

    /// Returns the answers that became due after the last call.
    pub(crate) fn take_replies(&mut self) -> Vec<Reply> {
        std::mem::take(&mut self.replies)
    }

    /// Adds a member, or lets a member join again. The answer has this `ticket`.
    pub(crate) fn join(&mut self, now: Instant, ticket: Ticket, request: JoinRequest) {
        if let Err(error) = self.admit(now, ticket, request) {
            self.replies.push(Reply::Join(ticket, Err(error)));
        }
    }

    fn admit(
        &mut self,
        now: Instant,
        ticket: Ticket,
        request: JoinRequest,
    ) -> Result<(), ResponseError> {
        self.check_protocols(&request)?;
        let id = if request.member_id.is_empty() {
            if let Some(instance) = &request.instance_id {
                self.replace_instance(instance);
            } else if request.id_required {
                let lapses = now + request.session_timeout;
                self.pending.insert(request.new_id.clone(), lapses);
                let joined = Joined::IdRequired(request.new_id);
                self.replies.push(Reply::Join(ticket, Ok(joined)));
                return Ok(());
            }
            request.new_id.clone()
        } else {
            let id = request.member_id.clone();
            if self.pending.remove(&id).is_none() && !self.members.contains_key(&id) {
                return Err(ResponseError::UnknownMemberId);
            }
            id
        };
        let known = self.members.get(&id);
        let unchanged = known.is_some_and(|m| m.protocols == request.protocols);
        let leads = self.leader.as_ref() == Some(&id);
        self.protocol_type.clone_from(&request.protocol_type);
        self.put_member(now, &id, ticket, request);
        match self.state {
            State::Completing { .. } if unchanged => self.answer_join(&id, now),
            State::Stable if unchanged && !leads => self.answer_join(&id, now),
            State::Preparing { .. } => self.complete_if_ready(now),
            State::Empty | State::Completing { .. } | State::Stable => self.prepare(now),
        }
        Ok(())
    }

    fn check_protocols(&self, request: &JoinRequest) -> Result<(), ResponseError> {
        let others = || {
            let mut others = self.members.iter();
            let own = request.member_id.as_str();
            std::iter::from_fn(move || others.next()).filter(move |(id, _)| *id != own)
        };
        let mut offered = request.protocols.iter();
        let common = offered.any(|(name, _)| others().all(|(_, m)| m.supports(name)));
        let same_type = others().next().is_none() || self.protocol_type == request.protocol_type;
        if common && same_type && !request.protocol_type.is_empty() {
            Ok(())
        } else {
            Err(ResponseError::InconsistentGroupProtocol)
        }
    }

    /// Removes the old member id of a static member that has restarted. The removal itself starts no rebalance.
    fn replace_instance(&mut self, instance_id: &str) {
        let Some(old) = self.instance(instance_id).map(str::to_owned) else {
            return;
        };
        if let Some(member) = self.members.remove(&old) {
            self.refuse(member.waiting, ResponseError::FencedInstanceId);
        }
        self.leader.take_if(|leader| *leader == old);
    }

    fn put_member(&mut self, now: Instant, id: &str, ticket: Ticket, request: JoinRequest) {
        let member = Member {
            instance_id: request.instance_id,
            client_id: request.client_id,
            client_host: request.client_host,
            session_timeout: request.session_timeout,
            rebalance_timeout: request.rebalance_timeout,
            protocols: request.protocols,
            assignment: self
                .members
                .get(id)
                .map(|m| m.assignment.clone())
                .unwrap_or_default(),
            waiting: Waiting::Join(ticket),
            expires: now + request.session_timeout,
        };
        if let Some(before) = self.members.insert(id.to_owned(), member) {
            self.refuse(before.waiting, ResponseError::RebalanceInProgress);
        }
        self.leader.get_or_insert_with(|| id.to_owned());
    }

    /// Requests the assignment of a member. The request of the leader contains all assignments. The answer has this
    /// `ticket`.
    pub(crate) fn sync(&mut self, now: Instant, ticket: Ticket, request: SyncRequest) {
        if let Err(error) = self.accept_sync(now, ticket, request) {
            self.replies.push(Reply::Sync(ticket, Err(error)));
        }
    }

    fn accept_sync(
        &mut self,
        now: Instant,
        ticket: Ticket,
        request: SyncRequest,
    ) -> Result<(), ResponseError> {
        self.check_generation(&request.member_id, request.generation)?;
        let differs = |asked: Option<String>, ours: &str| asked.is_some_and(|asked| asked != ours);
        if matches!(self.state, State::Preparing { .. } | State::Empty) {
            return Err(ResponseError::RebalanceInProgress);
        }
        if differs(request.protocol_type, &self.protocol_type)
            || differs(request.protocol, &self.protocol)
        {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        if let Some(member) = self.members.get_mut(&request.member_id) {
            let before = std::mem::replace(&mut member.waiting, Waiting::Sync(ticket));
            self.refuse(before, ResponseError::RebalanceInProgress);
        }
        if matches!(self.state, State::Completing { .. })
            && self.leader.as_ref() == Some(&request.member_id)
        {
            for (id, assignment) in request.assignments {
                if let Some(member) = self.members.get_mut(&id) {
                    member.assignment = assignment;
                }
            }
            self.state = State::Stable;
        }
        if self.state == State::Stable {
            self.answer_syncs(now);
        }
        Ok(())
    }

    fn answer_syncs(&mut self, now: Instant) {
        for member in self.members.values_mut() {
            if let Waiting::Sync(ticket) = member.waiting {
                member.waiting = Waiting::Nothing;
                member.heard_of(now);
                let synced = Synced {
                    protocol_type: self.protocol_type.clone(),
                    protocol: self.protocol.clone(),
                    assignment: member.assignment.clone(),
                };
                self.replies.push(Reply::Sync(ticket, Ok(synced)));
            }
        }
    }

    /// Extends a member's session. Returns `RebalanceInProgress` in the state `Preparing`: the member must join again.
    pub(crate) fn heartbeat(
        &mut self,
        now: Instant,
        member_id: &str,
        generation: i32,
    ) -> Result<(), ResponseError> {
        self.check_generation(member_id, generation)?;
        self.refresh(now, member_id);
        match self.state {
            State::Preparing { .. } => Err(ResponseError::RebalanceInProgress),
            State::Empty | State::Completing { .. } | State::Stable => Ok(()),
        }
    }

    /// Checks that this member may commit offsets now, and extends the member's session. While the group has no
    /// members, a client may commit without a member id and with a generation below 0.
    pub(crate) fn may_commit(
        &mut self,
        now: Instant,
        member_id: &str,
        generation: i32,
    ) -> Result<(), ResponseError> {
        if generation < 0 && member_id.is_empty() && self.state == State::Empty {
            return Ok(());
        }
        self.check_generation(member_id, generation)?;
        self.refresh(now, member_id);
        match self.state {
            State::Completing { .. } => Err(ResponseError::RebalanceInProgress),
            State::Empty | State::Preparing { .. } | State::Stable => Ok(()),
        }
    }

    /// Removes a member or a pending member id.
    pub(crate) fn leave(&mut self, now: Instant, member_id: &str) -> Result<(), ResponseError> {
        if self.pending.remove(member_id).is_some() {
            self.complete_if_ready(now);
            return Ok(());
        }
        if !self.members.contains_key(member_id) {
            return Err(ResponseError::UnknownMemberId);
        }
        self.remove(member_id);
        self.rebalance_after_loss(now);
        Ok(())
    }

    /// Returns the time at which [`expire`](Self::expire) must be called next, or `None` if nothing can expire. A
    /// change of the group may change this time.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let phase = match self.state {
            State::Preparing { deadline, .. } | State::Completing { deadline } => Some(deadline),
            State::Empty | State::Stable => None,
        };
        let silent = self
            .members
            .values()
            .filter(|m| m.waiting == Waiting::Nothing);
        let pending = self.pending.values().copied();
        silent.map(|m| m.expires).chain(pending).chain(phase).min()
    }

    /// Removes pending member ids that have expired, and members whose session has ended. If the deadline of
    /// `Preparing` or `Completing` has passed, removes also the members that do not wait for an answer, and continues
    /// with the others.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.pending.retain(|_, lapses| *lapses > now);
        let dead = |m: &Member| m.waiting == Waiting::Nothing && m.expires <= now;
        if self.remove_all(dead) {
            self.rebalance_after_loss(now);
        }
        match self.state {
            State::Completing { deadline } if deadline <= now => {
                self.remove_all(|m| m.waiting == Waiting::Nothing);
                self.rebalance_after_loss(now);
            }
            State::Preparing { .. } => self.complete_if_ready(now),
            State::Empty | State::Completing { .. } | State::Stable => {}
        }
    }

    fn check_generation(&self, member_id: &str, generation: i32) -> Result<(), ResponseError> {
        if !self.members.contains_key(member_id) {
            Err(ResponseError::UnknownMemberId)
        } else if generation != self.generation {
            Err(ResponseError::IllegalGeneration)
        } else {
            Ok(())
        }
    }

    fn refresh(&mut self, now: Instant, member_id: &str) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.heard_of(now);
        }
    }

    fn remove_all(&mut self, gone: impl Fn(&Member) -> bool) -> bool {
        let ids = self.members.iter().filter(|(_, m)| gone(m));
        let ids: Vec<String> = ids.map(|(id, _)| id.clone()).collect();
        ids.iter().for_each(|id| self.remove(id));
        !ids.is_empty()
    }

    fn remove(&mut self, member_id: &str) {
        if let Some(member) = self.members.remove(member_id) {
            self.refuse(member.waiting, ResponseError::UnknownMemberId);
        }
        self.leader.take_if(|leader| leader == member_id);
    }

    fn refuse(&mut self, waiting: Waiting, error: ResponseError) {
        match waiting {
            Waiting::Nothing => {}
            Waiting::Join(ticket) => self.replies.push(Reply::Join(ticket, Err(error))),
            Waiting::Sync(ticket) => self.replies.push(Reply::Sync(ticket, Err(error))),
        }
    }

    /// Starts a rebalance: all members must join again.
    fn prepare(&mut self, now: Instant) {
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

    /// Continues after the loss of members: the group becomes empty, or the other members rebalance.
    fn rebalance_after_loss(&mut self, now: Instant) {
        if self.members.is_empty() {
            self.become_empty();
        } else if matches!(self.state, State::Preparing { .. }) {
            self.complete_if_ready(now);
        } else {
            self.prepare(now);
        }
    }

    /// Ends `Preparing` if its deadline has passed. A group that was not empty before does not wait for the deadline if
    /// all members have joined and no member id is pending. Removes the members that have not joined.
    fn complete_if_ready(&mut self, now: Instant) {
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

    /// Starts a new generation: selects the leader and the protocol, and answers all joins.
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

    /// Answers the waiting join request of this member, if there is one, with the state of the current generation.
    fn answer_join(&mut self, id: &str, now: Instant) {
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
