//! What the rest of kc asks of a Kafka client, so that clients are interchangeable.
//!
//! A [`Backend`] makes the four things that a node needs, each with a connection of its own: an
//! [`Admin`], a [`Producer`], a [`LogReader`] for the side and management topics (partition 0, from a
//! known offset; protocol §2 and §9), and a [`GroupConsumer`] for data. [`ClientSettings`] are what a
//! configuration says of any of them. All traits are object-safe, and
//! no client's types stand in them. Every wait has a deadline and ends in a [`BackendError`] that says
//! what was being done; nothing hangs for ever, unless asked to: [`Duration::MAX`](std::time::Duration::MAX)
//! is a deadline, too, and [`end_of`] tells when it ends.

mod error;
mod settings;
mod subscription;
mod traits;

pub use error::{BackendError, BackendErrorKind};
pub use settings::{
    Authorities, ClientCertificate, ClientRole, ClientSettings, Compression, Sasl, SaslMechanism,
    Tls, canonical_name, client_role, unsupported,
};
pub use subscription::{LIST_INTERVAL, LOOK_INTERVAL, Subscription};
pub use traits::{
    Admin, Backend, Capabilities, Committed, Delivery, DeliveryFuture, GroupConsumer, GroupStart,
    Header, LogReader, LogStart, OutgoingRecord, Polled, Producer, Record, TopicPartition,
    TopicSpec, Watermarks, end_of, finite,
};
