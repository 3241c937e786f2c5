//! The common parts of the fuzz targets. The targets check properties, not only that the code does not panic.
//!
//! | module | content |
//! |---|---|
//! | [`world`] | roots of trust and nodes with fixed keys, which sign fuzzed certificates |
//! | [`bounds`] | the limits of the work that an input may cause, depending on its signer |
//! | [`node`] | an exchange machine whose jobs are done at once |
//!
//! The first byte of an input holds choices. Its lowest bits select the meaning of the other bytes: a message as it is,
//! or the content of a message that an authorised but hostile node signs.

pub mod bounds;
pub mod node;
pub mod world;

use std::sync::Arc;

use kc_core::message::KeyRing;
use kc_core::ratchet::{KeyIdForm, SealingKey, Seed, StepKeys};

use world::{rng, topic};

/// Returns the first byte of an input, and the rest.
#[must_use]
pub fn choices(data: &[u8]) -> Option<(u8, &[u8])> {
    let (choices, rest) = data.split_first()?;
    Some((*choices, rest))
}

/// Returns a part whose length is in its first byte, shortened if the input is shorter, and the rest.
#[must_use]
pub fn counted(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first()?;
    Some(rest.split_at(usize::from(*length).min(rest.len())))
}

/// Returns the data key 0, or one with a long id, and a ring that contains it. The key is the same at each call, and has sealed
/// nothing yet.
///
/// # Panics
/// Panics if a new ratchet cannot turn.
#[must_use]
pub fn keys(long: bool) -> (Arc<SealingKey>, KeyRing) {
    let seed = Seed::generate(&mut rng());
    let (step, _) = seed.advance().expect("the first step").stored();
    let form = match long {
        true => KeyIdForm::Long {
            identity: vec![7; 32],
        },
        false => KeyIdForm::Short,
    };
    let key = StepKeys::new(step, &form).sealing_key(&topic(), &mut rng());
    let mut ring = KeyRing::default();
    ring.add(&topic(), key.id(), key.data_key().expose_copy(), None);
    (key, ring)
}
