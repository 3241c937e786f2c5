//! Data keys for measurements, as a ratchet makes them.

use std::sync::Arc;

use kc::core::keys::VerifyingKey;
use kc::core::message::KeyRing;
use kc::core::ratchet::{KeyIdForm, SealingKey, Seed, StepKeys};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// The root topic of most measurements.
pub const ROOT: &str = "readings";

/// Returns a sealing key of [`ROOT`], with a key id of 32 bytes. It is the same at each call.
///
/// # Panics
/// Panics if a new ratchet cannot turn.
pub fn sealing_key() -> Arc<SealingKey> {
    let mut rng = StdRng::seed_from_u64(1);
    let next = Seed::generate(&mut rng)
        .advance()
        .expect("a new ratchet turns");
    let (step, _) = next.stored();
    let form = KeyIdForm::long([&VerifyingKey::Ed25519([1; 32])]);
    StepKeys::new(step, &form).sealing_key(&ROOT.into(), &mut rng)
}

/// Returns a key ring that contains only this key.
pub fn ring_with(key: &SealingKey) -> KeyRing {
    let mut ring = KeyRing::default();
    ring.add(&ROOT.into(), key.id(), key.data_key().expose_copy(), None);
    ring
}
