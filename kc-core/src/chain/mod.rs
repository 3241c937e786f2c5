//! Certificates and chains of them (protocol §6): who may do what, proved back to a root of trust.
//!
//! What arrives is an [`UnverifiedChain`]. Validating it against a [`TrustStore`] for a [`Demand`] is
//! the only way to a [`ValidatedChain`]. Every step that can refuse is a [`Check`] with a number. Trust
//! changes at run time by what a [`TrustList`] accepts.

mod certificate;
mod check;
mod claim;
mod constraints;
mod expiry;
mod identity;
mod links;
mod machine;
mod number;
mod pattern;
mod revocations;
mod trust;
mod update;
mod validate;

pub use certificate::{Certificate, CertificateKey, CertificateKeys, encode_certificate};
pub use check::{ChainError, Check};
pub use constraints::{
    Constraints, MAX_LIST_LEN, MAX_PATTERN_LEN, MAX_PATTERNS, MAX_RESTRICTIONS, Restrictions, Usage,
};
pub use identity::{Identity, ToBeSigned, ValidIdentity};
pub use links::MAX_VERIFIED;
pub use machine::{Epoch, MAX_SEEN_KEYS, Trust, TrustEffect, TrustEvent, TrustInput};
pub use number::MaxAge;
pub use pattern::{ANYTHING, InvalidPattern, grants, intersect, multimatch};
pub use revocations::{MAX_REVOCATION_LEN, MAX_WAITING_REVOCATIONS};
pub use trust::{MAX_SELF_DENIED, TEMPORARY_ROOT, TrustEntry, TrustStore};
pub use update::{
    MAX_ENTRY_LEN, TrustList, UpdateCheck, UpdateError, accept_chain, accept_self_revocation,
};
pub use validate::{
    Demand, MAX_LINK_LEN, MAX_LINKS, SelfRevocation, UnverifiedChain, ValidatedChain, encode_chain,
};

#[cfg(test)]
mod tests;
