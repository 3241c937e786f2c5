//! The bounds that keep a hostile or runaway client from taking the process with it.
//!
//! The memory limit ([`DEFAULT_MEMORY_LIMIT`], or
//! [`Builder::memory_limit`](crate::Builder::memory_limit)) covers stored records. Everything else
//! is bounded by count and size here. Requests and responses in flight come on top: at most
//! [`MAX_IN_FLIGHT_BYTES`], and twice [`FREE_BYTES`] for each of [`MAX_CONNECTIONS`].

use std::time::Duration;

/// Bytes of stored record batches kept when the builder names no other limit: 256 MiB.
pub const DEFAULT_MEMORY_LIMIT: usize = 256 << 20;

/// Bytes charged to the memory limit for each stored batch on top of its own size, for the index.
pub const BATCH_OVERHEAD_BYTES: usize = 256;

/// Largest request frame in bytes, without its length prefix: 16 MiB. A larger one ends the
/// connection.
pub const MAX_FRAME_BYTES: usize = 16 << 20;

/// Most values one request may hold: numbers, lengths and strings, over all its arrays. More ends the connection.
pub const MAX_REQUEST_VALUES: usize = 250_000;

/// Largest record batch in bytes, as Apache Kafka's default for `message.max.bytes`. The topic
/// setting `max.message.bytes` overrides it.
pub const MAX_BATCH_BYTES: usize = 1_048_588;

/// Most record bytes in one fetch response, whatever the client asks for: 32 MiB. (A single
/// larger batch is still returned, so that a consumer always gets on.)
pub const MAX_FETCH_BYTES: usize = 32 << 20;

/// Longest long poll of a fetch, whatever the client asks for.
pub const MAX_FETCH_WAIT: Duration = Duration::from_secs(60);

/// Most open connections. A further one takes the place of the one that has been silent longest; if all are being
/// served, it is closed at once.
pub const MAX_CONNECTIONS: usize = 1_024;

/// Bytes of all requests and responses in flight together: 256 MiB. A connection that needs more is closed.
pub const MAX_IN_FLIGHT_BYTES: usize = 256 << 20;

/// Bytes of a request and of a response that do not count for [`MAX_IN_FLIGHT_BYTES`], so that small ones pass whatever
/// others send: 64 KiB.
pub const FREE_BYTES: usize = 64 << 10;

/// How long a connection may be silent between requests, as in Apache Kafka (`connections.max.idle.ms`).
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// How long a connection may be silent before its first request, in a request, and when it does not take a response.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Most partitions of all topics together.
pub const MAX_PARTITIONS: usize = 10_000;

/// Longest topic name in bytes, as in Apache Kafka.
pub const MAX_TOPIC_NAME_BYTES: usize = 249;

/// Longest value of a topic setting in bytes.
pub const MAX_CONFIG_VALUE_BYTES: usize = 1_024;

/// Most consumer groups.
pub const MAX_GROUPS: usize = 1_000;

/// Longest group name in bytes.
pub const MAX_GROUP_NAME_BYTES: usize = 1_024;

/// Most members of all consumer groups together, counting ids handed out but not yet used.
pub const MAX_MEMBERS: usize = 1_000;

/// Most bytes of one group member's subscription, and of its assignment: 256 KiB.
pub const MAX_MEMBER_BYTES: usize = 256 << 10;

/// Longest session and rebalance time-out of a group member, as in Apache Kafka.
pub const MAX_GROUP_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// How long the first rebalance of an empty group waits for further members. Apache Kafka waits
/// 3 s by default (`group.initial.rebalance.delay.ms`).
pub const INITIAL_REBALANCE_DELAY: Duration = Duration::from_millis(50);

/// Most committed offsets of all groups together.
pub const MAX_COMMITTED_OFFSETS: usize = 100_000;

/// Longest note kept beside a committed offset in bytes, as in Apache Kafka.
pub const MAX_OFFSET_METADATA_BYTES: usize = 4_096;

/// Most idempotent producers remembered for each partition; the one silent longest is forgotten
/// first.
pub const MAX_PRODUCERS_PER_PARTITION: usize = 1_000;
