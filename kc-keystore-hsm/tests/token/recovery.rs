//! A token that is removed, and returns.

use std::fs;
use std::path::PathBuf;

use kc_core::keys::KeyType;
use kc_core::store::{KeyStore, RatchetStore, StoreErrorKind};
use kc_keystore_hsm::{HsmRatchetStore, PinSource, Token, generate_identity, list_objects};

use crate::world::{
    Case, PIN, cases, folder, init, intruder, labels, module, node, only_on_softhsm, open,
    settings, uri,
};

pub(crate) fn cases() -> Vec<Case> {
    [
        cases![
            a_module_that_starts_anew,
            somebody_logs_out,
            a_pin_that_is_changed_meanwhile,
        ],
        only_on_softhsm(cases![a_token_that_is_removed_and_returns]),
    ]
    .concat()
}

/// Ends all sessions, handles and the login, as the end of a daemon does.
fn lose_everything() {
    module().finalize().unwrap();
}

fn a_module_that_starts_anew() {
    let (token, identity) = node(KeyType::Ed25519);
    let store = open(&token, settings(&identity)).unwrap();
    let path = folder().join("n1.ratchet");
    let mut ratchet = HsmRatchetStore::create(token, &labels(), &path).unwrap();
    let key = &identity.verifying_key;
    let wrapped = store.wrap_opaque(b"value").unwrap();
    for index in 0..5 {
        lose_everything();
        let signed = store.sign(key, b"message").unwrap();
        assert_eq!(key.verify(&signed), Ok(&b"message"[..]));
        lose_everything();
        assert_eq!(store.unwrap_opaque(&wrapped).unwrap().expose(), b"value");
        lose_everything();
        assert_eq!(ratchet.step().unwrap().index(), index);
    }
}

fn somebody_logs_out() {
    let (token, identity) = node(KeyType::Ed25519);
    let store = open(&token, settings(&identity)).unwrap();
    let path = folder().join("n1.ratchet");
    let mut ratchet = HsmRatchetStore::create(token.clone(), &labels(), &path).unwrap();
    let session = intruder();
    for index in 0..3 {
        session.logout().unwrap();
        store.sign(&identity.verifying_key, b"message").unwrap();
        // Without a login private objects are hidden; this must not look like a ratchet rolled back, or half a key.
        session.logout().unwrap();
        assert_eq!(ratchet.step().unwrap().index(), index);
        session.logout().unwrap();
        let drawn = generate_identity(&token, &labels(), KeyType::Ed25519).unwrap();
        assert_eq!(drawn, identity);
        session.logout().unwrap();
        assert_eq!(list_objects(&token).unwrap().len(), 4);
    }
}

/// A token of SoftHSM is a folder, which is moved away.
fn a_token_that_is_removed_and_returns() {
    let (token, identity) = node(KeyType::Ed25519);
    let store = open(&token, settings(&identity)).unwrap();
    let path = folder().join("n1.ratchet");
    let mut ratchet = HsmRatchetStore::create(token, &labels(), &path).unwrap();
    let tokens = folder().join("tokens");
    let ours: PathBuf = fs::read_dir(&tokens)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let away = folder().join("away");
    for index in 0..3 {
        fs::rename(&ours, &away).unwrap();
        lose_everything();
        for _ in 0..2 {
            let error = store.sign(&identity.verifying_key, b"m").unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Missing);
            assert_eq!(ratchet.step().unwrap_err().kind(), StoreErrorKind::Missing);
        }
        fs::rename(&away, &ours).unwrap();
        lose_everything();
        store.sign(&identity.verifying_key, b"m").unwrap();
        assert_eq!(ratchet.step().unwrap().index(), index);
    }
}

/// A refused PIN is not tried again; a PIN file is read again after it changed.
fn a_pin_that_is_changed_meanwhile() {
    init();
    let path = folder().join("pin");
    fs::write(&path, PIN).unwrap();
    let token = Token::open(&uri(), PinSource::File(path.clone())).unwrap();
    kc_keystore_hsm::generate_opaque_key(&token, &labels()).unwrap();
    let list = || list_objects(&token);
    fs::write(&path, "654321").unwrap();
    assert_eq!(list().unwrap().len(), 1);
    lose_everything();
    for _ in 0..20 {
        let error = list().unwrap_err();
        assert_eq!(error.to_string(), "the PIN of token \"kc\" is wrong");
    }
    fs::write(&path, PIN).unwrap();
    assert_eq!(list().unwrap().len(), 1);
}
