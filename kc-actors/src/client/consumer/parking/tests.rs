use std::sync::atomic::AtomicU64;

use kc_core::backend::Header;
use kc_core::exchange::MissingKeys;

use super::super::tests::options;
use super::super::undecryptable::{Policy, Reason, Undecryptable};
use super::*;
use crate::handles::CryptoTables;
use crate::slot::Slot;

const NOW: Duration = Duration::from_secs(1_800_000_000);

/// A partition of `t.parked`, as the group `g` reads it.
struct Log {
    log: ParkedLog,
    options: ConsumerOptions,
    opener: Opener,
    partition: Arc<Partition>,
    next: i64,
    /// The number of times that the next records were parked again.
    again: u32,
}

impl Log {
    fn new(undecryptable: Undecryptable) -> Self {
        let (tables, _) = CryptoTables::new(TopicScheme::default());
        tables.publish_awaiting(vec![MissingKeys {
            root_topic: "t".into(),
            own: None,
            unanswered: vec![KeyId::Short(7), KeyId::Short(8)],
        }]);
        let at = TopicPartition {
            topic: "t.parked".into(),
            partition: 0,
        };
        let partition = Arc::new(Partition::new(at, true, Arc::<AtomicU64>::default()));
        Self {
            log: ParkedLog::new("t".into(), Arc::clone(&partition)),
            options: options(undecryptable),
            opener: Opener::new(tables, Slot::unconnected(), Duration::ZERO),
            partition,
            next: 0,
            again: 0,
        }
    }

    /// Reads the next record: from the offset `from` of `topic`, sealed under the key `key`, and parked `age` ago.
    fn push(&mut self, group: &str, topic: &str, key: u8, from: i64, age: Duration) {
        let headers = [
            ("kc.group", group.to_owned()),
            ("kc.topic", topic.to_owned()),
            ("kc.partition", "0".to_owned()),
            ("kc.offset", from.to_string()),
            ("kc.timestamp", "5".to_owned()),
            ("kc.again", self.again.to_string()),
            ("kc.reason", "unanswered".to_owned()),
        ];
        let headers = headers.map(|(name, value)| Header {
            name: name.to_owned(),
            value: Some(value.into_bytes()),
        });
        let mut value = vec![0x01, 0x93, key, 0xc4, 16];
        value.extend([0; 16]);
        value.extend([0xc4, 16]);
        value.extend([0; 16]);
        let parked = (NOW - age).as_millis();
        let record = Record {
            topic: "t.parked".into(),
            partition: 0,
            offset: self.next,
            timestamp: i64::try_from(parked).ok(),
            key: None,
            value: Some(value.into()),
            headers: headers.into(),
        };
        self.next += 1;
        let scheme = TopicScheme::default();
        let now = Instant::now();
        self.log.push(record, &self.options, &scheme, now);
    }

    fn lost(&mut self, from: i64, age: Duration) {
        self.push("g", "t", 7, from, age);
    }

    /// Returns the offsets, in the data topic, of the records that are delivered, and of those that are parked again.
    fn open(&mut self) -> (Vec<i64>, Vec<i64>) {
        let news = News {
            keys: true,
            share: MAX_TRIED,
            turns: false,
        };
        let mut batch = Batch::default();
        let (log, opener, options) = (&mut self.log, &self.opener, &self.options);
        let opened = log.open(opener, options, news, usize::MAX, &mut batch);
        assert!(opened.unwrap().is_continue());
        log.park_again("t.parked", Timestamp::from_unix(NOW), &mut batch);
        let delivered = batch.records.iter().map(|record| record.offset());
        let moved = batch.letters.iter().map(|letter| letter.source.offset());
        (delivered.collect(), moved.collect())
    }

    fn position(&self) -> Option<i64> {
        self.partition.settle().0
    }
}

fn parking() -> Undecryptable {
    Undecryptable::default().with_all(&Policy::Park)
}

#[tokio::test]
async fn only_the_records_of_the_group_and_of_the_root_topic_wait() {
    let mut log = Log::new(parking());
    log.push("other", "t", 7, 0, Duration::ZERO);
    log.push("g", "u", 7, 0, Duration::ZERO);
    log.push("g", "t.parked", 7, 0, Duration::ZERO);
    assert_eq!((log.log.len(), log.position()), (0, Some(3)));
    log.push("g", "t.a", 7, 0, Duration::ZERO);
    log.push("other", "t", 7, 1, Duration::ZERO);
    assert_eq!((log.log.len(), log.position()), (1, None));
    assert_eq!(log.open(), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_line_keeps_the_order_of_the_data_topic() {
    let deliver = parking().with(Reason::Unanswered, Policy::Deliver);
    let mut log = Log::new(deliver.with_patience(Duration::from_secs(1)));
    // A record that was sent again stands behind later ones.
    for from in [5, 3, 4] {
        log.lost(from, Duration::ZERO);
    }
    assert_eq!(log.open(), (vec![], vec![]));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(log.open(), (vec![3, 4, 5], vec![]));
    assert_eq!(log.log.len(), 0);
}

#[tokio::test]
async fn a_full_log_parks_the_line_of_its_first_record_again_and_later_records_of_the_line() {
    let mut log = Log::new(parking());
    let count = i64::try_from(MAX_WAITING_RECORDS).unwrap();
    for from in 0..count - 1 {
        log.lost(from, PARK_INTERVAL);
    }
    log.push("g", "t", 8, count, PARK_INTERVAL);
    assert!(log.log.is_full());
    let (delivered, moved) = log.open();
    assert_eq!((delivered, moved), (vec![], (0..count - 1).collect()));
    assert!(!log.log.is_full());
    assert_eq!(log.log.len(), 1, "the record under another key stays");

    // This record stood behind the others before they were parked again, so it must follow them.
    log.lost(count + 1, Duration::ZERO);
    assert_eq!(log.open(), (vec![], vec![count + 1]));
    // They come back. Until the last one is back, later records follow.
    log.lost(0, Duration::ZERO);
    log.lost(count + 2, Duration::ZERO);
    assert_eq!(log.open(), (vec![], vec![count + 2]));
    log.lost(count + 1, Duration::ZERO);
    log.lost(count + 2, Duration::ZERO);
    log.lost(count + 3, Duration::ZERO);
    assert_eq!(log.open(), (vec![], vec![]));
    assert_eq!(log.log.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_full_log_waits_until_its_first_record_has_stayed() {
    let mut log = Log::new(parking());
    for from in 0..i64::try_from(MAX_WAITING_RECORDS).unwrap() {
        log.lost(from, PARK_INTERVAL - Duration::from_secs(1));
    }
    assert_eq!(log.open(), (vec![], vec![]));
    assert!(log.log.is_full());
    // A record without a believable time counts from its fetch.
    tokio::time::advance(PARK_INTERVAL).await;
    assert_eq!(log.open().1.len(), MAX_WAITING_RECORDS);
}

#[tokio::test]
async fn records_of_other_groups_behind_a_waiting_one_fill_the_log() {
    let mut log = Log::new(parking());
    log.lost(0, PARK_INTERVAL);
    for from in 1..i64::try_from(MAX_SPAN).unwrap() {
        log.push("other", "t", 7, from, Duration::ZERO);
    }
    assert!(log.log.is_full());
    assert_eq!(log.open(), (vec![], vec![0]));
    assert!(!log.log.is_full());
}

#[tokio::test]
async fn each_round_requests_the_keys_of_a_share_of_the_lines() {
    let mut log = Log::new(parking());
    let lines = i64::try_from(MAX_TRIED).unwrap() + 10;
    for partition in 0..lines {
        log.push("g", &format!("t.{partition}"), 7, 0, Duration::ZERO);
    }
    let due = |log: &mut Log, keys, share, turns| {
        let news = News { keys, share, turns };
        log.log.due(&log.opener, news).len()
    };
    assert_eq!(due(&mut log, true, 0, false), 0, "no key is known");
    for _ in 0..2 {
        assert_eq!(due(&mut log, false, MAX_TRIED, false), MAX_TRIED);
    }
    assert_eq!(due(&mut log, false, MAX_TRIED, true), 10, "the next share");
    assert_eq!(due(&mut log, false, MAX_TRIED, true), MAX_TRIED);
}

#[tokio::test(start_paused = true)]
async fn the_interval_doubles_and_the_time_of_the_broker_does_not_shorten_it() {
    let mut log = Log::new(parking());
    let fill = |log: &mut Log| {
        for from in 0..i64::try_from(MAX_WAITING_RECORDS).unwrap() {
            log.lost(from, 1000 * PARK_INTERVAL);
        }
    };
    fill(&mut log);
    assert_eq!(log.open().1.len(), MAX_WAITING_RECORDS);
    log.again = 1;
    fill(&mut log);
    for _ in 0..2 {
        assert_eq!(log.open(), (vec![], vec![]));
        tokio::time::advance(PARK_INTERVAL).await;
    }
    assert_eq!(log.open().1.len(), MAX_WAITING_RECORDS);
}
