//! Key files of all generations, and the retained keys of a producer.

#![no_main]

use kc_core::keys::Signer;
use kc_core::secret::SecretVec;
use kc_core::store::{NodeSecrets, retained_keys};
use kc_fuzz::choices;
use libfuzzer_sys::fuzz_target;

/// Reading a hybrid key computes its public half, which takes milliseconds.
const MAX_LEN: usize = 4096;

fuzz_target!(|data: &[u8]| {
    let Some((choices, rest)) = choices(data) else {
        return;
    };
    match choices & 1 {
        0 if rest.len() <= MAX_LEN => node_secrets(rest),
        0 => {}
        _ => kept_keys(rest),
    }
});

fn node_secrets(file: &[u8]) {
    let Ok(decoded) = NodeSecrets::decode(file) else {
        return;
    };
    assert!(decoded.trailing < file.len());
    let encoded = decoded.secrets.encode();
    let again = NodeSecrets::decode(encoded.expose()).expect("what was written reads");
    assert!(!again.outdated);
    assert_eq!(again.trailing, 0);
    assert_eq!(again.secrets.encode(), encoded);
    let parts = |secrets: &NodeSecrets| {
        let keys = secrets.signing_keys();
        let keys: Vec<_> = keys.map(|key| key.verifying_key().clone()).collect();
        let suites: Vec<_> = secrets.suites().collect();
        assert!(!suites.is_empty());
        let opaque_key = secrets.opaque_key().expose_copy();
        (keys, suites, opaque_key, secrets.legacy_requests())
    };
    assert_eq!(parts(&again.secrets), parts(&decoded.secrets));
}

fn kept_keys(plaintext: &[u8]) {
    let Ok(keys) = retained_keys::decode(&SecretVec::from(plaintext.to_vec())) else {
        return;
    };
    let encoded = retained_keys::encode(&keys);
    let again = retained_keys::decode(&encoded).expect("what was written reads");
    assert_eq!(again, keys);
    assert_eq!(retained_keys::encode(&again), encoded);
}
