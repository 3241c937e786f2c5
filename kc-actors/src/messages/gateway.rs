use std::time::Duration;

use actix::Message;
use kc_core::backend::BackendError;
use kc_core::types::{RootTopic, SideTopic};

/// Sends a record to a side topic, and waits until it is acknowledged.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), BackendError>")]
pub struct Publish {
    /// The root topic.
    pub root: RootTopic,
    /// Which of its side topics.
    pub side: SideTopic,
    /// The Kafka key.
    pub kafka_key: Vec<u8>,
    /// The Kafka value.
    pub value: Vec<u8>,
}

/// Stops reading side topics, when what was read is done with, and disconnects. Says whether everything
/// that was to be sent is.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), BackendError>")]
pub struct CloseGateway {
    /// How long it may take.
    pub deadline: Duration,
}

/// Asks that a side topic be read from now on, and created if it does not exist.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), BackendError>")]
pub struct Watch {
    /// The root topic.
    pub root: RootTopic,
    /// Which of its side topics.
    pub side: SideTopic,
}
