//! The conformance suite of keystores, on a token.

use kc_core::keys::KeyType;
use kc_core::store::{KeyStore, RatchetStore, StoreError};
use kc_keystore_hsm::{
    HsmKeyStore, HsmRatchetStore, KeyStoreSettings, NodeLabels, generate_identity,
    generate_opaque_key,
};
use kc_testkit::keystore::{Bench, CASES};

use crate::world::{Case, folder, fresh_token, labels, settings, token};

pub(crate) fn cases() -> Vec<Case> {
    // The process that runs a case finds it by its name.
    let of = |prefix: &str, run: fn()| {
        CASES
            .iter()
            .map(|case| Case::new(&format!("{prefix}{}", case.name), run))
            .collect::<Vec<_>>()
    };
    let hybrid = of(HYBRID, || run(HYBRID, KeyType::Hybrid));
    let hybrid = hybrid
        .into_iter()
        .filter(|case| case.name.contains("keys::"));
    let mut cases = of(CLASSICAL, || run(CLASSICAL, KeyType::Ed25519));
    cases.extend(hybrid);
    cases
}

const CLASSICAL: &str = "conformance::";
const HYBRID: &str = "conformance::hybrid_";

fn run(prefix: &str, key_type: KeyType) {
    let name = std::env::var(crate::world::CASE).unwrap();
    let name = name.strip_prefix(prefix).unwrap();
    let case = CASES.iter().find(|case| case.name == name).unwrap();
    case.run(&Node::new(key_type)).unwrap();
}

struct Node {
    own: KeyStoreSettings,
    other: KeyStoreSettings,
}

impl Node {
    fn new(key_type: KeyType) -> Self {
        let token = fresh_token();
        let make = |labels: &NodeLabels| {
            generate_opaque_key(&token, labels).unwrap();
            settings(&generate_identity(&token, labels, key_type).unwrap())
        };
        let node = Self {
            own: make(&labels()),
            other: make(&NodeLabels::of_object("kc:n2:id").unwrap()),
        };
        let path = folder().join("n1.ratchet");
        HsmRatchetStore::create(token, &labels(), &path).unwrap();
        node
    }
}

impl Bench for Node {
    fn key_store(&self) -> Result<Box<dyn KeyStore>, StoreError> {
        let store = HsmKeyStore::open(token(), labels(), self.own.clone())?;
        Ok(Box::new(store))
    }

    fn other_key_store(&self) -> Result<Box<dyn KeyStore>, StoreError> {
        let labels = NodeLabels::of_object("kc:n2:id").unwrap();
        let store = HsmKeyStore::open(token(), labels, self.other.clone())?;
        Ok(Box::new(store))
    }

    fn ratchet_store(&self) -> Result<Box<dyn RatchetStore>, StoreError> {
        let path = folder().join("n1.ratchet");
        Ok(Box::new(HsmRatchetStore::open(token(), &labels(), &path)?))
    }
}
