//! What the fuzz targets share. They prove properties, not only that nothing panics.
//!
//! | module | what it is |
//! |---|---|
//! | [`world`] | roots of trust and nodes with fixed keys; how fuzzed certificates get real signatures |
//! | [`bounds`] | how much work input may cost, by who signed it |
//! | [`node`] | an exchange machine whose jobs are done at once |
//!
//! An input begins with a byte of choices. The lowest bits say how the rest is to be read: as it stands, or as what a
//! node signs that is authorised and hostile.

pub mod bounds;
pub mod node;
pub mod world;

/// The first byte of an input, and the rest.
#[must_use]
pub fn choices(data: &[u8]) -> Option<(u8, &[u8])> {
    let (choices, rest) = data.split_first()?;
    Some((*choices, rest))
}

/// A part whose length its first byte says, as far as there is so much, and the rest.
#[must_use]
pub fn counted(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first()?;
    Some(rest.split_at(usize::from(*length).min(rest.len())))
}
