//! Java's key store format JKS. See `sun.security.provider.JavaKeyStore` in OpenJDK for its description.

use sha1::{Digest, Sha1};
use zeroize::Zeroizing;

use super::stores::Key;

/// The first bytes of a file.
pub(super) const MAGIC: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];

const KEY: u32 = 1;
const CERTIFICATE: u32 = 2;
const HASH_LEN: usize = 20;
/// The constant that a file's hash contains after the password.
const WHITENER: &[u8] = b"Mighty Aphrodite";

/// The certificates and keys of a file.
#[derive(Default)]
pub(super) struct Entries {
    /// The trusted certificates, in DER.
    pub(super) trusted: Vec<Vec<u8>>,
    /// Each private key, still encrypted, with its chain in DER.
    keys: Vec<(Vec<u8>, Vec<Vec<u8>>)>,
}

impl Entries {
    /// Parses a file. Without a password, as in Java, the integrity of the file is not checked.
    pub(super) fn parse(file: &[u8], password: Option<&str>) -> Result<Self, String> {
        let (content, hash) = file
            .len()
            .checked_sub(HASH_LEN)
            .and_then(|at| file.split_at_checked(at))
            .ok_or("the file is truncated")?;
        if let Some(password) = password {
            let own = Sha1::new()
                .chain_update(utf16(password))
                .chain_update(WHITENER)
                .chain_update(content);
            if own.finalize().as_slice() != hash {
                return Err("the password does not fit, or the file is damaged".to_owned());
            }
        }
        let mut entries = Self::default();
        entries.read(content).ok_or("the file is damaged")?;
        Ok(entries)
    }

    fn read(&mut self, content: &[u8]) -> Option<()> {
        let rest = &mut &*content;
        let magic = take(rest, MAGIC.len())?;
        let version = number(rest)?;
        if magic != MAGIC || !(1..=2).contains(&version) {
            return None;
        }
        for _ in 0..number(rest)? {
            let kind = number(rest)?;
            text(rest)?;
            // The time of creation.
            take(rest, 8)?;
            match kind {
                KEY => {
                    let key = bytes(rest)?.to_vec();
                    let mut chain = Vec::new();
                    for _ in 0..number(rest)? {
                        chain.push(certificate(rest, version)?);
                    }
                    self.keys.push((key, chain));
                }
                CERTIFICATE => self.trusted.push(certificate(rest, version)?),
                _ => return None,
            }
        }
        rest.is_empty().then_some(())
    }

    /// Returns the only private key with its chain.
    pub(super) fn key(&self, password: &str) -> Result<Key, String> {
        let [(key, chain)] = self.keys.as_slice() else {
            return Err(format!(
                "expected one private key, found {}",
                self.keys.len()
            ));
        };
        let der = decrypt(key, password).ok_or("the password of the key does not fit")?;
        Ok(Key {
            der,
            chain: chain.clone(),
        })
    }
}

/// Decrypts a private key. The key stream consists of SHA-1 hashes, each of the password and the previous hash.
fn decrypt(key: &[u8], password: &str) -> Option<Zeroizing<Vec<u8>>> {
    let rest = &mut contents(&mut &*key)?;
    // The algorithm, which is always the same.
    contents(rest)?;
    let sealed = &mut contents(rest)?;
    let password = utf16(password);
    let hash = |part: &[u8]| {
        Sha1::new()
            .chain_update(&password)
            .chain_update(part)
            .finalize()
    };
    let salt = take(sealed, HASH_LEN)?;
    let (encrypted, check) = sealed.split_at_checked(sealed.len().checked_sub(HASH_LEN)?)?;
    let mut plain = Zeroizing::new(encrypted.to_vec());
    let mut block = hash(salt);
    for chunk in plain.chunks_mut(HASH_LEN) {
        chunk
            .iter_mut()
            .zip(block.iter())
            .for_each(|(byte, key)| *byte ^= key);
        block = hash(&block);
    }
    (hash(&plain).as_slice() == check).then_some(plain)
}

/// Returns the contents of the next DER value.
fn contents<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    take(rest, 1)?;
    let first = *take(rest, 1)?.first()?;
    let length = match first {
        0..=0x7f => usize::from(first),
        0x81..=0x84 => take(rest, usize::from(first - 0x80))?
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte)),
        _ => return None,
    };
    take(rest, length)
}

fn certificate(rest: &mut &[u8], version: u32) -> Option<Vec<u8>> {
    if version == 2 {
        // The type: X.509.
        text(rest)?;
    }
    bytes(rest).map(<[u8]>::to_vec)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    take(rest, 4)?.try_into().ok().map(u32::from_be_bytes)
}

fn bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = number(rest)?;
    take(rest, usize::try_from(length).ok()?)
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take(rest, 2)?.try_into().ok().map(u16::from_be_bytes)?;
    take(rest, usize::from(length))
}

fn utf16(password: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(password.encode_utf16().flat_map(u16::to_be_bytes).collect())
}
