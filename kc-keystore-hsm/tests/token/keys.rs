//! Signatures are those of kc-core, for generated and for imported keys.

use kc_core::keys::{KeyType, Signer, SigningKey, VerifyingKey};
use kc_core::store::{KeyStore, StoreErrorKind};
use kc_keystore_hsm::{
    HsmError, KeyStoreSettings, generate_identity, generate_opaque_key, import_identity,
};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::world::{
    Case, cases, fresh_token, is_softhsm, labels, node, only_on_softhsm, open, settings, token,
};

pub(crate) fn cases() -> Vec<Case> {
    [
        cases![
            an_imported_key_signs_as_it_did,
            an_imported_hybrid_key_is_the_same_key,
            keys_of_both_types_in_the_order_of_the_pinned,
            keytypes_restricts_the_keys_in_use,
            another_key_than_the_pinned_is_refused,
            a_pinned_key_that_the_token_lacks,
            a_key_of_a_type_that_is_not_pinned_is_passed_over,
            debug_output_shows_public_keys_only,
        ],
        only_on_softhsm(cases![
            a_sealed_half_of_another_token_is_refused,
            a_hybrid_key_without_its_half_is_refused
        ]),
    ]
    .concat()
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(5)
}

fn an_imported_key_signs_as_it_did() {
    let token = fresh_token();
    generate_opaque_key(&token, &labels()).unwrap();
    let key = SigningKey::generate(KeyType::Ed25519, &mut rng());
    let identity = import_identity(&token, &labels(), &key).unwrap();
    assert_eq!(identity.verifying_key, *key.verifying_key());
    let store = open(&token, settings(&identity)).unwrap();
    for message in [&b""[..], b"message", &[7; 5000]] {
        let signed = store.sign(key.verifying_key(), message).unwrap();
        // Ed25519 is deterministic.
        assert_eq!(signed, key.sign(message, &mut rng()).unwrap());
    }
}

fn an_imported_hybrid_key_is_the_same_key() {
    let token = fresh_token();
    generate_opaque_key(&token, &labels()).unwrap();
    let key = SigningKey::generate(KeyType::Hybrid, &mut rng());
    let identity = import_identity(&token, &labels(), &key).unwrap();
    assert_eq!(identity.verifying_key, *key.verifying_key());
    assert_eq!(identity.sealed_slh_dsa.is_some(), is_softhsm());
    let store = open(&token, settings(&identity)).unwrap();
    let signed = store.sign(key.verifying_key(), b"message").unwrap();
    assert_eq!(key.verifying_key().verify(&signed), Ok(&b"message"[..]));
}

/// Certificate chains are listed by signing key order.
fn keys_of_both_types_in_the_order_of_the_pinned() {
    let token = fresh_token();
    generate_opaque_key(&token, &labels()).unwrap();
    let mut both = KeyStoreSettings::default();
    for key_type in [KeyType::Hybrid, KeyType::Ed25519] {
        let key = SigningKey::generate(key_type, &mut rng());
        let identity = import_identity(&token, &labels(), &key).unwrap();
        both.pinned.push(identity.verifying_key);
        both.sealed_slh_dsa = both.sealed_slh_dsa.or(identity.sealed_slh_dsa);
    }
    let store = open(&token, both.clone()).unwrap();
    assert_eq!(store.verifying_keys(), both.pinned);
    both.pinned.clear();
    let types: Vec<_> = open(&token, both).unwrap().verifying_keys();
    let types: Vec<_> = types.iter().map(VerifyingKey::key_type).collect();
    assert_eq!(types, [KeyType::Ed25519, KeyType::Hybrid]);
}

fn keytypes_restricts_the_keys_in_use() {
    let (token, identity) = node(KeyType::Ed25519);
    let mut settings = settings(&identity);
    settings.key_types = Some(vec![KeyType::Ed25519]);
    let store = open(&token, settings.clone()).unwrap();
    assert_eq!(store.verifying_keys(), settings.pinned);
    let stranger = SigningKey::generate(KeyType::Ed25519, &mut rng());
    let error = store.sign(stranger.verifying_key(), b"m").unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Missing);
    let mut none = KeyStoreSettings::default();
    none.key_types = Some(vec![KeyType::Hybrid]);
    let error = open(&token, none).unwrap_err();
    assert!(matches!(error, HsmError::NoSigningKey(None)), "{error:?}");
}

fn another_key_than_the_pinned_is_refused() {
    let (token, identity) = node(KeyType::Ed25519);
    let mut settings = settings(&identity);
    let other = SigningKey::generate(KeyType::Ed25519, &mut rng());
    settings.pinned = vec![other.verifying_key().clone()];
    let error = open(&token, settings).unwrap_err();
    assert!(matches!(error, HsmError::KeyChanged { .. }), "{error:?}");
    let shown = error.to_string();
    assert!(
        shown.contains(&identity.verifying_key.fingerprint()),
        "{shown}"
    );
    assert!(
        shown.contains(&other.verifying_key().fingerprint()),
        "{shown}"
    );
}

fn a_pinned_key_that_the_token_lacks() {
    let (token, identity) = node(KeyType::Ed25519);
    let mut settings = settings(&identity);
    let other = SigningKey::generate(KeyType::Hybrid, &mut rng());
    settings.pinned.push(other.verifying_key().clone());
    let error = open(&token, settings).unwrap_err();
    assert_eq!(error.to_string(), "the token has no signing key of type 4");
}

fn a_sealed_half_of_another_token_is_refused() {
    let (token, identity) = node(KeyType::Hybrid);
    let mut altered = settings(&identity);
    let blob = altered.sealed_slh_dsa.as_mut().unwrap();
    *blob.last_mut().unwrap() ^= 1;
    let error = open(&token, altered).unwrap_err();
    assert!(matches!(error, HsmError::Unauthentic { .. }), "{error:?}");
    // An opaque value does not open as a key.
    let store = open(&token, settings(&identity)).unwrap();
    let mut confused = settings(&identity);
    confused.sealed_slh_dsa = Some(store.wrap_opaque(&[1; 48]).unwrap());
    let error = open(&token, confused).unwrap_err();
    assert!(matches!(error, HsmError::Unauthentic { .. }), "{error:?}");
    // A key does not open as an opaque value, which the application would read.
    let sealed = identity.sealed_slh_dsa.unwrap();
    let error = store.unwrap_opaque(&sealed).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unauthentic);
}

/// The state that an interrupted addition leaves.
fn a_key_of_a_type_that_is_not_pinned_is_passed_over() {
    let (token, identity) = node(KeyType::Ed25519);
    generate_identity(&token, &labels(), KeyType::Hybrid).unwrap();
    let store = open(&token, settings(&identity)).unwrap();
    assert_eq!(store.verifying_keys(), [identity.verifying_key]);
}

fn a_hybrid_key_without_its_half_is_refused() {
    let (token, _) = node(KeyType::Hybrid);
    let error = open(&token, KeyStoreSettings::default()).unwrap_err();
    let shown = "the SLH-DSA key kc:n1:slh is neither on the token nor sealed in the configuration";
    assert_eq!(error.to_string(), shown);
}

fn debug_output_shows_public_keys_only() {
    let (_, identity) = node(KeyType::Ed25519);
    let store = open(&token(), settings(&identity)).unwrap();
    let shown = format!("{store:?}");
    assert!(
        shown.contains(&identity.verifying_key.fingerprint()),
        "{shown}"
    );
}
