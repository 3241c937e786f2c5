//! Faults in the parsing of keys and messages.

use kc::core::chain::{Certificate, CertificateKeys, TrustEntry, UnverifiedChain};
use kc::core::exchange::decode_key_ids;
use kc::core::kem::{DecapsulationKey, PublicKey, SecretKey, Suite};
use kc::core::keys::{KeyType, SigningKey, VerifyingKey};
use kc::core::message::{Envelope, Foreign};
use kc::core::ratchet::Seed;
use kc::core::store::NodeSecrets;
use kc::core::wire::{Value, Writer};
use kc::keystore_file::system_rng;

/// Returns variants of a value: in each, one of its byte strings is one byte shorter or longer.
fn of_wrong_length(bytes: &[u8]) -> Vec<Vec<u8>> {
    let value = Value::decode(bytes).unwrap();
    let mut wrong = Vec::new();
    let mut place = 0;
    loop {
        for longer in [false, true] {
            let mut writer = Writer::new();
            let mut left = place;
            if !write_altered(&mut writer, &value, &mut left, longer) {
                return wrong;
            }
            wrong.push(writer.into_vec());
        }
        place += 1;
    }
}

/// Writes a value with the byte string number `left` altered. Returns whether the value has that byte string.
fn write_altered(writer: &mut Writer, value: &Value<'_>, left: &mut usize, longer: bool) -> bool {
    match value {
        Value::Array(elements) => {
            writer.array(elements.len());
            let mut altered = false;
            for element in elements {
                altered |= write_altered(writer, element, left, longer);
            }
            altered
        }
        Value::Bytes(bytes) => {
            let here = *left == 0;
            *left = left.wrapping_sub(1);
            match here {
                true if longer => writer.bytes(&[bytes, &[0][..]].concat()),
                true => writer.bytes(&bytes[..bytes.len() - 1]),
                false => writer.bytes(bytes),
            };
            here
        }
        other => {
            writer.value(other);
            false
        }
    }
}

/// Returns variants of a value: in each, one of its arrays is a map.
fn as_map(bytes: &[u8]) -> Vec<u8> {
    let value = Value::decode(bytes).unwrap();
    let elements = value.array().unwrap();
    let mut writer = Writer::new();
    writer.map(elements.len());
    for (index, element) in elements.iter().enumerate() {
        writer.uint(index as u64).value(element);
    }
    writer.into_vec()
}

#[test]
fn fault_08_post_quantum_inputs_of_wrong_length_are_refused_and_not_padded() {
    let rng = &mut system_rng().unwrap();
    for suite in [Suite::Sntrup761, Suite::MlKem1024] {
        let key = DecapsulationKey::generate(suite, rng);
        let offer = PublicKey::from(key.encapsulation_key().clone()).to_bytes();
        let (reply, _) = key.encapsulation_key().encapsulate(rng).unwrap();
        let reply = PublicKey::from(reply).to_bytes();
        for public in [&offer, &reply] {
            assert!(PublicKey::from_bytes(public).is_ok());
            let wrong = of_wrong_length(public);
            assert_eq!(wrong.len(), 4, "X25519 and KEM, shorter and longer");
            for public in wrong {
                assert!(PublicKey::from_bytes(&public).is_err(), "{suite:?}");
            }
        }
        let secret = key.expose_bytes();
        assert!(SecretKey::from_bytes(secret.expose()).is_ok());
        for secret in of_wrong_length(secret.expose()) {
            assert!(SecretKey::from_bytes(&secret).is_err(), "{suite:?}");
        }
    }

    let key = SigningKey::generate(KeyType::Hybrid, rng);
    let public = kc::core::keys::Signer::verifying_key(&key).to_bytes();
    assert!(VerifyingKey::from_bytes(&public).is_ok());
    for public in of_wrong_length(&public) {
        assert!(VerifyingKey::from_bytes(&public).is_err());
    }
    for secret in of_wrong_length(key.expose_bytes().expose()) {
        assert!(SigningKey::from_bytes(&secret).is_err());
    }
}

#[test]
fn fault_08_a_map_in_place_of_an_array_is_refused_everywhere() {
    let rng = &mut system_rng().unwrap();
    let offer = DecapsulationKey::generate(Suite::MlKem1024, rng);
    let offer = PublicKey::from(offer.encapsulation_key().clone()).to_bytes();
    assert!(PublicKey::from_bytes(&as_map(&offer)).is_err());
    let key = SigningKey::generate(KeyType::Hybrid, rng);
    let verifying = kc::core::keys::Signer::verifying_key(&key);
    assert!(VerifyingKey::from_bytes(&as_map(&verifying.to_bytes())).is_err());
    let map = as_map(&verifying.to_bytes());
    assert!(CertificateKeys::from_value(&Value::decode(&map).unwrap()).is_err());

    let entry = TrustEntry::unrestricted(verifying);
    assert!(Certificate::parse(entry.as_bytes()).is_ok());
    assert!(Certificate::parse(&as_map(entry.as_bytes())).is_err());
    let chain = [0x91, 0xc4, 1, 7];
    assert!(UnverifiedChain::parse(&chain).is_ok());
    assert!(UnverifiedChain::parse(&as_map(&chain)).is_err());
    assert!(decode_key_ids(&[0x91, 7]).is_ok());
    assert!(decode_key_ids(&as_map(&[0x91, 7])).is_err());

    let seed = Seed::generate(rng).encode();
    assert!(Seed::decode(&as_map(seed.expose())).is_err());
    let secrets = NodeSecrets::generate(rng).encode();
    assert!(NodeSecrets::decode(secrets.expose()).is_ok());
    assert!(NodeSecrets::decode(&as_map(secrets.expose())).is_err());

    let message = [&[0x93, 7, 0xc4, 16][..], &[0; 16], &[0xc4, 16], &[0; 16]].concat();
    let component = |body: Vec<u8>| [vec![0x01], body].concat();
    assert!(Envelope::parse(&component(message.clone())).is_ok());
    let map = component(as_map(&message));
    assert_eq!(Envelope::parse(&map), Err(Foreign::Layout));
}
