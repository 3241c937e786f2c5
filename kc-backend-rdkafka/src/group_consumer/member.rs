//! The state and the work of the thread that is a member of a consumer group.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kc_core::backend::{
    BackendError, ClientSettings, GroupStart, LIST_INTERVAL, LOOK_INTERVAL, Subscription,
    TopicPartition, not_assigned,
};
use kc_core::text::with_sources;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::membership::Membership;
use super::rebalancing::{self, Rebalancing};
use crate::config::{self, Role};
use crate::connection::await_broker;
use crate::error::failed;
use crate::events::{Events, serve};
use crate::lookup::{LOOK_TIMEOUT, Lookup, left};
use crate::positions;
use crate::record::{Fetched, bare_list};
use crate::worker::{SLICE, retire};

pub(super) struct Member {
    group: String,
    consumer: BaseConsumer<Rebalancing>,
    membership: Arc<Membership>,
    max_poll_records: usize,
    subscription: Subscription,
    /// The topics of the subscription that exist.
    subscribed: BTreeSet<String>,
    /// `true` if one of the topics in `subscribed` may have been deleted.
    doubtful: bool,
    next_look: Instant,
    next_list: Instant,
    next_anchor: Instant,
}

impl Member {
    pub(super) fn join(
        settings: &ClientSettings,
        group: String,
        subscription: Subscription,
        start: GroupStart,
        membership: Arc<Membership>,
    ) -> Result<Self, BackendError> {
        let context = Rebalancing {
            group: group.clone(),
            events: Events::of_group(true),
            lookup: Lookup::new(settings)?,
            membership: Arc::clone(&membership),
        };
        let consumer: BaseConsumer<Rebalancing> =
            config::client(settings, Role::Member(&group), context)?;
        let now = Instant::now();
        let mut member = Self {
            group,
            consumer,
            membership,
            max_poll_records: usize::try_from(settings.max_poll_records).unwrap_or(usize::MAX),
            subscription,
            subscribed: BTreeSet::new(),
            doubtful: false,
            next_look: now,
            next_list: now,
            next_anchor: now,
        };
        match member.start(settings, start) {
            Ok(()) => Ok(member),
            Err(error) => {
                retire(member);
                Err(error)
            }
        }
    }

    fn start(&mut self, settings: &ClientSettings, start: GroupStart) -> Result<(), BackendError> {
        let consumer = &self.consumer;
        let serve = || serve(consumer);
        let events = &consumer.context().events;
        await_broker(settings, "group consumer", consumer.client(), events, serve)?;

        let end = Instant::now() + settings.request_timeout;
        let topics = self.wanted(true, true, end)?;
        // `Latest` means the end of each partition that exists now. Topics that appear later are always read from their
        // first record.
        if start == GroupStart::Latest {
            let at_end = topics
                .iter()
                .filter(|topic| self.subscription.may_start_at_end(topic));
            let ready = self.lookup().ready_partitions(at_end, end)?;
            let have = self.lookup().watermarks(&ready, end)?;
            let starts = have.into_iter().map(|(at, have)| (at, have.high));
            self.membership.set_starts(starts.collect());
        }
        self.next_look = Instant::now() + LOOK_INTERVAL;
        self.next_list = Instant::now() + LIST_INTERVAL;
        self.subscribe(topics)
    }

    /// Fetches until there are records or revoked partitions to return, until `end`, or until the caller stops waiting.
    pub(super) fn poll(
        &mut self,
        end: Instant,
        wanted: &dyn Fn() -> bool,
    ) -> Result<(), BackendError> {
        // A poll whose caller no longer waits must not delay a commit.
        while wanted() && !self.membership.has_news() {
            self.apply_pauses()?;
            self.catch_up();
            self.look();
            self.lookup().tend();
            self.fetch(left(end).min(SLICE));
            if self.membership.has_news() {
                break;
            }
            let context = || format!("poll in group {}", self.group);
            if let Some(error) = self.events().failure(&context()) {
                return Err(error);
            }
            if Instant::now() >= end {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn commit(&self, end: Instant) -> Result<(), BackendError> {
        let context = format!("commit positions of group {}", self.group);
        let stored = self.membership.stored();
        positions::commit(&self.consumer, &stored, &context, end)
            .map_err(|error| self.events().explain(error))?;
        if !stored.is_empty() {
            self.events().success();
        }
        self.membership.committed(&stored);
        Ok(())
    }

    /// Continues to read a partition at `offset`.
    pub(super) fn seek(&self, at: &TopicPartition, offset: i64) -> Result<(), BackendError> {
        if !self.membership.anchored().contains_key(at) {
            return Err(not_assigned(at));
        }
        let mut offsets = self.membership.next();
        offsets.insert(at.clone(), offset);
        rebalancing::read(&self.consumer, &offsets)?;
        self.membership.continue_at(at, offset);
        Ok(())
    }

    fn events(&self) -> &Events {
        &self.consumer.context().events
    }

    fn lookup(&self) -> &Lookup {
        &self.consumer.context().lookup
    }

    /// Waits for a record, and takes all further records that have arrived. During this call, librdkafka calls the
    /// callbacks for rebalances.
    fn fetch(&self, mut wait: Duration) {
        let mut fetched = Fetched::default();
        while self.membership.waiting() < self.max_poll_records {
            match self.consumer.poll(wait) {
                Some(Ok(message)) => self.membership.push(fetched.record(&message)),
                // The context has recorded the error.
                Some(Err(_)) => {}
                None => break,
            }
            wait = Duration::ZERO;
        }
        if self.membership.waiting() > 0 {
            self.events().success();
        }
    }

    fn apply_pauses(&self) -> Result<(), BackendError> {
        let (pause, resume) = self.membership.pauses_to_apply();
        if !pause.is_empty() {
            self.consumer
                .pause(&bare_list(&pause)?)
                .map_err(|error| failed("pause partitions", error))?;
        }
        if !resume.is_empty() {
            self.consumer
                .resume(&bare_list(&resume)?)
                .map_err(|error| failed("resume partitions", error))?;
        }
        Ok(())
    }

    /// Repeats the checks that failed when partitions were assigned.
    fn catch_up(&mut self) {
        let is_behind =
            !self.membership.unanchored().is_empty() || self.membership.has_new_starts();
        if !is_behind || Instant::now() < self.next_anchor {
            return;
        }
        if let Err(error) = self.anchor(Instant::now() + LOOK_TIMEOUT) {
            tracing::debug!(error = %with_sources(&error), "start positions of new partitions not checked; the check will be repeated");
        }
        self.next_anchor = Instant::now() + LOOK_INTERVAL;
    }

    fn anchor(&self, end: Instant) -> Result<(), BackendError> {
        let before = self.membership.anchored().len();
        rebalancing::anchor(&self.consumer, end)?;
        if self.membership.anchored().len() > before {
            // Partitions that are being read continue at their positions.
            rebalancing::read(&self.consumer, &self.membership.next())?;
        }
        rebalancing::commit_starts(&self.consumer, end)
    }

    /// Subscribes to topics of the subscription that have appeared, and unsubscribes from topics that have disappeared.
    fn look(&mut self) {
        self.doubtful |= self.events().take_missing_topic();
        let awaits = !self.subscription.names().is_subset(&self.subscribed);
        let lists = self.subscription.is_open() && Instant::now() >= self.next_list;
        let looks = (awaits || self.doubtful) && Instant::now() >= self.next_look;
        if !lists && !looks {
            return;
        }
        let end = Instant::now() + LOOK_TIMEOUT;
        let looked = self
            .wanted(lists, self.doubtful, end)
            .and_then(|topics| self.subscribe(topics));
        match looked {
            Ok(()) => self.doubtful = false,
            Err(error) => tracing::debug!(error = %with_sources(&error), "lookup of topics failed"),
        }
        self.next_look = Instant::now() + LOOK_INTERVAL;
        if lists {
            self.next_list = Instant::now() + LIST_INTERVAL;
        }
    }

    /// Returns the topics of the subscription that exist. If `list` is `false`, does not look for further topics that
    /// match the regular expressions. If `doubtful` is `false`, does not look up the topics to which the consumer has
    /// already subscribed by name, and assumes that they still exist.
    fn wanted(
        &self,
        list: bool,
        doubtful: bool,
        end: Instant,
    ) -> Result<BTreeSet<String>, BackendError> {
        let names = self.subscription.names();
        let (named, matched): (BTreeSet<_>, BTreeSet<_>) = self
            .subscribed
            .iter()
            .cloned()
            .partition(|topic| names.contains(topic));
        let mut topics = if list && self.subscription.is_open() {
            let mut listed = self.lookup().topics("list topics", end)?;
            listed.retain(|topic| self.subscription.wants(topic));
            listed
        } else {
            matched
        };
        if doubtful {
            topics.extend(self.lookup().existing(names, end)?);
        } else {
            let missing = names.difference(&self.subscribed);
            topics.extend(self.lookup().existing(missing, end)?);
            topics.extend(named);
        }
        Ok(topics)
    }

    fn subscribe(&mut self, topics: BTreeSet<String>) -> Result<(), BackendError> {
        if topics == self.subscribed {
            return Ok(());
        }
        tracing::debug!(
            group = self.group,
            ?topics,
            "subscribed topics of the group consumer changed"
        );
        if topics.is_empty() {
            self.consumer.unsubscribe();
        } else {
            let names: Vec<&str> = topics.iter().map(String::as_str).collect();
            self.consumer
                .subscribe(&names)
                .map_err(|error| failed(format!("subscribe in group {}", self.group), error))?;
        }
        self.subscribed = topics;
        Ok(())
    }
}
