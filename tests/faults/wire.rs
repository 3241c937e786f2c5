//! Actions of a broker, or of any client that may write to its topics.

use kc::ClientSettings;
use kc::backend_pure::PureBackend;
use kc::core::backend::{
    Backend, LogReader, LogStart, OutgoingRecord, Producer, Record, TopicSpec,
};
use kc_broker::Broker;

use crate::fleet::DEADLINE;

/// A Kafka client without encryption.
pub(crate) struct Wire {
    backend: PureBackend,
    producer: Box<dyn Producer>,
}

impl Wire {
    pub(crate) async fn to(broker: &Broker) -> Self {
        let address = broker.address().to_string();
        let settings = [
            ("bootstrap_servers", address.as_str()),
            ("allow_auto_create_topics", "true"),
        ];
        let backend = PureBackend::new(ClientSettings::parse(settings).unwrap()).unwrap();
        let producer = backend.producer().await.unwrap();
        Self { backend, producer }
    }

    pub(crate) async fn create(&self, name: &str, partitions: i32) {
        let topic = TopicSpec::data(name, partitions);
        let admin = self.backend.admin().await.unwrap();
        admin.create_topic(&topic, DEADLINE).await.unwrap();
    }

    /// Sends a record to partition 0.
    pub(crate) async fn send(&self, topic: &str, key: &[u8], value: &[u8]) {
        self.send_to(topic, 0, Some(key), value).await;
    }

    pub(crate) async fn send_to(
        &self,
        topic: &str,
        partition: i32,
        key: Option<&[u8]>,
        value: &[u8],
    ) {
        let record = OutgoingRecord {
            topic: topic.into(),
            partition: Some(partition),
            key: key.map(<[u8]>::to_vec),
            value: Some(value.to_vec()),
            headers: Vec::new(),
        };
        self.producer.enqueue(record).await.unwrap().await.unwrap();
    }

    /// Reads partition 0 of a topic from its start.
    pub(crate) async fn read(&self, topic: &str) -> Log {
        let mut reader = self.backend.log_reader(None).await.unwrap();
        let from_start = [(topic.to_owned(), LogStart::Earliest)];
        reader.assign(&from_start).await.unwrap();
        Log {
            reader,
            read: Vec::new(),
        }
    }

    /// Returns the number of records in partition 0 of a topic.
    pub(crate) async fn count(&self, topic: &str) -> i64 {
        let mut reader = self.backend.log_reader(None).await.unwrap();
        let marks = reader.watermarks(topic, DEADLINE).await.unwrap();
        marks.map_or(0, |marks| marks[0].high - marks[0].low)
    }
}

/// The records of a topic, in order.
pub(crate) struct Log {
    reader: Box<dyn LogReader>,
    read: Vec<Record>,
}

impl Log {
    /// Returns the key and the value of the next record.
    pub(crate) async fn next(&mut self) -> (Vec<u8>, Vec<u8>) {
        let reading = async {
            while self.read.is_empty() {
                self.read = self.reader.poll(DEADLINE).await.unwrap();
            }
            self.read.remove(0)
        };
        let record = tokio::time::timeout(DEADLINE, reading).await.unwrap();
        (
            record.key.map(Vec::from).unwrap_or_default(),
            record.value.map(Vec::from).unwrap_or_default(),
        )
    }
}
