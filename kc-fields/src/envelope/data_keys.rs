//! Data keys: made, wrapped by another key, used for a while, and found again by their wrapped form.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use kc::core::secret::Secret;
use kc::{OpenFailure, Opener, Sealer};
use zeroize::Zeroizing;

use crate::error::Fault;
use crate::keys::{KEY_BYTES, derive, random_key};

const NONCE_BYTES: usize = 24;
/// What a wrapped data key is bound to, so that it is nothing else.
const ASSOCIATED: &[u8] = b"kc-fields data key 1";
/// The maximum number of unwrapped data keys that are kept to open envelopes.
const MAX_OPENED: usize = 1024;

/// The caps of a data key: when one of them is reached, the next payload gets a new data key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// The maximum number of payloads.
    pub records: u64,
    /// The maximum number of bytes.
    pub bytes: u64,
    /// The maximum age. Unwrapped data keys are forgotten after this time as well.
    pub age: Duration,
}

impl Default for Caps {
    /// Returns 10 000 payloads, 1 GiB, one hour.
    fn default() -> Self {
        Self {
            records: 10_000,
            bytes: 1 << 30,
            age: Duration::from_secs(3600),
        }
    }
}

/// Makes data keys and has them wrapped, keeps one to seal until a cap is reached, and keeps unwrapped ones to open.
#[derive(Debug)]
pub struct DataKeys {
    wrap: Box<dyn KeyWrap>,
    caps: Caps,
    sealing: Mutex<Option<InUse>>,
    opened: Mutex<Opened>,
}

/// A data key, and its wrapped form.
#[derive(Debug)]
pub(super) struct DataKey {
    pub(super) key: Secret<KEY_BYTES>,
    pub(super) wrapped: Vec<u8>,
}

/// Unwrapped data keys by their wrapped form, with the time when they were unwrapped.
type Opened = HashMap<Vec<u8>, (Instant, Arc<DataKey>)>;

#[derive(Debug)]
struct InUse {
    key: Arc<DataKey>,
    since: Instant,
    records: u64,
    bytes: u64,
}

/// Wraps data keys by another key.
#[async_trait]
pub(crate) trait KeyWrap: Send + Sync + Debug {
    /// Returns the name of the wrapping in envelopes.
    fn name(&self) -> &'static str;

    /// Returns a new data key and its wrapped form.
    async fn make(&self) -> Result<(Secret<KEY_BYTES>, Vec<u8>), Fault>;

    /// Returns the data key of a wrapped form.
    async fn unwrap(&self, wrapped: &[u8]) -> Result<Secret<KEY_BYTES>, Fault>;
}

impl DataKeys {
    pub(crate) fn new(wrap: Box<dyn KeyWrap>, caps: Caps) -> Self {
        Self {
            wrap,
            caps,
            sealing: Mutex::default(),
            opened: Mutex::default(),
        }
    }

    /// Returns data keys that a key from [`read_key`](crate::read_key) wraps.
    #[must_use]
    pub fn by_key(key: &Secret<KEY_BYTES>, caps: Caps) -> Self {
        Self::new(Box::new(FileWrap::new(key)), caps)
    }

    pub(super) fn wrapping(&self) -> &'static str {
        self.wrap.name()
    }

    /// Returns the data key for a payload of this size.
    pub(super) async fn to_seal(&self, bytes: u64) -> Result<Arc<DataKey>, Fault> {
        if let Some(key) = self.in_use(bytes) {
            return Ok(key);
        }
        let (key, wrapped) = self.wrap.make().await?;
        let key = Arc::new(DataKey { key, wrapped });
        *lock(&self.sealing) = Some(InUse {
            key: Arc::clone(&key),
            since: Instant::now(),
            records: 1,
            bytes,
        });
        Ok(key)
    }

    fn in_use(&self, bytes: u64) -> Option<Arc<DataKey>> {
        let mut sealing = lock(&self.sealing);
        let used = sealing.as_mut()?;
        let total = used.bytes.saturating_add(bytes);
        let is_over = used.records >= self.caps.records
            || total > self.caps.bytes
            || used.since.elapsed() >= self.caps.age;
        if is_over {
            *sealing = None;
            return None;
        }
        used.records += 1;
        used.bytes = total;
        Some(Arc::clone(&used.key))
    }

    pub(super) async fn to_open(&self, wrapped: &[u8]) -> Result<Arc<DataKey>, Fault> {
        {
            let mut opened = lock(&self.opened);
            opened.retain(|_, (since, _)| since.elapsed() < self.caps.age);
            if let Some((_, key)) = opened.get(wrapped) {
                return Ok(Arc::clone(key));
            }
        }
        let key = self.wrap.unwrap(wrapped).await?;
        let wrapped = wrapped.to_vec();
        let key = Arc::new(DataKey { key, wrapped });
        let mut opened = lock(&self.opened);
        if opened.len() >= MAX_OPENED {
            let oldest = opened.iter().min_by_key(|(_, (since, _))| *since);
            if let Some(oldest) = oldest.map(|(wrapped, _)| wrapped.clone()) {
                opened.remove(&oldest);
            }
        }
        opened.insert(key.wrapped.clone(), (Instant::now(), Arc::clone(&key)));
        Ok(key)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wraps by a key from a file: 24 bytes of nonce, then XChaCha20-Poly1305.
#[derive(Debug)]
pub(crate) struct FileWrap(Secret<KEY_BYTES>);

impl FileWrap {
    pub(crate) fn new(key: &Secret<KEY_BYTES>) -> Self {
        Self(derive(key, "envelope"))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.0.expose().into())
    }
}

#[async_trait]
impl KeyWrap for FileWrap {
    fn name(&self) -> &'static str {
        "file"
    }

    async fn make(&self) -> Result<(Secret<KEY_BYTES>, Vec<u8>), Fault> {
        let key = new_key()?;
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|error| no_randomness(&error))?;
        let payload = Payload {
            msg: key.expose(),
            aad: ASSOCIATED,
        };
        let sealed = self.cipher().encrypt(&nonce.into(), payload);
        let sealed = sealed.map_err(|_| Fault::Unfit("the data key cannot be wrapped".into()))?;
        Ok((key, [&nonce[..], &sealed].concat()))
    }

    async fn unwrap(&self, wrapped: &[u8]) -> Result<Secret<KEY_BYTES>, Fault> {
        let refused =
            || Fault::Refused("another key wrapped its data key, or it was changed".into());
        let (nonce, sealed) = wrapped
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or_else(refused)?;
        let payload = Payload {
            msg: sealed,
            aad: ASSOCIATED,
        };
        let key = self
            .cipher()
            .decrypt(nonce.into(), payload)
            .map_err(|_| refused())?;
        Secret::from_slice(&Zeroizing::new(key)).ok_or_else(refused)
    }
}

/// Wraps by the data keys of a key topic, of the nodes' own key exchange.
#[derive(Debug)]
pub(crate) struct KcWrap {
    pub(crate) key_topic: String,
    /// `None` if data keys are only unwrapped.
    pub(crate) sealer: Option<Sealer>,
    pub(crate) opener: Opener,
    pub(crate) patience: Duration,
}

#[async_trait]
impl KeyWrap for KcWrap {
    fn name(&self) -> &'static str {
        "kc"
    }

    async fn make(&self) -> Result<(Secret<KEY_BYTES>, Vec<u8>), Fault> {
        let sealer = self.sealer.as_ref();
        let sealer = sealer
            .ok_or_else(|| Fault::Unsupported("the cipher was opened only to decrypt".into()))?;
        let key = new_key()?;
        let plaintext = Zeroizing::new([ASSOCIATED, key.expose()].concat());
        let wrapped = sealer.seal_value(&plaintext);
        Ok((
            key,
            wrapped.map_err(|error| Fault::Unavailable(error.to_string()))?,
        ))
    }

    async fn unwrap(&self, wrapped: &[u8]) -> Result<Secret<KEY_BYTES>, Fault> {
        let opened = self
            .opener
            .open_value_within(&self.key_topic, wrapped, self.patience)
            .await;
        let opened = opened.map_err(|failure| match failure {
            OpenFailure::AwaitingKey { .. } | OpenFailure::Denied { .. } => {
                Fault::MissingKey(format!("key topic {}: {failure}", self.key_topic))
            }
            OpenFailure::Closed => Fault::Unavailable(failure.to_string()),
            failure => Fault::Refused(failure.to_string()),
        })?;
        let opened = Zeroizing::new(opened);
        let key = opened.strip_prefix(ASSOCIATED).and_then(Secret::from_slice);
        key.ok_or_else(|| Fault::Refused("what was sealed is no data key".into()))
    }
}

fn new_key() -> Result<Secret<KEY_BYTES>, Fault> {
    random_key().map_err(|error| no_randomness(&error))
}

fn no_randomness(error: &dyn std::error::Error) -> Fault {
    Fault::Unavailable(format!("the system gives no random numbers: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn distinct(caps: Caps, payloads: &[u64]) -> usize {
        let key = Secret::from_slice(&[7; 32]).unwrap();
        let keys = DataKeys::new(Box::new(FileWrap::new(&key)), caps);
        let mut wrapped = std::collections::BTreeSet::new();
        for bytes in payloads {
            wrapped.insert(keys.to_seal(*bytes).await.unwrap().wrapped.clone());
        }
        wrapped.len()
    }

    #[tokio::test]
    async fn a_data_key_ends_at_each_cap() {
        let caps = Caps::default();
        assert_eq!(distinct(caps, &[1; 100]).await, 1);
        assert_eq!(
            distinct(
                Caps {
                    records: 10,
                    ..caps
                },
                &[1; 100]
            )
            .await,
            10
        );
        assert_eq!(distinct(Caps { records: 1, ..caps }, &[1; 3]).await, 3);
        assert_eq!(distinct(Caps { bytes: 100, ..caps }, &[50; 6]).await, 3);
        assert_eq!(distinct(Caps { bytes: 100, ..caps }, &[500; 3]).await, 3);
        let caps = Caps {
            age: Duration::ZERO,
            ..caps
        };
        assert_eq!(distinct(caps, &[1; 3]).await, 3);
    }

    #[tokio::test]
    async fn the_number_of_unwrapped_keys_is_bounded() {
        let key = Secret::from_slice(&[7; 32]).unwrap();
        let caps = Caps {
            records: 1,
            ..Caps::default()
        };
        let keys = DataKeys::new(Box::new(FileWrap::new(&key)), caps);
        for _ in 0..MAX_OPENED + 10 {
            let wrapped = keys.to_seal(1).await.unwrap().wrapped.clone();
            keys.to_open(&wrapped).await.unwrap();
        }
        assert_eq!(lock(&keys.opened).len(), MAX_OPENED);
    }
}
