//! An in-process, in-memory Kafka broker for demos and tests.
//!
//! **It is not a store for real data.** It is a single node. It keeps all records in memory, and loses them when it
//! stops. It has no authentication, no encryption, no transactions and no retention: topics with
//! `cleanup.policy=compact` keep all their records, too. For production, use Apache Kafka or a compatible broker.
//!
//! It behaves like Apache Kafka: common clients can produce, consume with or without a consumer group, and administer
//! topics. It answers ApiVersions, Metadata, Produce, Fetch, ListOffsets, FindCoordinator, JoinGroup, SyncGroup,
//! Heartbeat, LeaveGroup, OffsetCommit, OffsetFetch, InitProducerId, CreateTopics, DeleteTopics, CreatePartitions,
//! DeleteRecords, DescribeConfigs, IncrementalAlterConfigs, DescribeGroups, ListGroups and DeleteGroups.
//!
//! ```
//! use std::num::NonZeroU16;
//!
//! use kc_broker::{Broker, BrokerError};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), BrokerError> {
//!     let broker = Broker::builder()
//!         .default_partitions(NonZeroU16::MIN)
//!         .memory_limit(64 << 20)
//!         .start()
//!         .await?;
//!     println!("bootstrap.servers={}", broker.address());
//!     broker.shutdown().await;
//!     Ok(())
//! }
//! ```
//!
//! # For tests of clients
//!
//! [`Broker::faults`] returns a handle. With it, a test makes the broker behave like a newly installed one, whose group
//! coordinator is not ready yet.
//!
//! # Bounds
//!
//! The stored records ([`Builder::memory_limit`]), frames, connections, partitions, groups and everything else that
//! clients can make grow are bounded by the constants of this crate. If a request would exceed a limit of stored
//! records, partitions or groups, the broker answers with an error code; if all clients share the limit, it also logs a
//! `tracing` warning. If a client exceeds a limit of frames, silence or bytes in flight, or violates the protocol, the
//! broker logs a warning and closes the connection of this client. If too many connections are open, the broker closes
//! one of them: see [`MAX_CONNECTIONS`].
//!
//! # Modules
//!
//! `broker` starts and stops the `server`, which reads frames from its connections; `protocol` decodes them and calls
//! `handlers`. The handlers change `state`, which consists of `topics` with their `log`, and of `groups`. `log` and the
//! state machine in `groups` do no I/O and use no clock.

mod broker;
mod faults;
mod groups;
mod handlers;
mod limits;
mod log;
mod protocol;
mod server;
mod state;
mod topics;

pub use broker::{Broker, BrokerError, Builder};
pub use faults::{CoordinatorError, CoordinatorRequest, Faults};
pub use limits::{
    BATCH_OVERHEAD_BYTES, DEFAULT_MEMORY_LIMIT, FREE_BYTES, IDLE_TIMEOUT, INITIAL_REBALANCE_DELAY,
    MAX_BATCH_BYTES, MAX_COMMITTED_OFFSETS, MAX_CONFIG_VALUE_BYTES, MAX_CONNECTIONS,
    MAX_FETCH_BYTES, MAX_FETCH_WAIT, MAX_FRAME_BYTES, MAX_GROUP_NAME_BYTES, MAX_GROUP_TIMEOUT,
    MAX_GROUPS, MAX_IN_FLIGHT_BYTES, MAX_MEMBER_BYTES, MAX_MEMBERS, MAX_OFFSET_METADATA_BYTES,
    MAX_PARTITIONS, MAX_PRODUCERS_PER_PARTITION, MAX_REQUEST_VALUES, MAX_TOPIC_NAME_BYTES,
    STALL_TIMEOUT,
};
