//! The cases pass on a correct store, and each fault is detected by the case for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use kc_core::kem::Suite;
use kc_core::keys::{KeyType, VerifyingKey};
use kc_core::ratchet::{Seed, Step};
use kc_core::secret::SecretVec;
use kc_core::store::{
    KeyStore, MemoryKeyStore, NodeSecrets, RatchetStore, StoreError, StoreErrorKind,
};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    SignsBadly,
    SignsForAll,
    ForgetsKeys,
    WrapsAlike,
    UnwrapsAnything,
    ForgetsWrapping,
    RatchetStands,
    RatchetForgets,
    RatchetIsShared,
}

struct Memory {
    fault: Fault,
    secrets: SecretVec,
    other: SecretVec,
    seed: Arc<Mutex<SecretVec>>,
    in_use: Arc<AtomicBool>,
}

fn secrets(seed: u64) -> SecretVec {
    let rng = &mut StdRng::seed_from_u64(seed);
    let mut secrets = NodeSecrets::generate(rng);
    secrets.ensure_key(KeyType::Ed25519, rng);
    secrets.encode()
}

impl Memory {
    fn with(fault: Fault) -> Self {
        Self {
            fault,
            secrets: secrets(1),
            other: secrets(2),
            seed: Arc::new(Mutex::new(
                Seed::generate(&mut StdRng::seed_from_u64(3)).encode(),
            )),
            in_use: Arc::default(),
        }
    }

    fn store(&self, secrets: &SecretVec) -> Box<dyn KeyStore> {
        let secrets = NodeSecrets::decode(secrets.expose()).unwrap().secrets;
        let rng = Box::new(|| Ok(Box::new(rand::make_rng::<StdRng>()) as _));
        Box::new(Faulty {
            fault: self.fault,
            store: MemoryKeyStore::new(secrets, None, rng),
        })
    }
}

impl Bench for Memory {
    fn key_store(&self) -> Result<Box<dyn KeyStore>, StoreError> {
        Ok(match self.fault {
            Fault::ForgetsKeys | Fault::ForgetsWrapping => {
                self.store(&secrets(rand::random_range(10..u64::MAX)))
            }
            _ => self.store(&self.secrets),
        })
    }

    fn other_key_store(&self) -> Result<Box<dyn KeyStore>, StoreError> {
        Ok(self.store(&self.other))
    }

    fn ratchet_store(&self) -> Result<Box<dyn RatchetStore>, StoreError> {
        if self.in_use.swap(true, Ordering::SeqCst) && self.fault != Fault::RatchetIsShared {
            return Err(StoreError::new(StoreErrorKind::InUse, "ratchet"));
        }
        Ok(Box::new(MemoryRatchet {
            fault: self.fault,
            seed: match self.fault {
                Fault::RatchetForgets => Arc::new(Mutex::new(SecretVec::from(
                    self.seed.lock().unwrap().expose().to_vec(),
                ))),
                _ => Arc::clone(&self.seed),
            },
            in_use: Arc::clone(&self.in_use),
        }))
    }
}

#[derive(Debug)]
struct Faulty {
    fault: Fault,
    store: MemoryKeyStore,
}

impl KeyStore for Faulty {
    fn verifying_keys(&self) -> Vec<VerifyingKey> {
        self.store.verifying_keys()
    }

    fn sign(&self, key: &VerifyingKey, message: &[u8]) -> Result<Vec<u8>, StoreError> {
        let own = &self.verifying_keys()[0];
        let key = if self.fault == Fault::SignsForAll {
            own
        } else {
            key
        };
        let mut signed = self.store.sign(key, message)?;
        if self.fault == Fault::SignsBadly {
            signed[0] ^= 1;
        }
        Ok(signed)
    }

    fn wrap_opaque(&self, plaintext: &[u8]) -> Result<Vec<u8>, StoreError> {
        match self.fault {
            Fault::WrapsAlike => Ok(plaintext.iter().map(|byte| byte ^ 0x55).collect()),
            Fault::UnwrapsAnything => Ok([b"0123456789ab", plaintext].concat()),
            _ => self.store.wrap_opaque(plaintext),
        }
    }

    fn unwrap_opaque(&self, wrapped: &[u8]) -> Result<SecretVec, StoreError> {
        match self.fault {
            Fault::WrapsAlike => Ok(SecretVec::from(
                wrapped.iter().map(|byte| byte ^ 0x55).collect::<Vec<_>>(),
            )),
            Fault::UnwrapsAnything => Ok(SecretVec::from(
                wrapped.get(12..).unwrap_or_default().to_vec(),
            )),
            _ => self.store.unwrap_opaque(wrapped),
        }
    }

    fn suites(&self) -> Vec<Suite> {
        self.store.suites()
    }

    fn legacy_requests(&self) -> bool {
        self.store.legacy_requests()
    }
}

#[derive(Debug)]
struct MemoryRatchet {
    fault: Fault,
    seed: Arc<Mutex<SecretVec>>,
    in_use: Arc<AtomicBool>,
}

impl RatchetStore for MemoryRatchet {
    fn step(&mut self) -> Result<Step, StoreError> {
        let mut seed = self.seed.lock().unwrap();
        let pending = Seed::decode(seed.expose()).unwrap().advance().unwrap();
        if self.fault != Fault::RatchetStands {
            *seed = pending.next().encode();
        }
        Ok(pending.stored().0)
    }
}

impl Drop for MemoryRatchet {
    fn drop(&mut self) {
        self.in_use.store(false, Ordering::SeqCst);
    }
}

fn failing(fault: Fault) -> Vec<&'static str> {
    let failing = CASES
        .iter()
        .filter(|case| case.run(&Memory::with(fault)).is_err());
    failing.map(|case| case.name).collect()
}

#[test]
fn a_faultless_store_passes() {
    assert_eq!(failing(Fault::None), [""; 0]);
}

#[test]
fn each_fault_is_caught() {
    for (fault, caught_by) in [
        (Fault::SignsBadly, "keys::signatures"),
        (Fault::SignsForAll, "keys::unknown_key"),
        (Fault::ForgetsKeys, "keys::same_after_reopening"),
        (Fault::WrapsAlike, "opaque::nonces"),
        (Fault::UnwrapsAnything, "opaque::altered"),
        (Fault::UnwrapsAnything, "opaque::foreign"),
        (Fault::UnwrapsAnything, "opaque::round_trip"),
        (Fault::ForgetsWrapping, "opaque::after_reopening"),
        (Fault::RatchetStands, "ratchet::counts"),
        (Fault::RatchetForgets, "ratchet::after_reopening"),
        (Fault::RatchetIsShared, "ratchet::in_use"),
    ] {
        let failing = failing(fault);
        assert!(failing.contains(&caught_by), "{fault:?} fails {failing:?}");
    }
}
