//! Each function checks one promise on a fresh [`Bench`](super::Bench).

pub mod keys;
pub mod opaque;
pub mod ratchet;

/// Lengths of messages and values that stores must take, in bytes.
const LENGTHS: &[usize] = &[0, 1, 15, 16, 17, 255, 4096, 65_536];

/// Bytes that do not repeat soon.
fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 131 + i / 256) as u8).collect()
}
