//! The limits that keep a hostile or faulty client from exhausting the process.
//!
//! The memory limit ([`DEFAULT_MEMORY_LIMIT`], or [`Builder::memory_limit`](crate::Builder::memory_limit)) covers
//! stored records. The constants of this module limit the number and size of everything else. All requests and
//! responses in flight together use at most [`MAX_IN_FLIGHT_BYTES`], plus twice [`FREE_BYTES`] for each of the
//! [`MAX_CONNECTIONS`] connections.

use std::time::Duration;

/// The default of [`Builder::memory_limit`](crate::Builder::memory_limit): 256 MiB of stored record
/// batches.
pub const DEFAULT_MEMORY_LIMIT: usize = 256 << 20;

/// The size of the index entry of a stored batch in bytes. Each stored batch counts towards the memory limit with its
/// own size and this size together.
pub const BATCH_OVERHEAD_BYTES: usize = 256;

/// The largest request frame in bytes, without its length prefix: 16 MiB. A larger frame ends the connection.
pub const MAX_FRAME_BYTES: usize = 16 << 20;

/// The largest number of values in a request: numbers, lengths and strings together. A request with more values ends
/// the connection.
pub const MAX_REQUEST_VALUES: usize = 250_000;

/// The largest record batch in bytes: Apache Kafka's default of `message.max.bytes`. The topic
/// setting `max.message.bytes` overrides it.
pub const MAX_BATCH_BYTES: usize = 1_048_588;

/// The largest number of record bytes in a fetch response, even if the client requests more: 32 MiB. If the first batch
/// is larger, it is still returned, so that the consumer makes progress.
pub const MAX_FETCH_BYTES: usize = 32 << 20;

/// The longest wait of a fetch, even if the client requests a longer one.
pub const MAX_FETCH_WAIT: Duration = Duration::from_secs(60);

/// The largest number of open connections. A further connection replaces the connection that has been silent longest.
/// If no connection is silent, because the broker is serving a request on each of them, the broker closes the further
/// connection at once.
pub const MAX_CONNECTIONS: usize = 1_024;

/// The limit of the bytes of all requests and responses in flight together: 256 MiB. A connection that exceeds the
/// limit is closed.
pub const MAX_IN_FLIGHT_BYTES: usize = 256 << 20;

/// The part of each request and response that does not count towards [`MAX_IN_FLIGHT_BYTES`]: the first 64 KiB. Small
/// requests are therefore served even if other clients use up the limit.
pub const FREE_BYTES: usize = 64 << 10;

/// The longest silence of a connection between requests, as in Apache Kafka (`connections.max.idle.ms`).
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// The longest silence of a connection before its first request and within a request. It is also the longest time for
/// which the broker waits for a client that reads nothing of its response.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest number of partitions of all topics together.
pub const MAX_PARTITIONS: usize = 10_000;

/// The longest topic name in bytes, as in Apache Kafka.
pub const MAX_TOPIC_NAME_BYTES: usize = 249;

/// The longest value of a topic setting in bytes.
pub const MAX_CONFIG_VALUE_BYTES: usize = 1_024;

/// The largest number of consumer groups.
pub const MAX_GROUPS: usize = 1_000;

/// The longest group name in bytes.
pub const MAX_GROUP_NAME_BYTES: usize = 1_024;

/// The largest number of members of all consumer groups together, including member ids that were given to clients and
/// are not used yet.
pub const MAX_MEMBERS: usize = 1_000;

/// The largest total size of the names and subscriptions of a group member's protocols, in bytes: 256 KiB. It is also
/// the largest size of a member's assignment.
pub const MAX_MEMBER_BYTES: usize = 256 << 10;

/// The longest session time-out and the longest rebalance time-out of a group member: 30 minutes, Apache Kafka's
/// default of `group.max.session.timeout.ms`.
pub const MAX_GROUP_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// The wait for further members in the first rebalance of an empty group. Apache Kafka waits 3 s by
/// default (`group.initial.rebalance.delay.ms`).
pub const INITIAL_REBALANCE_DELAY: Duration = Duration::from_millis(50);

/// The largest number of committed offsets of all groups together.
pub const MAX_COMMITTED_OFFSETS: usize = 100_000;

/// The longest metadata of a committed offset in bytes, as in Apache Kafka.
pub const MAX_OFFSET_METADATA_BYTES: usize = 4_096;

/// The largest number of idempotent producers remembered for each partition. The producer that has
/// been silent longest is forgotten first.
pub const MAX_PRODUCERS_PER_PARTITION: usize = 1_000;
