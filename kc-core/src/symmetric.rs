//! Symmetric primitives: SHA-256 and XSalsa20-Poly1305 (protocol §1).
//!
//! A sealed box is the tag of 16 bytes followed by the ciphertext, as in libsodium's `crypto_secretbox`.

use dryoc::classic::crypto_box::crypto_box_open_detached_afternm_inplace;
use dryoc::classic::crypto_hash::{
    crypto_hash_sha256_final, crypto_hash_sha256_init, crypto_hash_sha256_update,
};
use dryoc::classic::crypto_onetimeauth::crypto_onetimeauth_verify;
use dryoc::classic::crypto_secretbox::crypto_secretbox_detached;
use kc_kernels::{Engine, MAX_SHORT_LEN};
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit, StreamCipher};
use zeroize::Zeroizing;

use crate::secret::SecretVec;

/// Returns the SHA-256 hash of the concatenated `parts`.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut state = crypto_hash_sha256_init();
    for part in parts {
        crypto_hash_sha256_update(&mut state, part);
    }
    let mut digest = [0; 32];
    crypto_hash_sha256_final(state, &mut digest);
    digest
}

/// Length of a key, in bytes.
pub(crate) const KEY_LEN: usize = 32;
/// Length of a nonce, in bytes.
pub(crate) const NONCE_LEN: usize = 24;
/// Length of the tag in front of the ciphertext, in bytes.
pub(crate) const TAG_LEN: usize = 16;

/// Seals `message` into a new buffer.
pub(crate) fn seal(message: &[u8], nonce: &[u8; NONCE_LEN], key: &[u8; KEY_LEN]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(TAG_LEN + message.len());
    seal_into(Engine::detect(), &mut sealed, message, nonce, key);
    sealed
}

/// Appends the sealed message to `out` without a temporary buffer. The result is the same with any engine, and without one.
pub(crate) fn seal_into(
    engine: Option<Engine>,
    out: &mut Vec<u8>,
    message: &[u8],
    nonce: &[u8; NONCE_LEN],
    key: &[u8; KEY_LEN],
) {
    let start = out.len();
    out.resize(start + TAG_LEN + message.len(), 0);
    if message.len() <= MAX_SHORT_LEN
        && let Some(engine) = engine
        && let Some(sealed) = out.get_mut(start..)
    {
        engine.seal_short(key, nonce, message, sealed);
        return;
    }
    let Some((tag, ciphertext)) = out
        .get_mut(start..)
        .and_then(|sealed| sealed.split_first_chunk_mut::<TAG_LEN>())
    else {
        return;
    };
    // An error would need a message of more than 2^38 bytes, which no buffer holds.
    let _ = crypto_secretbox_detached(ciphertext, tag, message, nonce, key);
}

/// Opens a box into a new buffer. Returns `None` if the box is too short or its tag does not verify.
pub(crate) fn open(
    sealed: &[u8],
    nonce: &[u8; NONCE_LEN],
    key: &[u8; KEY_LEN],
) -> Option<SecretVec> {
    let (tag, ciphertext) = sealed.split_first_chunk::<TAG_LEN>()?;
    let mut message = ciphertext.to_vec();
    open_in_place(Engine::detect(), &mut message, tag, nonce, key).then(|| message.into())
}

/// Opens a ciphertext in place. Returns whether the tag verified; if not, the ciphertext is unchanged.
pub(crate) fn open_in_place(
    engine: Option<Engine>,
    ciphertext: &mut [u8],
    tag: &[u8; TAG_LEN],
    nonce: &[u8; NONCE_LEN],
    key: &[u8; KEY_LEN],
) -> bool {
    if ciphertext.len() <= MAX_SHORT_LEN
        && let Some(engine) = engine
    {
        return engine.open_short(key, nonce, tag, ciphertext);
    }
    crypto_box_open_detached_afternm_inplace(ciphertext, tag, nonce, key).is_ok()
}
/// Returns whether the tag of a box verifies. Decrypts nothing.
pub(crate) fn verifies(sealed: &[u8], nonce: &[u8; NONCE_LEN], key: &[u8; KEY_LEN]) -> bool {
    let Some((tag, ciphertext)) = sealed.split_first_chunk::<TAG_LEN>() else {
        return false;
    };
    // The key of Poly1305 is the beginning of the keystream; the ciphertext begins after it.
    let mut tag_key = Zeroizing::new([0; KEY_LEN]);
    XSalsa20::new(key.into(), nonce.into()).apply_keystream(tag_key.as_mut());
    crypto_onetimeauth_verify(tag, ciphertext, &tag_key).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_tag_verifies_if_and_only_if_the_box_opens(
            message in prop::collection::vec(any::<u8>(), 0..300),
            nonce: [u8; NONCE_LEN],
            key: [u8; KEY_LEN],
            alteration: Option<(prop::sample::Index, u8)>,
        ) {
            let mut sealed = seal(&message, &nonce, &key);
            if let Some((place, bits)) = alteration {
                let place = place.index(sealed.len());
                *sealed.get_mut(place).unwrap() ^= bits;
            }
            let opens = open(&sealed, &nonce, &key).is_some();
            prop_assert_eq!(verifies(&sealed, &nonce, &key), opens);
            prop_assert!(!verifies(sealed.get(..TAG_LEN - 1).unwrap(), &nonce, &key));
        }

        #[test]
        fn all_engines_and_none_seal_and_open_alike(
            message in prop::collection::vec(any::<u8>(), 0..300),
            nonce: [u8; NONCE_LEN],
            key: [u8; KEY_LEN],
            alteration: Option<(prop::sample::Index, u8)>,
        ) {
            let mut sealed = Vec::new();
            seal_into(None, &mut sealed, &message, &nonce, &key);
            for engine in Engine::all() {
                let mut others = Vec::new();
                seal_into(Some(engine), &mut others, &message, &nonce, &key);
                prop_assert_eq!(&others, &sealed);
            }
            if let Some((place, bits)) = alteration {
                let place = place.index(sealed.len());
                *sealed.get_mut(place).unwrap() ^= bits;
            }
            let open = |engine| {
                let (tag, ciphertext) = sealed.split_first_chunk().unwrap();
                let mut text = ciphertext.to_vec();
                (open_in_place(engine, &mut text, tag, &nonce, &key), text)
            };
            for engine in Engine::all() {
                prop_assert_eq!(open(Some(engine)), open(None));
            }
        }
    }
}
