//! What a custodian keeps, in a folder.
//!
//! The database holds every key sealed. The keys that seal them are in a small file of its own, which is replaced as a
//! whole, so that a key that is forgotten there is unreadable in every copy of the database.

mod audit;
mod database;
mod folder;
mod givers;
mod kept;
mod pending;
mod tables;
mod vault;
mod verify;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kc_core::custody::{
    CustodyArchive, Day, Given, KeptKey, MAX_PENDING_PER_ROOT, Offer, RootCustody, Sighting,
    Unproven,
};
use kc_core::exchange::RequestSeed;
use kc_core::ratchet::{DataKey, Giver};
use kc_core::store::{KeyStore, StoreError, StoreErrorKind};
use kc_core::text::with_sources;
use kc_core::types::{KeyId, RootTopic};
use rand::rngs::StdRng;

use crate::system_rng;
use audit::AuditLog;
use database::{Failure, KeyDatabase};
use givers::Givers;
use tables::Tables;
use vault::Vault;
pub use verify::{AuditError, AuditReport, verify_audit};

/// The database.
const KEYS_FILE: &str = "keys.redb";
/// The sealed [`CustodySecrets`](kc_core::custody::CustodySecrets).
const SECRETS_FILE: &str = "secrets";
/// The audit log.
const AUDIT_FILE: &str = "audit.jsonl";

/// The advice if another program has the store open.
const IN_USE_ADVICE: &str = "stop the other program that uses this custodian's store";

/// What a custodian keeps for other nodes, in a folder that only its owner can access (mode 0700). The folder has three
/// files (mode 0600):
///
/// | file | content |
/// |---|---|
/// | `keys.redb` | a [redb](https://www.redb.org) database: kept keys and offered keys, all sealed, and the ids of pending keys |
/// | `secrets` | the [keys that seal them](kc_core::custody::CustodySecrets) and the request seeds, sealed by the keystore |
/// | `audit.jsonl` | the audit log, see [`verify_audit`] |
///
/// A key of a day is stored in `secrets` before a key that it seals is stored in the database. A forgotten key is
/// destroyed in `secrets` before its row is removed from the database. Ids, root topics, the places of records and the
/// verifying keys of givers are not sealed.
///
/// One process at a time can open the folder. While it is open, the audit log and the database are locked. Each method
/// that changes something waits until the change is on the disk, usually for some milliseconds. Forgetting also compacts
/// the database, which can take seconds if it is large. When the store is dropped, it signs the last entries of the audit
/// log.
pub struct FileCustody {
    folder: PathBuf,
    keys: KeyDatabase,
    vault: Vault,
    givers: Givers,
    audit: AuditLog,
    /// The maximum number of pending ids of one root topic.
    limit: u64,
    /// For each root topic, the sequence numbers at which the next call of `next_pending` begins: of likely ids, and of
    /// others.
    cursors: HashMap<RootTopic, [u64; 2]>,
    /// True if the database may have rows whose day key is destroyed.
    has_stale_rows: bool,
}

impl FileCustody {
    /// Opens the store in a folder, or creates both. Reads and checks the whole database, removes rows whose day key
    /// was destroyed just before a crash, and cuts off an incomplete last line of the audit log.
    ///
    /// `keystore` seals the file `secrets` and signs the audit log with its first signing key.
    ///
    /// # Errors
    /// Returns a [`StoreError`] of the kind
    /// - `InUse` if the store is already open,
    /// - `Missing` if one of the files `keys.redb` and `secrets` is lost: `secrets` is missing, or it has keys and
    ///   `keys.redb` is missing,
    /// - `Malformed` if a file is damaged; the store never replaces such a file,
    /// - `Unauthentic` if another keystore sealed the file `secrets`,
    /// - `Permission` or `Io` if the operating system refuses an access.
    pub fn open(folder: &Path, keystore: Arc<dyn KeyStore>) -> Result<Self, StoreError> {
        let limit = u64::try_from(MAX_PENDING_PER_ROOT).unwrap_or(u64::MAX);
        Self::open_with_limit(folder, keystore, limit)
    }

    /// Returns whether `folder` has the store of a custodian.
    pub fn exists(folder: &Path) -> bool {
        folder.join(SECRETS_FILE).exists()
    }

    /// Returns the path of the audit log of the store in `folder`.
    pub fn audit_path(folder: &Path) -> PathBuf {
        folder.join(AUDIT_FILE)
    }

    fn open_with_limit(
        folder: &Path,
        keystore: Arc<dyn KeyStore>,
        limit: u64,
    ) -> Result<Self, StoreError> {
        folder::make(folder)?;
        // The lock on the audit log is taken first and protects all files of the folder.
        let audit = AuditLog::open(Self::audit_path(folder), Arc::clone(&keystore))?;
        let keys_path = folder.join(KEYS_FILE);
        let has_keys = folder::exists(&keys_path)?;
        let secrets_path = folder.join(SECRETS_FILE);
        let vault = match Vault::open(&secrets_path, &keystore)? {
            Some(vault) if has_keys || vault.is_empty() => vault,
            Some(_) => return Err(lost(&keys_path)),
            None if has_keys => return Err(lost(&secrets_path)),
            None => Vault::create(&secrets_path, &keystore)?,
        };
        if !has_keys {
            KeyDatabase::create(&keys_path)?;
        }
        let keys = KeyDatabase::open(keys_path)?;
        let givers = keys.read("read the givers in", Givers::load)?;
        let mut store = Self {
            folder: folder.to_owned(),
            keys,
            vault,
            givers,
            audit,
            limit,
            cursors: HashMap::new(),
            has_stale_rows: true,
        };
        store.remove_stale_rows()?;
        Ok(store)
    }

    /// Runs a change of the database in a transaction. The transaction is committed if the change sets
    /// [`Change::is_changed`], after new secrets have been stored; otherwise nothing is written.
    fn change<T>(
        &mut self,
        action: &'static str,
        run: impl FnOnce(&mut Change<'_>) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        self.remove_stale_rows()?;
        self.change_at_once(action, run)
    }

    fn change_at_once<T>(
        &mut self,
        action: &'static str,
        run: impl FnOnce(&mut Change<'_>) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let rng = system_rng()?;
        let Self { vault, givers, .. } = self;
        let known = givers.len();
        let outcome = self.keys.write(action, |tables| {
            let mut change = Change {
                tables,
                vault,
                givers,
                rng,
                limit: self.limit,
                is_changed: false,
            };
            let result = run(&mut change)?;
            let is_changed = change.is_changed;
            if is_changed {
                change.vault.save()?;
            }
            Ok((result, is_changed))
        });
        if outcome.is_err() {
            self.givers.truncate(known);
        }
        outcome
    }

    /// Destroys keys of days, then removes what they sealed. Returns the number of forgotten keys, and whether the
    /// database has changed.
    fn destroy(
        &mut self,
        root_topic: &RootTopic,
        before: Option<Day>,
        with_seeds: bool,
    ) -> Result<(u64, bool), StoreError> {
        self.remove_stale_rows()?;
        self.has_stale_rows = true;
        self.vault.forget(root_topic, before, with_seeds)?;
        let destroyed = self.change_at_once("forget keys in", |change| {
            let forgotten = change.forget(root_topic, before)?;
            Ok((forgotten, change.is_changed))
        })?;
        self.has_stale_rows = false;
        Ok(destroyed)
    }

    fn remove_stale_rows(&mut self) -> Result<(), StoreError> {
        if self.has_stale_rows {
            self.change_at_once("remove forgotten keys from", |change| {
                change.remove_stale_rows()
            })?;
            self.has_stale_rows = false;
        }
        Ok(())
    }
}

/// Returns the error for a file that is missing although the other file is in use.
fn lost(path: &Path) -> StoreError {
    let context = format!("open {}", path.display());
    StoreError::new(StoreErrorKind::Missing, context).with_advice(
        "restore keys.redb and secrets from a backup of the same moment; without a backup, the kept keys are lost: \
         remove the folder to begin again",
    )
}

/// A change of the database: the open tables of a transaction, and what it needs to seal keys.
struct Change<'a> {
    tables: Tables<'a>,
    vault: &'a mut Vault,
    givers: &'a mut Givers,
    rng: StdRng,
    limit: u64,
    /// True if the transaction must be committed.
    is_changed: bool,
}

impl CustodyArchive for FileCustody {
    fn note(&mut self, sightings: &[Sighting]) -> Result<Vec<bool>, StoreError> {
        self.change("note the ids of keys in", |change| {
            let noted = sightings.iter().map(|sighting| change.note(sighting));
            noted.collect()
        })
    }

    fn next_pending(
        &mut self,
        root_topic: &RootTopic,
        max: usize,
    ) -> Result<Vec<KeyId>, StoreError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let mut starts = self.cursors.get(root_topic).copied().unwrap_or_default();
        let read = |transaction: &_| pending::next(transaction, root_topic, max, &mut starts);
        let ids = self.keys.read("read pending ids in", read)?;
        if ids.is_empty() {
            self.cursors.remove(root_topic);
        } else {
            self.cursors.insert(root_topic.clone(), starts);
        }
        Ok(ids)
    }

    fn offer(
        &mut self,
        root_topic: &RootTopic,
        keys: &[(KeyId, DataKey)],
        giver: &Giver,
    ) -> Result<Vec<KeyId>, StoreError> {
        self.change("store offered keys in", |change| {
            let mut offered = Vec::new();
            for (id, secret) in keys {
                if change.offer(root_topic, id, secret, giver)? {
                    offered.push(*id);
                }
            }
            Ok(offered)
        })
    }

    fn unproven(&self) -> Result<Vec<Unproven>, StoreError> {
        self.keys.read("read offered keys in", pending::unproven)
    }

    fn offers(&self, root_topic: &RootTopic, id: &KeyId) -> Result<Vec<Offer>, StoreError> {
        self.keys.read("read offered keys in", |transaction| {
            pending::offers(transaction, &self.vault, &self.givers, root_topic, id)
        })
    }

    fn keep(
        &mut self,
        root_topic: &RootTopic,
        id: &KeyId,
        secret: &DataKey,
    ) -> Result<bool, StoreError> {
        self.change("keep a key in", |change| {
            change.keep(root_topic, id, secret)
        })
    }

    fn kept(&self, root_topic: &RootTopic, ids: &[KeyId]) -> Result<Vec<KeptKey>, StoreError> {
        self.keys.read("read kept keys in", |transaction| {
            kept::find(transaction, &self.vault, &self.givers, root_topic, ids)
        })
    }

    fn roots(&self) -> Result<Vec<RootCustody>, StoreError> {
        self.keys.read("count keys in", kept::roots)
    }

    fn forget(&mut self, root_topic: &RootTopic, before: Option<Day>) -> Result<u64, StoreError> {
        let (forgotten, is_changed) = self.destroy(root_topic, before, true)?;
        if is_changed && let Err(error) = self.keys.compact() {
            tracing::warn!(folder = %self.folder.display(), error = %with_sources(&error), "store of the custodian not compacted");
        }
        Ok(forgotten)
    }

    fn expire(&mut self, root_topic: &RootTopic, before: Day) -> Result<u64, StoreError> {
        let (forgotten, _) = self.destroy(root_topic, Some(before), false)?;
        Ok(forgotten)
    }

    fn request_seeds(&mut self, today: Day) -> Result<Vec<RequestSeed>, StoreError> {
        self.vault.request_seeds(today)
    }

    fn log_given(&mut self, given: &Given) -> Result<(), StoreError> {
        self.audit.log(given)
    }
}

impl fmt::Debug for FileCustody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileCustody")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
