//! The files of a node (protocol §11). A lock keeps a second process from opening the node. The files are replaced
//! atomically and durably. Only their owner can read new files and secret files.
//!
//! | item | purpose |
//! |---|---|
//! | [`find_node`], [`list_nodes`] | find the files of one node by its id or path, or the files of all nodes |
//! | [`NodeFiles`] | the paths `<node>.config`, `.crypto`, `.seed`, `.lock`, ... |
//! | [`NodeLock`] | the lock that only one process at a time can hold; it is held while a node is open |
//! | [`create_node`], [`NewPlace`] | write the files of a new node |
//! | [`FileConfigStore`] | the configuration; it is read again before each write, and its comments are kept |
//! | [`read_config`] | reads the configuration without a lock |
//! | [`SecretFile`] | the bytes of `.crypto` and `.seed`; `kc-core` encodes and decodes them |
//! | [`open_key_store`], [`read_secrets`] | the keys in `.crypto` |
//! | [`crypto_path`], [`ratchet_path`], [`key_types`] | read the entries of the configuration about keys |
//! | [`FileRatchetStore`], [`LazyRatchetStore`] | the ratchet in `.seed`, opened at once or when it is used |
//! | [`sealed_index`] | reads the index of the next step of a ratchet that a token has sealed, from `.ratchet` |
#![cfg_attr(
    feature = "custody",
    doc = "| [`FileCustody`] | what a custodian keeps for other nodes, in a folder (feature `custody`) |"
)]
#![cfg_attr(
    feature = "custody",
    doc = "| [`verify_audit`] | checks the audit log of a custodian (feature `custody`) |"
)]
//! | [`Settings`] | the settings of the configuration, the environment and flags, as typed structs (with figment) |
//! | [`write_atomic`] | replaces a file; a reader finds the old bytes or the new bytes, even after a crash |
//!
//! ```
//! use std::sync::Arc;
//!
//! use kc_core::store::config::{ConfigStore, NodeConfig, Section, Value};
//! use kc_keystore_file::{FileConfigStore, NodeFiles, NodeLock, SecretFile};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let files = NodeFiles::in_folder(folder.path(), "n1")?;
//! let lock = Arc::new(NodeLock::acquire(&files)?);
//! assert!(NodeLock::acquire(&files).is_err(), "one holder at a time");
//!
//! let store = FileConfigStore::create(Arc::clone(&lock), &NodeConfig::create("n1")?)?;
//! store.update(&mut |config| config.set(Section::CRYPTO, "maxage", &Value::Int(3600)).map(drop))?;
//! assert_eq!(store.load()?.load_value(Section::CRYPTO, "maxage")?, Some(Value::Int(3600)));
//!
//! let seed = SecretFile::new(files.seed(), lock);
//! seed.replace(b"bytes of the codec")?;
//! assert_eq!(*seed.read()?, b"bytes of the codec");
//! # Ok(())
//! # }
//! ```

mod atomic;
mod config;
mod create;
#[cfg(feature = "custody")]
mod custody;
mod error;
mod files;
mod key_store;
mod lock;
mod ratchet_store;
mod settings;

pub use atomic::write_atomic;
pub use config::{
    EntryError, FileConfigStore, MAX_CONFIG_BYTES, crypto_path, key_types, ratchet_path,
    read_config,
};
pub use create::{NewFiles, NewPlace, create_node};
#[cfg(feature = "custody")]
pub use custody::{AuditError, AuditReport, FileCustody, verify_audit};
pub use error::{FileError, LOCK_LOST_ADVICE};
pub use files::{FindError, NodeFiles, SearchPlaces, find_node, list_nodes};
pub use key_store::{MAX_SECRET_BYTES, SecretFile, open_key_store, read_secrets, system_rng};
pub use lock::{LockHolder, NodeLock};
pub use ratchet_store::{FileRatchetStore, LazyRatchetStore, sealed_index};
pub use settings::{Settings, SettingsError};
