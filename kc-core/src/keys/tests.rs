use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

fn rng() -> StdRng {
    StdRng::seed_from_u64(7)
}

#[test]
fn both_types_sign_verify_and_survive_their_byte_form() {
    for key_type in [KeyType::Ed25519, KeyType::Hybrid] {
        let key = SigningKey::generate(key_type, &mut rng());
        let signed = key.sign(b"message", &mut rng()).unwrap();
        assert_eq!(key.verifying_key().verify(&signed), Ok(&b"message"[..]));

        let again = SigningKey::from_bytes(key.expose_bytes().expose()).unwrap();
        assert_eq!(again.verifying_key(), key.verifying_key());
        let public = VerifyingKey::from_bytes(&key.verifying_key().to_bytes()).unwrap();
        assert_eq!(&public, key.verifying_key());
    }
}

#[test]
fn the_classical_signature_alone_does_not_satisfy_a_hybrid_key() {
    let key = SigningKey::generate(KeyType::Hybrid, &mut rng());
    let signed = key.sign(b"message", &mut rng()).unwrap();
    let classical = &signed[slh_dsa::SIGNATURE_LEN..];
    assert_eq!(key.verifying_key().verify(classical), Err(SignatureError));
}

/// A token signs with the first half, and the holder of the second half completes the signature.
#[test]
fn a_hybrid_signature_is_assembled_from_halves() {
    let key = SigningKey::generate(KeyType::Hybrid, &mut rng());
    let classical = SigningKey::from_ed25519_seed(&key.expose_ed25519_seed());
    let half = key.expose_slh_dsa_half().unwrap();
    let half = SlhDsaHalf::from_seed(&half.expose_seed());
    let signed = classical.sign(b"message", &mut rng()).unwrap();
    let signed = half.complete(&signed, &mut rng()).unwrap();
    assert_eq!(key.verifying_key().verify(&signed), Ok(&b"message"[..]));
    let VerifyingKey::Hybrid { slh_dsa, .. } = key.verifying_key() else {
        panic!("a hybrid key")
    };
    assert_eq!(half.public(), *slh_dsa);
    assert!(classical.expose_slh_dsa_half().is_none());
    assert_eq!(format!("{half:?}"), "SlhDsaHalf(redacted)");
}

#[test]
fn a_secret_key_with_a_foreign_public_half_is_refused() {
    let mut bytes = SigningKey::generate(KeyType::Ed25519, &mut rng())
        .expose_bytes()
        .expose()
        .to_vec();
    bytes[40] ^= 1;
    assert_eq!(
        SigningKey::from_bytes(&bytes).unwrap_err(),
        KeyError::Mismatch
    );
}

#[test]
fn debug_output_shows_no_secret() {
    let key = SigningKey::from_ed25519_seed(&crate::secret::Secret::fill_with(|s| s.fill(0x5a)));
    assert!(!format!("{key:?}").contains("5a5a"));
}
