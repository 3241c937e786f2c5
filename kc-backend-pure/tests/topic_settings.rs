//! Topics are created with the settings in their specification.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use kc_backend_pure::PureBackend;
use kc_core::backend::{Backend, Cleanup, ClientSettings, TopicSpec};
use krafka::admin::{ConfigResource, DescribeConfigsOptions};

#[tokio::test]
async fn each_topic_has_the_settings_of_its_cleanup() {
    let broker = kc_broker::Broker::builder().start().await.unwrap();
    let address = broker.address().to_string();
    let settings = ClientSettings::parse([("bootstrap_servers", &address)]).unwrap();
    let admin = PureBackend::new(settings).unwrap().admin().await.unwrap();
    let observer = krafka::Kafka::builder(address).connect().await.unwrap();

    for (name, cleanup, policy, retention) in [
        ("a", Cleanup::Compact, "compact", "604800000"),
        ("b", Cleanup::AsBroker, "delete", "604800000"),
        ("c", Cleanup::Never, "delete", "-1"),
    ] {
        let spec = TopicSpec {
            name: name.to_owned(),
            partitions: 1,
            replication: None,
            cleanup,
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
        for (name, value) in [("cleanup.policy", policy), ("retention.ms", retention)] {
            let entry = entries.iter().find(|entry| entry.name == name);
            assert_eq!(entry.unwrap().value.as_deref(), Some(value), "{name}");
        }
    }
    admin.close().await;
    broker.shutdown().await;
}
