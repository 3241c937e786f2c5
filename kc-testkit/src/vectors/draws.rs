//! The random byte strings that a case recorded, played back as a source of randomness.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use rand_core::{TryCryptoRng, TryRng};
use serde::Deserialize;

/// Who consumed a random byte string in the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Source {
    /// X25519 scalars, nonces, `random0`, `random1`, Ed25519 seeds, ratchet secrets, opaque keys.
    Sodium,
    /// ML-KEM, SLH-DSA and sntrup761.
    Oqs,
}

/// One recorded random byte string, or only its length.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "RawDraw")]
pub(super) struct Draw {
    source: Source,
    recorded: Recorded,
}

#[derive(Debug, Clone)]
enum Recorded {
    Bytes(Vec<u8>),
    Length(usize),
}

impl Draw {
    fn len(&self) -> usize {
        match &self.recorded {
            Recorded::Bytes(bytes) => bytes.len(),
            Recorded::Length(length) => *length,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDraw {
    src: Source,
    hex: Option<String>,
    len: Option<usize>,
}

impl TryFrom<RawDraw> for Draw {
    type Error = String;

    fn try_from(raw: RawDraw) -> Result<Self, String> {
        let recorded = match (raw.hex, raw.len) {
            (Some(text), None) => {
                Recorded::Bytes(hex::decode(text).map_err(|error| error.to_string())?)
            }
            (None, Some(length)) => Recorded::Length(length),
            _ => return Err("a draw has either `hex` or `len`".to_owned()),
        };
        Ok(Self {
            source: raw.src,
            recorded,
        })
    }
}

/// What went wrong while draws were played back; shared by all of a case's [`Draws`].
#[derive(Debug, Clone, Default)]
pub(super) struct Faults(Arc<Mutex<Option<String>>>);

impl Faults {
    /// The first fault.
    pub(super) fn first(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn note(&self, problem: String) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(problem);
    }
}

/// A scripted source of randomness: implements `rand_core::CryptoRng`.
///
/// A request for n bytes (one `fill_bytes`) takes the first recorded draw of n bytes that is left; draws of other
/// lengths stay for later requests. A request that no draw can answer, or only one whose bytes were not recorded,
/// fails the case and gets a deterministic filler, so that the code under test runs to its end. The default has nothing
/// but filler.
#[derive(Debug, Default)]
pub struct Draws {
    script: VecDeque<Draw>,
    faults: Option<Faults>,
    filler: u64,
}

impl Draws {
    pub(super) fn new(script: &[Draw], faults: Faults) -> Self {
        Self {
            script: script.iter().cloned().collect(),
            faults: Some(faults),
            filler: 0,
        }
    }

    /// Keeps only the draws of one source.
    #[must_use]
    pub fn only(mut self, source: Source) -> Self {
        self.script.retain(|draw| draw.source == source);
        self
    }

    /// Drops the next `count` draws (after [`only`](Self::only)): those of side effects that we do not have.
    #[must_use]
    pub fn discard(mut self, count: usize) -> Self {
        self.script.drain(..count.min(self.script.len()));
        self
    }

    /// Keeps the draws that `wanted` accepts: it is told the source, the length in bytes, and how many draws of that
    /// source and length came before. For side effects in between.
    #[must_use]
    pub fn keep(mut self, wanted: impl Fn(Source, usize, usize) -> bool) -> Self {
        let mut seen: HashMap<(Source, usize), usize> = HashMap::new();
        self.script.retain(|draw| {
            let count = seen.entry((draw.source, draw.len())).or_default();
            let before = *count;
            *count += 1;
            wanted(draw.source, draw.len(), before)
        });
        self
    }

    /// Whether no draw is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.script.is_empty()
    }

    /// Answers requests that the script cannot answer with filler, without failing the case.
    ///
    /// For draws whose value the output does not show, or whose place in the output is named in
    /// [`NORMALISATIONS`](super::NORMALISATIONS).
    #[must_use]
    pub fn or_filler(mut self) -> Self {
        self.faults = None;
        self
    }

    fn answer(&mut self, dst: &mut [u8]) -> Result<(), String> {
        let wanted = dst.len();
        let position = self.script.iter().position(|draw| draw.len() == wanted);
        match position.and_then(|position| self.script.remove(position)) {
            Some(Draw {
                recorded: Recorded::Bytes(bytes),
                ..
            }) => {
                dst.copy_from_slice(&bytes);
                Ok(())
            }
            Some(Draw {
                recorded: Recorded::Length(_),
                ..
            }) => Err(format!(
                "not reproducible: of the draw of {wanted} bytes only the length is recorded"
            )),
            None => Err(format!("draws: no recorded draw of {wanted} bytes is left")),
        }
    }

    /// SplitMix64: code that draws until a sample fits must come to an end.
    fn fill(&mut self, dst: &mut [u8]) {
        for chunk in dst.chunks_mut(8) {
            self.filler = self.filler.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.filler;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            for (to, from) in chunk.iter_mut().zip(z.to_le_bytes()) {
                *to = from;
            }
        }
    }
}

impl TryRng for Draws {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        if let Err(problem) = self.answer(dst) {
            self.fill(dst);
            if let Some(faults) = &self.faults {
                faults.note(problem);
            }
        }
        Ok(())
    }
}

impl TryCryptoRng for Draws {}

#[cfg(test)]
mod tests {
    use rand_core::{CryptoRng, Rng};
    use serde_json::json;

    use super::*;

    fn script() -> (Draws, Faults) {
        let draws: Vec<Draw> = serde_json::from_value(json!([
            {"src": "sodium", "hex": "0102"},
            {"src": "oqs", "hex": "030405"},
            {"src": "oqs", "hex": "0607"},
            {"src": "oqs", "len": 5},
        ]))
        .unwrap();
        let faults = Faults::default();
        (Draws::new(&draws, faults.clone()), faults)
    }

    fn draw<const N: usize>(rng: &mut impl CryptoRng) -> [u8; N] {
        let mut bytes = [0; N];
        rng.fill_bytes(&mut bytes);
        bytes
    }

    #[test]
    fn requests_are_answered_by_length_in_recorded_order() {
        let (mut draws, faults) = script();
        assert_eq!(draw(&mut draws), [3, 4, 5]);
        assert_eq!(draw(&mut draws), [1, 2]);
        assert_eq!(draw(&mut draws), [6, 7]);
        assert_eq!(faults.first(), None);
    }

    #[test]
    fn sources_can_be_selected_and_draws_discarded() {
        let (draws, _) = script();
        assert_eq!(draw(&mut draws.only(Source::Oqs)), [6, 7]);
        let (draws, _) = script();
        assert_eq!(draw(&mut draws.discard(1)), [6, 7]);
    }

    #[test]
    fn draws_are_kept_by_source_length_and_place() {
        let (draws, _) = script();
        let second = |source, len, before| (source, len, before) == (Source::Oqs, 2, 0);
        let mut draws = draws.keep(second).or_filler();
        assert_eq!(draw(&mut draws), [6, 7]);
        assert_ne!(draw(&mut draws), [3, 4, 5]);
    }

    #[test]
    fn a_dry_script_is_a_fault_and_the_filler_varies() {
        let (mut draws, faults) = script();
        let first = draws.next_u64();
        assert_ne!(first, draws.next_u64());
        assert_eq!(
            faults.first().unwrap(),
            "draws: no recorded draw of 8 bytes is left"
        );
    }

    #[test]
    fn a_draw_of_known_length_alone_is_not_reproducible() {
        let (mut draws, faults) = script();
        let _: [u8; 5] = draw(&mut draws);
        assert!(faults.first().unwrap().starts_with("not reproducible"));
    }

    #[test]
    fn filler_on_request_is_no_fault() {
        let (draws, faults) = script();
        let mut draws = draws.or_filler();
        assert_ne!(draw(&mut draws), [0; 16]);
        assert_eq!(draw(&mut draws), [1, 2]);
        assert_eq!(faults.first(), None);
    }
}

/// Draws nothing but zeros: what a vector does not record because its peer draws nothing there.
#[derive(Debug)]
pub(in crate::vectors) struct Zeros;

impl TryRng for Zeros {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(0)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(0)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill(0);
        Ok(())
    }
}

impl TryCryptoRng for Zeros {}
