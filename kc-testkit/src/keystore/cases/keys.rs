//! Signing.

use std::thread;

use kc_core::keys::VerifyingKey;
use kc_core::store::{KeyStore, StoreErrorKind};

use super::{LENGTHS, bytes};
use crate::failure::{ensure, ensure_eq, ensure_fails};
use crate::keystore::{Bench, Failure};

/// Messages of all lengths are signed in the wire form, and verify with the public key and no other.
///
/// # Errors
/// [`Failure::Broken`] if the store breaks this promise; [`Failure::Store`] if another call fails.
pub fn signatures(bench: &dyn Bench) -> Result<(), Failure> {
    let (store, other) = (bench.key_store()?, bench.other_key_store()?);
    ensure(!store.verifying_keys().is_empty(), || {
        "no signing key".into()
    })?;
    for key in store.verifying_keys() {
        for &len in LENGTHS {
            let message = bytes(len);
            let signed = store.sign(&key, &message)?;
            let expected = key.key_type().signature_len() + len;
            ensure_eq("length of a signed message", signed.len(), expected)?;
            verify(&key, &signed, &message)?;
            for other in other.verifying_keys() {
                ensure(other.verify(&signed).is_err(), || {
                    format!("{key:?} signs for {other:?}")
                })?;
            }
        }
    }
    Ok(())
}

/// A store refuses to sign with a key that it does not have.
///
/// # Errors
/// [`Failure::Broken`] if the store breaks this promise; [`Failure::Store`] if another call fails.
pub fn unknown_key(bench: &dyn Bench) -> Result<(), Failure> {
    let (store, other) = (bench.key_store()?, bench.other_key_store()?);
    for key in other.verifying_keys() {
        let signed = store.sign(&key, b"message");
        ensure_fails(
            "signing by an unknown key",
            signed,
            &[StoreErrorKind::Missing],
        )?;
    }
    Ok(())
}

/// A keystore has the same keys, in the same order, and the same settings after it is reopened.
///
/// # Errors
/// [`Failure::Broken`] if the store breaks this promise; [`Failure::Store`] if another call fails.
pub fn same_after_reopening(bench: &dyn Bench) -> Result<(), Failure> {
    let of = |store: &dyn KeyStore| {
        let settings = (store.suites(), store.legacy_requests());
        (store.verifying_keys(), settings)
    };
    let before = of(&*bench.key_store()?);
    let store = bench.key_store()?;
    ensure_eq("keys and settings", of(&*store), before)?;
    for key in store.verifying_keys() {
        verify(&key, &store.sign(&key, b"message")?, b"message")?;
    }
    Ok(())
}

/// Several threads can sign at the same time.
///
/// # Errors
/// [`Failure::Broken`] if the store breaks this promise; [`Failure::Store`] if another call fails.
pub fn threads(bench: &dyn Bench) -> Result<(), Failure> {
    let store = bench.key_store()?;
    let Some(key) = store.verifying_keys().into_iter().next() else {
        return Ok(());
    };
    let sign = |thread: usize| {
        for round in 0..4 {
            let message = bytes(thread * 100 + round);
            verify(&key, &store.sign(&key, &message)?, &message)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|n| scope.spawn(move || sign(n))).collect();
        threads.into_iter().try_for_each(|thread| {
            let panicked = || Failure::Broken("a thread that signs panics".into());
            thread.join().unwrap_or_else(|_| Err(panicked()))
        })
    })
}

fn verify(key: &VerifyingKey, signed: &[u8], message: &[u8]) -> Result<(), Failure> {
    ensure(key.verify(signed) == Ok(message), || {
        format!(
            "a message of {} bytes does not verify under {key:?}",
            message.len()
        )
    })
}
