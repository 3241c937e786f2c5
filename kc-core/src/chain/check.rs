use std::fmt;
use std::time::Duration;

use thiserror::Error;

use super::InvalidPattern;
use crate::keys::KeyError;
use crate::types::Timestamp;
use crate::wire::WireError;

/// A reason why a chain or a certificate is not valid.
///
/// [`NoAllowlist`](Self::NoAllowlist), [`NoChain`](Self::NoChain) and [`OtherKey`](Self::OtherKey) are faults of this
/// node's configuration. The other errors are faults in the received bytes, or this node does not trust the chain.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The chain is not an array of byte strings.
    #[error("malformed chain: {0}")]
    Encoding(WireError),
    /// The chain has no certificate, or more than [`MAX_LINKS`](super::MAX_LINKS). Holds their number.
    #[error("the chain has {0} certificates, not 1 to {max}", max = super::MAX_LINKS)]
    Length(usize),
    /// A certificate before the last is longer than [`MAX_LINK_LEN`](super::MAX_LINK_LEN) bytes. Holds its index,
    /// from 0.
    #[error("certificate {0} is longer than {max} bytes", max = super::MAX_LINK_LEN)]
    LinkLength(usize),
    /// This node has no allowlist, and therefore no root of trust.
    #[error("this node has no allowlist")]
    NoAllowlist,
    /// No root of trust signed the first certificate.
    #[error("the first certificate is not signed by a root of trust of this node")]
    UnknownRoot,
    /// A later certificate is not signed by the key in the certificate before it. Holds the index of the later
    /// certificate, from 0.
    #[error("certificate {0} is not signed by the key of the certificate before it")]
    Signature(usize),
    /// The chain that is stored for a key of this node certifies another key.
    #[error("the chain that is stored for the signing key certifies another key")]
    OtherKey,
    /// No chain is stored for a key of this node.
    #[error("no certificate chain is stored for the signing key")]
    NoChain,
    /// A certificate does not have the layout that the protocol requires.
    #[error("malformed certificate: {0}")]
    Certificate(WireError),
    /// A key in a certificate is malformed or of an unknown version.
    #[error("invalid key in a certificate: {0}")]
    Key(#[from] KeyError),
    /// A certificate's constraints are malformed or unknown.
    #[error("malformed constraints: {0}")]
    Constraints(&'static str),
    /// A constraint's regular expression is invalid.
    #[error(transparent)]
    Pattern(#[from] InvalidPattern),
    /// A certificate that must be for a single signing key is for several keys or for a key-exchange key. Holds its
    /// index, from 0.
    #[error("certificate {0} is not for a single signing key")]
    NotASigner(usize),
    /// A certificate outside a chain, such as an entry of a list, is for several keys or for a key-exchange key.
    #[error("the certificate is not for a single signing key")]
    NotASingleKey,
    /// A key of the chain is on the denylist.
    #[error("a key of the chain is on the denylist")]
    Denied,
    /// The chain has expired by the clock of the node that validates it. Times are in seconds since the epoch.
    #[error("the chain expired at {}, and the clock of this host shows {}", date(*.end), date(*.now))]
    Expired {
        /// The end of the chain's validity.
        end: i64,
        /// The time of the validation.
        now: i64,
    },
    /// The chain does not grant the topic.
    #[error("the chain does not grant the topic {0:?}")]
    Topic(String),
    /// The chain does not grant the usage.
    #[error("the chain does not grant the usage {0:?}")]
    Usage(String),
    /// The chain is longer than one of its certificates allows, or a new chain of this node has no room for one more
    /// certificate.
    #[error("the chain is longer than the path length of one of its certificates allows")]
    PathLength,
}

fn date(secs: i64) -> Timestamp {
    u64::try_from(secs).map_or(Timestamp::EPOCH, |secs| {
        Timestamp::from_unix(Duration::from_secs(secs))
    })
}

/// The number of a step of validation. The numbers never change, so that operators, metrics and documentation can
/// refer to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Check {
    /// C01: the chain is an array of byte strings.
    Encoding,
    /// C02: the chain has from one to [`MAX_LINKS`](super::MAX_LINKS) certificates, and each certificate except the
    /// last has at most [`MAX_LINK_LEN`](super::MAX_LINK_LEN) bytes.
    Length,
    /// C03: there is an allowlist.
    Allowlist,
    /// C04: a root of trust signed the first certificate.
    Root,
    /// C05: each key signed the next certificate.
    Signature,
    /// C06: the certificates have the required layout.
    Certificate,
    /// C07: the keys are well-formed and of known versions.
    Key,
    /// C08: the constraints are well-formed and known.
    Constraints,
    /// C09: the regular expressions compile.
    Pattern,
    /// C10: each certificate that signs another is for a single signing key.
    Signer,
    /// C11: the denylist does not deny the chain.
    Denylist,
    /// C12: the chain has not expired.
    Expiry,
    /// C13: the topic is granted.
    Topic,
    /// C14: the usage is granted.
    Usage,
    /// C15: no certificate's path length is exceeded.
    PathLength,
}

impl Check {
    /// All checks, in the order of their numbers.
    pub const ALL: [Self; 15] = [
        Self::Encoding,
        Self::Length,
        Self::Allowlist,
        Self::Root,
        Self::Signature,
        Self::Certificate,
        Self::Key,
        Self::Constraints,
        Self::Pattern,
        Self::Signer,
        Self::Denylist,
        Self::Expiry,
        Self::Topic,
        Self::Usage,
        Self::PathLength,
    ];
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "C{:02}", *self as u8 + 1)
    }
}

impl ChainError {
    /// Returns the check that refused the chain.
    #[must_use]
    pub fn check(&self) -> Check {
        match self {
            Self::Encoding(_) => Check::Encoding,
            Self::Length(_) | Self::LinkLength(_) | Self::NoChain => Check::Length,
            Self::NoAllowlist => Check::Allowlist,
            Self::UnknownRoot => Check::Root,
            Self::Signature(_) | Self::OtherKey => Check::Signature,
            Self::Certificate(_) => Check::Certificate,
            Self::Key(_) => Check::Key,
            Self::Constraints(_) => Check::Constraints,
            Self::Pattern(_) => Check::Pattern,
            Self::NotASigner(_) | Self::NotASingleKey => Check::Signer,
            Self::Denied => Check::Denylist,
            Self::Expired { .. } => Check::Expiry,
            Self::Topic(_) => Check::Topic,
            Self::Usage(_) => Check::Usage,
            Self::PathLength => Check::PathLength,
        }
    }

    /// Returns advice to append to a message about another node's chain, if the chain has expired. Otherwise returns
    /// an empty text.
    pub(crate) fn clock_hint(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "; compare the clocks of both nodes",
            _ => "",
        }
    }
}
