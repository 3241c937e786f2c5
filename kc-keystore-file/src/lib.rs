//! Files of a node on disk (protocol §11): locked against a second process, readable by their owner only, replaced
//! atomically and durably.
//!
//! | item | purpose |
//! |---|---|
//! | [`find_node`], [`list_nodes`] | find the files of nodes: of one by `--node ID\|PATH`, or of all |
//! | [`NodeFiles`] | the paths `<node>.config`, `.crypto`, `.seed`, `.lock`, ... |
//! | [`NodeLock`] | the lock held while a node is open; one process at a time |
//! | [`create_node`], [`NewPlace`] | write the files of a new node |
//! | [`FileConfigStore`] | the configuration: read again before each write, comments are kept |
//! | [`SecretFile`] | the bytes of `.crypto` and `.seed`; their codecs are in `kc-core` |
//! | [`open_key_store`], [`read_secrets`] | the keys in `.crypto` |
//! | [`crypto_path`], [`ratchet_path`], [`key_types`] | the entries of the configuration about keys |
//! | [`FileRatchetStore`] | the ratchet in `.seed` |
//! | [`sealed_index`] | the next step of a ratchet that a token has sealed, in `.ratchet` |
//! | [`Settings`] | the configuration, overridden by the environment and by flags, as typed structs, through figment |
//! | [`write_atomic`] | replaces a file: readers and crashes see the old bytes or the new ones, never a mixture |
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
pub use error::{FileError, LOCK_LOST_ADVICE};
pub use files::{FindError, NodeFiles, SearchPlaces, find_node, list_nodes};
pub use key_store::{MAX_SECRET_BYTES, SecretFile, open_key_store, read_secrets, system_rng};
pub use lock::{LockHolder, NodeLock};
pub use ratchet_store::{FileRatchetStore, sealed_index};
pub use settings::{Settings, SettingsError};
