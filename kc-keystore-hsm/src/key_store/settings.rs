use kc_core::kem::Suite;
use kc_core::keys::{KeyType, VerifyingKey};

/// What a node's configuration says of its keys.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyStoreSettings {
    /// The types that are used, `keytypes`; `None` for all that the token has.
    pub key_types: Option<Vec<KeyType>>,
    /// The node's public keys, in order. If there are any, the token must have these, and keys of other types are passed
    /// over; if there are none, nothing is compared, and version 1 comes before version 4.
    pub pinned: Vec<VerifyingKey>,
    /// The SLH-DSA half of a version-4 key, if the token cannot hold it: what
    /// [`NewIdentity::sealed_slh_dsa`](crate::NewIdentity::sealed_slh_dsa) was. No secret.
    pub sealed_slh_dsa: Option<Vec<u8>>,
    /// The key exchanges that the node offers and accepts, in order of preference.
    pub suites: Vec<Suite>,
    /// Whether requests go out in the bare form of old peers, too.
    pub legacy_requests: bool,
}

impl Default for KeyStoreSettings {
    /// All key types, nothing pinned, all key exchanges, no legacy requests.
    fn default() -> Self {
        Self {
            key_types: None,
            pinned: Vec::new(),
            sealed_slh_dsa: None,
            suites: Suite::ALL.to_vec(),
            legacy_requests: false,
        }
    }
}

impl KeyStoreSettings {
    pub(super) fn uses(&self, key_type: KeyType) -> bool {
        let wanted = self.key_types.as_ref();
        let is_pinned = self.pinned.iter().any(|key| key.key_type() == key_type);
        wanted.is_none_or(|types| types.contains(&key_type))
            && (is_pinned || self.pinned.is_empty())
    }
}
