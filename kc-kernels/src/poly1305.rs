//! Poly1305 of one message (RFC 8439, section 2.5), in limbs of 64, 64 and a few bits.

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::TAG_LEN;
use crate::lanes::{HEAD, word};

/// Length of a block, in bytes.
pub(crate) const BLOCK: usize = 16;

/// The state after some whole blocks of a message.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Poly1305 {
    /// The sum, less than 2^131.
    pub(crate) sum: [u64; 3],
    /// The clamped factor.
    pub(crate) factor: [u64; 2],
    /// Five quarters of the high limb of the factor.
    reduced: u64,
    pad: [u64; 2],
}

impl Poly1305 {
    /// Returns the state before the first block.
    pub(crate) fn new(key: &[u8; HEAD]) -> Self {
        let word = |at: usize| word(key, at);
        let factor = [
            word(0) & 0x0fff_fffc_0fff_ffff,
            word(1) & 0x0fff_fffc_0fff_fffc,
        ];
        Self {
            sum: [0; 3],
            factor,
            reduced: factor[1] + (factor[1] >> 2),
            pad: [word(2), word(3)],
        }
    }

    /// Adds a block, and multiplies by the factor modulo 2^130 − 5. `high` is 1 for a whole block.
    #[inline]
    fn absorb(&mut self, block: &[u8; BLOCK], high: u64) {
        let wide = |a: u64, b: u64| u128::from(a) * u128::from(b);
        let block = u128::from_le_bytes(*block);
        let [s0, s1, s2] = self.sum;
        let (low, carry) = (u128::from(s0) | u128::from(s1) << 64).overflowing_add(block);
        let (s0, s1, s2) = (low as u64, (low >> 64) as u64, s2 + u64::from(carry) + high);
        let [f0, f1] = self.factor;
        let d0 = wide(s0, f0) + wide(s1, self.reduced);
        let d1 = wide(s0, f1) + wide(s1, f0) + wide(s2, self.reduced) + (d0 >> 64);
        let d2 = s2 * f0 + (d1 >> 64) as u64;
        let low = u128::from(d0 as u64) | d1 << 64;
        let (low, carry) = low.overflowing_add(u128::from((d2 & !3) + (d2 >> 2)));
        self.sum = [low as u64, (low >> 64) as u64, (d2 & 3) + u64::from(carry)];
    }

    /// Absorbs whole blocks of two messages. Each absorption waits for the one before: two at a time use the time of waiting.
    #[inline]
    pub(crate) fn absorb_two(
        [first, second]: &mut [Self; 2],
        blocks: &[[u8; BLOCK]],
        others: &[[u8; BLOCK]],
    ) {
        for (block, other) in blocks.iter().zip(others) {
            first.absorb(block, 1);
            second.absorb(other, 1);
        }
    }

    /// Absorbs the rest of the message, and returns the tag.
    pub(crate) fn finish(mut self, rest: &[u8]) -> [u8; TAG_LEN] {
        let (blocks, rest) = rest.as_chunks();
        for block in blocks {
            self.absorb(block, 1);
        }
        if !rest.is_empty() {
            let mut last = [0; BLOCK];
            last[..rest.len()].copy_from_slice(rest);
            last[rest.len()] = 1;
            self.absorb(&last, 0);
        }
        let [s0, s1, s2] = self.sum;
        let low = u128::from(s0) | u128::from(s1) << 64;
        // The sum less the modulus, if it is not less than the modulus.
        let (less, carry) = low.overflowing_add(5);
        let over = (s2 + u64::from(carry)) >> 2;
        let mask = 0_u128.wrapping_sub(u128::from(over));
        let reduced = (low & !mask) | (less & mask);
        let pad = u128::from(self.pad[0]) | u128::from(self.pad[1]) << 64;
        reduced.wrapping_add(pad).to_le_bytes()
    }
}
