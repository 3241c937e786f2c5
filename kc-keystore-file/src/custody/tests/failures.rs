//! Damaged and missing files, crashes, and a keystore that fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use kc_core::kem::Suite;
use kc_core::keys::VerifyingKey;

use super::*;

#[test]
fn a_second_open_is_refused() {
    let home = Home::new();
    let store = home.open();
    let refused = home.refused();
    assert_eq!(refused.kind(), StoreErrorKind::InUse, "{refused:?}");
    assert_eq!(refused.advice(), Some(IN_USE_ADVICE));
    drop(store);
    let database = redb::Database::open(home.file(KEYS_FILE)).unwrap();
    let refused = home.refused();
    assert_eq!(refused.kind(), StoreErrorKind::InUse, "{refused:?}");
    assert_eq!(refused.advice(), Some(IN_USE_ADVICE));
    drop(database);
    home.open();
}

#[test]
fn a_missing_file_is_not_created_again() {
    for name in [KEYS_FILE, SECRETS_FILE] {
        let home = Home::new();
        keep(&mut home.open(), 1, 11, 20.0);
        fs::remove_file(home.file(name)).unwrap();
        for _ in 0..2 {
            let refused = home.refused();
            assert_eq!(refused.kind(), StoreErrorKind::Missing, "{refused:?}");
            assert!(refused.to_string().contains(name), "{refused}");
            assert!(refused.advice().is_some());
        }
    }
}

#[test]
fn a_creation_that_was_interrupted_continues() {
    let home = Home::new();
    drop(home.open());
    fs::rename(home.file(KEYS_FILE), home.file("keys.redb.new")).unwrap();
    keep(&mut home.open(), 1, 11, 20.0);
    assert_eq!(kept(&home.open(), [1]), [1]);
    assert!(!home.file("keys.redb.new").exists());
}

#[test]
fn secrets_of_another_node_are_refused() {
    let mut home = Home::new();
    drop(home.open());
    home.keystore = keystore();
    let refused = home.refused();
    assert_eq!(refused.kind(), StoreErrorKind::Unauthentic, "{refused:?}");
}

#[test]
fn a_file_that_is_not_a_store_is_refused() {
    let home = Home::new();
    drop(home.open());
    let path = home.file(KEYS_FILE);
    let whole = fs::read(&path).unwrap();
    for bytes in [&b""[..], b"text", &[7; 100_000], &whole[..whole.len() / 2]] {
        fs::write(&path, bytes).unwrap();
        let refused = home.refused();
        assert_eq!(refused.kind(), StoreErrorKind::Malformed, "{refused:?}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
    fs::remove_file(&path).unwrap();
    drop(redb::Database::create(&path).unwrap());
    let refused = home.refused();
    assert_eq!(refused.kind(), StoreErrorKind::Malformed, "{refused:?}");
}

#[test]
fn a_damaged_database_is_refused_or_whole() {
    let home = Home::new();
    let mut store = home.open();
    for number in 0..40 {
        keep(&mut store, number, 11, 20.0);
    }
    drop(store);
    let path = home.file(KEYS_FILE);
    let whole = fs::read(&path).unwrap();
    let mut refused = 0;
    for place in (0..whole.len()).step_by((whole.len() / 150) | 1) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        let opened = || FileCustody::open(&home.folder(), Arc::clone(&home.keystore));
        match catch_unwind(AssertUnwindSafe(opened)).unwrap() {
            Ok(store) => assert_eq!(kept(&store, 0..40).len(), 40, "byte {place}"),
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::Malformed, "{error:?}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
}

/// The secrets of so many days may have no readable encoding.
#[test]
fn secrets_that_cannot_be_read_again_do_not_replace_others() {
    let home = Home::new();
    let mut store = home.open();
    keep(&mut store, 1, 11, 20.0);
    let rng = &mut system_rng().unwrap();
    for day in 0..20_000 {
        store
            .vault
            .seal(&root(), Day(day), (&id(1), &key(1)), rng)
            .unwrap();
    }
    let saved = store.vault.save();
    assert!(
        saved
            .as_ref()
            .err()
            .is_none_or(|error| error.advice().is_some())
    );
    assert_eq!(kept(&store, [1]), [1]);
    drop(store);
    let store = home.open();
    assert_eq!(kept(&store, [1]), [1]);
    assert_eq!(store.vault.has_key(&root(), Day(19_999)), saved.is_ok());
}

/// A crash after the secrets were destroyed and before the rows were removed.
#[test]
fn rows_whose_key_is_destroyed_are_removed_at_the_next_start() {
    let home = Home::new();
    let mut store = home.open();
    keep(&mut store, 1, 11, 20.0);
    keep(&mut store, 2, 12, 21.0);
    store.note(&[sighting(3, 20.0)]).unwrap();
    store
        .offer(&root(), &[(id(3), key(13))], &giver(1))
        .unwrap();
    drop(store);
    let before = fs::read(home.file(KEYS_FILE)).unwrap();
    home.open().forget(&root(), Some(Day(21))).unwrap();
    fs::write(home.file(KEYS_FILE), before).unwrap();

    let mut store = home.open();
    assert_eq!(kept(&store, [1, 2]), [2]);
    assert_eq!(store.roots().unwrap()[0].kept, 1);
    assert_eq!(store.unproven().unwrap(), []);
    assert_eq!(store.note(&[sighting(1, 20.0)]).unwrap(), [true]);
    assert_eq!(store.next_pending(&root(), 9).unwrap(), [id(3), id(1)]);
}

/// A keystore that can fail.
#[derive(Debug)]
pub(super) struct Faulty {
    inner: Arc<dyn KeyStore>,
    fails: AtomicBool,
}

impl Home {
    pub(super) fn make_faulty(&mut self) -> Arc<Faulty> {
        let faulty = Arc::new(Faulty {
            inner: Arc::clone(&self.keystore),
            fails: AtomicBool::new(false),
        });
        self.keystore = faulty.clone();
        faulty
    }
}

impl Faulty {
    pub(super) fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::Relaxed);
    }

    fn check(&self) -> Result<(), StoreError> {
        match self.fails.load(Ordering::Relaxed) {
            true => Err(StoreError::new(StoreErrorKind::Timeout, "ask the token")),
            false => Ok(()),
        }
    }
}

impl KeyStore for Faulty {
    fn verifying_keys(&self) -> Vec<VerifyingKey> {
        self.inner.verifying_keys()
    }

    fn sign(&self, key: &VerifyingKey, message: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.check()?;
        self.inner.sign(key, message)
    }

    fn wrap_opaque(&self, plaintext: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.check()?;
        self.inner.wrap_opaque(plaintext)
    }

    fn unwrap_opaque(&self, wrapped: &[u8]) -> Result<SecretVec, StoreError> {
        self.inner.unwrap_opaque(wrapped)
    }

    fn suites(&self) -> Vec<Suite> {
        self.inner.suites()
    }

    fn legacy_requests(&self) -> bool {
        self.inner.legacy_requests()
    }
}

#[test]
fn no_key_is_stored_before_the_key_that_seals_it() {
    let mut home = Home::new();
    let faulty = home.make_faulty();
    let mut store = home.open();
    keep(&mut store, 1, 11, 20.0);
    store.note(&[sighting(2, 21.0)]).unwrap();

    faulty.fail(true);
    let offered = [(id(2), key(12))];
    for _ in 0..2 {
        let refused = store.offer(&root(), &offered, &giver(2)).unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::Timeout);
        store.note(&[sighting(1, 22.0)]).unwrap_err();
    }
    assert_eq!(store.unproven().unwrap(), []);
    assert_eq!(store.roots().unwrap()[0].days, Some((Day(20), Day(20))));

    faulty.fail(false);
    store.offer(&root(), &offered, &giver(2)).unwrap();
    drop(store);
    let mut store = home.open();
    assert!(store.keep(&root(), &id(2), &key(12)).unwrap());
    let found = store.kept(&root(), &[id(2)]).unwrap();
    assert_eq!(found[0].giver, giver(2));
}

#[test]
fn a_failed_forgetting_is_completed_later() {
    let mut home = Home::new();
    let faulty = home.make_faulty();
    let mut store = home.open();
    keep(&mut store, 1, 11, 20.0);
    faulty.fail(true);
    store.forget(&root(), None).unwrap_err();
    assert!(kept(&store, [1]).is_empty());
    store.note(&[sighting(1, 20.0)]).unwrap_err();
    faulty.fail(false);
    assert_eq!(store.note(&[sighting(1, 20.0)]).unwrap(), [true]);
    assert_eq!(store.roots().unwrap()[0].kept, 0);
    let secrets = CustodySecrets::decode(&home.secrets()).unwrap();
    assert_eq!(secrets, CustodySecrets::default());
}
