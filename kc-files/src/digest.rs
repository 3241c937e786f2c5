use std::fs::File;
use std::io::{self, Read};

use sha2::{Digest, Sha512};

use crate::wire::Hash;

/// The size of the buffer for reading, in bytes.
const BUFFER: usize = 256 << 10;

/// Returns the SHA-512 digest of the rest of a file, and the number of bytes.
pub(crate) fn hash_of(file: &File) -> io::Result<(Hash, u64)> {
    hash_while(file, || true)
}

/// Returns the SHA-512 digest of the rest of a file, and the number of bytes. Fails when `goes_on` returns false.
pub(crate) fn hash_while(mut file: &File, goes_on: impl Fn() -> bool) -> io::Result<(Hash, u64)> {
    let mut hasher = Sha512::new();
    let mut buffer = vec![0; BUFFER];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer)?;
        let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else {
            return Ok((hasher.finalize().into(), bytes));
        };
        if !goes_on() {
            return Err(io::Error::other("reading was interrupted"));
        }
        hasher.update(part);
        bytes += part.len() as u64;
    }
}

/// Returns bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('?'));
        }
    }
    text
}
