//! Topics are created with the settings in their specification.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use kc_backend_pure::PureBackend;
use kc_core::backend::{Backend, ClientSettings, TopicSpec};
use krafka::admin::{ConfigResource, DescribeConfigsOptions};

#[tokio::test]
async fn only_a_compacted_topic_is_compacted() {
    let broker = kc_broker::Broker::builder().start().await.unwrap();
    let address = broker.address().to_string();
    let settings = ClientSettings::parse([("bootstrap_servers", &address)]).unwrap();
    let admin = PureBackend::new(settings).unwrap().admin().await.unwrap();
    let observer = krafka::Kafka::builder(address).connect().await.unwrap();

    for (name, compacted, policy) in [("a", true, "compact"), ("b", false, "delete")] {
        let spec = TopicSpec {
            name: name.to_owned(),
            partitions: 1,
            replication: None,
            compacted,
        };
        admin
            .create_topic(&spec, Duration::from_secs(10))
            .await
            .unwrap();
        let topic = ConfigResource::topic(name);
        let described = observer
            .admin()
            .describe_configs([topic], DescribeConfigsOptions::default())
            .await
            .unwrap();
        let entries = described.into_values().next().unwrap().unwrap();
        let entry = entries.iter().find(|entry| entry.name == "cleanup.policy");
        assert_eq!(entry.unwrap().value.as_deref(), Some(policy));
    }
    admin.close().await;
    broker.shutdown().await;
}
