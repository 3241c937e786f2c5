//! The archives in a node's files pass the conformance suite of archives.

use std::sync::Arc;

use kc::actors::{ConfigChainKeys, ConfigTrustArchive, NodeError, SealedArchive, stored_entries};
use kc::core::chain::{TrustEntry, TrustList};
use kc::core::keys::{KeyType, VerifyingKey};
use kc::core::own_chains::OwnChains;
use kc::core::ratchet::RetainedKeys;
use kc::core::store::config::{ConfigStore, NodeConfig};
use kc::core::store::{
    ChainKeyArchive, KeyStore, NodeSecrets, RetainedKeysArchive, StoreError, StoreErrorKind,
    TrustArchive,
};
use kc::keystore_file::{
    FileConfigStore, NodeFiles, NodeLock, SecretFile, open_key_store, system_rng,
};
use kc_testkit::archive::Bench;
use tempfile::TempDir;

/// A node with an empty configuration.
struct Files {
    _folder: TempDir,
    lock: Arc<NodeLock>,
}

fn files() -> Files {
    let folder = tempfile::tempdir().unwrap();
    let files = NodeFiles::in_folder(folder.path(), "n").unwrap();
    let config = NodeConfig::create("n").unwrap();
    std::fs::write(files.config(), config.render().as_str()).unwrap();
    let lock = Arc::new(NodeLock::acquire(&files).unwrap());
    let crypto = SecretFile::new(files.crypto(), Arc::clone(&lock));
    let mut rng = system_rng().unwrap();
    let mut secrets = NodeSecrets::generate(&mut rng);
    secrets.ensure_key(KeyType::Ed25519, &mut rng);
    crypto.replace(secrets.encode().expose()).unwrap();
    Files {
        _folder: folder,
        lock,
    }
}

impl Files {
    fn config(&self) -> Arc<FileConfigStore> {
        Arc::new(FileConfigStore::new(Arc::clone(&self.lock)))
    }

    fn stored(&self) -> Result<NodeConfig, StoreError> {
        self.config().load().map_err(unreadable)
    }

    fn keystore(&self) -> Result<Arc<dyn KeyStore>, StoreError> {
        let crypto = SecretFile::new(self.lock.files().crypto(), Arc::clone(&self.lock));
        Ok(Arc::new(open_key_store(&crypto, None)?))
    }
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::new(StoreErrorKind::Malformed, "archive").with_source(error)
}

impl Bench for Files {
    fn retained_keys(&self) -> Result<Box<dyn RetainedKeysArchive>, StoreError> {
        let archive = SealedArchive::new(self.keystore()?, self.config());
        Ok(Box::new(archive))
    }

    fn stored_keys(&self) -> Result<(RetainedKeys, Option<u64>), StoreError> {
        let (keystore, config) = (self.keystore()?, self.stored()?);
        let keys = SealedArchive::load(&*keystore, &config);
        let used = SealedArchive::used(&config);
        let read = keys.and_then(|keys| Ok((keys, used?)));
        read.map_err(|error: NodeError| unreadable(error))
    }

    fn trust(&self) -> Result<Box<dyn TrustArchive>, StoreError> {
        Ok(Box::new(ConfigTrustArchive::new(self.config())))
    }

    fn stored_entries(&self, list: TrustList) -> Result<Vec<TrustEntry>, StoreError> {
        let entries = stored_entries(&self.stored()?, list).map_err(unreadable)?;
        let entries = entries.unwrap_or_default().into_iter();
        Ok(entries.map(|(_, entry)| entry).collect())
    }

    fn stored_chains(&self, index: usize, key: &VerifyingKey) -> Result<Vec<Vec<u8>>, StoreError> {
        let chains = OwnChains::load(&self.stored()?).map_err(unreadable)?;
        let chains = chains.of_key(index, key).into_iter();
        Ok(chains.map(|chain| chain.bytes.clone()).collect())
    }

    fn chain_keys(&self) -> Result<Box<dyn ChainKeyArchive>, StoreError> {
        Ok(Box::new(ConfigChainKeys::new(self.config())))
    }
}

kc_testkit::archive_conformance!(files);
