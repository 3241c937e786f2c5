//! Chunks of files in records: as they are, or with the numbers, names and content of an input and the right hash.

#![no_main]

use kc_files::FilePath;
use kc_files::wire::{Chunk, Extras, Hash, MAX_CHUNK_BYTES, MAX_CHUNKS};
use kc_fuzz::{choices, counted};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha512};

fuzz_target!(|data: &[u8]| {
    let Some((choices, rest)) = choices(data) else {
        return;
    };
    if choices & 1 == 0 {
        let _ = checked(rest);
    } else {
        let _ = written(choices, rest);
    }
});

/// Parses a record, and checks what a receiver relies on.
fn checked(value: &[u8]) -> Option<Chunk<'_>> {
    let chunk = Chunk::parse(value).ok()?;
    let length = chunk.data.len() as u64;
    assert!((1..=chunk.count).contains(&chunk.index) && chunk.count <= MAX_CHUNKS);
    assert!(length <= u64::from(chunk.chunk_size()));
    assert!(chunk.chunk_size() <= MAX_CHUNK_BYTES);
    assert!(chunk.offset + length <= chunk.largest_file());
    assert!(chunk.file_bytes() <= chunk.largest_file());
    let names = chunk.path.folders().chain([chunk.path.name()]);
    for name in names {
        assert!(!matches!(name, "" | "." | "..") && !name.contains(['/', '\\', '\0']));
    }
    let hash = Hash::from(Sha512::digest(chunk.data));
    let again = chunk.encode(&hash);
    let again = Chunk::parse(&again).expect("what was parsed");
    assert_eq!(again.modified.to_bits(), chunk.modified.to_bits());
    assert_eq!(again, chunk);
    Some(chunk)
}

/// Writes a chunk with numbers that need not fit together. If it is accepted, it is the same.
fn written(choices: u8, data: &[u8]) -> Option<()> {
    let (path, rest) = counted(data)?;
    let path: FilePath = str::from_utf8(path).ok()?.parse().ok()?;
    let (numbers, data) = rest.split_first_chunk::<32>()?;
    let mut numbers = numbers
        .chunks_exact(8)
        .filter_map(|number| number.try_into().ok());
    let mut next = || numbers.next().map(u64::from_be_bytes);
    let (offset, places, modified, size) = (next()?, next()?, next()?, next()?);
    let is_first = choices & 2 != 0;
    let chunk = Chunk {
        path,
        file_hash: [7; 64],
        index: if is_first { 1 } else { places as u32 },
        count: (places >> 32) as u32,
        offset: if is_first { 0 } else { offset },
        data,
        modified: f64::from_bits(modified),
        extras: (choices & 4 != 0).then_some(Extras {
            mode: (choices & 8 != 0).then_some(size as u32 & 0o777),
            mtime_ns: (choices & 16 != 0).then_some(size as i64),
            size: (choices & 32 != 0).then_some(size),
        }),
    };
    let record = chunk.encode(&Sha512::digest(data).into());
    assert_eq!(checked(&record)?, chunk);
    let mut wrong = record.clone();
    if let Some(byte) = wrong.get_mut(record.len() / 2) {
        *byte ^= 1;
        let _ = checked(&wrong);
    }
    Some(())
}
