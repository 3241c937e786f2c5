//! libsodium, through its C interface: the same message as kc's, made by the functions that the Python peer calls.

use std::ffi::CStr;
use std::ptr;

use libsodium_sys as ffi;

const KEY: usize = 32;
const NONCE: usize = 24;
const SALT: usize = 16;
const TAG: usize = 16;
/// The context of values (protocol §1), padded with zeros.
const VALUE: &[u8; 16] = b"value\0\0\0\0\0\0\0\0\0\0\0";

/// The bytes in front of the sealed box of an envelope: version, array, key id of 32 bytes, salt, and the longest header
/// of a box.
const HEADER: usize = 1 + 1 + 2 + 32 + 2 + SALT + 5;

/// Returns the name and version of the library.
///
/// # Panics
/// Panics if libsodium cannot be initialised.
pub fn version() -> String {
    // SAFETY: `sodium_init` may be called at any time and from any thread. The version is a static string that ends with
    // a zero byte.
    unsafe {
        assert!(ffi::sodium_init() >= 0, "libsodium does not start");
        let version = CStr::from_ptr(ffi::sodium_version_string());
        format!("libsodium {}", version.to_string_lossy())
    }
}

/// Seals a value as an envelope, into a buffer of its own.
pub fn seal(data_key: &[u8; KEY], count: u64, plaintext: &[u8]) -> Vec<u8> {
    let mut salt = [0; SALT];
    salt[..8].copy_from_slice(&count.to_le_bytes());
    let derived = message_key(data_key, &salt);
    let mut envelope = Vec::with_capacity(HEADER + TAG + plaintext.len());
    envelope.extend_from_slice(&[1, 0x93, 0xc4, 32]);
    envelope.extend_from_slice(&[7; 32]);
    envelope.extend_from_slice(&[0xc4, 16]);
    envelope.extend_from_slice(&salt);
    envelope.push(0xc6);
    let length = u32::try_from(TAG + plaintext.len()).unwrap_or(u32::MAX);
    envelope.extend_from_slice(&length.to_be_bytes());
    let start = envelope.len();
    envelope.resize(start + TAG + plaintext.len(), 0);
    // SAFETY: the output has the length of the tag and the plaintext; key and nonce have the lengths that the function
    // reads.
    unsafe {
        ffi::crypto_secretbox_easy(
            envelope[start..].as_mut_ptr(),
            plaintext.as_ptr(),
            plaintext.len() as u64,
            derived[KEY..].as_ptr(),
            derived.as_ptr(),
        );
    }
    envelope
}

/// Opens what [`seal`] has made, into a buffer of its own.
pub fn open(data_key: &[u8; KEY], envelope: &[u8]) -> Option<Vec<u8>> {
    let salt = envelope[38..54].try_into().ok()?;
    open_box(data_key, &salt, envelope.get(HEADER..)?)
}

/// Opens a tag and a ciphertext.
fn open_box(data_key: &[u8; KEY], salt: &[u8; SALT], sealed: &[u8]) -> Option<Vec<u8>> {
    let derived = message_key(data_key, salt);
    let mut plaintext = vec![0; sealed.len().checked_sub(TAG)?];
    // SAFETY: the output has the length of the box without its tag; key and nonce have the lengths that the function
    // reads.
    let status = unsafe {
        ffi::crypto_secretbox_open_easy(
            plaintext.as_mut_ptr(),
            sealed.as_ptr(),
            sealed.len() as u64,
            derived[KEY..].as_ptr(),
            derived.as_ptr(),
        )
    };
    (status == 0).then_some(plaintext)
}

fn message_key(data_key: &[u8; KEY], salt: &[u8; SALT]) -> [u8; KEY + NONCE] {
    let mut derived = [0; KEY + NONCE];
    // SAFETY: the lengths are those of the arrays; salt and personalisation have the 16 bytes that the function reads. An
    // empty message may be null.
    unsafe {
        ffi::crypto_generichash_blake2b_salt_personal(
            derived.as_mut_ptr(),
            derived.len(),
            ptr::null(),
            0,
            data_key.as_ptr(),
            data_key.len(),
            salt.as_ptr(),
            VALUE.as_ptr(),
        );
    }
    derived
}

#[cfg(test)]
mod tests {
    use kc::core::message::{Envelope, Kernel, KeyRing, ToSeal, seal_batch_with};
    use kc::core::ratchet::Component;
    use kc::core::types::KeyId;
    use rand::rngs::StdRng;
    use rand::seq::SliceRandom;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::keys::{ROOT, sealing_key};

    /// The number of messages of a batch.
    const BATCH: usize = 33;

    /// Calls `test` with batches of plaintexts: of all lengths to 4,096 bytes, one after the other and mixed, and of random
    /// lengths to 1 MiB.
    fn for_all_lengths(mut test: impl FnMut(&[Vec<u8>])) {
        let mut rng = StdRng::seed_from_u64(1);
        let mut mixed: Vec<usize> = (0..=4096).collect();
        mixed.shuffle(&mut rng);
        let long = (0..20).map(|_| rng.random_range(4097..=1 << 20));
        let lengths: Vec<usize> = (0..=4096).chain(mixed).chain(long).collect();
        for lengths in lengths.chunks(BATCH) {
            let plaintext = |length: &usize| {
                let mut plaintext = vec![0; *length];
                rng.fill(plaintext.as_mut_slice());
                plaintext
            };
            let plaintexts: Vec<_> = lengths.iter().map(plaintext).collect();
            test(&plaintexts);
        }
    }

    #[test]
    fn libsodium_opens_what_each_kernel_seals() {
        version();
        let key = sealing_key();
        let secret = key.data_key().expose();
        for_all_lengths(|plaintexts| {
            for kernel in Kernel::all() {
                let mut sealed = vec![Vec::new(); plaintexts.len()];
                let pairs = plaintexts.iter().zip(&mut sealed);
                let mut batch: Vec<_> = pairs
                    .map(|(plaintext, sealed)| ToSeal { plaintext, sealed })
                    .collect();
                seal_batch_with(kernel, &key, Component::Value, &mut batch).unwrap();
                for (sealed, plaintext) in sealed.iter().zip(plaintexts) {
                    let envelope = Envelope::parse(sealed).unwrap();
                    let (salt, sealed) = envelope.body.unwrap();
                    let opened = open_box(secret, salt, sealed);
                    assert!(opened.as_ref() == Some(plaintext), "{kernel:?}");
                }
            }
        });
    }

    #[test]
    fn each_kernel_opens_what_libsodium_seals() {
        version();
        let key = sealing_key();
        let secret = key.data_key().expose();
        let mut ring = KeyRing::default();
        ring.add(
            &ROOT.into(),
            KeyId::Long([7; 32]),
            key.data_key().expose_copy(),
            None,
        );
        for_all_lengths(|plaintexts| {
            let counts = 1..;
            let sealed: Vec<_> = counts
                .zip(plaintexts)
                .map(|(count, plaintext)| seal(secret, count, plaintext))
                .collect();
            for kernel in Kernel::all() {
                let mut opened = Vec::new();
                let mut places = Vec::new();
                let parts = sealed.iter().map(Vec::as_slice);
                ring.open_batch_with(
                    kernel,
                    ROOT,
                    Component::Value,
                    parts,
                    &mut opened,
                    |place| {
                        places.push(place.unwrap());
                    },
                );
                assert_eq!(places.len(), plaintexts.len());
                for (place, plaintext) in places.into_iter().zip(plaintexts) {
                    assert!(opened[place] == *plaintext, "{kernel:?}");
                }
            }
        });
    }
}
