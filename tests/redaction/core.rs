//! The types of `kc-core`.

use std::fmt::Debug;

use kc::core::kem::{DecapsulationKey, SecretKey, Suite};
use kc::core::keys::{KeyType, SigningKey};
use kc::core::message::KeyRing;
use kc::core::provision::derive_root;
use kc::core::ratchet::{
    Candidates, Context, DataKey, KeyGenerator, KeyIdForm, OpeningKey, RetainedKey, RetainedKeys,
    Seed, StepKeys,
};
use kc::core::secret::{Secret, SecretVec};
use kc::core::store::{MemoryKeyStore, MemoryRatchetStore, NodeSecrets};
use kc::core::types::{KeyId, Timestamp};
use kc::core::wire::Writer;
use kc::keystore_file::system_rng;

use crate::leaks::{known, leak};

/// Checks that a value shows exactly this text, and none of its secrets.
#[track_caller]
pub(crate) fn check(value: &dyn Debug, secrets: &[&[u8]], expected: &str) {
    let (line, lines) = (format!("{value:?}"), format!("{value:#?}"));
    for secret in secrets {
        for text in [&line, &lines] {
            assert_eq!(leak(text, secret, 4), None, "in {text}");
        }
    }
    assert_eq!(line, expected);
}

pub(crate) fn secret<const N: usize>(tag: u8) -> Secret<N> {
    Secret::from_slice(&known::<N>(tag)).unwrap()
}

pub(crate) fn data_key() -> DataKey {
    secret(2).into()
}

/// Returns a seed of known bytes, from its stored form.
pub(crate) fn seed() -> Seed {
    let mut writer = Writer::new();
    writer.array(2).uint(7).bytes(&known::<32>(1));
    Seed::decode(&writer.into_vec()).unwrap()
}

/// Returns the key of known bytes, and its secret parts.
pub(crate) fn signing_key() -> (SigningKey, Vec<u8>) {
    let key = SigningKey::from_ed25519_seed(&secret(3));
    (key, known::<32>(3).to_vec())
}

pub(crate) fn node_secrets() -> NodeSecrets {
    let mut writer = Writer::new();
    writer.array(5).uint(2).array(1);
    writer.bytes(signing_key().0.expose_bytes().expose());
    writer.bytes(&known::<32>(4)).bool(false);
    writer.array(1).uint(1);
    let secrets = NodeSecrets::decode(&writer.into_vec()).unwrap().secrets;
    assert_eq!(secrets.opaque_key().expose(), &known::<32>(4));
    secrets
}

#[test]
fn secrets_and_what_the_ratchet_makes() {
    let (stored, first, topic) = (known::<32>(1), known::<32>(5), known::<32>(2));
    check(&secret::<32>(5), &[&first], "Secret<32>(redacted)");
    check(
        &SecretVec::from(first.to_vec()),
        &[&first],
        "SecretVec(32 bytes, redacted)",
    );
    check(
        &seed(),
        &[&stored],
        "Seed { index: 7, secret: Secret<32>(redacted) }",
    );

    let pending = seed().advance().unwrap();
    let next = pending.next().encode();
    check(
        &pending,
        &[&stored, &next.expose()[4..]],
        "PendingStep { step: Step { index: 7, secret: Secret<32>(redacted) }, next: Seed { index: 8, secret: Secret<32>(redacted) } }",
    );
    let (step, next_seed) = pending.stored();
    let of_topic = step.data_key(&"t".into());
    check(
        &step,
        &[&stored],
        "Step { index: 7, secret: Secret<32>(redacted) }",
    );
    check(
        &of_topic,
        &[of_topic.expose()],
        "DataKey(Secret<32>(redacted))",
    );
    check(
        &next_seed,
        &[&next.expose()[4..]],
        "Seed { index: 8, secret: Secret<32>(redacted) }",
    );

    let mut ratchet = StepKeys::new(step, &KeyIdForm::Short);
    let key = ratchet.sealing_key(&"t".into(), &mut system_rng().unwrap());
    assert_eq!(key.data_key(), &of_topic);
    // The high half of its salts is random, and not secret.
    for shown in [format!("{key:?}"), format!("{ratchet:?}")] {
        assert!(shown.contains("DataKey(Secret<32>(redacted))"), "{shown}");
        assert_eq!(leak(&shown, &stored, 4), None, "{shown}");
        assert_eq!(leak(&shown, of_topic.expose(), 4), None, "{shown}");
    }
    check(
        &OpeningKey::new(data_key()),
        &[&topic],
        "OpeningKey { secret: DataKey(Secret<32>(redacted)), proven: false }",
    );
    check(
        &Candidates::from_iter([data_key()]),
        &[&topic],
        "Candidates([Candidate { key: OpeningKey { secret: DataKey(Secret<32>(redacted)), proven: false }, givers: [] }])",
    );
    let generator = KeyGenerator::new(secret(5), Context::RATCHET);
    check(
        &generator,
        &[&first],
        "KeyGenerator { secret: Secret<32>(redacted), context: Context([114, 97, 116, 99, 104, 101, 116, 0, 0, 0, 0, 0, 0, 0, 0, 0]), counter: 0 }",
    );
    check(
        &MemoryRatchetStore::new(seed()),
        &[&stored],
        "MemoryRatchetStore { seed: Some(Seed { index: 7, secret: Secret<32>(redacted) }) }",
    );
}

#[test]
fn keys_that_were_received_or_are_kept() {
    let topic = known::<32>(2);
    let received = vec![(KeyId::Short(1), data_key())];
    check(
        &received,
        &[&topic],
        "[(KeyId(#1), DataKey(Secret<32>(redacted)))]",
    );
    let mut ring = KeyRing::default();
    ring.add(&"t".into(), KeyId::Short(1), data_key(), None);
    check(
        &ring,
        &[&topic],
        r#"KeyRing { roots: {RootTopic("t"): RootKeys { known: {KeyId(#1): Candidates([Candidate { key: OpeningKey { secret: DataKey(Secret<32>(redacted)), proven: false }, givers: [] }])}, order: [KeyId(#1)], denied: [] }} }"#,
    );
    let mut retained = RetainedKeys::default();
    retained.insert(RetainedKey {
        root_topic: "t".into(),
        id: KeyId::Short(1),
        secret: data_key(),
        birth: Timestamp::EPOCH,
    });
    check(
        &retained,
        &[&topic],
        r#"RetainedKeys { keys: {RootTopic("t"): {KeyId(#1): RetainedKey { root_topic: RootTopic("t"), id: KeyId(#1), secret: DataKey(Secret<32>(redacted)), birth: Timestamp(0.0) }}}, order: [(RootTopic("t"), KeyId(#1))] }"#,
    );
}

#[test]
fn signing_keys_and_what_holds_them() {
    let (key, secret_half) = signing_key();
    check(
        &key,
        &[&secret_half],
        "SigningKey(of VerifyingKey(Ed25519, 2fc4df3d682cbfb9), redacted)",
    );
    let hybrid = SigningKey::from_hybrid_seeds(&secret(3), &secret(6));
    let seeds: [u8; 48] = known(6);
    check(
        &hybrid,
        &[&secret_half, &seeds[..32]],
        "SigningKey(of VerifyingKey(Hybrid, 86c78f378582fc0d), redacted)",
    );
    let opaque = known::<32>(4);
    check(
        &node_secrets(),
        &[&secret_half, &opaque],
        "NodeSecrets { signing_keys: [Known(SigningKey(of VerifyingKey(Ed25519, 2fc4df3d682cbfb9), redacted))], opaque_key: Secret<32>(redacted), legacy_requests: false, exchange_versions: [1] }",
    );
    let rng = Box::new(|| Ok(Box::new(system_rng()?) as _));
    let store = MemoryKeyStore::new(node_secrets(), None, rng);
    check(
        &store,
        &[&secret_half, &opaque],
        "MemoryKeyStore { secrets: NodeSecrets { signing_keys: [Known(SigningKey(of VerifyingKey(Ed25519, 2fc4df3d682cbfb9), redacted))], opaque_key: Secret<32>(redacted), legacy_requests: false, exchange_versions: [1] }, key_types: None, .. }",
    );

    let derived = derive_root(b"correct horse", KeyType::Ed25519).unwrap();
    let (salt, bytes) = (derived.salt, derived.seed.expose().to_vec());
    check(
        &derived,
        &[&salt, &bytes, b"correct horse"],
        "DerivedKey { key: SigningKey(of VerifyingKey(Ed25519, afbc59dd6f59740c), redacted), .. }",
    );
}

#[test]
fn keys_of_an_exchange() {
    let ephemeral = known::<32>(7);
    let key = SecretKey::from_bytes(&ephemeral).unwrap();
    check(
        &key,
        &[&ephemeral],
        "Fresh(DecapsulationKey(X25519, redacted))",
    );
    let SecretKey::Fresh(key) = key else {
        panic!("{key:?}");
    };
    check(&key, &[&ephemeral], "DecapsulationKey(X25519, redacted)");
    for (suite, expected) in [
        (Suite::MlKem1024, "DecapsulationKey(MlKem1024, redacted)"),
        (Suite::Sntrup761, "DecapsulationKey(Sntrup761, redacted)"),
    ] {
        let key = DecapsulationKey::generate(suite, &mut system_rng().unwrap());
        assert_eq!(format!("{key:?}"), expected);
        // The secret form repeats the public half, so only the bytes before it are secret. The bytes are random, so
        // only long parts are searched.
        let bytes = key.expose_bytes();
        for secret in [&bytes.expose()[5..37], &bytes.expose()[42..1000]] {
            assert_eq!(leak(expected, secret, 8), None);
        }
    }
}
