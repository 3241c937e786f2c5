//! Certificates and chains of them (protocol §6): who may do what, proved back to a root of trust.
//!
//! What arrives is an [`UnverifiedChain`]. Validating it against a [`TrustStore`] for a [`Demand`] is
//! the only way to a [`ValidatedChain`]. Every step that can refuse is a [`Check`] with a number. Trust
//! changes at run time by what a [`TrustList`] accepts.

mod certificate;
mod check;
mod claim;
mod constraints;
mod number;
mod pattern;
mod trust;
mod update;
mod validate;

pub use certificate::{Certificate, CertificateKey, CertificateKeys, encode_certificate};
pub use check::{ChainError, Check};
pub use constraints::{Constraints, MAX_LIST_LEN, MAX_PATTERN_LEN, MAX_PATTERNS, Usage};
pub use number::MaxAge;
pub use pattern::{ANYTHING, InvalidPattern, grants, intersect, multimatch};
pub use trust::{TEMPORARY_ROOT, TrustEntry, TrustStore};
pub use update::{
    MAX_ENTRY_LEN, MAX_SELF_DENIED, TrustList, UpdateCheck, UpdateError, accept_chain,
};
pub use validate::{Demand, MAX_LINKS, UnverifiedChain, ValidatedChain, encode_chain};

#[cfg(test)]
mod tests;
