//! Chains for keys that exist already.

use super::*;
use crate::chain::{Certificate, MaxAge};
use crate::chain_server::{ChainKey, RenewalPolicy};
use crate::keys::{SigningKey, VerifyingKey};

fn issue(role: Role, key: &VerifyingKey, expires: MaxAge) -> Result<IssuedChain, ProvisionError> {
    let topics = ["a.b".to_owned()];
    let grant = Grant {
        role,
        constraints: role.constraints(&topics, &SCHEME, Some(1)).unwrap(),
        expires,
    };
    issue_chain(key, &grant, b"root", b"provisioning", now(), &mut rng())
}

#[test]
fn a_chain_for_a_known_key_is_as_that_of_a_new_node() {
    for role in Role::ALL {
        for key_type in [KeyType::Ed25519, KeyType::Hybrid] {
            let key = SigningKey::generate(key_type, &mut rng());
            let key = key.verifying_key();
            let issued = issue(role, key, MaxAge::UNLIMITED).unwrap();
            let root = derive_root(b"root", key_type).unwrap().key;
            assert_eq!(&issued.root, root.verifying_key());
            let identity = Identity::new(key.clone(), Some(issued.chain));
            let entry = TrustEntry::unrestricted(&issued.root);
            let trust = TrustStore::new(Some(vec![entry]), vec![]);
            for usage in [
                Usage::Encrypt,
                Usage::EncryptRequest,
                Usage::EncryptSubscribe,
            ] {
                let demand = Demand::at(now()).topic("a").usage(usage);
                let granted = identity.validate(&trust, &demand).is_ok();
                assert_eq!(granted, role.usages().contains(&usage), "{role} {usage:?}");
            }
        }
    }
}

#[test]
fn a_chain_that_has_ended_is_not_issued() {
    let key = SigningKey::generate(KeyType::Ed25519, &mut rng());
    let ended = Timestamp::from_secs(now().as_secs() - 1.0).unwrap();
    let error = issue(Role::Producer, key.verifying_key(), MaxAge::until(ended)).unwrap_err();
    let expired = |error: &ChainError| matches!(error, ChainError::Expired(_));
    assert!(matches!(error, ProvisionError::Certificate(error) if expired(&error)));
}

#[test]
fn signed_certificates_of_both_types_are_read() {
    for key_type in [KeyType::Ed25519, KeyType::Hybrid] {
        let root = derive_root(b"root", key_type).unwrap().key;
        let key = SigningKey::generate(KeyType::Ed25519, &mut rng());
        let entry = TrustEntry::unrestricted(key.verifying_key());
        let signed = sign_request(&root, entry.as_bytes(), &mut rng()).unwrap();
        let read = Certificate::parse_signed(&signed).unwrap();
        assert_eq!(read, Certificate::parse(entry.as_bytes()).unwrap());
        for cut in [0, 1, 64, signed.len() - 1] {
            assert!(Certificate::parse_signed(&signed[..cut]).is_err(), "{cut}");
        }
    }
}

#[test]
fn a_key_new_to_a_chain_server_is_due() {
    let key = SigningKey::generate(KeyType::Ed25519, &mut rng());
    let constraints = Role::Producer.constraints(&[], &SCHEME, Some(1)).unwrap();
    let entry = ChainKey::due_at(now(), key.verifying_key(), &constraints);
    assert!(RenewalPolicy::default().due(&entry).unwrap() < now());
    assert_eq!(ChainKey::parse(&entry.encode()), Ok(entry));
}
