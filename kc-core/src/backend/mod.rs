//! The interface between kc and a Kafka client, which makes clients interchangeable.
//!
//! A [`Backend`] makes the four clients of a node, each with a connection of its own: an [`Admin`], a [`Producer`],
//! a [`LogReader`] for the side and management topics (all partitions, from known offsets; protocol §2 and §9), and a
//! [`GroupConsumer`] for data. [`ClientSettings`] are the settings of each of these clients. All traits are
//! object-safe and contain no types of a client library.
//!
//! Each wait has a deadline. When the deadline passes, a poll returns no records, and any other method returns a
//! [`BackendError`] that names the operation. A deadline of [`Duration::MAX`](std::time::Duration::MAX) means no
//! deadline; [`end_of`] returns the instant at which a wait ends.
//!
//! # Cancel safety
//!
//! Each asynchronous method states what happens if its future is dropped before it completes. *Cancel safe* means
//! that nothing is lost and the method can be called again.

mod advertised;
mod error;
mod record;
mod retention;
mod settings;
mod subscription;
mod traits;

pub use advertised::AdvertisedBroker;
pub use error::{BackendError, BackendErrorKind};
pub use record::{Delivery, Header, OutgoingRecord, Record, TopicPartition};
pub use retention::Retention;
pub use settings::{
    Authorities, ClientCertificate, ClientCredential, ClientRole, ClientSettings, Compression,
    OAuthBearer, Pem, Sasl, SaslMechanism, Tls, TokenEndpoint, TokenSource, canonical_name,
    client_role, settings_of_sasl, settings_of_tls, unsupported,
};
pub use subscription::{LIST_INTERVAL, LOOK_INTERVAL, Subscription};
pub use traits::{
    Admin, Backend, Capabilities, Cleanup, Committed, DeliveryFuture, GroupConsumer, GroupStart,
    LogReader, LogStart, MAX_LOG_PARTITIONS, MEMBERSHIP_LOST, Operation, Polled, Processed,
    Producer, Progress, ProgressCounter, TopicSpec, Watermarks, end_of, finite, not_assigned,
};
