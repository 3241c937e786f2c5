//! The key exchange (protocol §7) as one state machine without I/O.
//!
//! ```text
//!   consumer                    (controller)                     producer
//!   Input::Want                 Input::Record                    Input::Record
//!   Job::Send ────────────────► .subs ──► re-signed ──► .reqs ──►   │ validated, answered once
//!   Input::Record ◄──────────── .keys ◄─────────────────────────────┘
//!   Effect::Table
//! ```
//!
//! An [`Exchange`] takes [`Input`]s and the time, keeps bounded state, and returns [`Effect`]s: [`Job`]s, received
//! keys, positions of processed records, the reasons why keys are missing, and events to report. The caller runs the
//! jobs on threads, tokens and brokers, and passes their results back as inputs. Each reason to refuse a record has a
//! numbered check ([`RefusalId`]).

mod custody;
mod event;
mod jobs;
mod machine;
mod replays;
mod reply;
mod request;
mod seed;
mod wants;

pub use event::{
    ExchangeCheck, ExchangeEvent, Missing, MissingKeys, Party, Refusal, RefusalId, Sender,
};
pub use jobs::{
    AnswerJob, EphemeralKeys, Failure, Job, KemJob, KemOutput, OutRecord, Output, Ticket,
};
pub use machine::{
    Effect, Exchange, ExchangeConfig, Input, KeyTableChange, MAX_TICKETS, MAX_TICKETS_PER_ROOT,
    MAX_WAITING_BYTES, MAX_WAITING_RECORDS, Position,
};
pub use replays::MAX_ANSWERED;
pub use reply::{KeyReply, MAX_TRIED_KEYS, ReceivedKeys, compose_reply};
pub use request::{
    KeyRequest, MAX_VALIDITY, NONCE_LEN, RequestForm, Validity, decode_key_ids, encode_key_ids,
};
pub use seed::RequestSeed;
pub use wants::{
    GATHER_TIME, MAX_OUTSTANDING_PER_ROOT, MAX_ROOTS, MAX_WANTED_PER_ROOT, UNANSWERED_AFTER, Wanted,
};

#[cfg(test)]
mod tests;
