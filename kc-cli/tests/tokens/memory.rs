//! The memory of a running process, as a core dump would contain it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// A part of a process's memory.
pub(crate) struct Region {
    /// The line of the region in `/proc/PID/maps`.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// Returns all memory that the process itself can read, except for the two pages that the kernel maps into every
/// process.
pub(crate) fn image(process: u32) -> Vec<Region> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let memory =
        File::open(format!("/proc/{process}/mem")).expect("the memory of a child can be read");
    let readable = maps
        .lines()
        .filter(|line| line.split(' ').nth(1).unwrap().starts_with('r') && !line.contains("[v"));
    let read = |line: &str| {
        let (start, rest) = line.split_once('-').unwrap();
        let end = rest.split(' ').next().unwrap();
        let [start, end] = [start, end].map(|address| u64::from_str_radix(address, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        memory
            .read_exact_at(&mut bytes, start)
            .unwrap_or_else(|error| panic!("{line}: {error}"));
        Region {
            name: line.to_owned(),
            bytes,
        }
    };
    readable.map(read).collect()
}
