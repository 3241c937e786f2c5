use kc::core::backend::{Backend, LogStart};
use kc::core::chain::{Certificate, CertificateKeys, UnverifiedChain};
use kc::core::kem::Suite;
use kc::core::provision::Role;
use kc::core::types::TopicScheme;
use kc::maintenance::{KeyChanges, change_keys};
use kc::{NodeEvent, Record};

use crate::fleet::{DEADLINE, Fleet, consumer, record, take, values};

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_exchange_keys_and_pass_data_through_a_broker_that_reads_none() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    let (sender, reader) = (fleet.open("sender").await, fleet.open("reader").await);
    let mut events = reader.events();

    let producer = sender.producer().await.unwrap();
    let sent: Vec<_> = (0..100).map(|n| format!("secret number {n}")).collect();
    for value in &sent {
        drop(
            producer
                .enqueue(record("t.a", value.as_str()))
                .await
                .unwrap(),
        );
    }
    drop(producer.enqueue(Record::to("t.a")).await.unwrap());
    producer.flush_within(DEADLINE).await.unwrap();

    let mut consumer = consumer(&reader, "t.a").await;
    let read = take(&mut consumer, 101).await;
    assert_eq!(values(&read[..100]), sent);
    assert!(read[100].is_null(), "a null stays one");
    assert!(matches!(
        events.next().await,
        Some(NodeEvent::Requested { direct: true, .. })
    ));
    assert!(matches!(
        events.next().await,
        Some(NodeEvent::Received { .. })
    ));

    consumer.close_within(DEADLINE).await.unwrap();
    producer.close_within(DEADLINE).await.unwrap();
    reader.close_within(DEADLINE).await.unwrap();
    sender.close_within(DEADLINE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_of_another_root_is_refused_and_both_sides_say_so() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("stranger", Role::Consumer, "another root");
    let sender = fleet.open("sender").await;
    let stranger = fleet
        .options("stranger")
        .setting("crypto_sub_interval", "0.2");
    let stranger = stranger.open().await.unwrap();
    let (mut refusals, mut silence) = (sender.events(), stranger.events());

    let producer = sender.producer().await.unwrap();
    producer
        .enqueue(record("t", "secret"))
        .await
        .unwrap()
        .await
        .unwrap();
    let mut consumer = consumer(&stranger, "t").await;
    let reading = take(&mut consumer, 1);
    let silent = async {
        loop {
            if let Some(NodeEvent::Unanswered { ids, .. }) = silence.next().await {
                return ids.len();
            }
        }
    };
    tokio::select! {
        read = reading => panic!("read {read:?}"),
        unanswered = silent => assert_eq!(unanswered, 1),
    }
    assert_eq!(consumer.waiting(), 1);
    let refused = async {
        loop {
            if let Some(NodeEvent::Refused { check, .. }) = refusals.next().await {
                return check;
            }
        }
    };
    let refused = tokio::time::timeout(DEADLINE, refused).await.unwrap();
    assert_eq!(refused.to_string(), "C04");
    let status = sender.status().await.unwrap();
    assert!(status.exchange.refused.values().sum::<u64>() >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_separators_and_suffixes_hold_throughout() {
    let mut fleet = Fleet::start().await;
    fleet.scheme = TopicScheme {
        separator: "-".into(),
        requests_suffix: "_ask".into(),
        keys_suffix: "_tell".into(),
        subscriptions_suffix: "_sub".into(),
        ..TopicScheme::default()
    };
    let topics = ["plant.berlin-7".to_owned()];
    fleet.provision_for("sender", Role::Producer, "root", &topics);
    fleet.provision_for("reader", Role::Consumer, "root", &topics);
    let (sender, reader) = (fleet.open("sender").await, fleet.open("reader").await);
    let producer = sender.producer().await.unwrap();
    let sent = producer.enqueue(record("plant.berlin-8", "21.5")).await;
    sent.unwrap().await.unwrap();
    let mut consumer = consumer(&reader, "plant.berlin-8").await;
    assert_eq!(values(&take(&mut consumer, 1).await), ["21.5"]);

    let admin = fleet.plain().admin().await.unwrap();
    let names = admin.topics(DEADLINE).await.unwrap();
    let expected = [
        "plant.berlin-8",
        "plant.berlin_ask",
        "plant.berlin_sub",
        "plant.berlin_tell",
    ];
    assert_eq!(names, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_left_plain_are_seen_by_the_broker_and_values_are_not() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    let (sender, reader) = (fleet.open("sender").await, fleet.open("reader").await);
    let producer = sender.producer().plain_keys().await.unwrap();
    let keyed = record("t", "secret").key("sensor 1");
    producer.send(keyed).await.unwrap();

    let mut stored = fleet.plain().log_reader(None).await.unwrap();
    let from_start = [("t".to_owned(), LogStart::Earliest)];
    stored.assign(&from_start).await.unwrap();
    let stored = stored.poll(DEADLINE).await.unwrap();
    assert_eq!(stored[0].key.as_deref(), Some(&b"sensor 1"[..]));
    let sealed = stored[0].value.as_ref().unwrap();
    assert!(!sealed.windows(6).any(|bytes| bytes == b"secret"));

    let consumer = reader.consumer(["t"]).from_beginning().plain_keys();
    let read = take(&mut consumer.join().await.unwrap(), 1).await;
    assert_eq!(read[0].key(), Some(&b"sensor 1"[..]));
    assert_eq!(read[0].value(), b"secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_regular_expression_reads_messages_now_and_later_and_no_side_topics() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    let (sender, reader) = (fleet.open("sender").await, fleet.open("reader").await);
    let producer = sender.producer().await.unwrap();
    let send = async |topic, value| {
        let sent = producer.enqueue(record(topic, value)).await;
        sent.unwrap().await.unwrap();
    };
    send("plant.north", "a").await;
    let mut consumer = consumer(&reader, "^.*").await;
    assert_eq!(values(&take(&mut consumer, 1).await), ["a"]);
    send("plant.south", "b").await;
    // The new topic causes a rebalance, which commits that the first record was acknowledged.
    assert_eq!(values(&take(&mut consumer, 1).await), ["b"]);
}

/// The number of requests that are examined.
const REQUESTS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn legacy_requests_are_sent_beside_the_list_form_only_if_it_offers_no_hybrid_exchange() {
    for (suites, lists_only) in [
        (vec![Suite::X25519], false),
        (vec![Suite::MlKem1024, Suite::X25519], true),
    ] {
        let fleet = Fleet::start().await;
        fleet.provision("sender", Role::Producer, "root");
        fleet.provision("reader", Role::Consumer, "root");
        let config = fleet.folder.path().join("reader.config");
        let changes = KeyChanges {
            suites,
            legacy_requests: Some(true),
            key_type: None,
        };
        change_keys(config.to_str().unwrap(), &changes, None).unwrap();
        let sender = fleet.open("sender").await;
        let producer = sender.producer().await.unwrap();
        let sent = producer.enqueue(record("t", "secret")).await.unwrap();
        sent.await.unwrap();
        sender.close_within(DEADLINE).await.unwrap();

        // No node answers, so the reader asks again.
        let reader = fleet
            .options("reader")
            .setting("crypto_sub_interval", "0.1");
        let reader = reader.open().await.unwrap();
        let mut asking = consumer(&reader, "t").await;
        let mut log = fleet.plain().log_reader(None).await.unwrap();
        let topics = [("t.reqs".to_owned(), LogStart::Earliest)];
        log.assign(&topics).await.unwrap();
        let requests = async {
            let mut forms = Vec::new();
            while forms.len() < REQUESTS {
                let records = log.poll(DEADLINE).await.unwrap();
                forms.extend(records.iter().map(is_list_form));
            }
            forms
        };
        tokio::select! {
            forms = requests => {
                assert!(forms.contains(&true));
                assert_eq!(!forms.contains(&false), lists_only, "{forms:?}");
            }
            read = take(&mut asking, 1) => panic!("it asked too seldom; read {read:?}"),
        }
    }
}

fn is_list_form(request: &kc::core::backend::Record) -> bool {
    let chain = UnverifiedChain::parse(request.value.as_ref().unwrap()).unwrap();
    let leaf = Certificate::parse_signed(chain.links().last().unwrap()).unwrap();
    matches!(leaf.keys, CertificateKeys::List(_))
}
