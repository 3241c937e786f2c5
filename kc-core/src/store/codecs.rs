//! Codecs of sealed values, retained keys and the header of a sealed ratchet.

/// Values sealed under a node's opaque key (protocol §11): a nonce of 24 bytes, then the box.
pub mod opaque {
    use rand_core::CryptoRng;

    use crate::secret::{Secret, SecretVec};
    use crate::symmetric::{self, NONCE_LEN};

    /// Seals a value with a new nonce.
    #[must_use]
    pub fn wrap(plaintext: &[u8], key: &Secret<32>, rng: &mut dyn CryptoRng) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        rng.fill_bytes(&mut nonce);
        let sealed = symmetric::seal(plaintext, &nonce, key.expose());
        [&nonce, sealed.as_slice()].concat()
    }

    /// Opens a value. Returns `None` if it is too short, altered, or sealed under another key.
    #[must_use]
    pub fn unwrap(wrapped: &[u8], key: &Secret<32>) -> Option<SecretVec> {
        let (nonce, sealed) = wrapped.split_first_chunk()?;
        symmetric::open(sealed, nonce, key.expose())
    }
}

/// The retained keys of a producer as a plaintext, which is sealed before it is stored (protocol §11, `oldkeys`):
/// `{"pgens": [[root topic, key id, secret, birth], ...]}`. The birth is the time at which the key was made.
pub mod retained_keys {
    use crate::ratchet::{RetainedKey, RetainedKeys};
    use crate::secret::{Secret, SecretVec};
    use crate::types::{RootTopic, Timestamp};
    use crate::wire::{Value, WireError, Writer};

    const ENTRIES: &str = "pgens";

    /// Encodes the keys, oldest first.
    #[must_use]
    pub fn encode(keys: &RetainedKeys) -> SecretVec {
        // The capacity is sufficient from the start, because a buffer that grows leaves copies of secrets in memory.
        let names: usize = keys.iter().map(|key| key.root_topic.as_str().len()).sum();
        let mut writer = Writer::append_to(Vec::with_capacity(32 + names + keys.len() * 96));
        writer.map(1).text(ENTRIES).array(keys.len());
        for key in keys.iter() {
            writer.array(4).text(key.root_topic.as_str());
            let writer = writer.key_id(&key.id);
            writer.bytes(key.secret.expose()).float(key.birth.as_secs());
        }
        writer.into_vec().into()
    }

    /// Decodes the keys. Ignores other entries of the map.
    ///
    /// # Errors
    /// Returns a [`WireError`] if the layout, a key id, a secret or a time is wrong.
    pub fn decode(plaintext: &SecretVec) -> Result<RetainedKeys, WireError> {
        let value = Value::decode(plaintext.expose())?;
        let Value::Map(entries) = value else {
            return Err(WireError::Expected("a map"));
        };
        let mut keys = RetainedKeys::default();
        for (name, entries) in &entries {
            if name.text() != Ok(ENTRIES) {
                continue;
            }
            for entry in entries.array()? {
                keys.insert(decode_entry(entry)?);
            }
        }
        Ok(keys)
    }

    fn decode_entry(entry: &Value<'_>) -> Result<RetainedKey, WireError> {
        let [root_topic, id, secret, birth] = entry.array()? else {
            return Err(WireError::Expected(
                "an array of root topic, key id, secret and birth",
            ));
        };
        let secret = Secret::from_slice(secret.bytes()?);
        Ok(RetainedKey {
            root_topic: RootTopic::from(root_topic.text()?),
            id: id.key_id()?,
            secret: secret
                .ok_or(WireError::Expected("a secret of 32 bytes"))?
                .into(),
            birth: birth_time(birth).ok_or(WireError::Expected("a time"))?,
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "times fit a double's 53 bits")]
    fn birth_time(value: &Value<'_>) -> Option<Timestamp> {
        match value {
            Value::Float(secs) => Timestamp::from_secs(*secs),
            Value::Int(secs) => Timestamp::from_secs(*secs as f64),
            _ => None,
        }
    }
}

/// The first bytes of a file with a ratchet that a token has sealed.
const MAGIC: &[u8; 4] = b"KCR1";

/// The header of a ratchet that a token has sealed, readable without the token: `"KCR1" ‖ index (8 bytes,
/// big-endian)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedRatchetHeader {
    /// The index of the step that is sealed in this file: the next step that the node takes.
    pub index: u64,
}

impl SealedRatchetHeader {
    /// The length of the header, in bytes.
    pub const LEN: usize = MAGIC.len() + size_of::<u64>();

    /// Returns the header of a file, or `None` if the file has none.
    #[must_use]
    pub fn of(file: &[u8]) -> Option<Self> {
        let index = file.strip_prefix(MAGIC)?.first_chunk()?;
        Some(Self {
            index: u64::from_be_bytes(*index),
        })
    }

    /// Encodes the header for the file.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        [&MAGIC[..], &self.index.to_be_bytes()].concat()
    }
}
