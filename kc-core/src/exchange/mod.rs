//! The key exchange (protocol §7) as state machines without I/O.
//!
//! ```text
//!   consumer                    (controller)                     producer
//!   Requester::want             Forwarder::forward               Replier::handle
//!   Requester::poll_request ──► .subs ──► re-signed ──► .reqs ──►   │
//!   Requester::handle_reply ◄── .keys ◄─────────────────────────────┘
//! ```
//!
//! Each machine takes `now` and the random generator as arguments, validates what it receives, keeps
//! bounded state, and gives out [`ToBeSigned`]s: certificates to be signed by whatever holds the node's
//! signing key, and then sent. What it refuses, it refuses by a numbered check ([`RefusalId`]).

mod forwarder;
mod refusal;
mod replier;
mod reply;
mod request;
mod requester;
mod validity;

pub use forwarder::Forwarder;
pub use refusal::{ExchangeCheck, Refusal, RefusalId};
pub use replier::{Answer, IncomingRequest, MAX_ANSWERED, Replier};
pub use reply::{KeyReply, ReceivedKeys, compose_reply};
pub use request::{KeyRequest, NONCE_LEN, RequestForm, decode_key_ids, encode_key_ids};
pub use requester::{
    HandledReply, MAX_OUTSTANDING_PER_ROOT, MAX_REQUESTS_PER_INTERVAL, MAX_ROOTS,
    MAX_WANTED_PER_ROOT, OutgoingRequest, Requester, RequesterConfig, UNANSWERED_AFTER, Unanswered,
    Wanted,
};
pub use validity::{MAX_VALIDITY, Validity};

#[cfg(test)]
mod tests;
