//! Administration.

use kc_broker::Broker;
use krafka::Record;
use krafka::admin::{
    ConfigOp, ConfigResource, DescribeConfigsOptions, NewTopic, OffsetSpec, TopicPartition,
};

use crate::{connect, read, reader, send};

#[tokio::test]
async fn topics_are_made_grown_described_and_deleted() {
    let broker = Broker::builder().start().await.unwrap();
    let admin = connect(&broker).await.admin();
    let new = || NewTopic::new("t", 2, 1).unwrap();
    let created = admin
        .create_topics([new()], Default::default())
        .await
        .unwrap();
    created["t"].as_ref().unwrap();
    let again = admin
        .create_topics([new()], Default::default())
        .await
        .unwrap();
    assert!(again["t"].is_err());
    let grown = admin
        .create_partitions([("t", 5)], Default::default())
        .await
        .unwrap();
    grown["t"].as_ref().unwrap();
    let described = admin
        .describe_topics(["t"], Default::default())
        .await
        .unwrap();
    assert_eq!(described["t"].as_ref().unwrap().partitions.len(), 5);
    let deleted = admin
        .delete_topics(["t"], Default::default())
        .await
        .unwrap();
    deleted["t"].as_ref().unwrap();
    let left = admin.list_topics(Default::default()).await.unwrap();
    assert!(left.is_empty());
    admin.close().await.unwrap();
}

#[tokio::test]
async fn settings_are_kept_and_described() {
    let broker = Broker::builder().start().await.unwrap();
    let admin = connect(&broker).await.admin();
    let mut new = NewTopic::new("t", 1, 1).unwrap();
    new.configs
        .insert("cleanup.policy".into(), "compact".into());
    let created = admin
        .create_topics([new], Default::default())
        .await
        .unwrap();
    created["t"].as_ref().unwrap();
    let mut odd = NewTopic::new("odd", 1, 1).unwrap();
    odd.configs.insert("no.such.setting".into(), "1".into());
    let refused = admin
        .create_topics([odd], Default::default())
        .await
        .unwrap();
    assert!(refused["odd"].is_err());
    let topic = ConfigResource::topic("t");
    let change = ConfigOp::set("retention.ms", "1000");
    let changed = admin
        .incremental_alter_configs([(topic.clone(), vec![change])], Default::default())
        .await
        .unwrap();
    changed[&topic].as_ref().unwrap();
    let resources = [topic.clone(), ConfigResource::broker(1)];
    let described = admin
        .describe_configs(resources, Default::default())
        .await
        .unwrap();
    let value = |resource: &ConfigResource, name: &str| {
        let entries = described[resource].as_ref().unwrap();
        let entry = entries.iter().find(|e| e.name == name).unwrap();
        entry.value.clone()
    };
    assert_eq!(value(&topic, "cleanup.policy").as_deref(), Some("compact"));
    assert_eq!(value(&topic, "retention.ms").as_deref(), Some("1000"));
    assert_eq!(value(&topic, "segment.ms").as_deref(), Some("604800000"));
    let auto_create = value(&ConfigResource::broker(1), "auto.create.topics.enable");
    assert_eq!(auto_create.as_deref(), Some("true"));
    let all = described[&topic].as_ref().unwrap().len();
    for (names, count) in [(vec![], all), (vec!["cleanup.policy", "retention.ms"], 2)] {
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let options = DescribeConfigsOptions::default().config_names(names);
        let described = admin.describe_configs([topic.clone()], options);
        let described = described.await.unwrap();
        assert_eq!(described[&topic].as_ref().unwrap().len(), count);
    }
    admin.close().await.unwrap();
}

#[tokio::test]
async fn records_are_deleted_up_to_an_offset() {
    let broker = Broker::builder().start().await.unwrap();
    let kafka = connect(&broker).await;
    let producer = kafka.producer().build().await.unwrap();
    for i in 0..3 {
        send(&producer, Record::new("t", i.to_string())).await;
    }
    let admin = kafka.admin();
    let place = TopicPartition::new("t", 0);
    let deleted = admin.delete_records([(place.clone(), 2)], Default::default());
    assert_eq!(*deleted.await.unwrap()[&place].as_ref().unwrap(), 2);
    let earliest = admin
        .list_offsets([(place.clone(), OffsetSpec::Earliest)], Default::default())
        .await
        .unwrap();
    assert_eq!(earliest[&place].as_ref().unwrap().offset, 2);
    let consumer = reader(&broker, "t", &[0]).await;
    assert_eq!(read(&consumer, 1).await[0].offset, 2);
    consumer.close().await.unwrap();
    producer.close().await.unwrap();
}

#[tokio::test]
async fn offsets_of_a_group_are_set_and_the_group_deleted() {
    let broker = Broker::builder().start().await.unwrap();
    let kafka = connect(&broker).await;
    let producer = kafka.producer().build().await.unwrap();
    send(&producer, Record::new("t", "x")).await;
    producer.close().await.unwrap();
    let admin = kafka.admin();
    let place = TopicPartition::new("t", 0);
    let set = admin
        .alter_consumer_group_offsets("g", [(place.clone(), 1)], Default::default())
        .await
        .unwrap();
    set[&place].as_ref().unwrap();
    let offsets = admin
        .list_consumer_group_offsets("g", Default::default())
        .await
        .unwrap();
    assert_eq!(offsets[&place].as_ref().unwrap().offset, Some(1));
    let groups = admin
        .list_consumer_groups(Default::default())
        .await
        .unwrap();
    assert_eq!(groups[&1].as_ref().unwrap()[0].group_id, "g");
    let described = admin
        .describe_consumer_groups(["g"], Default::default())
        .await
        .unwrap();
    assert_eq!(described["g"].as_ref().unwrap().state, "Empty");
    let deleted = admin
        .delete_consumer_groups(["g"], Default::default())
        .await
        .unwrap();
    deleted["g"].as_ref().unwrap();
    let offsets = admin
        .list_consumer_group_offsets("g", Default::default())
        .await
        .unwrap();
    assert!(offsets.is_empty());
    admin.close().await.unwrap();
}
