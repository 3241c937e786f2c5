use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::keys::{KeyType, SigningKey};
use crate::ratchet::{RetainedKey, RetainedKeys, Seed};
use crate::secret::Secret;
use crate::types::{KeyId, Timestamp};

fn rng() -> StdRng {
    StdRng::seed_from_u64(7)
}

fn secrets() -> NodeSecrets {
    let mut secrets = NodeSecrets::generate(&mut rng());
    assert!(secrets.ensure_key(KeyType::Ed25519, &mut rng()));
    assert!(!secrets.ensure_key(KeyType::Ed25519, &mut rng()));
    secrets
}

#[test]
fn secrets_survive_their_file() {
    let encoded = secrets().encode();
    let decoded = NodeSecrets::decode(encoded.expose()).unwrap();
    assert!(!decoded.outdated);
    assert_eq!(decoded.trailing, 0);
    assert_eq!(decoded.secrets.encode(), encoded);
}

#[test]
fn key_exchanges_and_legacy_requests_are_changed() {
    use crate::kem::Suite::{MlKem1024, X25519};
    let mut secrets = secrets();
    secrets.set_suites(&[X25519, MlKem1024, X25519]).unwrap();
    secrets.set_legacy_requests(true);
    let no_suite = Err(NodeSecretsError::NoKnownSuite);
    assert_eq!(secrets.set_suites(&[]), no_suite);
    let stored = NodeSecrets::decode(secrets.encode().expose())
        .unwrap()
        .secrets;
    assert!(stored.suites().eq([X25519, MlKem1024]));
    assert!(stored.legacy_requests());
    let keys = |secrets: &NodeSecrets| secrets.signing_keys().count();
    assert_eq!(keys(&stored), keys(&secrets));
}

#[test]
fn every_truncation_of_the_key_file_is_refused() {
    let encoded = secrets().encode();
    for len in 0..encoded.expose().len() {
        assert!(
            NodeSecrets::decode(&encoded.expose()[..len]).is_err(),
            "{len}"
        );
    }
}

#[test]
fn a_memory_key_store_signs_and_wraps() {
    let store = MemoryKeyStore::new(secrets(), None, Box::new(|| Ok(Box::new(rng()) as _)));
    let key = &store.verifying_keys()[0];
    let signed = store.sign(key, b"m").unwrap();
    assert_eq!(key.verify(&signed), Ok(&b"m"[..]));
    let mut wrapped = store.wrap_opaque(b"value").unwrap();
    assert_eq!(store.unwrap_opaque(&wrapped).unwrap().expose(), b"value");
    wrapped[30] ^= 1;
    let error = store.unwrap_opaque(&wrapped).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unauthentic);
}

#[test]
fn a_signer_says_why_its_key_store_did_not_sign() {
    use crate::keys::Signer;
    let store = MemoryKeyStore::new(secrets(), None, Box::new(|| Ok(Box::new(rng()) as _)));
    let other = SigningKey::generate(KeyType::Ed25519, &mut StdRng::seed_from_u64(8));
    let key = other.verifying_key();
    let cause = store.sign(key, b"m").unwrap_err().to_string();
    let signer = KeyStoreSigner::new(&store, key.clone());
    let error = signer.sign(b"m", &mut rng()).unwrap_err().to_string();
    assert!(error.ends_with(&cause), "{error}");
}

#[test]
fn keytypes_restricts_the_keys_in_use() {
    let store = MemoryKeyStore::new(
        secrets(),
        Some(vec![KeyType::Hybrid]),
        Box::new(|| Ok(Box::new(rng()) as _)),
    );
    assert!(store.verifying_keys().is_empty());
    let key = secrets().signing_keys().next().map(|key| {
        use crate::keys::Signer;
        key.verifying_key().clone()
    });
    let error = store.sign(&key.unwrap(), b"m").unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Missing);
}

#[test]
fn old_keys_survive_their_form() {
    let mut keys = RetainedKeys::default();
    for (root, id) in [("t", KeyId::Short(7)), ("été", KeyId::Long([9; 32]))] {
        keys.insert(RetainedKey {
            root_topic: root.into(),
            id,
            secret: Secret::fill_with(|secret| secret.fill(3)).into(),
            birth: Timestamp::from_secs(1_700_000_000.25).unwrap(),
        });
    }
    assert_eq!(
        retained_keys::decode(&retained_keys::encode(&keys)).unwrap(),
        keys
    );
}

#[test]
fn a_memory_ratchet_steps() {
    let mut store = MemoryRatchetStore::new(Seed::generate(&mut rng()));
    assert_eq!(store.step().unwrap().index(), 0);
    assert_eq!(store.step().unwrap().index(), 1);
}

#[test]
fn a_sealed_ratchet_tells_where_it_is() {
    let header = SealedRatchetHeader { index: 7 };
    let file = [&header.encode()[..], b"sealed"].concat();
    assert_eq!(header.encode().len(), SealedRatchetHeader::LEN);
    assert_eq!(SealedRatchetHeader::of(&file), Some(header));
    for other in [&b""[..], b"KCR1\0\0\0", b"KCR2\0\0\0\0\0\0\0\0"] {
        assert_eq!(SealedRatchetHeader::of(other), None);
    }
}

#[test]
fn debug_output_shows_no_secret() {
    let shown = format!(
        "{:?}",
        MemoryKeyStore::new(secrets(), None, Box::new(|| Ok(Box::new(rng()) as _)))
    );
    assert!(shown.contains("redacted"), "{shown}");
    let secrets = secrets();
    let bytes = secrets.signing_keys().next().unwrap().expose_bytes();
    let listed = format!("{:?}", &bytes.expose()[..4]);
    assert!(!shown.contains(listed.trim_matches(['[', ']'])), "{shown}");
}
