use std::time::Duration;

use crate::chain::{MaxAge, ValidIdentity};
use crate::keys::KeyType;
use crate::types::Timestamp;

/// The longest that a request or reply is valid, whatever the configuration says: a signed request
/// that lives for years can be replayed for years.
pub const MAX_VALIDITY: Duration = Duration::from_secs(604_800);

/// How long the requests and replies that a node signs are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity(Duration);

impl Default for Validity {
    /// One day (protocol §10).
    fn default() -> Self {
        Self(Duration::from_secs(86_400))
    }
}

impl Validity {
    /// What `maxage` in a configuration asks for, up to [`MAX_VALIDITY`]; zero means the default.
    #[must_use]
    pub fn from_max_age(max_age: Duration) -> Self {
        if max_age.is_zero() {
            Self::default()
        } else {
            Self(max_age.min(MAX_VALIDITY))
        }
    }

    pub(super) fn end(self, now: Timestamp) -> MaxAge {
        MaxAge::until(now.plus(self.0))
    }
}

/// The identities to answer somebody with whose root is of this type: those of the same type, or all
/// if there is none.
pub(super) fn answering(
    identities: &[ValidIdentity],
    root_type: Option<KeyType>,
) -> impl Iterator<Item = &ValidIdentity> {
    let same = move |identity: &&ValidIdentity| Some(identity.key().key_type()) == root_type;
    let any_same = identities.iter().any(|identity| same(&identity));
    identities
        .iter()
        .filter(move |identity| !any_same || same(identity))
}
