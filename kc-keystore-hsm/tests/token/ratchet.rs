//! The ratchet: interrupted, rolled back, imported, re-initialised.

use std::fs;
use std::path::PathBuf;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use kc_core::ratchet::Seed;
use kc_core::store::{RatchetStore, StoreErrorKind};
use kc_keystore_hsm::{HsmError, HsmRatchetStore, NodeLabels, Token, list_objects};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::world::{Case, cases, folder, fresh_token, intruder, labels};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        an_older_file_fails_closed,
        what_an_interrupted_step_leaves_is_cleared_up,
        keys_that_are_not_of_this_ratchet,
        one_key_at_a_time,
        files_that_are_no_ratchet,
        a_ratchet_is_made_once,
        a_key_without_its_file_is_refused,
        a_file_ratchet_is_continued,
        a_lost_ratchet_is_begun_anew,
        a_step_that_cannot_be_stored_is_not_given_out,
        the_last_index,
    ]
}

fn path() -> PathBuf {
    folder().join("n1.ratchet")
}

fn create(token: &Token) -> HsmRatchetStore {
    HsmRatchetStore::create(token.clone(), &labels(), &path()).unwrap()
}

fn open(token: &Token) -> Result<HsmRatchetStore, HsmError> {
    HsmRatchetStore::open(token.clone(), &labels(), &path())
}

/// Returns the steps that the token has keys for.
fn key_indices(token: &Token) -> Vec<u64> {
    let listed = list_objects(token).unwrap().into_iter();
    let keys = listed.filter(|object| object.label == "kc:n1:ratchet");
    keys.map(|key| u64::from_be_bytes(key.id.try_into().unwrap()))
        .collect()
}

/// Makes a key as an interrupted step or another program leaves it.
fn leave_key(index: u64) {
    let template = [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Label(b"kc:n1:ratchet".to_vec()),
        Attribute::Id(index.to_be_bytes().to_vec()),
        Attribute::ValueLen(32.into()),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
    ];
    let session = intruder();
    session
        .generate_key(&Mechanism::AesKeyGen, &template)
        .unwrap();
}

fn an_older_file_fails_closed() {
    let token = fresh_token();
    let mut ratchet = create(&token);
    assert_eq!(ratchet.step().unwrap().index(), 0);
    let old = fs::read(path()).unwrap();
    for index in 1..4 {
        assert_eq!(ratchet.step().unwrap().index(), index);
    }
    let newest = fs::read(path()).unwrap();
    // Both under a running node and at its next start.
    fs::write(path(), &old).unwrap();
    assert_eq!(
        ratchet.step().unwrap_err().kind(),
        StoreErrorKind::Malformed
    );
    drop(ratchet);
    let error = open(&token).unwrap_err();
    let expected = format!(
        "ratchet in {}: the wrapping key of step 1 is gone; the token is at step 4",
        path().display()
    );
    assert_eq!(error.to_string(), expected);
    assert!(error.advice().contains("put back"), "{}", error.advice());
    // The attempts destroyed nothing.
    fs::write(path(), newest).unwrap();
    assert_eq!(open(&token).unwrap().step().unwrap().index(), 4);
}

fn what_an_interrupted_step_leaves_is_cleared_up() {
    let token = fresh_token();
    let mut ratchet = create(&token);
    assert_eq!(ratchet.step().unwrap().index(), 0);
    // Before the file was replaced: the next key exists already.
    leave_key(2);
    assert_eq!(ratchet.step().unwrap().index(), 1);
    assert_eq!(key_indices(&token), [2]);
    // After the file was replaced: the key of the previous step still exists.
    leave_key(1);
    assert_eq!(ratchet.step().unwrap().index(), 2);
    assert_eq!(key_indices(&token), [3]);
}

fn keys_that_are_not_of_this_ratchet() {
    let token = fresh_token();
    let mut ratchet = create(&token);
    ratchet.step().unwrap();
    leave_key(9);
    drop(ratchet);
    let error = open(&token).unwrap_err();
    let foreign = matches!(
        error,
        HsmError::ForeignRatchet {
            index: 1,
            found: 9,
            ..
        }
    );
    assert!(foreign, "{error:?}");
    assert_eq!(key_indices(&token), [1, 9]);
}

fn one_key_at_a_time() {
    let token = fresh_token();
    let mut ratchet = create(&token);
    for index in 1..10 {
        ratchet.step().unwrap();
        assert_eq!(key_indices(&token), [index]);
        assert_eq!(ratchet.next_index().unwrap(), index);
    }
    leave_key(9);
    drop(ratchet);
    let error = open(&token).unwrap_err();
    assert!(
        matches!(error, HsmError::ObjectAmbiguous { count: 2, .. }),
        "{error:?}"
    );
}

fn files_that_are_no_ratchet() {
    let token = fresh_token();
    create(&token).step().unwrap();
    let whole = fs::read(path()).unwrap();
    let kind = || open(&token).map(drop).unwrap_err();
    for len in 0..whole.len() {
        fs::write(path(), &whole[..len]).unwrap();
        let error = kind();
        let refused = matches!(
            error,
            HsmError::MalformedRatchet { .. } | HsmError::Unauthentic { .. }
        );
        assert!(refused, "{len}: {error:?}");
    }
    for at in 12..whole.len() {
        let mut altered = whole.clone();
        altered[at] ^= 1;
        fs::write(path(), altered).unwrap();
        let error = kind();
        assert!(
            matches!(error, HsmError::Unauthentic { .. }),
            "{at}: {error:?}"
        );
    }
    fs::remove_file(path()).unwrap();
    assert!(matches!(kind(), HsmError::File { action: "read", .. }));
    fs::write(path(), whole).unwrap();
    assert_eq!(open(&token).unwrap().step().unwrap().index(), 1);
}

fn a_ratchet_is_made_once() {
    let token = fresh_token();
    let again = || HsmRatchetStore::create(token.clone(), &labels(), &path()).unwrap_err();
    drop(create(&token));
    assert!(matches!(again(), HsmError::RatchetExists { .. }));
    let mut ratchet = open(&token).unwrap();
    assert!(matches!(again(), HsmError::RatchetInUse { .. }));
    ratchet.step().unwrap();
    drop(ratchet);
    fs::remove_file(path()).unwrap();
    assert!(matches!(again(), HsmError::RatchetKeyLeft { .. }));
}

/// The key may belong to another node with this id, even if that node has taken no step yet.
fn a_key_without_its_file_is_refused() {
    let token = fresh_token();
    for step in [0, 7] {
        leave_key(step);
        let seed = Seed::generate_from(9, &mut StdRng::seed_from_u64(13));
        let create = HsmRatchetStore::create(token.clone(), &labels(), &path());
        let import = HsmRatchetStore::import(token.clone(), &labels(), &path(), &seed);
        for refused in [create, import] {
            let error = refused.unwrap_err();
            let left = matches!(error, HsmError::RatchetKeyLeft { found, .. } if found == step);
            assert!(left, "{error:?}");
        }
        assert!(!path().exists());
    }
    assert_eq!(key_indices(&token), [0, 7]);
}

fn a_file_ratchet_is_continued() {
    let token = fresh_token();
    let mut seed = Seed::generate(&mut StdRng::seed_from_u64(8));
    for _ in 0..5 {
        seed = seed.advance().unwrap().stored().1;
    }
    let import = |seed: &Seed| HsmRatchetStore::import(token.clone(), &labels(), &path(), seed);
    let mut ratchet = import(&seed).unwrap();
    assert_eq!(key_indices(&token), [5]);
    let copy = Seed::decode(seed.encode().expose()).unwrap();
    let secret = |step: kc_core::ratchet::Step| *step.data_key(&"t".into()).expose();
    for _ in 0..3 {
        let (step, next) = seed.advance().unwrap().stored();
        let own = ratchet.step().unwrap();
        assert_eq!(own.index(), step.index());
        assert_eq!(secret(own), secret(step));
        seed = next;
    }
    drop(ratchet);
    assert!(matches!(
        import(&seed),
        Err(HsmError::RatchetKeyLeft { found: 8, .. })
    ));
    // The old file is rolled back now.
    let elsewhere = NodeLabels::fresh("n1").unwrap();
    let error = HsmRatchetStore::import(token.clone(), &elsewhere, &path(), &copy).unwrap_err();
    let repeats = matches!(
        error,
        HsmError::RatchetRepeats {
            index: 5,
            known: 8,
            ..
        }
    );
    assert!(repeats, "{error:?}");
}

fn a_lost_ratchet_is_begun_anew() {
    let token = fresh_token();
    let mut ratchet = create(&token);
    for _ in 0..3 {
        ratchet.step().unwrap();
    }
    drop(ratchet);
    let anew = |base| HsmRatchetStore::reinitialise(token.clone(), &labels(), &path(), base);
    for base in [0, 2] {
        let error = anew(base).unwrap_err();
        let repeats = matches!(error, HsmError::RatchetRepeats { known: 3, .. });
        assert!(repeats, "{error:?}");
    }
    fs::remove_file(path()).unwrap();
    assert!(anew(2).is_err());
    leave_key(77);
    assert!(anew(76).is_err());
    // The last step was never taken.
    drop(anew(77).unwrap());
    assert_eq!(key_indices(&token), [77]);
    fs::write(path(), "garbage").unwrap();
    let mut ratchet = anew(1_700_000_000).unwrap();
    assert_eq!(key_indices(&token), [1_700_000_000]);
    assert_eq!(ratchet.step().unwrap().index(), 1_700_000_000);
    assert_eq!(ratchet.step().unwrap().index(), 1_700_000_001);
}

fn a_step_that_cannot_be_stored_is_not_given_out() {
    let token = fresh_token();
    let mut ratchet = create(&token);
    ratchet.step().unwrap();
    // A folder occupies the path of the temporary file.
    let temporary = folder().join(".n1.ratchet.tmp");
    fs::create_dir(&temporary).unwrap();
    assert!(ratchet.step().is_err());
    fs::remove_dir(&temporary).unwrap();
    assert_eq!(ratchet.step().unwrap().index(), 1);
    assert_eq!(key_indices(&token), [2]);
}

fn the_last_index() {
    let token = fresh_token();
    let mut ratchet =
        HsmRatchetStore::reinitialise(token.clone(), &labels(), &path(), u64::MAX - 1).unwrap();
    assert_eq!(ratchet.step().unwrap().index(), u64::MAX - 1);
    assert_eq!(
        ratchet.step().unwrap_err().kind(),
        StoreErrorKind::Exhausted
    );
    assert_eq!(key_indices(&token), [u64::MAX]);
}
