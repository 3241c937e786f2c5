/// What a file begins with that holds a ratchet which a token has sealed.
const MAGIC: &[u8; 4] = b"KCR1";

/// What stands in front of a ratchet that a token has sealed, legible without the token: `"KCR1" ‖ index (8, big-endian)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedRatchetHeader {
    /// The index of the step to be used next.
    pub index: u64,
}

impl SealedRatchetHeader {
    /// How long it is, in bytes.
    pub const LEN: usize = MAGIC.len() + size_of::<u64>();

    /// That of a file with these bytes; `None` if it has none.
    #[must_use]
    pub fn of(file: &[u8]) -> Option<Self> {
        let index = file.strip_prefix(MAGIC)?.first_chunk()?;
        Some(Self {
            index: u64::from_be_bytes(*index),
        })
    }

    /// As it stands in the file.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        [&MAGIC[..], &self.index.to_be_bytes()].concat()
    }
}
