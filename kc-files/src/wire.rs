//! The form of a chunk in a Kafka record: OpenMSIStream's array in MessagePack, and an element of kc's own.
//!
//! | element | type | content |
//! |---|---|---|
//! | 1 | str | the name of the file |
//! | 2 | bin, 64 bytes | SHA-512 of the file |
//! | 3 | bin, 64 bytes | SHA-512 of the chunk |
//! | 4 | int | the offset of the chunk in the file, in bytes |
//! | 5 | int | the number of the chunk, from 1 |
//! | 6 | int | the number of chunks of the file |
//! | 7 | str | the folder of the file, with `/` between names, or the empty text |
//! | 8 | str | a suffix of the name; always the empty text |
//! | 9 | bin | the content of the chunk |
//! | 10 | float 64 | the time of the last change, in seconds since the Unix epoch |
//! | 11 | map | [`Extras`]; only kc reads and writes it |
//!
//! All chunks of a file but the last have the same size. A file of 0 bytes is one chunk of 0 bytes. The Kafka key is
//! [`Chunk::key`].
//!
//! OpenMSIStream 1.8.8 refuses an array of 11, so a sender writes the last element only if it is asked to:
//! [`Wire::Kc`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rmp::Marker;
use rmp::decode::{self, Bytes};
use rmp::encode;
use sha2::{Digest, Sha512};
use thiserror::Error;

use crate::path::{FilePath, PathError};

/// The chunk size of OpenMSIStream and of kc, in bytes.
pub const DEFAULT_CHUNK_BYTES: u32 = 512 << 10;
/// The maximum size of a chunk, in bytes.
pub const MAX_CHUNK_BYTES: u32 = 16 << 20;
/// The maximum number of chunks of a file. At the default size of a chunk, such a file has 8 TiB.
pub const MAX_CHUNKS: u32 = 1 << 24;

/// The bits of a file mode that are sent: read, write and execute, but not setuid, setgid and sticky.
const MODE_BITS: u32 = 0o777;
/// The maximum number of entries in the eleventh element.
const MAX_EXTRAS: u32 = 32;
/// The maximum length of a value that this version does not know in the eleventh element, in bytes.
const MAX_EXTRA_BYTES: u32 = 4096;

/// A SHA-512 digest, 64 bytes.
pub type Hash = [u8; 64];

/// What a sender writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wire {
    /// Arrays of 10, which OpenMSIStream can read.
    #[default]
    OpenMsiStream,
    /// Arrays of 11: receivers set the permissions and the exact time of change.
    Kc,
}

/// A chunk of a file. A parsed chunk is consistent: its numbers and sizes fit together, and its hash is right.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk<'a> {
    /// The place of the file.
    pub path: FilePath,
    /// The SHA-512 digest of the file.
    pub file_hash: Hash,
    /// The number of the chunk, from 1.
    pub index: u32,
    /// The number of chunks of the file.
    pub count: u32,
    /// The position of the chunk in the file, in bytes.
    pub offset: u64,
    /// The content.
    pub data: &'a [u8],
    /// The time of the last change, in seconds since the Unix epoch.
    pub modified: f64,
    /// What a sender adds with [`Wire::Kc`].
    pub extras: Option<Extras>,
}

/// The eleventh element: a map with these names. Names that a version does not know are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// `mode`: the permissions, `0o000` to `0o777`.
    pub mode: Option<u32>,
    /// `mtime_ns`: the time of the last change, in nanoseconds since the Unix epoch.
    pub mtime_ns: Option<i64>,
    /// `size`: the size of the file, in bytes.
    pub size: Option<u64>,
}

/// The reason why a record is not a chunk of a file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WireError {
    /// The bytes are not the expected MessagePack.
    #[error("not a chunk of a file: {0}")]
    Form(&'static str),
    /// The path of the file is refused.
    #[error("the file name is refused: {0}")]
    Path(#[from] PathError),
    /// Numbers or sizes do not fit together or exceed a limit.
    #[error("the chunk contradicts itself: {0}")]
    Inconsistent(&'static str),
    /// The content does not have the announced hash.
    #[error("the content of the chunk does not have its hash")]
    Hash,
}

impl<'a> Chunk<'a> {
    /// Parses the value of a record, and checks the hash of the chunk. Needs no memory but for the path.
    ///
    /// # Errors
    /// Returns [`WireError`] if the value is not a consistent chunk.
    pub fn parse(value: &'a [u8]) -> Result<Self, WireError> {
        let mut input = Bytes::new(value);
        let elements = decode::read_array_len(&mut input).map_err(|_| form("not an array"))?;
        if !(10..=11).contains(&elements) {
            return Err(form("the array has not 10 or 11 elements"));
        }
        let name = text(&mut input)?;
        let file_hash = hash(&mut input)?;
        let chunk_hash = hash(&mut input)?;
        let offset = uint(&mut input)?;
        let index = uint(&mut input)?;
        let count = uint(&mut input)?;
        let folder = text(&mut input)?;
        if !text(&mut input)?.is_empty() {
            return Err(form("the name has a suffix"));
        }
        let data = binary(&mut input)?;
        let modified =
            decode::read_f64(&mut input).map_err(|_| form("the time is not a number"))?;
        let extras = match elements {
            11 => Some(Extras::parse(&mut input)?),
            _ => None,
        };
        if !input.remaining_slice().is_empty() {
            return Err(form("more bytes follow"));
        }
        let chunk = Self {
            path: FilePath::new(folder, name)?,
            file_hash,
            index,
            count,
            offset,
            data,
            modified,
            extras,
        };
        chunk.check()?;
        if Hash::from(Sha512::digest(data)) != chunk_hash {
            return Err(WireError::Hash);
        }
        Ok(chunk)
    }

    fn check(&self) -> Result<(), WireError> {
        let wrong = |what| Err(WireError::Inconsistent(what));
        let length = self.data.len() as u64;
        if self.count == 0 || self.index == 0 || self.index > self.count {
            return wrong("its number is not in the range of its count");
        }
        if self.count > MAX_CHUNKS {
            return wrong("the file has too many chunks");
        }
        if length > u64::from(MAX_CHUNK_BYTES) {
            return wrong("the chunk is too large");
        }
        if length == 0 && self.count > 1 {
            return wrong("the chunk is empty");
        }
        let before = u64::from(self.count - 1);
        let is_last = self.index == self.count;
        let size = if is_last && before > 0 {
            if !self.offset.is_multiple_of(before) {
                return wrong("its offset does not fit its number");
            }
            self.offset / before
        } else {
            length
        };
        if size > u64::from(MAX_CHUNK_BYTES) || length > size {
            return wrong("the chunk is larger than those before it");
        }
        if self.offset != u64::from(self.index - 1) * size {
            return wrong("its offset does not fit its number");
        }
        if let Some(announced) = self.extras.and_then(|extras| extras.size) {
            let fits = match is_last {
                true => announced == self.offset + length,
                false => announced > before * size && announced <= (before + 1) * size,
            };
            if !fits {
                return wrong("the size of the file does not fit its chunks");
            }
        }
        if self.modified.is_nan() || self.modified.is_infinite() {
            return wrong("the time is not a number");
        }
        Ok(())
    }

    /// Returns the value of the record. `chunk_hash` is the SHA-512 digest of the content.
    #[must_use]
    pub fn encode(&self, chunk_hash: &Hash) -> Vec<u8> {
        let names = self.path.as_str().len();
        let mut out = Vec::with_capacity(self.data.len() + names + 256);
        // Writing to a vector cannot fail.
        let _ = self.write(&mut out, chunk_hash);
        out
    }

    fn write(&self, out: &mut Vec<u8>, chunk_hash: &Hash) -> Result<(), encode::ValueWriteError> {
        encode::write_array_len(out, 10 + u32::from(self.extras.is_some()))?;
        encode::write_str(out, self.path.name())?;
        encode::write_bin(out, &self.file_hash)?;
        encode::write_bin(out, chunk_hash)?;
        encode::write_uint(out, self.offset)?;
        encode::write_uint(out, u64::from(self.index))?;
        encode::write_uint(out, u64::from(self.count))?;
        encode::write_str(out, self.path.folder())?;
        encode::write_str(out, "")?;
        encode::write_bin(out, self.data)?;
        encode::write_f64(out, self.modified)?;
        if let Some(extras) = &self.extras {
            extras.write(out)?;
        }
        Ok(())
    }

    /// Returns the Kafka key of the record, for example `sub_deep_data.bin_chunk_1_of_6`.
    #[must_use]
    pub fn key(&self) -> String {
        let folder = self.path.folder().replace('/', "_");
        let (name, index, count) = (self.path.name(), self.index, self.count);
        format!("{folder}_{name}_chunk_{index}_of_{count}")
    }

    /// Returns the size of all chunks of the file but the last, in bytes. If the file has a single chunk, this is the size
    /// of that chunk.
    #[must_use]
    pub fn chunk_size(&self) -> u32 {
        let size = match self.count {
            count if count > 1 && self.index == count => self.offset / u64::from(count - 1),
            _ => self.data.len() as u64,
        };
        u32::try_from(size).unwrap_or(u32::MAX)
    }

    /// Returns the largest size that the file can have, in bytes: a bound for the disk.
    #[must_use]
    pub fn largest_file(&self) -> u64 {
        u64::from(self.count) * u64::from(self.chunk_size())
    }

    /// Returns the size of the file in bytes, or, if only a later chunk says it, the largest size that it can have.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        match self.extras.and_then(|extras| extras.size) {
            Some(size) => size,
            None if self.index == self.count => self.offset + self.data.len() as u64,
            None => self.largest_file(),
        }
    }

    /// Returns the time of the last change, in nanoseconds since the Unix epoch, as exactly as it was sent.
    #[must_use]
    pub fn modified_ns(&self) -> i64 {
        let exact = self.extras.and_then(|extras| extras.mtime_ns);
        // A conversion of floats saturates.
        exact.unwrap_or_else(|| (self.modified * 1e6).round() as i64 * 1000)
    }
}

/// Returns a time in nanoseconds since the Unix epoch, negative before it.
pub(crate) fn time_of(nanoseconds: i64) -> Option<SystemTime> {
    let distance = Duration::from_nanos(nanoseconds.unsigned_abs());
    if nanoseconds < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    }
}

impl Extras {
    fn parse<'a>(input: &mut Bytes<'a>) -> Result<Self, WireError> {
        let entries = decode::read_map_len(input).map_err(|_| form("element 11 is not a map"))?;
        if entries > MAX_EXTRAS {
            return Err(form("element 11 has too many entries"));
        }
        let mut extras = Self::default();
        for _ in 0..entries {
            match text(input)? {
                "mode" => extras.mode = Some(uint::<u32>(input)? & MODE_BITS),
                "mtime_ns" => {
                    let time = decode::read_int(input);
                    extras.mtime_ns = Some(time.map_err(|_| form("mtime_ns is not a number"))?);
                }
                "size" => extras.size = Some(uint(input)?),
                _ => skip(input)?,
            }
        }
        Ok(extras)
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), encode::ValueWriteError> {
        let (mode, time, size) = (self.mode, self.mtime_ns, self.size);
        let entries = u32::from(mode.is_some()) + u32::from(time.is_some());
        encode::write_map_len(out, entries + u32::from(size.is_some()))?;
        if let Some(mode) = mode {
            encode::write_str(out, "mode")?;
            encode::write_uint(out, u64::from(mode & MODE_BITS))?;
        }
        if let Some(time) = time {
            encode::write_str(out, "mtime_ns")?;
            encode::write_sint(out, time)?;
        }
        if let Some(size) = size {
            encode::write_str(out, "size")?;
            encode::write_uint(out, size)?;
        }
        Ok(())
    }
}

fn form(what: &'static str) -> WireError {
    WireError::Form(what)
}

/// Takes the next `length` bytes of the input.
fn take<'a>(input: &mut Bytes<'a>, length: u32) -> Result<&'a [u8], WireError> {
    let left: &'a [u8] = input.remaining_slice();
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let (taken, rest) = left
        .split_at_checked(length)
        .ok_or_else(|| form("the record is cut off"))?;
    *input = Bytes::new(rest);
    Ok(taken)
}

fn text<'a>(input: &mut Bytes<'a>) -> Result<&'a str, WireError> {
    let length = decode::read_str_len(input).map_err(|_| form("a name is not a text"))?;
    let bytes = take(input, length)?;
    std::str::from_utf8(bytes).map_err(|_| WireError::Path(PathError::NotUtf8))
}

fn binary<'a>(input: &mut Bytes<'a>) -> Result<&'a [u8], WireError> {
    let length = decode::read_bin_len(input).map_err(|_| form("the content is not binary"))?;
    take(input, length)
}

fn hash(input: &mut Bytes<'_>) -> Result<Hash, WireError> {
    let bytes = binary(input)?;
    bytes
        .try_into()
        .map_err(|_| form("a hash has not 64 bytes"))
}

fn uint<T: TryFrom<u64>>(input: &mut Bytes<'_>) -> Result<T, WireError> {
    let number: u64 = decode::read_int(input).map_err(|_| form("a number is missing"))?;
    T::try_from(number).map_err(|_| form("a number is out of range"))
}

/// Passes over a value that has no further values in it.
fn skip(input: &mut Bytes<'_>) -> Result<(), WireError> {
    let marker = decode::read_marker(input).map_err(|_| form("the record is cut off"))?;
    let number = |input: &mut Bytes<'_>, bytes: u32| {
        let bytes = take(input, bytes)?;
        Ok::<_, WireError>(
            bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | u32::from(*byte)),
        )
    };
    let length = match marker {
        Marker::FixPos(_) | Marker::FixNeg(_) | Marker::Null | Marker::True | Marker::False => 0,
        Marker::U8 | Marker::I8 => 1,
        Marker::U16 | Marker::I16 => 2,
        Marker::U32 | Marker::I32 | Marker::F32 => 4,
        Marker::U64 | Marker::I64 | Marker::F64 => 8,
        Marker::FixStr(length) => u32::from(length),
        Marker::Str8 | Marker::Bin8 => number(input, 1)?,
        Marker::Str16 | Marker::Bin16 => number(input, 2)?,
        Marker::Str32 | Marker::Bin32 => number(input, 4)?,
        _ => return Err(form("element 11 has a nested value")),
    };
    if length > MAX_EXTRA_BYTES {
        return Err(form("element 11 has a long value"));
    }
    take(input, length).map(drop)
}

#[cfg(test)]
mod tests;
