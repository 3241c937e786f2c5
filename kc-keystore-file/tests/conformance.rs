//! The conformance suite of keystores, on files.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use kc_core::keys::KeyType;
use kc_core::ratchet::Seed;
use kc_core::store::{KeyStore, NodeSecrets, RatchetStore, StoreError};
use kc_keystore_file::{
    FileError, FileRatchetStore, NodeFiles, NodeLock, SecretFile, open_key_store, system_rng,
};
use kc_testkit::keystore::Bench;
use tempfile::TempDir;

/// A node with keys of both types and a ratchet, and another node with keys.
struct Files {
    folder: TempDir,
}

fn files() -> Files {
    let files = Files {
        folder: tempfile::tempdir().unwrap(),
    };
    let mut rng = system_rng().unwrap();
    for node in ["n1", "n2"] {
        let mut secrets = NodeSecrets::generate(&mut rng);
        for key_type in [KeyType::Ed25519, KeyType::Hybrid] {
            secrets.ensure_key(key_type, &mut rng);
        }
        let lock = files.lock(node).unwrap();
        let crypto = SecretFile::new(lock.files().crypto(), Arc::clone(&lock));
        crypto.replace(secrets.encode().expose()).unwrap();
        let seed = SecretFile::new(lock.files().seed(), lock);
        seed.replace(Seed::generate(&mut rng).encode().expose())
            .unwrap();
    }
    files
}

impl Files {
    fn lock(&self, node: &str) -> Result<Arc<NodeLock>, FileError> {
        let files = NodeFiles::in_folder(self.folder.path(), node)?;
        Ok(Arc::new(NodeLock::acquire(&files)?))
    }

    fn open(&self, node: &str) -> Result<Box<dyn KeyStore>, StoreError> {
        let lock = self.lock(node)?;
        let file = SecretFile::new(lock.files().crypto(), lock);
        Ok(Box::new(open_key_store(&file, None)?))
    }
}

impl Bench for Files {
    fn key_store(&self) -> Result<Box<dyn KeyStore>, StoreError> {
        self.open("n1")
    }

    fn other_key_store(&self) -> Result<Box<dyn KeyStore>, StoreError> {
        self.open("n2")
    }

    fn ratchet_store(&self) -> Result<Box<dyn RatchetStore>, StoreError> {
        let lock = self.lock("n1")?;
        let file = SecretFile::new(lock.files().seed(), lock);
        Ok(Box::new(FileRatchetStore::open(file)?))
    }
}

kc_testkit::keystore_conformance!(files);
