//! Sealing values of the configuration.

use std::collections::HashSet;

use kc_core::store::StoreErrorKind::Unauthentic;

use super::{LENGTHS, bytes};
use crate::failure::{ensure, ensure_eq, ensure_fails};
use crate::keystore::{Bench, Failure};

/// Values of all lengths open unchanged, and are not readable while sealed.
///
/// # Errors
/// [`Failure::Broken`] if the store breaks this promise; [`Failure::Store`] if another call fails.
pub fn round_trip(bench: &dyn Bench) -> Result<(), Failure> {
    let store = bench.key_store()?;
    for &len in LENGTHS {
        let value = bytes(len);
        let wrapped = store.wrap_opaque(&value)?;
        let opened = store.unwrap_opaque(&wrapped)?;
        ensure(opened.expose() == value, || {
            format!("{len} bytes come back altered")
        })?;
        let shown = len >= 16 && wrapped.windows(len).any(|part| part == value);
        ensure(!shown, || format!("{len} bytes are legible"))?;
    }
    Ok(())
}

/// A sealed value does not open if any byte is altered, or if its end is missing.
///
/// # Errors
/// [`Failure::Broken`] if the store breaks this promise; [`Failure::Store`] if another call fails.
pub fn altered(bench: &dyn Bench) -> Result<(), Failure> {
    let store = bench.key_store()?;
    let wrapped = store.wrap_opaque(b"some value")?;
    for at in 0..wrapped.len() {
        let mut altered = wrapped.clone();
        if let Some(byte) = altered.get_mut(at) {
            *byte ^= 1;
        }
        ensure_fails(
            &format!("byte {at} altered"),
            store.unwrap_opaque(&altered),
            &[Unauthentic],
        )?;
    }
    for (len, _) in wrapped.iter().enumerate() {
        let cut = wrapped.get(..len).unwrap_or_default();
        ensure_fails(
            &format!("cut to {len} bytes"),
            store.unwrap_opaque(cut),
            &[Unauthentic],
        )?;
    }
    // The store still works.
    let opened = store.unwrap_opaque(&wrapped)?;
    ensure_eq("opened", opened.expose(), b"some value")
}

/// A value that another node sealed does not open.
///
/// # Errors
/// [`Failure::Broken`] if the store breaks this promise; [`Failure::Store`] if another call fails.
pub fn foreign(bench: &dyn Bench) -> Result<(), Failure> {
    let (store, other) = (bench.key_store()?, bench.other_key_store()?);
    let wrapped = other.wrap_opaque(b"value")?;
    let opened = store.unwrap_opaque(&wrapped);
    ensure_fails("a foreign value", opened, &[Unauthentic])?;
    Ok(())
}

/// A value is sealed differently each time.
///
/// # Errors
/// [`Failure::Broken`] if the store breaks this promise; [`Failure::Store`] if another call fails.
pub fn nonces(bench: &dyn Bench) -> Result<(), Failure> {
    const ROUNDS: usize = 300;
    let store = bench.key_store()?;
    let mut wrapped = HashSet::new();
    for _ in 0..ROUNDS {
        // With an empty value only nonce and tag can differ, and the tag only if the nonce does.
        wrapped.insert(store.wrap_opaque(b"")?);
    }
    ensure_eq("sealed values that differ", wrapped.len(), ROUNDS)
}

/// A keystore opens the values that it sealed before it was reopened.
///
/// # Errors
/// [`Failure::Broken`] if the store breaks this promise; [`Failure::Store`] if another call fails.
pub fn after_reopening(bench: &dyn Bench) -> Result<(), Failure> {
    let wrapped = bench.key_store()?.wrap_opaque(b"value")?;
    let opened = bench.key_store()?.unwrap_opaque(&wrapped)?;
    ensure_eq("opened", opened.expose(), b"value")
}
