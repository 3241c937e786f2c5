//! Proves that derivations leave no secret on the stack.
#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a test may panic, and looks at its own memory"
)]

use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::FileExt;

use kc_core::ratchet::{Component, OpeningKey, Seed, Step};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// Calls `work` so deep on the stack that later calls do not overwrite its data.
#[inline(never)]
fn deep<T>(work: impl FnOnce() -> T) -> T {
    let room = [0_u8; 100_000];
    let done = work();
    black_box(&room);
    done
}

/// Returns the stack of this thread.
fn stack() -> Vec<u8> {
    let here = 0_u8;
    let here = u64::try_from(std::ptr::from_ref(&here).addr()).unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let bounds = |line: &str| {
        let (start, end) = line.split(' ').next()?.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        Some((number(start)?, number(end)?))
    };
    let mut regions = maps.lines().filter_map(bounds);
    let (start, end) = regions
        .find(|(start, end)| (*start..*end).contains(&here))
        .unwrap();
    let mut stack = vec![0; usize::try_from(end - start).unwrap()];
    let memory = File::open("/proc/self/mem").unwrap();
    memory.read_exact_at(&mut stack, start).unwrap();
    stack
}

fn is_on_the_stack(secret: &[u8]) -> bool {
    let (half, _) = secret.split_at(secret.len() / 2);
    stack().windows(half.len()).any(|window| window == half)
}

/// Returns the secret of the next step.
fn secret(seed: &Seed) -> Vec<u8> {
    let stored = seed.encode();
    stored.expose().last_chunk::<32>().unwrap().to_vec()
}

fn step() -> (Vec<u8>, Step) {
    let seed = Seed::generate(&mut StdRng::seed_from_u64(7));
    (secret(&seed), seed.advance().unwrap().stored().0)
}

#[test]
fn what_is_on_the_stack_is_found() {
    let (secret, _) = step();
    let copy: [u8; 32] = secret.clone().try_into().unwrap();
    assert!(is_on_the_stack(&secret));
    black_box(&copy);
}

#[test]
fn a_step_leaves_nothing_on_the_stack() {
    let (secret, _step) = deep(step);
    assert!(!is_on_the_stack(&secret));
}

#[test]
fn the_key_of_a_topic_leaves_nothing_of_its_step_on_the_stack() {
    let (secret, step) = deep(step);
    let _key = deep(|| step.data_key(&"t".into()));
    assert!(!is_on_the_stack(&secret));
}

#[test]
fn the_key_of_a_message_leaves_nothing_of_its_topic_on_the_stack() {
    let (_, step) = step();
    let key = OpeningKey::new(step.data_key(&"t".into()));
    let secret = key.data_key().expose().to_vec();
    let _key = deep(|| key.message_key(Component::Value, &[1; 16]));
    assert!(!is_on_the_stack(&secret));
}
