//! The keystore and the ratchet on real files.

#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;

use kc_core::keys::{KeyType, Signer};
use kc_core::ratchet::Seed;
use kc_core::store::{KeyStore, NodeSecrets, RatchetStore, StoreErrorKind};
use kc_keystore_file::{
    FileRatchetStore, NodeFiles, NodeLock, SecretFile, open_key_store, system_rng,
};
use tempfile::TempDir;

fn node() -> (TempDir, NodeFiles, Arc<NodeLock>) {
    let folder = tempfile::tempdir().unwrap();
    let files = NodeFiles::in_folder(folder.path(), "n1").unwrap();
    let lock = Arc::new(NodeLock::acquire(&files).unwrap());
    (folder, files, lock)
}

#[test]
fn a_ratchet_goes_on_after_every_restart() {
    let (_folder, files, lock) = node();
    let file = || SecretFile::new(files.seed(), Arc::clone(&lock));
    let seed = Seed::generate(&mut system_rng().unwrap());
    file().replace(seed.encode().expose()).unwrap();
    let mut secrets = HashSet::new();
    for index in 0..100 {
        let step = FileRatchetStore::open(file()).unwrap().step().unwrap();
        assert_eq!(step.index(), index);
        assert!(secrets.insert(*step.data_key(&"t".into()).expose()));
    }
}

#[test]
fn a_step_that_cannot_be_stored_is_not_given_out() {
    let (folder, files, lock) = node();
    let file = SecretFile::new(files.seed(), lock);
    file.replace(Seed::generate(&mut system_rng().unwrap()).encode().expose())
        .unwrap();
    let before = fs::read(files.seed()).unwrap();
    let mut store = FileRatchetStore::open(file).unwrap();
    // A folder replaces the ratchet: it can be neither read nor replaced.
    fs::rename(files.seed(), folder.path().join("elsewhere")).unwrap();
    fs::create_dir(files.seed()).unwrap();
    assert!(store.step().is_err());
    assert_eq!(fs::read(folder.path().join("elsewhere")).unwrap(), before);
}

#[test]
fn missing_truncated_and_foreign_files_are_told_apart() {
    let (_folder, files, lock) = node();
    let seed = || SecretFile::new(files.seed(), Arc::clone(&lock));
    let crypto = || SecretFile::new(files.crypto(), Arc::clone(&lock));
    let ratchet = || FileRatchetStore::open(seed()).unwrap_err().kind();
    let open = || open_key_store(&crypto(), None).unwrap_err().kind();
    assert_eq!(
        (ratchet(), open()),
        (StoreErrorKind::Missing, StoreErrorKind::Missing)
    );

    for content in [&b""[..], b"\x92\x00", b"not a key file"] {
        seed().replace(content).unwrap();
        crypto().replace(content).unwrap();
        assert_eq!(
            (ratchet(), open()),
            (StoreErrorKind::Malformed, StoreErrorKind::Malformed)
        );
        assert_eq!(fs::read(files.seed()).unwrap(), content);
        assert_eq!(fs::read(files.crypto()).unwrap(), content);
    }
}

#[test]
fn an_old_key_file_is_brought_up_to_date() {
    let (_folder, files, lock) = node();
    let mut rng = system_rng().unwrap();
    let mut secrets = NodeSecrets::generate(&mut rng);
    secrets.ensure_key(KeyType::Ed25519, &mut rng);
    let key = secrets.signing_keys().next().unwrap();
    let oldest = [
        &[0x92, 0xc4, 64][..],
        key.expose_bytes().expose(),
        &[0xc4, 32],
        secrets.opaque_key().expose(),
    ]
    .concat();
    let file = SecretFile::new(files.crypto(), lock);
    file.replace(&oldest).unwrap();

    let store = open_key_store(&file, None).unwrap();
    assert_eq!(store.verifying_keys(), [key.verifying_key().clone()]);
    assert!(store.legacy_requests());
    let decoded = NodeSecrets::decode(&fs::read(files.crypto()).unwrap()).unwrap();
    assert!(!decoded.outdated);
}
