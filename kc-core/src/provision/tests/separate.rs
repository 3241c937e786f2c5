//! Provisioners, nodes and the root of trust in different places.

use super::*;
use crate::chain::{Constraints, MaxAge};
use crate::kem::{DecapsulationKey, Suite, sealed};
use crate::keys::{SigningKey, VerifyingKey};
use crate::provision::issuer::certificate;

fn root() -> SigningKey {
    derive_root(b"root", KeyType::Ed25519).unwrap().key
}

/// Returns the certificate that `signer` signs for the provisioner of a password.
fn signed_provisioner(kind: Provisioner, password: &[u8], signer: &SigningKey) -> Vec<u8> {
    let key = provisioner(kind, password);
    let request = request_provisioner(kind, &key, &mut rng()).unwrap();
    sign_request(signer, &request.to_sign, &mut rng()).unwrap()
}

fn provisioner(kind: Provisioner, password: &[u8]) -> SigningKey {
    let root = root();
    let derived = derive_provisioner(password, kind, root.verifying_key(), KeyType::Ed25519);
    derived.unwrap().key
}

fn provision_under(node: &NewNode<'_>, signed: &[u8]) -> Result<ProvisionedNode, ProvisionError> {
    let root = root();
    let kind = node.role.provisioner().unwrap_or(Provisioner::Prodcon);
    let key = provisioner(kind, b"provisioning");
    provision_node_under(root.verifying_key(), signed, node, &key, now(), &mut rng())
}

#[test]
fn a_provisioner_that_the_root_signed_grants_a_role_its_usages() {
    for role in Role::ALL {
        let Some(kind) = role.provisioner() else {
            continue;
        };
        let signed = signed_provisioner(kind, b"provisioning", &root());
        let node = provision_under(&new_node(role, &[]), &signed).unwrap();
        let (trust, identity) = trust_and_identity(&node);
        assert_eq!(&node.root, root().verifying_key());
        assert_eq!(node.expires, Some(now().plus(Duration::from_secs(3600))));
        for usage in [
            Usage::Encrypt,
            Usage::EncryptRequest,
            Usage::EncryptSubscribe,
        ] {
            let demand = Demand::at(now()).topic("anything").usage(usage);
            let granted = identity.validate(&trust, &demand).is_ok();
            assert_eq!(granted, role.usages().contains(&usage), "{role} {usage:?}");
        }
    }
}

#[test]
fn a_certificate_of_another_root_is_refused() {
    let stranger = derive_root(b"stranger", KeyType::Ed25519).unwrap().key;
    let signed = signed_provisioner(Provisioner::Producer, b"provisioning", &stranger);
    let error = provision_under(&new_node(Role::Producer, &[]), &signed).unwrap_err();
    let unknown = ProvisionError::Certificate(ChainError::UnknownRoot);
    assert_eq!(format!("{error:?}"), format!("{unknown:?}"));
}

#[test]
fn a_certificate_of_another_provisioner_is_refused() {
    let node = new_node(Role::Producer, &[]);
    for signed in [
        signed_provisioner(Provisioner::Consumer, b"provisioning", &root()),
        signed_provisioner(Provisioner::Producer, b"mistyped", &root()),
    ] {
        let error = provision_under(&node, &signed).unwrap_err();
        assert!(matches!(error, ProvisionError::OtherKey { .. }), "{error}");
    }
}

#[test]
fn a_provisioner_cannot_pass_on_what_it_was_not_granted() {
    let root = root();
    let key = provisioner(Provisioner::Producer, b"provisioning");
    let constraints = Constraints {
        topics: Some(vec!["a".into()]),
        usages: Some(vec![Usage::Encrypt.as_str().into()]),
        path_length: None,
    };
    let to_sign = certificate(MaxAge::UNLIMITED, &constraints, key.verifying_key());
    let signed = sign_request(&root, &to_sign, &mut rng()).unwrap();
    let topics = |topic: &str| [topic.to_owned()];
    assert!(provision_under(&new_node(Role::Producer, &topics("a.x")), &signed).is_ok());
    for topics in [&topics("b")[..], &[]] {
        let error = provision_under(&new_node(Role::Producer, topics), &signed).unwrap_err();
        assert!(matches!(error, ProvisionError::GrantsOther), "{error}");
    }
}

#[test]
fn no_provisioner_certifies_a_chain_server() {
    let signed = signed_provisioner(Provisioner::Prodcon, b"provisioning", &root());
    let error = provision_under(&new_node(Role::ChainServer, &[]), &signed).unwrap_err();
    assert!(matches!(
        error,
        ProvisionError::NeedsRoot(Role::ChainServer)
    ));
}

#[test]
fn a_root_signs_certificates_for_one_signing_key_alone() {
    let root = root();
    let sign = |to_sign: &[u8]| sign_request(&root, to_sign, &mut rng());
    let key = root.verifying_key();
    let plain = certificate(MaxAge::UNLIMITED, &Constraints::default(), key);
    assert!(sign(&plain).is_ok());

    for garbage in [
        &b""[..],
        b"anything",
        &plain[1..],
        &plain[..plain.len() - 1],
    ] {
        let error = sign(garbage).unwrap_err();
        assert!(matches!(error, ProvisionError::Request(_)), "{error}");
    }
    let encode = |write_key: fn(&mut Writer, &VerifyingKey), extra| {
        encode_certificate(
            MaxAge::UNLIMITED,
            &Constraints::default().encode(),
            |writer| write_key(writer, key),
            (usize::from(extra), |writer| {
                if extra {
                    writer.nil();
                }
            }),
        )
    };
    for other in [
        encode(|writer, key| key.write_to(writer.array(1)), false),
        encode(|writer, key| key.write_to(writer), true),
    ] {
        let error = sign(&other).unwrap_err();
        assert!(matches!(error, ProvisionError::NotARequest), "{error}");
    }
}

#[test]
fn a_node_completes_with_its_own_certificate_under_the_root_alone() {
    let requested = || request_node(&new_node(Role::Controller, &[]), now(), &mut rng()).unwrap();
    let root = root();
    let signed = sign_request(&root, &requested().to_sign, &mut rng()).unwrap();
    let complete = |root: &SigningKey, signed: &[u8], at| {
        requested().complete(root.verifying_key(), signed, at)
    };
    let node = complete(&root, &signed, now()).unwrap();
    assert!(node.seed.is_none());
    let (trust, identity) = trust_and_identity(&node);
    let demand = Demand::at(now()).topic("t").usage(Usage::EncryptRequest);
    assert!(identity.validate(&trust, &demand).is_ok());

    let stranger = derive_root(b"stranger", KeyType::Ed25519).unwrap().key;
    let late = now().plus(Duration::from_secs(3601));
    for (root, at) in [(&stranger, now()), (&root, late)] {
        let error = complete(root, &signed, at).unwrap_err();
        assert!(matches!(error, ProvisionError::Certificate(_)), "{error}");
    }

    let mut other_rng = StdRng::seed_from_u64(8);
    let other = request_node(&new_node(Role::Controller, &[]), now(), &mut other_rng).unwrap();
    let signed = sign_request(&root, &other.to_sign, &mut rng()).unwrap();
    let error = complete(&root, &signed, now()).unwrap_err();
    assert!(matches!(error, ProvisionError::OtherKey { .. }), "{error}");

    let topics = ["a".to_owned()];
    let less = request_node(&new_node(Role::Controller, &topics), now(), &mut rng()).unwrap();
    let signed = sign_request(&root, &less.to_sign, &mut rng()).unwrap();
    let error = complete(&root, &signed, now()).unwrap_err();
    assert!(matches!(error, ProvisionError::GrantsOther), "{error}");
}

#[test]
fn escrow_opens_with_its_secret_alone() {
    for suite in Suite::ALL {
        let key = DecapsulationKey::generate(suite, &mut rng());
        let node = with_passwords(&NewNode {
            escrow: Some(key.encapsulation_key()),
            ..new_node(Role::Producer, &[])
        });
        let sealed = node.escrow.unwrap();
        let secret = sealed::open(&sealed, &key).unwrap();
        let seed = node.seed.unwrap().encode();
        assert_eq!(secret.expose().len(), 32);
        assert!(seed.expose().ends_with(secret.expose()));
        let other = DecapsulationKey::generate(suite, &mut StdRng::seed_from_u64(8));
        assert!(sealed::open(&sealed, &other).is_err());
    }
}

#[test]
fn without_a_key_or_a_ratchet_there_is_no_escrow() {
    assert_eq!(with_passwords(&new_node(Role::Producer, &[])).escrow, None);
    let key = DecapsulationKey::generate(Suite::X25519, &mut rng());
    let node = NewNode {
        escrow: Some(key.encapsulation_key()),
        ..new_node(Role::ChainServer, &[])
    };
    let error = request_node(&node, now(), &mut rng()).unwrap_err();
    assert!(matches!(error, ProvisionError::NothingToEscrow(_)));
}

#[test]
fn a_self_revocation_is_no_chain_from_a_root_and_carries_its_entry() {
    for key_type in [KeyType::Ed25519, KeyType::Hybrid] {
        let key = SigningKey::generate(key_type, &mut rng());
        let chain = self_revocation(&key, &mut rng()).unwrap();
        let chain = UnverifiedChain::parse(&chain).unwrap();
        let trust = TrustStore::new(Some(vec![]), vec![]);
        let demand = Demand::at(now());
        let proven = chain.self_revocation().unwrap().verify().unwrap();
        assert_eq!(proven.keys().signer(), Some(key.verifying_key()));
        let entry = TrustEntry::unrestricted(key.verifying_key());
        assert_eq!(
            proven.extra(),
            [crate::wire::Value::Bytes(entry.as_bytes())]
        );
        for usage in [Usage::Denylist, Usage::Allowlist, Usage::Encrypt] {
            assert!(chain.validate(&trust, &demand.usage(usage)).is_err());
        }
        assert!(chain.validate(&trust, &demand).is_err());
    }
}

#[test]
fn a_provisioner_comes_with_a_revocation_of_its_key() {
    for kind in Provisioner::ALL {
        let key = provisioner(kind, b"provisioning");
        let request = request_provisioner(kind, &key, &mut rng()).unwrap();
        let chain = UnverifiedChain::parse(&request.self_revocation).unwrap();
        let proven = chain.self_revocation().unwrap().verify().unwrap();
        assert_eq!(proven.keys().signer(), Some(key.verifying_key()));
    }
}
