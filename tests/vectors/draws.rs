//! The recorded random byte strings of a case, replayed as a source of randomness.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::rc::Rc;

use rand_core::utils::next_word_via_fill;
use rand_core::{TryCryptoRng, TryRng};
use serde::Deserialize;

use crate::values::Hex;

/// The library that consumed a random byte string in the reference.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Source {
    /// X25519 scalars, nonces, `random0`, `random1`, Ed25519 seeds, ratchet secrets, opaque keys.
    Sodium,
    /// ML-KEM, SLH-DSA and sntrup761.
    Oqs,
}

input! {
    /// One recorded random byte string, or only its length.
    #[derive(Clone)]
    struct Draw { src: Source, hex: Option<Hex>, len: Option<usize> }
}

impl Draw {
    fn len(&self) -> usize {
        let bytes = self.hex.as_ref().map(|bytes| bytes.len());
        bytes.or(self.len).unwrap_or_default()
    }
}

/// The first error while draws were replayed, shared by all [`Draws`] of a case.
#[derive(Clone, Default)]
pub(crate) struct Faults(Rc<RefCell<Option<String>>>);

impl Faults {
    pub(crate) fn first(&self) -> Option<String> {
        self.0.borrow().clone()
    }
}

/// A scripted source of randomness: implements `rand_core::CryptoRng`.
///
/// A request for n bytes (one `fill_bytes`) takes the first remaining draw of n bytes; draws of other lengths stay for
/// later requests. A request fails the case if no draw remains for it, or if the bytes of the draw were not recorded;
/// it then gets a deterministic filler, so that the tested code runs to its end. The default contains only filler.
#[derive(Default)]
pub(crate) struct Draws {
    script: VecDeque<Draw>,
    faults: Option<Faults>,
    filler: u64,
}

impl Draws {
    pub(crate) fn new(script: &[Draw], faults: Faults) -> Self {
        Self {
            script: script.iter().cloned().collect(),
            faults: Some(faults),
            filler: 0,
        }
    }

    /// Keeps the draws that `wanted` accepts. The arguments of `wanted` are the source, the length in bytes, and the
    /// number of earlier draws with the same source and length. Other draws belong to work of the reference that kc
    /// does not do.
    pub(crate) fn keep(mut self, wanted: impl Fn(Source, usize, usize) -> bool) -> Self {
        let mut seen: HashMap<(Source, usize), usize> = HashMap::new();
        self.script.retain(|draw| {
            let count = seen.entry((draw.src, draw.len())).or_default();
            let before = *count;
            *count += 1;
            wanted(draw.src, draw.len(), before)
        });
        self
    }

    /// Answers requests that the script cannot answer with filler, without failing the case.
    ///
    /// For draws whose value the output does not show, or whose place in the output is normalised.
    pub(crate) fn or_filler(mut self) -> Self {
        self.faults = None;
        self
    }

    fn answer(&mut self, dst: &mut [u8]) -> Result<(), String> {
        let wanted = dst.len();
        let position = self.script.iter().position(|draw| draw.len() == wanted);
        let draw = position.and_then(|position| self.script.remove(position));
        let draw = draw.ok_or_else(|| format!("no recorded draw of {wanted} bytes is left"))?;
        let bytes = draw.hex.ok_or_else(|| {
            format!("not reproducible: of the draw of {wanted} bytes only the length is recorded")
        })?;
        dst.copy_from_slice(&bytes);
        Ok(())
    }

    /// The filler varies, because code that draws until a sample fits must end.
    fn fill(&mut self, dst: &mut [u8]) {
        for byte in dst {
            let next = self.filler.wrapping_mul(0x5851_f42d_4c95_7f2d);
            self.filler = next.wrapping_add(0x1405_7b7e_f767_814f);
            [*byte, ..] = self.filler.to_be_bytes();
        }
    }
}

impl TryRng for Draws {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        next_word_via_fill(self)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        next_word_via_fill(self)
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        if let Err(problem) = self.answer(dst) {
            self.fill(dst);
            if let Some(Faults(first)) = &self.faults {
                first.borrow_mut().get_or_insert(problem);
            }
        }
        Ok(())
    }
}

impl TryCryptoRng for Draws {}

/// Half a salt of zeros for one sealing key: the peers draw nothing for it.
pub(crate) fn zeros() -> Draws {
    let zeros = Draw {
        src: Source::Sodium,
        hex: Some(Hex(vec![0; 8])),
        len: None,
    };
    Draws::new(&[zeros], Faults::default())
}
