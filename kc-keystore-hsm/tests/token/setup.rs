//! Importing a file node onto a token, and replacing its opaque key.

use cryptoki::object::{Attribute, ObjectClass};
use cryptoki::types::AuthPin;
use kc_core::keys::{KeyType, Signer, SigningKey};
use kc_core::store::{KeyStore, MemoryKeyStore, NodeSecrets, StoreErrorKind};
use kc_keystore_hsm::{
    HsmError, HsmRatchetStore, KeyStoreSettings, NodeLabels, OpaqueRotation, destroy_node_keys,
    generate_identity, generate_opaque_key, import_identity, init_token, list_objects,
    nodes_called, open_signer, relabel_signer,
};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::world::{
    Case, LABEL, PIN, SO_PIN, cases, folder, fresh_token, intruder, is_softhsm, labels, module,
    module_path, node, open, settings, text,
};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        an_interrupted_making_ready_goes_on,
        a_file_node_moves,
        the_opaque_key_is_replaced,
        an_interrupted_replacement_goes_on,
        drawing_again_changes_nothing,
        moving_again_changes_nothing,
        an_interrupted_beginning_goes_on,
        roots_and_provisioners_of_earlier_versions_are_renamed,
        what_a_node_may_have_is_not_renamed,
        nodes_of_one_id_are_told_apart,
    ]
}

fn an_interrupted_making_ready_goes_on() {
    let init =
        |so_pin, pin| init_token(&module_path(), LABEL, &text(so_pin), &text(pin)).unwrap_err();
    let blank = module().get_slots_with_token().unwrap()[0];
    let so_pin = AuthPin::from(SO_PIN);
    module().init_token(blank, &so_pin, LABEL).unwrap();

    let error = init("12345678", PIN);
    assert!(matches!(error, HsmError::PinIncorrect { .. }), "{error:?}");
    if is_softhsm() {
        for (so_pin, pin, refused) in [("1", PIN, "security officer"), (SO_PIN, "1", "user")] {
            let error = init(so_pin, pin).to_string();
            let reason = "a PIN must have 4 to 255 bytes";
            assert_eq!(
                error,
                format!("the token does not accept this PIN for its {refused}: {reason}")
            );
        }
    }
    fresh_token();
    let error = init(SO_PIN, PIN);
    assert!(matches!(error, HsmError::TokenExists { .. }), "{error:?}");
}

fn a_file_node_moves() {
    let rng = &mut StdRng::seed_from_u64(3);
    let mut secrets = NodeSecrets::generate(rng);
    secrets.ensure_key(KeyType::Ed25519, rng);
    secrets.ensure_key(KeyType::Hybrid, rng);
    let stored = secrets.encode();
    let before = MemoryKeyStore::new(
        secrets,
        None,
        Box::new(|| Ok(Box::new(StdRng::seed_from_u64(4)) as _)),
    );
    let old_value = before.wrap_opaque(b"old keys").unwrap();

    let token = fresh_token();
    generate_opaque_key(&token, &labels()).unwrap();
    let secrets = NodeSecrets::decode(stored.expose()).unwrap().secrets;
    let mut settings = KeyStoreSettings::default();
    settings.suites = secrets.suites().collect();
    for key in secrets.signing_keys() {
        let identity = import_identity(&token, &labels(), key).unwrap();
        assert_eq!(identity.verifying_key, *key.verifying_key());
        settings.pinned.push(identity.verifying_key);
        settings.sealed_slh_dsa = settings.sealed_slh_dsa.or(identity.sealed_slh_dsa);
    }
    let store = open(&token, settings).unwrap();
    assert_eq!(store.verifying_keys(), before.verifying_keys());
    assert_eq!(store.suites(), before.suites());
    let value = store
        .rewrap_file_value(&old_value, secrets.opaque_key())
        .unwrap();
    assert_eq!(store.unwrap_opaque(&value).unwrap().expose(), b"old keys");
    // A value that the file node sealed does not open on the token.
    let error = store.unwrap_opaque(&old_value).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unauthentic);
    let error = store
        .rewrap_file_value(&value, secrets.opaque_key())
        .unwrap_err();
    assert!(matches!(error, HsmError::Unauthentic { .. }), "{error:?}");
}

fn opaque_labels(token: &kc_keystore_hsm::Token) -> Vec<String> {
    let listed = list_objects(token).unwrap().into_iter();
    let labels = listed.map(|object| object.label);
    labels.filter(|label| label.contains("opaque")).collect()
}

fn the_opaque_key_is_replaced() {
    let (token, identity) = node(KeyType::Hybrid);
    let mut settings = settings(&identity);
    let store = open(&token, settings.clone()).unwrap();
    let old = store.wrap_opaque(b"value").unwrap();
    drop(store);

    let rotation = OpaqueRotation::begin(token.clone(), labels()).unwrap();
    let new = rotation.rewrap(&old).unwrap();
    assert_ne!(new, old);
    assert_eq!(rotation.rewrap(&new).unwrap(), new);
    if is_softhsm() {
        let sealed = settings.sealed_slh_dsa.as_ref().unwrap();
        settings.sealed_slh_dsa = Some(rotation.rewrap(sealed).unwrap());
    }
    let error = rotation.rewrap(b"something else").unwrap_err();
    assert!(matches!(error, HsmError::Unauthentic { .. }), "{error:?}");
    rotation.finish().unwrap();

    assert_eq!(opaque_labels(&token), ["kc:n1:opaque"]);
    let store = open(&token, settings).unwrap();
    assert_eq!(store.unwrap_opaque(&new).unwrap().expose(), b"value");
    let error = store.unwrap_opaque(&old).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unauthentic);
}

fn an_interrupted_replacement_goes_on() {
    let (token, identity) = node(KeyType::Ed25519);
    let old = open(&token, settings(&identity)).unwrap();
    let old = old.wrap_opaque(b"value").unwrap();
    drop(OpaqueRotation::begin(token.clone(), labels()).unwrap());
    assert_eq!(opaque_labels(&token), ["kc:n1:opaque", "kc:n1:opaque-old"]);
    // The node works in the meantime.
    let store = open(&token, settings(&identity)).unwrap();
    assert_eq!(store.unwrap_opaque(&old).unwrap().expose(), b"value");
    let error = generate_opaque_key(&token, &labels()).unwrap_err();
    assert!(
        matches!(error, HsmError::RotationUnfinished { .. }),
        "{error:?}"
    );

    let rotation = OpaqueRotation::begin(token.clone(), labels()).unwrap();
    let new = rotation.rewrap(&old).unwrap();
    rotation.finish().unwrap();
    assert_eq!(store.unwrap_opaque(&new).unwrap().expose(), b"value");
}

fn drawing_again_changes_nothing() {
    let (token, identity) = node(KeyType::Ed25519);
    let value = open(&token, settings(&identity)).unwrap();
    let value = value.wrap_opaque(b"value").unwrap();
    let before = list_objects(&token).unwrap();
    generate_opaque_key(&token, &labels()).unwrap();
    let again = generate_identity(&token, &labels(), KeyType::Ed25519).unwrap();
    assert_eq!(again, identity);
    assert_eq!(list_objects(&token).unwrap(), before);
    let store = open(&token, settings(&identity)).unwrap();
    assert_eq!(store.unwrap_opaque(&value).unwrap().expose(), b"value");
}

fn moving_again_changes_nothing() {
    let token = fresh_token();
    generate_opaque_key(&token, &labels()).unwrap();
    let rng = &mut StdRng::seed_from_u64(5);
    for key_type in [KeyType::Ed25519, KeyType::Hybrid] {
        let [key, other] = [(); 2].map(|()| SigningKey::generate(key_type, rng));
        import_identity(&token, &labels(), &key).unwrap();
        let before = list_objects(&token).unwrap();
        let again = import_identity(&token, &labels(), &key).unwrap();
        assert_eq!(again.verifying_key, *key.verifying_key());
        let error = import_identity(&token, &labels(), &other).unwrap_err();
        assert!(matches!(error, HsmError::ObjectExists { .. }), "{error:?}");
        assert_eq!(list_objects(&token).unwrap(), before);
    }
}

fn an_interrupted_beginning_goes_on() {
    let (token, identity) = node(KeyType::Ed25519);
    let session = intruder();
    let find = |class| {
        let found = session.find_objects(&[Attribute::Class(class)]).unwrap();
        let [object] = *found else {
            panic!("{found:?}");
        };
        object
    };
    // Generated, but without an id yet.
    for class in [ObjectClass::PUBLIC_KEY, ObjectClass::PRIVATE_KEY] {
        session
            .update_attributes(find(class), &[Attribute::Id(Vec::new())])
            .unwrap();
    }
    assert!(open(&token, settings(&identity)).is_err());
    let again = generate_identity(&token, &labels(), KeyType::Ed25519).unwrap();
    assert_eq!(again, identity);
    open(&token, settings(&identity)).unwrap();

    // Only one half was imported.
    session
        .destroy_object(find(ObjectClass::PRIVATE_KEY))
        .unwrap();
    let rng = &mut StdRng::seed_from_u64(6);
    let key = SigningKey::generate(KeyType::Ed25519, rng);
    let moved = import_identity(&token, &labels(), &key).unwrap();
    open(&token, settings(&moved)).unwrap();
}

/// Returns the labels that an earlier version used for a root of trust or a provisioner.
fn old(label: &str) -> NodeLabels {
    NodeLabels::of_object(label).unwrap()
}

fn roots_and_provisioners_of_earlier_versions_are_renamed() {
    let token = fresh_token();
    for (was, is) in [
        (old("kc:root:id"), NodeLabels::root("root")),
        (
            old("kc:provisioner-producer:id"),
            NodeLabels::provisioner("producer"),
        ),
    ] {
        assert!(!relabel_signer(&token, &is, None).unwrap());
        generate_opaque_key(&token, &was).unwrap();
        let drawn = generate_identity(&token, &was, KeyType::Ed25519).unwrap();
        for _ in 0..2 {
            assert!(relabel_signer(&token, &is, None).unwrap());
        }
        let signer = open_signer(token.clone(), is, KeyType::Ed25519).unwrap();
        assert_eq!(*signer.verifying_key(), drawn.verifying_key);
        let error = open_signer(token.clone(), was, KeyType::Ed25519).unwrap_err();
        assert!(matches!(error, HsmError::ObjectMissing { .. }), "{error:?}");
    }
}

fn what_a_node_may_have_is_not_renamed() {
    let token = fresh_token();
    let draw = |labels| {
        generate_opaque_key(&token, labels).unwrap();
        generate_identity(&token, labels, KeyType::Ed25519).unwrap()
    };
    // Keys with a ratchet belong to a node.
    let node = old("kc:root:id");
    draw(&node);
    let path = folder().join("root.ratchet");
    HsmRatchetStore::create(token.clone(), &node, &path).unwrap();
    assert!(!relabel_signer(&token, &NodeLabels::root("root"), None).unwrap());

    // Keys with another name are renamed only for the root of trust that they belong to.
    let (was, is) = (old("kc:corp:id"), NodeLabels::root("corp"));
    let drawn = draw(&was);
    assert!(!relabel_signer(&token, &is, None).unwrap());
    let other = SigningKey::generate(KeyType::Ed25519, &mut StdRng::seed_from_u64(7));
    let other = other.verifying_key();
    assert!(!relabel_signer(&token, &is, Some(other)).unwrap());
    assert!(relabel_signer(&token, &is, Some(&drawn.verifying_key)).unwrap());
}

fn nodes_of_one_id_are_told_apart() {
    let token = fresh_token();
    let old = labels();
    let fresh = [(); 2].map(|()| NodeLabels::fresh("n1").unwrap());
    let other = NodeLabels::fresh("n2").unwrap();
    for labels in [&old, &fresh[0], &fresh[1], &other] {
        generate_opaque_key(&token, labels).unwrap();
        generate_identity(&token, labels, KeyType::Ed25519).unwrap();
    }
    let path = folder().join("n1.ratchet");
    HsmRatchetStore::reinitialise(token.clone(), &fresh[1], &path, 7).unwrap();
    let called = || {
        let nodes = nodes_called(&token, "n1").unwrap().into_iter();
        nodes
            .map(|node| (node.labels.identity(), node.ratchet))
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let mut expected = called();
    assert_eq!(expected.len(), 3);
    assert_eq!(expected[&old.identity()], None);
    assert_eq!(expected[&fresh[0].identity()], None);
    assert_eq!(expected[&fresh[1].identity()], Some(7));

    // Only the objects of one node are destroyed.
    destroy_node_keys(&token, &fresh[1]).unwrap();
    expected.remove(&fresh[1].identity());
    assert_eq!(called(), expected);
    assert_eq!(list_objects(&token).unwrap().len(), 9);
    let error = destroy_node_keys(&token, &old).unwrap_err();
    assert!(matches!(error, HsmError::NotALabel(_)), "{error:?}");
    assert_eq!(called(), expected);
}
