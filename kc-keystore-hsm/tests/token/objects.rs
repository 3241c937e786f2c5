//! Objects that are missing, duplicated, exposed or made by other tools.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType as ObjectKeyType, ObjectClass};
use kc_core::keys::{KeyType, SigningKey};
use kc_core::store::{KeyStore, StoreErrorKind};
use kc_keystore_hsm::{
    HsmError, HsmRatchetStore, KeyStoreSettings, generate_identity, generate_opaque_key,
    import_identity, list_objects,
};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::world::{
    Case, cases, folder, fresh_token, intruder, is_softhsm, labels, node, only_on_softhsm, open,
    settings,
};

pub(crate) fn cases() -> Vec<Case> {
    [
        cases![
            every_secret_is_hidden,
            an_object_that_is_missing,
            two_objects_of_one_label,
            half_a_pair,
            an_exposed_key,
            a_key_that_is_destroyed_while_in_use,
            others_objects_are_not_listed,
        ],
        only_on_softhsm(cases![a_key_in_a_wrong_form_fails_its_self_test]),
    ]
    .concat()
}

fn every_secret_is_hidden() {
    let (token, _) = node(KeyType::Hybrid);
    generate_identity(&token, &labels(), KeyType::Ed25519).unwrap();
    HsmRatchetStore::create(token.clone(), &labels(), &folder().join("n1.ratchet")).unwrap();
    let listed = list_objects(&token).unwrap();
    let secrets = listed.iter().filter(|object| object.class != "public key");
    let mut labels: Vec<_> = secrets
        .map(|object| {
            assert_eq!(object.sensitive, Some(true), "{object}");
            assert_eq!(object.extractable, Some(false), "{object}");
            object.label.as_str()
        })
        .collect();
    labels.dedup();
    let mut expected = vec!["kc:n1:id", "kc:n1:id4", "kc:n1:opaque", "kc:n1:ratchet"];
    if !is_softhsm() {
        expected.push("kc:n1:slh");
    }
    assert_eq!(labels, expected);
    // The token enforces it.
    let session = intruder();
    for class in [ObjectClass::PRIVATE_KEY, ObjectClass::SECRET_KEY] {
        for object in session.find_objects(&[Attribute::Class(class)]).unwrap() {
            let value = session.get_attributes(object, &[AttributeType::Value]);
            assert!(value.is_ok_and(|value| value.is_empty()));
        }
    }
}

fn an_object_that_is_missing() {
    let token = fresh_token();
    let error = open(&token, KeyStoreSettings::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the token has no secret key with the label kc:n1:opaque"
    );
    generate_opaque_key(&token, &labels()).unwrap();
    let error = open(&token, KeyStoreSettings::default()).unwrap_err();
    assert!(matches!(error, HsmError::NoSigningKey(None)), "{error:?}");
}

fn two_objects_of_one_label() {
    let (token, identity) = node(KeyType::Ed25519);
    aes(&intruder_attributes("kc:n1:opaque", false));
    let error = open(&token, settings(&identity)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the token has 2 objects of the class secret key with the label kc:n1:opaque"
    );
}

fn half_a_pair() {
    let (token, identity) = node(KeyType::Ed25519);
    let session = intruder();
    let public = [Attribute::Class(ObjectClass::PUBLIC_KEY)];
    for object in session.find_objects(&public).unwrap() {
        session.destroy_object(object).unwrap();
    }
    let error = open(&token, settings(&identity)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the token has no public key with the label kc:n1:id"
    );
    let again = generate_identity(&token, &labels(), KeyType::Ed25519).unwrap_err();
    assert!(matches!(again, HsmError::ObjectMissing { .. }), "{again:?}");
}

fn intruder_attributes(label: &str, extractable: bool) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(extractable),
        Attribute::Label(label.as_bytes().to_vec()),
        Attribute::Id(vec![9; 16]),
        Attribute::ValueLen(32.into()),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
    ]
}

fn aes(template: &[Attribute]) {
    let session = intruder();
    session
        .generate_key(&Mechanism::AesKeyGen, template)
        .unwrap();
}

fn an_exposed_key() {
    let token = fresh_token();
    aes(&intruder_attributes("kc:n1:opaque", true));
    let error = open(&token, KeyStoreSettings::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the key kc:n1:opaque could leave the token: the token does not report that it is non-extractable"
    );
}

/// SoftHSM treats a secret key of 64 bytes as a seed; its signatures do not verify.
fn a_key_in_a_wrong_form_fails_its_self_test() {
    let token = fresh_token();
    generate_opaque_key(&token, &labels()).unwrap();
    let key = SigningKey::generate(KeyType::Ed25519, &mut StdRng::seed_from_u64(1));
    let identity = import_identity(&token, &labels(), &key).unwrap();
    let session = intruder();
    let private = [
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::Label(b"kc:n1:id".to_vec()),
    ];
    let [object] = *session.find_objects(&private).unwrap() else {
        panic!("one private key");
    };
    let id = session
        .get_attributes(object, &[AttributeType::Id])
        .unwrap();
    session.destroy_object(object).unwrap();
    let mut template = vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::KeyType(ObjectKeyType::EC_EDWARDS),
        Attribute::EcParams(b"\x13\x0cedwards25519".to_vec()),
        Attribute::Value(key.expose_bytes().expose().to_vec()),
    ];
    template.extend(private);
    template.extend(id);
    session.create_object(&template).unwrap();
    let error = open(&token, settings(&identity)).unwrap_err();
    let refused = matches!(error, HsmError::SelfTest { .. } | HsmError::Token { .. });
    assert!(refused, "{error:?}");
}

fn a_key_that_is_destroyed_while_in_use() {
    let (token, identity) = node(KeyType::Ed25519);
    let store = open(&token, settings(&identity)).unwrap();
    store.sign(&identity.verifying_key, b"message").unwrap();
    let session = intruder();
    let private = [Attribute::Class(ObjectClass::PRIVATE_KEY)];
    for object in session.find_objects(&private).unwrap() {
        session.destroy_object(object).unwrap();
    }
    let error = store.sign(&identity.verifying_key, b"message").unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Missing);
}

fn others_objects_are_not_listed() {
    let token = fresh_token();
    aes(&intruder_attributes("somebody's", false));
    assert_eq!(list_objects(&token).unwrap(), []);
}
