//! All consumer groups of the broker, their committed offsets, and the requests that wait for answers.

mod group;
mod member;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use kafka_protocol::error::ResponseError;
use tokio::sync::oneshot;

pub(crate) use group::Group;
pub(crate) use member::{Assignment, JoinRequest, Joined, Member, SyncRequest, Synced};

use self::group::State;
use self::member::{Reply, Ticket};
use crate::limits::{MAX_COMMITTED_OFFSETS, MAX_GROUPS, MAX_MEMBERS};

type JoinResult = Result<Joined, ResponseError>;
type SyncResult = Result<Synced, ResponseError>;

/// A consumer group and the offsets that were committed for it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) group: Group,
    pub(crate) offsets: Offsets,
}

/// The reason why a group was not deleted.
pub(crate) enum DeleteError {
    NotFound,
    NotEmpty,
}

#[derive(Debug, Default)]
pub(crate) struct Groups {
    entries: BTreeMap<String, Entry>,
    joins: HashMap<Ticket, oneshot::Sender<JoinResult>>,
    syncs: HashMap<Ticket, oneshot::Sender<SyncResult>>,
    last_ticket: u64,
}

impl Groups {
    pub(crate) fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries
            .iter()
            .map(|(name, entry)| (name.as_str(), entry))
    }

    /// Adds a member to a group, or lets a member join again. Creates the group if it does not exist. The returned
    /// receiver gets the answer.
    pub(crate) fn join(
        &mut self,
        now: Instant,
        name: &str,
        request: JoinRequest,
    ) -> Result<oneshot::Receiver<JoinResult>, ResponseError> {
        let members: usize = self.entries.values().map(|e| e.group.size()).sum();
        if members >= MAX_MEMBERS && request.member_id.is_empty() {
            tracing::warn!(
                limit = MAX_MEMBERS,
                "member refused: too many group members"
            );
            return Err(ResponseError::GroupMaxSizeReached);
        }
        let ticket = self.next_ticket();
        let (sender, receiver) = oneshot::channel();
        self.joins.insert(ticket, sender);
        let joined = self.change_or_create(name, |e| e.group.join(now, ticket, request));
        if let Err(error) = joined {
            self.joins.remove(&ticket);
            return Err(error);
        }
        Ok(receiver)
    }

    /// Requests the assignment of a member. The returned receiver gets the answer.
    pub(crate) fn sync(
        &mut self,
        now: Instant,
        name: &str,
        request: SyncRequest,
    ) -> Result<oneshot::Receiver<SyncResult>, ResponseError> {
        let ticket = self.next_ticket();
        let (sender, receiver) = oneshot::channel();
        self.syncs.insert(ticket, sender);
        let synced = self.change(name, |e| e.group.sync(now, ticket, request));
        if synced.is_none() {
            self.syncs.remove(&ticket);
            return Err(ResponseError::UnknownMemberId);
        }
        Ok(receiver)
    }

    pub(crate) fn heartbeat(
        &mut self,
        now: Instant,
        name: &str,
        member_id: &str,
        generation: i32,
    ) -> Result<(), ResponseError> {
        self.change(name, |e| e.group.heartbeat(now, member_id, generation))
            .unwrap_or(Err(ResponseError::UnknownMemberId))
    }

    /// Removes the member with this member id. If the member id is empty, removes the member with this instance id.
    pub(crate) fn leave(
        &mut self,
        now: Instant,
        name: &str,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), ResponseError> {
        let left = self.change(name, |e| match instance_id {
            Some(instance) if member_id.is_empty() => {
                let id = e.group.instance(instance).map(str::to_owned);
                e.group.leave(now, &id.unwrap_or_default())
            }
            _ => e.group.leave(now, member_id),
        });
        left.unwrap_or(Err(ResponseError::UnknownMemberId))
    }

    /// Checks that this member may commit offsets now. If the group does not exist or has no members, a client may
    /// commit without a member id and with a generation below 0.
    pub(crate) fn may_commit(
        &mut self,
        now: Instant,
        name: &str,
        member_id: &str,
        generation: i32,
    ) -> Result<(), ResponseError> {
        if generation < 0 && member_id.is_empty() && !self.entries.contains_key(name) {
            return self.check_room();
        }
        self.change(name, |e| e.group.may_commit(now, member_id, generation))
            .unwrap_or(Err(ResponseError::IllegalGeneration))
    }

    /// Stores an offset. The caller must have called [`may_commit`](Self::may_commit) before. Creates the group if it
    /// does not exist.
    pub(crate) fn commit(
        &mut self,
        name: &str,
        topic: &str,
        partition: i32,
        committed: Committed,
    ) -> Result<(), ResponseError> {
        let before = self.get(name).and_then(|e| e.offsets.get(topic, partition));
        let total: usize = self.entries.values().map(|e| e.offsets.len()).sum();
        if before.is_none() && total >= MAX_COMMITTED_OFFSETS {
            tracing::warn!(
                limit = MAX_COMMITTED_OFFSETS,
                "commit refused: too many committed offsets"
            );
            return Err(ResponseError::PolicyViolation);
        }
        self.change_or_create(name, |e| e.offsets.insert(topic, partition, committed))
    }

    /// Deletes a group that has no members.
    pub(crate) fn delete(&mut self, name: &str) -> Result<(), DeleteError> {
        let entry = self.entries.get(name).ok_or(DeleteError::NotFound)?;
        if entry.group.state() != State::Empty {
            return Err(DeleteError::NotEmpty);
        }
        self.entries.remove(name);
        Ok(())
    }

    /// Removes the committed offsets of a deleted topic from all groups.
    pub(crate) fn topic_deleted(&mut self, topic: &str) {
        for entry in self.entries.values_mut() {
            entry.offsets.remove_topic(topic);
        }
        self.drop_unused();
    }

    /// Returns the time at which [`expire`](Self::expire) must be called next, or `None` if nothing can expire. A
    /// change of a group may change this time.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let deadlines = self.entries.values();
        deadlines.filter_map(|e| e.group.next_deadline()).min()
    }

    /// Ends the sessions and the rebalances whose deadline has passed.
    pub(crate) fn expire(&mut self, now: Instant) {
        let mut replies = Vec::new();
        for entry in self.entries.values_mut() {
            entry.group.expire(now);
            replies.append(&mut entry.group.take_replies());
        }
        self.send(replies);
        self.drop_unused();
    }

    fn next_ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }

    fn check_room(&self) -> Result<(), ResponseError> {
        if self.entries.len() < MAX_GROUPS {
            return Ok(());
        }
        tracing::warn!(
            limit = MAX_GROUPS,
            "new group refused: too many consumer groups"
        );
        Err(ResponseError::PolicyViolation)
    }

    fn change_or_create<T>(
        &mut self,
        name: &str,
        f: impl FnOnce(&mut Entry) -> T,
    ) -> Result<T, ResponseError> {
        if !self.entries.contains_key(name) {
            self.check_room()?;
            let entry = Entry {
                group: Group::new(),
                offsets: Offsets::default(),
            };
            self.entries.insert(name.to_owned(), entry);
        }
        self.change(name, f)
            .ok_or(ResponseError::UnknownServerError)
    }

    /// Applies `f` to a group if it exists, and sends the answers that are due after the change.
    fn change<T>(&mut self, name: &str, f: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let entry = self.entries.get_mut(name)?;
        let result = f(entry);
        let replies = entry.group.take_replies();
        if is_unused(entry) {
            self.entries.remove(name);
        }
        self.send(replies);
        Some(result)
    }

    /// Sends each answer to the request that waits for it, unless the connection of the request is closed.
    fn send(&mut self, replies: Vec<Reply>) {
        for reply in replies {
            match reply {
                Reply::Join(ticket, result) => {
                    if let Some(waiter) = self.joins.remove(&ticket) {
                        drop(waiter.send(result));
                    }
                }
                Reply::Sync(ticket, result) => {
                    if let Some(waiter) = self.syncs.remove(&ticket) {
                        drop(waiter.send(result));
                    }
                }
            }
        }
    }

    fn drop_unused(&mut self) {
        self.entries.retain(|_, entry| !is_unused(entry));
    }
}

fn is_unused(entry: &Entry) -> bool {
    entry.group.size() == 0 && entry.offsets.is_empty()
}

/// One committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    /// The leader epoch, or -1 if it is unknown.
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
}

/// The committed offsets of a group, by topic and partition.
#[derive(Debug, Default)]
pub(crate) struct Offsets(BTreeMap<String, BTreeMap<i32, Committed>>);

impl Offsets {
    pub(crate) fn get(&self, topic: &str, partition: i32) -> Option<&Committed> {
        self.0.get(topic)?.get(&partition)
    }

    pub(crate) fn insert(&mut self, topic: &str, partition: i32, committed: Committed) {
        let partitions = self.0.entry(topic.to_owned()).or_default();
        partitions.insert(partition, committed);
    }

    pub(crate) fn remove_topic(&mut self, topic: &str) {
        self.0.remove(topic);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    /// Returns the topics and partitions with a committed offset.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = (&str, Vec<i32>)> {
        let topics = self.0.iter();
        topics.map(|(topic, partitions)| (topic.as_str(), partitions.keys().copied().collect()))
    }
}
