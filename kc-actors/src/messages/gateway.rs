use std::time::Duration;

use actix::Message;
use kc_core::backend::BackendError;
use kc_core::types::{ManagementTopic, RootTopic, SideTopic};

/// A topic of the management plane.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ControlTopic {
    /// A side topic of a root topic.
    Side(RootTopic, SideTopic),
    /// A topic by which trust changes.
    Management(ManagementTopic),
}

/// Sends a record to partition 0 of a control topic, and waits until it is acknowledged. Creates the topic
/// if it does not exist.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), BackendError>")]
pub struct SendRecord {
    /// The topic.
    pub topic: ControlTopic,
    /// The Kafka key.
    pub kafka_key: Vec<u8>,
    /// The Kafka value.
    pub value: Vec<u8>,
}

/// Asks that a control topic be read from now on. A side topic is created if it does not exist; a
/// management topic is read once somebody has created it.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), BackendError>")]
pub struct Watch {
    /// The topic.
    pub topic: ControlTopic,
}

/// Asks that the requests to controllers of all root topics be read from now on, those of root topics that
/// appear later too.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct WatchSubscriptions {
    /// How often to look for new ones.
    pub interval: Duration,
}

/// Stops reading control topics, when what was read is done with, and disconnects. Says whether everything
/// that was to be sent is.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), BackendError>")]
pub struct CloseGateway {
    /// How long it may take.
    pub deadline: Duration,
}

impl ControlTopic {
    /// The topic of requests to the producers of a root topic.
    #[must_use]
    pub fn requests(root_topic: &RootTopic) -> Self {
        Self::Side(root_topic.clone(), SideTopic::Requests)
    }

    /// The topic of replies of a root topic.
    #[must_use]
    pub fn keys(root_topic: &RootTopic) -> Self {
        Self::Side(root_topic.clone(), SideTopic::Keys)
    }

    /// The topic of requests to controllers of a root topic.
    #[must_use]
    pub fn subscriptions(root_topic: &RootTopic) -> Self {
        Self::Side(root_topic.clone(), SideTopic::Subscriptions)
    }
}
