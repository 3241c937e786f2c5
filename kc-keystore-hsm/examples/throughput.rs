//! Measures a token: `cargo run --release -p kc-keystore-hsm --example throughput -- MODULE`.
//!
//! Makes a token `kc-throughput` in the module (default: SoftHSM), with PIN 123456, unless it exists. The module reads
//! its configuration from the environment, as always: `SOFTHSM2_CONF`, `KRYOPTIC_CONF`. The ratchet's file is in
//! `TMPDIR`.

use std::env;
use std::error::Error;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use kc_core::keys::{KeyType, VerifyingKey};
use kc_core::secret::SecretText;
use kc_core::store::{KeyStore, RatchetStore, StoreError};
use kc_keystore_hsm::{
    HsmError, HsmKeyStore, HsmRatchetStore, KeyStoreSettings, NodeLabels, PinSource, Pkcs11Uri,
    Token, generate_identity, generate_opaque_key, init_token,
};

const LABEL: &str = "kc-throughput";
const MESSAGE: &[u8] = &[7; 256];
const FOR: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn Error>> {
    let module = env::args().nth(1);
    let module = module
        .as_deref()
        .unwrap_or("/usr/lib/softhsm/libsofthsm2.so");
    let pin = || SecretText::from("123456".to_owned());
    match init_token(Path::new(module), LABEL, &pin(), &pin()) {
        Ok(()) | Err(HsmError::TokenExists { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let mut uri = Pkcs11Uri::default();
    uri.token = Some(LABEL.to_owned());
    uri.module_path = Some(module.into());

    let begin = Instant::now();
    let token = Token::open(&uri, PinSource::Text(pin()))?;
    say("open the token", begin);
    // Labels of this process alone, so that the example also runs on a token that was used before.
    let labels = NodeLabels::fresh("throughput")?;
    generate_opaque_key(&token, &labels)?;
    let mut settings = KeyStoreSettings::default();
    for key_type in [KeyType::Ed25519, KeyType::Hybrid] {
        let identity = generate_identity(&token, &labels, key_type)?;
        settings.pinned.push(identity.verifying_key);
        settings.sealed_slh_dsa = settings.sealed_slh_dsa.or(identity.sealed_slh_dsa);
    }
    for key_type in [KeyType::Ed25519, KeyType::Hybrid] {
        let mut settings = settings.clone();
        settings.key_types = Some(vec![key_type]);
        let begin = Instant::now();
        let store = HsmKeyStore::open(token.clone(), labels.clone(), settings)?;
        say(&format!("open the keystore ({key_type:?})"), begin);
        measure(&store)?;
    }

    let folder = tempfile::tempdir()?;
    let path = folder.path().join("ratchet");
    let mut ratchet = HsmRatchetStore::create(token, &labels, &path)?;
    rate("ratchet steps", || ratchet.step())
}

fn measure(store: &HsmKeyStore) -> Result<(), Box<dyn Error>> {
    let keys = store.verifying_keys();
    let key = keys.first().ok_or("no key")?;
    rate("signatures", || store.sign(key, MESSAGE))?;
    if key.key_type() == KeyType::Hybrid {
        return Ok(());
    }
    rate_of_threads(store, key);
    rate("wraps", || store.wrap_opaque(MESSAGE))?;
    let wrapped = store.wrap_opaque(MESSAGE)?;
    rate("unwraps", || store.unwrap_opaque(&wrapped))
}

fn rate<T>(
    what: &str,
    mut work: impl FnMut() -> Result<T, StoreError>,
) -> Result<(), Box<dyn Error>> {
    let begin = Instant::now();
    let mut count = 0_u32;
    while begin.elapsed() < FOR {
        work()?;
        count += 1;
    }
    println!(
        "{:>12.0} {what} per second",
        f64::from(count) / begin.elapsed().as_secs_f64()
    );
    Ok(())
}

fn rate_of_threads(store: &HsmKeyStore, key: &VerifyingKey) {
    let begin = Instant::now();
    let sign = || {
        let mut count = 0_u32;
        while begin.elapsed() < FOR && store.sign(key, MESSAGE).is_ok() {
            count += 1;
        }
        count
    };
    let count: u32 = thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(sign)).collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .sum()
    });
    println!(
        "{:>12.0} signatures per second by 4 threads",
        f64::from(count) / FOR.as_secs_f64()
    );
}

fn say(what: &str, begin: Instant) {
    println!(
        "{:>12.1} ms to {what}",
        begin.elapsed().as_secs_f64() * 1000.0
    );
}
