use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

fn rng() -> StdRng {
    StdRng::seed_from_u64(7)
}

#[test]
fn every_suite_agrees_and_survives_its_byte_form() {
    for suite in Suite::ALL {
        let secret = DecapsulationKey::generate(suite, &mut rng());
        let offer = PublicKey::from(secret.encapsulation_key().clone()).to_bytes();
        let offer = PublicKey::from_bytes(&offer).unwrap().into_offer().unwrap();
        let (reply, theirs) = offer.encapsulate(&mut rng()).unwrap();
        let reply = PublicKey::from_bytes(&PublicKey::from(reply).to_bytes()).unwrap();
        assert_eq!(reply.version(), suite.reply_version());
        let ours = secret.decapsulate(&reply.into_reply().unwrap()).unwrap();
        assert_eq!(ours, theirs);
    }
}

#[test]
fn suites_do_not_mix() {
    let secret = DecapsulationKey::generate(Suite::MlKem1024, &mut rng());
    let other = DecapsulationKey::generate(Suite::X25519, &mut rng());
    let (reply, _) = other.encapsulation_key().encapsulate(&mut rng()).unwrap();
    assert_eq!(
        secret.decapsulate(&reply).unwrap_err(),
        KemError::SuiteMismatch {
            expected: Suite::MlKem1024,
            found: Suite::X25519
        }
    );
}

#[test]
fn sealed_values_open_only_for_their_recipient() {
    for suite in Suite::ALL {
        let key = DecapsulationKey::generate(suite, &mut rng());
        let stranger = DecapsulationKey::generate(suite, &mut StdRng::seed_from_u64(8));
        let sealed = sealed::seal(b"ratchet", key.encapsulation_key(), &mut rng()).unwrap();
        assert_eq!(sealed::open(&sealed, &key).unwrap().expose(), b"ratchet");
        assert!(sealed::open(&sealed, &stranger).is_err());
        assert!(sealed::open(&sealed[..sealed.len() - 1], &key).is_err());
    }
}

#[test]
fn debug_output_shows_no_secret() {
    let key = DecapsulationKey::generate(Suite::X25519, &mut rng());
    assert_eq!(format!("{key:?}"), "DecapsulationKey(X25519, redacted)");
}
