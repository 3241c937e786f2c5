//! Envelopes: a payload of any size, sealed under a data key that another key wraps.
//!
//! An envelope is binary:
//!
//! ```text
//! "KCE1" │ length of the header (4 bytes, big endian) │ header │ chunk │ … │ last chunk
//! ```
//!
//! The header is the MessagePack array `[1, wrapping, wrapped data key, 19 bytes of nonce, chunk size]`. The chunks are
//! XChaCha20-Poly1305 in the STREAM construction (Hoang, Reyhanitabar, Rogaway and Vizár, 2015), each 16 bytes longer than
//! its plaintext: the nonce of a chunk holds its number and whether it is the last one, so that chunks cannot be removed,
//! repeated or exchanged. The associated data of each chunk is the SHA-256 of everything before the first chunk, and of
//! the [`Place`] of the payload.

mod data_keys;

use std::io::{self, Read, Write};
use std::sync::Arc;

use aead_stream::{DecryptorBE32, EncryptorBE32};
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{KeyInit, Payload};
use kc::core::wire::{Value, WireError, Writer};
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

use self::data_keys::DataKey;
pub use self::data_keys::{Caps, DataKeys};
pub(crate) use self::data_keys::{FileWrap, KcWrap, KeyWrap};
use crate::error::Fault;

const MAGIC: &[u8; 4] = b"KCE1";
const FORM: u64 = 1;
const NONCE_BYTES: usize = 19;
const TAG_BYTES: usize = 16;
/// The maximum size of the header, in bytes.
const MAX_HEADER_BYTES: usize = 1 << 16;
/// The size of the plaintext of each chunk but the last, in bytes.
pub const CHUNK_BYTES: usize = 1 << 16;
/// The maximum size of chunks that are read, in bytes.
const MAX_CHUNK_BYTES: usize = 1 << 20;

/// The place of a payload. An envelope that was moved to another place does not open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place<'a> {
    /// The name, for example of a file or a field.
    pub name: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// The position in the topic or in the file, in any form.
    pub position: &'a str,
}

/// The reason why an envelope was not written or not read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The input cannot be read, or the output cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The data key cannot be wrapped or unwrapped, or the envelope is not authentic.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A sealing that has its data key, and reads its payload next.
#[derive(Debug)]
pub struct Sealing {
    key: Arc<DataKey>,
    head: Vec<u8>,
    nonce: [u8; NONCE_BYTES],
    associated: [u8; 32],
}

/// The beginning of an envelope, up to the first chunk.
#[derive(Debug)]
pub struct Head {
    bytes: Vec<u8>,
    wrapping: String,
    wrapped: Vec<u8>,
    nonce: [u8; NONCE_BYTES],
    chunk: usize,
}

/// An opening that has its data key, and reads the chunks next.
#[derive(Debug)]
pub struct Opening {
    key: Arc<DataKey>,
    head: Head,
    associated: [u8; 32],
}

impl DataKeys {
    /// Begins to seal a payload of about `bytes` bytes, which count for the caps of the data key.
    ///
    /// Cancel safe: if the future is dropped, a data key may have been made, which does no harm.
    ///
    /// # Errors
    /// Returns [`Fault`] if no data key can be made.
    pub async fn seal(&self, place: &Place<'_>, bytes: u64) -> Result<Sealing, Fault> {
        let key = self.to_seal(bytes).await?;
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|error| {
            Fault::Unavailable(format!("the system gives no random numbers: {error}"))
        })?;
        let mut writer = Writer::new();
        writer
            .array(5)
            .uint(FORM)
            .text(self.wrapping())
            .bytes(&key.wrapped)
            .bytes(&nonce);
        writer.uint(u64::try_from(CHUNK_BYTES).unwrap_or(u64::MAX));
        let header = writer.into_vec();
        let length = u32::try_from(header.len()).unwrap_or(u32::MAX);
        let head = [MAGIC.as_slice(), &length.to_be_bytes(), &header].concat();
        Ok(Sealing {
            associated: associated(&head, place),
            key,
            head,
            nonce,
        })
    }

    /// Seals a payload in memory. Returns the envelope.
    ///
    /// Cancel safe: see [`seal`](Self::seal).
    ///
    /// # Errors
    /// Returns the errors of [`seal`](Self::seal).
    pub async fn seal_bytes(
        &self,
        place: &Place<'_>,
        payload: &[u8],
    ) -> Result<Vec<u8>, EnvelopeError> {
        let sealing = self
            .seal(place, u64::try_from(payload.len()).unwrap_or(u64::MAX))
            .await?;
        let mut envelope = Vec::with_capacity(payload.len() + sealing.head.len() + 64);
        sealing.write(&mut &*payload, &mut envelope)?;
        Ok(envelope)
    }

    /// Begins to open an envelope whose beginning was read.
    ///
    /// Cancel safe: nothing is changed.
    ///
    /// # Errors
    /// Returns [`Fault`] if the data key cannot be unwrapped.
    pub async fn open(&self, head: Head, place: &Place<'_>) -> Result<Opening, Fault> {
        if head.wrapping != self.wrapping() {
            let wrapping: String = head.wrapping.chars().take(20).collect();
            let reason = format!(
                "its data key is wrapped by {wrapping:?}, not by {:?}",
                self.wrapping()
            );
            return Err(Fault::Refused(reason));
        }
        Ok(Opening {
            key: self.to_open(&head.wrapped).await?,
            associated: associated(&head.bytes, place),
            head,
        })
    }

    /// Opens an envelope in memory. Returns the payload.
    ///
    /// Cancel safe: nothing is changed.
    ///
    /// # Errors
    /// Returns [`EnvelopeError`] if the envelope is not authentic, belongs to another place, or its data key cannot be
    /// unwrapped.
    pub async fn open_bytes(
        &self,
        place: &Place<'_>,
        mut envelope: &[u8],
    ) -> Result<Vec<u8>, EnvelopeError> {
        let head = Head::read(&mut envelope)?;
        let mut payload = Vec::with_capacity(envelope.len());
        self.open(head, place)
            .await?
            .write(&mut envelope, &mut payload)?;
        Ok(payload)
    }
}

impl Sealing {
    /// Reads the payload from `input` to its end, and writes the envelope to `output`. Needs memory for three chunks.
    /// Returns the size of the payload in bytes.
    ///
    /// # Errors
    /// Returns [`EnvelopeError`] if reading or writing fails. What was written until then is no valid envelope.
    pub fn write(self, input: &mut dyn Read, output: &mut dyn Write) -> Result<u64, EnvelopeError> {
        output.write_all(&self.head)?;
        let mut encryptor = EncryptorBE32::from_aead(self.key.cipher(), &self.nonce.into());
        let broken = |_| Fault::Unfit("the payload has too many chunks".into());
        let mut total = 0;
        let (mut now, mut next) = (Zeroizing::new(Vec::new()), Zeroizing::new(Vec::new()));
        fill(input, CHUNK_BYTES, &mut now)?;
        loop {
            total += u64::try_from(now.len()).unwrap_or(u64::MAX);
            fill(input, CHUNK_BYTES, &mut next)?;
            if next.is_empty() {
                output.write_all(
                    &encryptor
                        .encrypt_last(payload(&now, &self.associated))
                        .map_err(broken)?,
                )?;
                output.flush()?;
                return Ok(total);
            }
            output.write_all(
                &encryptor
                    .encrypt_next(payload(&now, &self.associated))
                    .map_err(broken)?,
            )?;
            std::mem::swap(&mut now, &mut next);
        }
    }
}

impl Head {
    /// Reads the beginning of an envelope, at most 64 KiB.
    ///
    /// # Errors
    /// Returns [`EnvelopeError`] if the input cannot be read, or does not begin as an envelope does.
    pub fn read(input: &mut dyn Read) -> Result<Self, EnvelopeError> {
        let not = |reason: &str| Fault::NotAToken(format!("it is no envelope: {reason}"));
        let mut bytes = Vec::new();
        fill(input, 8, &mut bytes)?;
        let Some((MAGIC, length)) = bytes.split_first_chunk::<4>() else {
            return Err(not("it does not begin with KCE1").into());
        };
        let length = length
            .try_into()
            .map(u32::from_be_bytes)
            .map_err(|_| not("it is too short"))?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > MAX_HEADER_BYTES {
            return Err(not("its header is too long").into());
        }
        let mut header = Vec::new();
        fill(input, length, &mut header)?;
        if header.len() < length {
            return Err(not("it is too short").into());
        }
        let broken = |error: WireError| not(&error.to_string());
        let value = Value::decode(&header).map_err(broken)?;
        let [form, wrapping, wrapped, nonce, chunk] = value.array().map_err(broken)? else {
            return Err(not("its header has another form").into());
        };
        if form.int().map_err(broken)? != i128::from(FORM) {
            return Err(not("a newer version made it").into());
        }
        let chunk = usize::try_from(chunk.int().map_err(broken)?).unwrap_or(0);
        if !(1..=MAX_CHUNK_BYTES).contains(&chunk) {
            return Err(not("its chunk size is out of range").into());
        }
        let nonce = nonce.bytes().map_err(broken)?.try_into();
        let (wrapping, wrapped) = (
            wrapping.text().map_err(broken)?,
            wrapped.bytes().map_err(broken)?,
        );
        Ok(Self {
            wrapping: wrapping.to_owned(),
            wrapped: wrapped.to_vec(),
            nonce: nonce.map_err(|_| not("its nonce has another length"))?,
            chunk,
            bytes: [bytes, header].concat(),
        })
    }
}

impl Opening {
    /// Reads the chunks from `input` to its end, and writes the payload to `output`. Needs memory for three chunks.
    /// Returns the size of the payload in bytes.
    ///
    /// Each chunk is authentic when it is written. Only after the last one is it known that the payload is complete, so
    /// after an error the caller must discard what was written.
    ///
    /// # Errors
    /// Returns [`EnvelopeError`] if reading or writing fails, or if a chunk is not authentic or missing.
    pub fn write(self, input: &mut dyn Read, output: &mut dyn Write) -> Result<u64, EnvelopeError> {
        let mut decryptor = DecryptorBE32::from_aead(self.key.cipher(), &self.head.nonce.into());
        let refused = |_| Fault::Refused("the envelope was changed, cut off or moved".into());
        let sealed = self.head.chunk + TAG_BYTES;
        let mut total = 0;
        let (mut now, mut next) = (Vec::new(), Vec::new());
        fill(input, sealed, &mut now)?;
        loop {
            fill(input, sealed, &mut next)?;
            let is_last = next.is_empty();
            let chunk = if is_last {
                let chunk = decryptor
                    .decrypt_last(payload(&now, &self.associated))
                    .map_err(refused)?;
                let chunk = Zeroizing::new(chunk);
                output.write_all(&chunk)?;
                output.flush()?;
                return Ok(total + u64::try_from(chunk.len()).unwrap_or(u64::MAX));
            } else {
                Zeroizing::new(
                    decryptor
                        .decrypt_next(payload(&now, &self.associated))
                        .map_err(refused)?,
                )
            };
            output.write_all(&chunk)?;
            total += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            std::mem::swap(&mut now, &mut next);
        }
    }
}

impl DataKey {
    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.key.expose().into())
    }
}

fn payload<'a>(chunk: &'a [u8], associated: &'a [u8]) -> Payload<'a, 'a> {
    Payload {
        msg: chunk,
        aad: associated,
    }
}

fn associated(head: &[u8], place: &Place<'_>) -> [u8; 32] {
    let mut writer = Writer::append_to(head.to_vec());
    writer
        .array(3)
        .text(place.name)
        .text(place.topic)
        .text(place.position);
    Sha256::digest(writer.into_vec()).into()
}

/// Replaces the content of `buffer` by the next `length` bytes of the input, or fewer at its end.
fn fill(input: &mut dyn Read, length: usize, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    input
        .take(u64::try_from(length).unwrap_or(u64::MAX))
        .read_to_end(buffer)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use kc::core::secret::Secret;

    use super::*;

    const PLACE: Place<'static> = Place {
        name: "scan.tif",
        topic: "scans",
        position: "3",
    };

    fn keys(byte: u8) -> DataKeys {
        let key = Secret::from_slice(&[byte; 32]).unwrap();
        DataKeys::new(Box::new(FileWrap::new(&key)), Caps::default())
    }

    fn refusal(error: EnvelopeError) -> Fault {
        match error {
            EnvelopeError::Fault(fault) => fault,
            EnvelopeError::Io(error) => panic!("{error}"),
        }
    }

    #[tokio::test]
    async fn payloads_of_each_size_come_back() {
        let keys = keys(7);
        for size in [
            0,
            1,
            CHUNK_BYTES - 1,
            CHUNK_BYTES,
            CHUNK_BYTES + 1,
            3 * CHUNK_BYTES,
            200_000,
        ] {
            let payload: Vec<u8> = (0..=255).cycle().take(size).collect();
            let envelope = keys.seal_bytes(&PLACE, &payload).await.unwrap();
            assert_eq!(
                keys.open_bytes(&PLACE, &envelope).await.unwrap(),
                payload,
                "{size}"
            );
        }
    }

    #[tokio::test]
    async fn envelopes_that_were_moved_cut_or_changed_do_not_open() {
        let keys = keys(7);
        let payload = vec![5; 2 * CHUNK_BYTES + 100];
        let envelope = keys.seal_bytes(&PLACE, &payload).await.unwrap();
        for place in [
            Place {
                name: "other",
                ..PLACE
            },
            Place {
                topic: "other",
                ..PLACE
            },
            Place {
                position: "4",
                ..PLACE
            },
        ] {
            let fault = refusal(keys.open_bytes(&place, &envelope).await.unwrap_err());
            assert!(matches!(fault, Fault::Refused(_)), "{fault}");
        }
        let sealed = CHUNK_BYTES + TAG_BYTES;
        let start = envelope.len() - 2 * sealed - 100 - TAG_BYTES;
        let without = |from: usize, to: usize| [&envelope[..from], &envelope[to..]].concat();
        let exchanged = [
            &envelope[..start],
            &envelope[start + sealed..start + 2 * sealed],
            &envelope[start..start + sealed],
            &envelope[start + 2 * sealed..],
        ];
        for broken in [
            without(start, start + sealed),
            without(start + 2 * sealed, envelope.len()),
            without(start + sealed, envelope.len()),
            without(start, envelope.len()),
            exchanged.concat(),
            [&envelope[..], &[0]].concat(),
        ] {
            assert!(
                keys.open_bytes(&PLACE, &broken).await.is_err(),
                "{}",
                broken.len()
            );
        }
        for at in (0..start).chain([start, envelope.len() - 1]) {
            let mut changed = envelope.clone();
            changed[at] ^= 1;
            assert!(keys.open_bytes(&PLACE, &changed).await.is_err(), "{at}");
        }
        for length in 0..start {
            assert!(
                keys.open_bytes(&PLACE, &envelope[..length]).await.is_err(),
                "{length}"
            );
        }
    }

    #[tokio::test]
    async fn another_key_does_not_open() {
        let envelope = keys(7).seal_bytes(&PLACE, b"payload").await.unwrap();
        let fault = refusal(keys(8).open_bytes(&PLACE, &envelope).await.unwrap_err());
        assert!(matches!(fault, Fault::Refused(_)), "{fault}");
    }
}
