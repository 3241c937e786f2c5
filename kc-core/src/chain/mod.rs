//! Certificates and certificate chains (protocol §6). A chain proves that a root of trust granted rights to a key.
//!
//! A received chain is an [`UnverifiedChain`]. Its validation against a [`TrustStore`] returns a [`ValidatedChain`] if
//! the chain meets a [`Demand`]. Each step that can refuse a chain is a numbered [`Check`]. Trust changes at run time
//! by the updates that a [`TrustList`] accepts. [`Trust`] is the state machine of a node.

mod certificate;
mod check;
mod constraints;
mod expiry;
mod identity;
mod machine;
mod revocations;
mod trust;
mod update;
mod validate;

pub use certificate::{Certificate, CertificateKey, CertificateKeys, MaxAge, encode_certificate};
pub use check::{ChainError, Check};
pub use constraints::{
    ANYTHING, Constraints, InvalidPattern, MAX_LIST_LEN, MAX_PATTERN_LEN, MAX_PATTERNS,
    MAX_RESTRICTIONS, Restrictions, Usage, grants, intersect, multimatch,
};
pub use identity::{Identity, ToBeSigned, ValidIdentity};
pub use machine::{Epoch, MAX_SEEN_KEYS, Trust, TrustEffect, TrustEvent, TrustInput};
pub use revocations::{MAX_REVOCATION_LEN, MAX_WAITING_REVOCATIONS};
pub use trust::{MAX_SELF_DENIED, TEMPORARY_ROOT, TrustEntry, TrustStore};
pub use update::{MAX_ENTRY_LEN, TrustList, UpdateCheck, UpdateError, accept_chain};
pub use validate::{
    Demand, MAX_LINK_LEN, MAX_LINKS, MAX_VERIFIED, SelfRevocation, UnverifiedChain, ValidatedChain,
    encode_chain,
};

#[cfg(test)]
mod tests;
