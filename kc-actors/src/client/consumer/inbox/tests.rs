use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use kc_core::backend::{Header, Record};
use kc_core::exchange::{Missing, MissingKeys};
use kc_core::secret::Secret;
use kc_core::types::{KeyId, TopicScheme};

use tokio::time::timeout;

use super::super::backlog::{MAX_WAITING_RECORDS, PAUSE_DELAY};
use super::super::record::ConsumerRecord;
use super::super::tests::{options, record};
use super::super::undecryptable::{Policy, Reason, Undecryptable};
use super::*;
use crate::handles::{CryptoTables, Signals};
use crate::slot::Slot;

/// A group member that returns prepared results, and records the calls that it receives.
#[derive(Debug, Default)]
struct Member {
    polls: VecDeque<Polled>,
    asked: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl GroupConsumer for Member {
    async fn poll(&mut self, _: Duration) -> Result<Polled, BackendError> {
        Ok(self.polls.pop_front().unwrap_or_default())
    }

    fn store(&mut self, positions: &[(TopicPartition, i64)]) {
        let offsets = positions.iter().map(|(_, offset)| offset);
        let stored = offsets.map(|offset| format!("store {offset}"));
        self.asked.lock().unwrap().extend(stored);
    }

    async fn commit(&mut self, _: Duration) -> Result<(), BackendError> {
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition]) {
        let asked = partitions.iter().map(|_| "pause".into());
        self.asked.lock().unwrap().extend(asked);
    }

    fn resume(&mut self, partitions: &[TopicPartition]) {
        let asked = partitions.iter().map(|_| "resume".into());
        self.asked.lock().unwrap().extend(asked);
    }

    fn assignment(&self) -> Vec<TopicPartition> {
        Vec::new()
    }

    async fn close(self: Box<Self>, _: Duration) -> Result<(), BackendError> {
        Ok(())
    }
}

fn inbox(polls: Vec<Polled>, policy: Policy) -> (Inbox, Arc<Mutex<Vec<String>>>) {
    let (tables, _) = CryptoTables::new(TopicScheme::default());
    inbox_over(tables, polls, policy)
}

/// A treatment of the records that can never be opened.
fn without_waiting(policy: &Policy) -> Undecryptable {
    let reasons = [Reason::Denied, Reason::Unauthentic, Reason::Foreign];
    let with = |all: Undecryptable, reason| all.with(reason, policy.clone());
    reasons.into_iter().fold(Undecryptable::default(), with)
}

fn inbox_over(
    tables: Arc<CryptoTables>,
    polls: Vec<Polled>,
    policy: Policy,
) -> (Inbox, Arc<Mutex<Vec<String>>>) {
    inbox_with(tables, polls, without_waiting(&policy))
}

fn inbox_with(
    tables: Arc<CryptoTables>,
    polls: Vec<Polled>,
    undecryptable: Undecryptable,
) -> (Inbox, Arc<Mutex<Vec<String>>>) {
    let member = Member {
        polls: polls.into(),
        ..Member::default()
    };
    let asked = Arc::clone(&member.asked);
    let opener = Opener::new(tables, Slot::unconnected(), Duration::ZERO);
    let options = options(undecryptable);
    let inbox = Inbox::new(
        Box::new(member),
        Some(opener),
        options,
        None,
        Arc::default(),
    );
    (inbox, asked)
}

/// Polls, opens records, and pauses partitions, as the driver does.
async fn step(inbox: &mut Inbox, max: usize) -> Result<Vec<ConsumerRecord>, ConsumeError> {
    inbox.fetch(Duration::ZERO).await.unwrap();
    let opened = inbox.open(max);
    let stuck = inbox.settle();
    inbox.hold_back(false, &stuck);
    Ok(opened?.records)
}

/// A record sealed with an unknown data key.
fn sealed(offset: i64, len: usize) -> Record {
    sealed_under(7, offset, len)
}

fn sealed_under(key: u8, offset: i64, len: usize) -> Record {
    let mut value = vec![0x01, 0x93, key, 0xc4, 16];
    value.extend([0; 16]);
    value.extend([0xc6]);
    value.extend(u32::try_from(len).unwrap().to_be_bytes());
    value.resize(value.len() + len, 0);
    record(offset, value)
}

/// A record that can be opened without a data key.
fn null(partition: i32, offset: i64) -> Record {
    Record {
        partition,
        value: None,
        ..record(offset, Vec::new())
    }
}

/// The result of a poll after partition 0 was revoked.
fn revoked() -> Polled {
    Polled {
        records: Vec::new(),
        revoked: vec![TopicPartition {
            topic: "t".into(),
            partition: 0,
        }],
    }
}

fn given(records: Vec<Record>) -> Polled {
    Polled {
        records,
        revoked: Vec::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_does_not_outlive_the_records_it_was_for() {
    let many = (0..i64::try_from(MAX_WAITING_RECORDS).unwrap()).map(|offset| sealed(offset, 16));
    let polls = vec![given(many.collect()), revoked()];
    let (mut inbox, asked) = inbox(polls, Policy::Fail);
    assert!(step(&mut inbox, 10).await.unwrap().is_empty());
    after_the_delay(&mut inbox).await;
    assert_eq!(*asked.lock().unwrap(), ["pause"]);
    assert!(step(&mut inbox, 10).await.unwrap().is_empty());
    assert_eq!(*asked.lock().unwrap(), ["pause", "resume"]);
}

#[tokio::test(start_paused = true)]
async fn a_few_large_records_pause_a_partition_as_many_small_ones_do() {
    let large = (0..18).map(|offset| sealed(offset, 1_000_000));
    let (mut inbox, asked) = inbox(vec![given(large.collect())], Policy::Fail);
    assert!(step(&mut inbox, 10).await.unwrap().is_empty());
    after_the_delay(&mut inbox).await;
    assert_eq!(*asked.lock().unwrap(), ["pause"]);
}

/// Waits until the records of a partition that has reached a limit have waited for so long that it is paused. Until then,
/// nothing must be fetched.
async fn after_the_delay(inbox: &mut Inbox) {
    assert_eq!(inbox.fetches_in(), Some(PAUSE_DELAY));
    tokio::time::advance(PAUSE_DELAY).await;
    assert_eq!(inbox.fetches_in(), None);
    inbox.hold_back(false, &[]);
}

#[tokio::test]
async fn many_partitions_with_little_each_are_paused_once_they_have_too_much_together() {
    let in_partition = |partition| Record {
        partition,
        ..sealed(0, 1_000)
    };
    let records = (0..4).map(in_partition).chain([null(9, 0)]).collect();
    let (mut inbox, asked) = inbox(vec![given(records), revoked()], Policy::Fail);
    inbox.room = 4_000;
    let opened = step(&mut inbox, 10).await.unwrap();
    assert_eq!(
        opened.len(),
        1,
        "a partition in which nothing waits goes on"
    );
    assert_eq!(*asked.lock().unwrap(), ["pause"; 4]);
    asked.lock().unwrap().clear();
    opened[0].ack();
    assert!(step(&mut inbox, 10).await.unwrap().is_empty());
    assert_eq!(
        *asked.lock().unwrap(),
        ["resume", "store 1", "resume", "resume", "resume"]
    );
}

#[tokio::test]
async fn what_waits_in_a_revoked_partition_is_not_handed_out() {
    let polls = vec![
        given((0..9).map(|offset| null(0, offset)).collect()),
        revoked(),
    ];
    let (mut inbox, asked) = inbox(polls, Policy::Fail);
    let opened = step(&mut inbox, 2).await.unwrap();
    assert_eq!(opened.len(), 2);
    assert_eq!(waiting_in(&inbox), 7);
    assert_eq!(inbox.waiting(), 0, "their keys are there");
    assert!(opened[0].ack());
    inbox.settle();
    assert!(step(&mut inbox, 2).await.unwrap().is_empty());
    assert_eq!(waiting_in(&inbox), 0, "they are another member's now");
    assert!(!opened[1].ack(), "it is revoked");
    inbox.settle();
    assert_eq!(*asked.lock().unwrap(), ["store 1"]);
}

fn waiting_in(inbox: &Inbox) -> usize {
    inbox.backlogs.values().map(Backlog::len).sum()
}

#[tokio::test]
async fn a_busy_partition_takes_turns_with_the_others() {
    let of_busy = |from: i64| (from..from + 9).map(move |offset| null(0, offset));
    let others = [null(1, 0), null(1, 1), null(2, 0)];
    let polls = (0..4).map(|turn| given(of_busy(9 * turn).collect()));
    let mut polls: Vec<_> = polls.collect();
    polls[0].records.extend(others);
    let (mut inbox, _) = inbox(polls, Policy::Fail);
    let mut handed_out = Vec::new();
    for _ in 0..5 {
        let opened = step(&mut inbox, 2).await.unwrap();
        handed_out.extend(opened.iter().map(ConsumerRecord::partition));
    }
    assert_eq!(handed_out, [0, 0, 1, 1, 2, 0, 0, 0, 0, 0]);
}

#[tokio::test]
async fn nothing_is_stored_past_a_record_that_awaits_its_key() {
    let plain = |offset| record(offset, b"plain".to_vec());
    let records = vec![plain(0), sealed(1, 16), plain(2)];
    let (mut inbox, asked) = inbox(vec![given(records)], Policy::Deliver);
    let opened = step(&mut inbox, 10).await.unwrap();
    assert_eq!(opened.len(), 1);
    assert_eq!(inbox.waiting(), 2);
    opened[0].ack();
    assert!(step(&mut inbox, 10).await.unwrap().is_empty());
    assert_eq!(*asked.lock().unwrap(), ["store 1"]);
}

#[tokio::test]
async fn records_that_are_left_out_hold_no_position_back() {
    let plain = |offset| record(offset, b"plain".to_vec());
    let records = vec![plain(0), null(0, 1), plain(2)];
    let (mut inbox, asked) = inbox(vec![given(records)], Policy::Skip);
    let opened = step(&mut inbox, 10).await.unwrap();
    assert_eq!(*asked.lock().unwrap(), ["store 1"]);
    opened[0].ack();
    inbox.settle();
    assert_eq!(*asked.lock().unwrap(), ["store 1", "store 3"]);
}

#[tokio::test]
async fn a_foreign_record_fails_after_what_stands_before_it_and_stays() {
    let records = vec![null(0, 0), record(1, b"slipped in".to_vec())];
    let (mut inbox, asked) = inbox(vec![given(records)], Policy::Fail);
    let opened = step(&mut inbox, 10).await.unwrap();
    assert_eq!(opened.len(), 1);
    opened[0].ack();
    for _ in 0..2 {
        let error = step(&mut inbox, 10).await.unwrap_err();
        assert!(
            matches!(error, ConsumeError::Foreign { offset: 1, .. }),
            "{error}"
        );
    }
    assert_eq!(*asked.lock().unwrap(), ["store 1"]);
}

#[tokio::test]
async fn the_keys_of_all_waiting_records_are_asked_for_at_once() {
    let (tables, signals) = CryptoTables::new(TopicScheme::default());
    let first = [3, 3, 4].map(|key| sealed_under(key, 0, 16));
    let then = [5].map(|key| sealed_under(key, 3, 16));
    let polls = vec![given(first.into()), given(then.into())];
    let (mut inbox, _) = inbox_over(tables, polls, Policy::Fail);
    step(&mut inbox, 10).await.unwrap();
    step(&mut inbox, 10).await.unwrap();
    drop(inbox);
    assert_eq!(signalled(signals).await, ["#3", "#4", "#5"]);
}

#[tokio::test]
async fn the_keys_of_all_waiting_records_are_asked_for_again_in_each_round() {
    let (tables, signals) = CryptoTables::new(TopicScheme::default());
    let polls = vec![given([3, 4].map(|key| sealed_under(key, 0, 16)).into())];
    let (mut inbox, _) = inbox_over(Arc::clone(&tables), polls, Policy::Fail);
    step(&mut inbox, 10).await.unwrap();
    tables.forget_signalled();
    step(&mut inbox, 10).await.unwrap();
    step(&mut inbox, 10).await.unwrap();
    drop((inbox, tables));
    assert_eq!(signalled(signals).await, ["#3", "#4", "#3", "#4"]);
}

#[tokio::test]
async fn of_many_waiting_records_only_the_first_ask_for_their_keys_again() {
    let (tables, signals) = CryptoTables::new(TopicScheme::default());
    let many = (0..MAX_REPEATED + 10).map(|key| sealed_in(0, key));
    let polls = vec![given(many.collect())];
    let (mut inbox, _) = inbox_over(Arc::clone(&tables), polls, Policy::Fail);
    step(&mut inbox, 10).await.unwrap();
    tables.forget_signalled();
    step(&mut inbox, 10).await.unwrap();
    drop((inbox, tables));
    let asked = signalled(signals).await;
    let (first, again) = asked.split_at(MAX_REPEATED + 10);
    assert_eq!(again, &first[..MAX_REPEATED]);
}

#[tokio::test]
async fn the_keys_of_first_records_are_asked_for_before_those_behind_them() {
    let (tables, signals) = CryptoTables::new(TopicScheme::default());
    let records = [(0, 1), (0, 2), (0, 3), (1, 4), (1, 5)];
    let records = records.map(|(partition, key)| sealed_in(partition, key));
    let (mut inbox, _) = inbox_over(tables, vec![given(records.into())], Policy::Fail);
    step(&mut inbox, 10).await.unwrap();
    drop(inbox);
    assert_eq!(signalled(signals).await, ["#1", "#4", "#2", "#3", "#5"]);
}

#[tokio::test(start_paused = true)]
async fn the_keys_of_many_records_do_not_displace_that_of_a_first_record() {
    const PARTITIONS: i32 = 64;
    let (tables, signals) = CryptoTables::new(TopicScheme::default());
    let flood = (0..PARTITIONS).flat_map(|partition| {
        let from = 100 * usize::try_from(partition).unwrap();
        (from..from + 100).map(move |key| sealed_in(partition, key))
    });
    let good = sealed_in(PARTITIONS, 9_999);
    let polls = vec![given(flood.chain([good]).collect())];
    let (mut inbox, _) = inbox_over(Arc::clone(&tables), polls, Policy::Fail);
    let (send, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let forwarding = tokio::spawn(async move {
        let pass_on = |_, id: KeyId| {
            send.send(id).unwrap();
            std::future::ready(())
        };
        signals.forward(pass_on).await;
    });
    for round in 0..4 {
        step(&mut inbox, 10).await.unwrap();
        let mut ids = Vec::new();
        // The paused time moves on when nothing is left to do.
        while let Ok(Some(id)) = timeout(Duration::from_secs(1), asked.recv()).await {
            ids.push(id);
        }
        tables.forget_signalled();
        assert!(ids.contains(&KeyId::Short(9_999)), "round {round}");
        // In the first round all keys are new.
        assert!(
            round == 0 || ids.len() <= 65 + MAX_REPEATED,
            "{}",
            ids.len()
        );
    }
    forwarding.abort();
}

/// A record of a partition, sealed with the data key of this short id.
fn sealed_in(partition: i32, key: usize) -> Record {
    let mut value = vec![0x01, 0x93, 0xcd];
    value.extend(u16::try_from(key).unwrap().to_be_bytes());
    value.extend([0xc4, 16]);
    value.extend([0; 16]);
    value.extend([0xc4, 16]);
    value.extend([0; 16]);
    Record {
        partition,
        ..record(i64::try_from(key).unwrap(), value)
    }
}

#[tokio::test]
async fn a_held_partition_stays_held_while_others_are_read() {
    let backlog = |partition| (0..40).map(move |offset| null(partition, offset));
    let held = Record {
        partition: 1,
        ..sealed(0, 16)
    };
    let records = backlog(0).chain([held]).chain(backlog(2)).collect();
    let undecryptable = Undecryptable::default().with_patience(Duration::ZERO);
    let polls = vec![given(records)];
    let (mut inbox, _) = inbox_with(tables_without_key(None), polls, undecryptable);
    let mut seen = 0;
    for _ in 0..10 {
        step(&mut inbox, 8).await.unwrap();
        let held = inbox.held().len();
        assert!(held >= seen, "a held partition is released");
        seen = held;
    }
    assert_eq!(seen, 1);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_nobody_has_looked_at_is_not_given_up() {
    let (tables, _signals) = CryptoTables::new(TopicScheme::default());
    let skip = Undecryptable::default().with_all(&Policy::Skip);
    let patience = skip.patience();
    let polls = vec![given(vec![
        sealed_under(3, 0, 16),
        sealed_under(4, 1, 16),
        null(0, 2),
    ])];
    let (mut inbox, _) = inbox_with(tables, polls, skip);
    inbox.fetch(Duration::ZERO).await.unwrap();
    // The application was slow: the keys have not been requested.
    tokio::time::advance(2 * patience).await;
    assert!(step(&mut inbox, 10).await.unwrap().is_empty());
    assert_eq!(waiting_in(&inbox), 3);
    tokio::time::advance(patience).await;
    assert!(step(&mut inbox, 10).await.unwrap().is_empty());
    assert_eq!(
        waiting_in(&inbox),
        2,
        "the key of the second was requested later"
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_reason_has_its_own_patience() {
    let (tables, _signals) = CryptoTables::new(TopicScheme::default());
    let polls = vec![given(vec![sealed(0, 16)])];
    let undecryptable = Undecryptable::default();
    let patience = undecryptable.patience();
    let (mut inbox, _) = inbox_with(Arc::clone(&tables), polls, undecryptable);
    step(&mut inbox, 10).await.unwrap();
    tokio::time::advance(100 * patience).await;
    assert!(step(&mut inbox, 10).await.unwrap().is_empty(), "it is held");
    tables.publish_awaiting(vec![MissingKeys {
        root_topic: "t".into(),
        own: Some(Missing::Expired),
        unanswered: Vec::new(),
    }]);
    assert!(
        step(&mut inbox, 10).await.unwrap().is_empty(),
        "the chain may be renewed"
    );
    tokio::time::advance(patience).await;
    step(&mut inbox, 10).await.unwrap_err();
}

/// Returns the ids of all keys that were signalled, after the tables were dropped.
async fn signalled(signals: Signals) -> Vec<String> {
    let asked = Mutex::new(Vec::new());
    let pass_on = |_, id: KeyId| {
        asked.lock().unwrap().push(id.to_string());
        std::future::ready(())
    };
    signals.forward(pass_on).await;
    asked.into_inner().unwrap()
}

/// Tables with a data key that has the same id as the data key of the records of [`sealed`], but does not open them.
fn tables_with_another_key() -> Arc<CryptoTables> {
    let (tables, _) = CryptoTables::new(TopicScheme::default());
    let secret = Secret::fill_with(|secret| secret.fill(1)).into();
    tables.publish_opening(|ring| {
        ring.add(&"t".into(), KeyId::Short(7), secret, None);
    });
    tables
}

#[tokio::test]
async fn what_a_known_key_does_not_open_waits_for_another_until_no_node_has_one() {
    let tables = tables_with_another_key();
    let polls = vec![given(vec![sealed(0, 16)])];
    let (mut inbox, asked) = inbox_over(Arc::clone(&tables), polls, Policy::Fail);
    assert!(step(&mut inbox, 10).await.unwrap().is_empty());
    assert_eq!(inbox.waiting(), 1);

    tables.publish_awaiting(vec![MissingKeys {
        root_topic: "t".into(),
        own: None,
        unanswered: vec![KeyId::Short(7)],
    }]);
    let error = step(&mut inbox, 10).await.unwrap_err();
    assert!(matches!(error, ConsumeError::Foreign { offset: 0, .. }));
    assert!(asked.lock().unwrap().is_empty(), "nothing is stored");
}

/// Tables in which a data key is missing for a reason.
fn tables_without_key(own: Option<Missing>) -> Arc<CryptoTables> {
    let (tables, _) = CryptoTables::new(TopicScheme::default());
    tables.publish_awaiting(vec![MissingKeys {
        root_topic: "t".into(),
        own,
        unanswered: vec![KeyId::Short(7)],
    }]);
    tables
}

#[tokio::test(start_paused = true)]
async fn a_record_whose_key_does_not_arrive_is_treated_by_its_reason_after_the_patience() {
    const PATIENCE: Duration = Duration::from_secs(10);
    let all = |policy| {
        Undecryptable::default()
            .with_all(&policy)
            .with_patience(PATIENCE)
    };
    for (own, reason) in [
        (None, Reason::Unanswered),
        (Some(Missing::NotAuthorized), Reason::NotAuthorized),
        (Some(Missing::Expired), Reason::Expired),
    ] {
        for (policy, delivered) in [
            (Policy::Hold, Ok(vec![])),
            (Policy::Skip, Ok(vec![1])),
            (Policy::Deliver, Ok(vec![0, 1])),
            (Policy::Fail, Err(())),
        ] {
            let undecryptable = all(Policy::Fail).with(reason, policy.clone());
            let undecryptable = match policy {
                Policy::Fail => all(Policy::Skip).with(reason, Policy::Fail),
                _ => undecryptable,
            };
            let polls = vec![given(vec![sealed(0, 16), null(0, 1)])];
            let (mut inbox, _) = inbox_with(tables_without_key(own), polls, undecryptable);
            let at_once = step(&mut inbox, 10).await.unwrap();
            assert!(at_once.is_empty(), "{reason} {policy:?}");
            tokio::time::advance(PATIENCE).await;
            let later = step(&mut inbox, 10).await.map_err(drop);
            let later = later.map(|records| records.iter().map(ConsumerRecord::offset).collect());
            assert_eq!(later, delivered, "{reason} {policy:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_fetched_later_waits_as_long() {
    let skip = Undecryptable::default().with_all(&Policy::Skip);
    let polls = vec![
        given(vec![sealed(0, 16)]),
        given(vec![sealed(1, 16), null(0, 2)]),
    ];
    let patience = skip.patience();
    let (mut inbox, _) = inbox_with(tables_without_key(None), polls, skip);
    assert!(step(&mut inbox, 10).await.unwrap().is_empty());
    tokio::time::advance(patience / 2).await;
    assert!(step(&mut inbox, 10).await.unwrap().is_empty());
    tokio::time::advance(patience / 2).await;
    assert!(step(&mut inbox, 10).await.unwrap().is_empty());
    assert_eq!(waiting_in(&inbox), 2, "the first record is left out");
    tokio::time::advance(patience / 2).await;
    assert_eq!(step(&mut inbox, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_dead_letter_keeps_its_bytes_and_its_origin_and_holds_the_position_until_it_is_sent() {
    let to = Policy::DeadLetter("lost".into());
    let undecryptable = Undecryptable::default()
        .with_all(&to)
        .with_patience(Duration::ZERO);
    let mut dead = sealed(0, 16);
    let named = |name: &str| Header {
        name: name.to_owned(),
        value: None,
    };
    dead.headers = vec![named("own"), named("kc.topic")];
    let value = dead.value.clone();
    let polls = vec![given(vec![dead, null(0, 1)])];
    let (mut inbox, asked) = inbox_with(tables_without_key(None), polls, undecryptable);
    inbox.fetch(Duration::ZERO).await.unwrap();
    let Batch {
        records, letters, ..
    } = inbox.open(10).unwrap();
    let [Letter { record, source, .. }] = letters.as_slice() else {
        panic!("{letters:?}");
    };
    assert_eq!(
        (record.topic.as_str(), record.value.as_deref()),
        ("lost", value.as_deref())
    );
    let header = |header: &Header| {
        let value = header
            .value
            .clone()
            .map(|value| String::from_utf8(value).unwrap());
        format!("{}={}", header.name, value.unwrap_or_default())
    };
    let headers: Vec<_> = record.headers.iter().map(header).collect();
    let expected = [
        "own=",
        "kc.group=g",
        "kc.topic=t",
        "kc.partition=0",
        "kc.offset=0",
    ];
    assert_eq!(headers[..5], expected);
    assert_eq!(headers[5..], ["kc.reason=unanswered"]);
    records[0].ack();
    inbox.settle();
    assert!(
        asked.lock().unwrap().is_empty(),
        "the dead letter is not sent"
    );
    source.ack();
    inbox.settle();
    assert_eq!(*asked.lock().unwrap(), ["store 2"]);
}

#[tokio::test]
async fn what_was_opened_before_the_node_closed_is_given_out() {
    let (tables, _) = CryptoTables::new(TopicScheme::default());
    let polls = vec![given(vec![null(0, 0), sealed(1, 16)])];
    let (mut inbox, _) = inbox_over(Arc::clone(&tables), polls, Policy::Fail);
    tables.close();
    assert_eq!(step(&mut inbox, 10).await.unwrap().len(), 1);
    let error = step(&mut inbox, 10).await.unwrap_err();
    assert!(matches!(error, ConsumeError::Closed));
}
