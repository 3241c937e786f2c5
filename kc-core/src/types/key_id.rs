use std::fmt;

/// Length in bytes of a long key id.
pub const KEY_ID_LEN: usize = 32;

/// Names one data key of a root topic (protocol §4, "key index").
///
/// A message carries the id of the key it was sealed under. Ids are chosen by producers and are not
/// secret; nothing prevents two producers from claiming the same one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyId {
    /// The default form: 32 bytes, a hash of the producer's identity and its ratchet index.
    Long([u8; KEY_ID_LEN]),
    /// The compact form: the ratchet index itself.
    Short(u64),
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Long(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            Self::Short(index) => write!(f, "#{index}"),
        }
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}
