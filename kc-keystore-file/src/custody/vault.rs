use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kc_core::custody::{CustodySecrets, Day};
use kc_core::exchange::RequestSeed;
use kc_core::ratchet::DataKey;
use kc_core::store::{KeyStore, StoreError, StoreErrorKind};
use kc_core::text::with_sources;
use kc_core::types::{KeyId, RootTopic};
use rand::rngs::StdRng;

use crate::atomic::{read_bounded, remove_leftovers};
use crate::{FileError, system_rng, write_atomic};

/// The maximum size of the file `secrets`, in bytes. The key of a day takes the length of the root topic's name and 40 to
/// 50 bytes.
const MAX_SECRETS_BYTES: u64 = 64 << 20;

/// The keys of the days and the request seeds, and the file `secrets` in which they last.
pub(super) struct Vault {
    path: PathBuf,
    keystore: Arc<dyn KeyStore>,
    secrets: CustodySecrets,
    /// False if the file may differ from `secrets`.
    is_stored: bool,
}

impl Vault {
    /// Reads the file. Returns `None` if it does not exist.
    pub(super) fn open(
        path: &Path,
        keystore: &Arc<dyn KeyStore>,
    ) -> Result<Option<Self>, StoreError> {
        remove_leftovers(path);
        let sealed = match read_bounded(path, MAX_SECRETS_BYTES) {
            Ok(sealed) => sealed,
            Err(FileError::Missing { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let context = || format!("open the secrets in {}", path.display());
        let plaintext = keystore
            .unwrap_opaque(&sealed)
            .map_err(|error| StoreError::new(error.kind(), context()).with_source(error))?;
        let secrets = CustodySecrets::decode(&plaintext).map_err(|error| {
            StoreError::new(StoreErrorKind::Malformed, context()).with_source(error)
        })?;
        Ok(Some(Self {
            path: path.to_owned(),
            keystore: Arc::clone(keystore),
            secrets,
            is_stored: true,
        }))
    }

    /// Creates the file, without a secret.
    pub(super) fn create(path: &Path, keystore: &Arc<dyn KeyStore>) -> Result<Self, StoreError> {
        let mut vault = Self {
            path: path.to_owned(),
            keystore: Arc::clone(keystore),
            secrets: CustodySecrets::default(),
            is_stored: false,
        };
        vault.save()?;
        Ok(vault)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.secrets == CustodySecrets::default()
    }

    /// Seals a data key under the key of a day. The caller must [`save`](Self::save) before it stores the result,
    /// because the key of the day may be new.
    pub(super) fn seal(
        &mut self,
        root_topic: &RootTopic,
        day: Day,
        key: (&KeyId, &DataKey),
        rng: &mut StdRng,
    ) -> Result<Vec<u8>, StoreError> {
        if self.secrets.prepare(root_topic, day, rng) {
            self.is_stored = false;
        }
        let sealed = self.secrets.seal(root_topic, day, key, rng);
        sealed.ok_or_else(|| {
            let context = format!("seal a data key of {root_topic}");
            StoreError::new(StoreErrorKind::Other, context)
        })
    }

    /// Opens a sealed data key. Returns `None`, and logs a warning, if this is impossible.
    pub(super) fn open_key(
        &self,
        root_topic: &RootTopic,
        day: Day,
        id: &KeyId,
        sealed: &[u8],
    ) -> Option<DataKey> {
        let secret = self.secrets.open(root_topic, day, id, sealed);
        if secret.is_none() {
            tracing::warn!(%root_topic, %id, %day, "data key in the store of the custodian does not open; ignored");
        }
        secret
    }

    pub(super) fn has_key(&self, root_topic: &RootTopic, day: Day) -> bool {
        self.secrets.has_key(root_topic, day)
    }

    /// Destroys the keys of days durably, and, if any key is destroyed and `with_seeds` is true, the request seeds.
    pub(super) fn forget(
        &mut self,
        root_topic: &RootTopic,
        before: Option<Day>,
        with_seeds: bool,
    ) -> Result<(), StoreError> {
        if self.secrets.forget(root_topic, before) {
            self.is_stored = false;
            if with_seeds {
                self.secrets.forget_seeds();
            }
        }
        self.save()
    }

    /// Returns the request seeds, after a new seed was stored if the first is not of this day.
    /// If it cannot be stored, returns the seeds of before.
    pub(super) fn request_seeds(&mut self, today: Day) -> Result<Vec<RequestSeed>, StoreError> {
        let is_new = self.secrets.renew_seeds(today, &mut system_rng()?);
        self.is_stored &= !is_new;
        if let Err(error) = self.save() {
            if is_new {
                self.secrets.drop_newest_seed();
            }
            let seeds = self.secrets.seeds();
            if seeds.is_empty() {
                return Err(error);
            }
            tracing::warn!(error = %with_sources(&error), "request seeds not renewed; the custodian uses those of before");
            return Ok(seeds);
        }
        Ok(self.secrets.seeds())
    }

    /// Stores the secrets durably, if they have changed. Destroys the file that they replace.
    pub(super) fn save(&mut self) -> Result<(), StoreError> {
        if self.is_stored {
            return Ok(());
        }
        let encoded = self.secrets.encode();
        let sealed = self.keystore.wrap_opaque(encoded.expose())?;
        // The file must never be replaced by one that the next start cannot read.
        let fits = u64::try_from(sealed.len()).is_ok_and(|len| len <= MAX_SECRETS_BYTES);
        if !fits || CustodySecrets::decode(&encoded).as_ref() != Ok(&self.secrets) {
            let context = format!("store more secrets in {}", self.path.display());
            let error = StoreError::new(StoreErrorKind::Other, context);
            return Err(error.with_advice(
                "the custodian keeps keys of too many days and root topics: forget the oldest keys",
            ));
        }
        let replaced = OpenOptions::new().write(true).open(&self.path).ok();
        write_atomic(&self.path, &sealed)?;
        self.is_stored = true;
        if let Some(Err(error)) = replaced.map(overwrite) {
            tracing::warn!(path = %self.path.display(), %error, "replaced secrets cannot be overwritten");
        }
        Ok(())
    }
}

/// Overwrites a file that has no name any more with zeros. Leaves a file with another name as it is: it may be a backup.
#[cfg(unix)]
fn overwrite(mut file: File) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;

    let found = file.metadata()?;
    if found.nlink() > 0 {
        return Ok(());
    }
    io::copy(&mut io::Read::take(io::repeat(0), found.len()), &mut file)?;
    file.flush()?;
    file.sync_data()
}

#[cfg(not(unix))]
fn overwrite(_: File) -> io::Result<()> {
    Ok(())
}
