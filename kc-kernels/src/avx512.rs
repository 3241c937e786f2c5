//! Vectors of 512 bits: sixteen words of 32 bits, or eight of 64.

use std::arch::x86_64::{
    __m128i, __m512i, _mm_loadu_si128, _mm_storeu_si128, _mm512_add_epi32, _mm512_add_epi64,
    _mm512_and_si512, _mm512_broadcast_i32x4, _mm512_castsi128_si512, _mm512_castsi512_si128,
    _mm512_inserti32x4, _mm512_loadu_si512, _mm512_madd52hi_epu64, _mm512_madd52lo_epu64,
    _mm512_mask_blend_epi32, _mm512_or_si512, _mm512_permutex2var_epi32, _mm512_rol_epi32,
    _mm512_ror_epi64, _mm512_set1_epi32, _mm512_set1_epi64, _mm512_setzero_si512,
    _mm512_shuffle_epi32, _mm512_shuffle_i32x4, _mm512_slli_epi64, _mm512_srli_epi64,
    _mm512_storeu_si512, _mm512_ternarylogic_epi64, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64,
    _mm512_unpacklo_epi32, _mm512_unpacklo_epi64, _mm512_xor_si512,
};

use crate::KECCAK_LANES;
use crate::keccak::{ROUNDS, keccak};
use crate::lanes::engine;
use crate::poly1305::{BLOCK, Poly1305};

type Vector = __m512i;
/// The number of words of 32 bits in a vector.
const WORDS: usize = 16;
/// The number of words of 64 bits in a vector.
const LONGS: usize = 8;

/// Operations that the engine names without their width.
macro_rules! operations {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty = $body:expr;)*) => {$(
        #[target_feature(enable = "avx512f,avx512ifma")]
        #[inline]
        fn $name($($argument: $type),*) -> $result {
            $body
        }
    )*};
}

operations! {
    add32(a: Vector, b: Vector) -> Vector = _mm512_add_epi32(a, b);
    add64(a: Vector, b: Vector) -> Vector = _mm512_add_epi64(a, b);
    xor(a: Vector, b: Vector) -> Vector = _mm512_xor_si512(a, b);
    xor3(a: Vector, b: Vector, c: Vector) -> Vector = _mm512_ternarylogic_epi64::<0x96>(a, b, c);
    chi(a: Vector, b: Vector, c: Vector) -> Vector = _mm512_ternarylogic_epi64::<0xd2>(a, b, c);
    all32(word: u32) -> Vector = _mm512_set1_epi32(word.cast_signed());
    all64(word: u64) -> Vector = _mm512_set1_epi64(word.cast_signed());
    // SAFETY: the array has the 64 bytes that are read. The load needs no alignment.
    load32(words: &[u32; WORDS]) -> Vector = unsafe { _mm512_loadu_si512(words.as_ptr().cast()) };
    // SAFETY: as above.
    load64(words: &[u64; LONGS]) -> Vector = unsafe { _mm512_loadu_si512(words.as_ptr().cast()) };
    // SAFETY: as above.
    row(bytes: &[u8; ROW]) -> Row = unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) };
    // SAFETY: the array has the 16 bytes that are read. The load needs no alignment.
    block_of(bytes: &[u8; BLOCK]) -> __m128i = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
    // SAFETY: the array has the 64 bytes that are written. The store needs no alignment.
    store(row: &Row, bytes: &mut [u8; ROW]) -> () = unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), *row) };
    add(keystream: &Row, input: &[u8; ROW], output: &mut [u8; ROW]) -> () = store(&xor(*keystream, row(input)), output);
    // SAFETY: as above.
    store64(vector: Vector, words: &mut [u64; LONGS]) -> () = unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), vector) };
}

/// Returns the low and the high halves of words of 64 bits: first those of `first`, then those of `second`.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn words_of(first: Vector, second: Vector) -> [Vector; 2] {
    let low = load32(&std::array::from_fn(|lane| 2 * lane as u32));
    let high = load32(&std::array::from_fn(|lane| 2 * lane as u32 + 1));
    [low, high].map(|halves| _mm512_permutex2var_epi32(first, halves, second))
}

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn left32<const BITS: i32>(a: Vector) -> Vector {
    _mm512_rol_epi32::<BITS>(a)
}

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn right64<const BITS: i32>(a: Vector) -> Vector {
    _mm512_ror_epi64::<BITS>(a)
}

/// A diagonal of four states of Salsa20.
type Four = Vector;

operations! {
    add_of_four(a: Four, b: Four) -> Four = add32(a, b);
    // SAFETY: the array has the 16 bytes that are read. The load needs no alignment.
    all_of_four(words: &[u32; 4]) -> Four = _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(words.as_ptr().cast()) });
    counted_of_four(c: Four) -> Four = add32(c, load32(&[0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]));
}

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn step_of_four<const BITS: i32>(a: Four, b: Four, c: Four) -> Four {
    xor(a, left32::<BITS>(add32(b, c)))
}

/// Turns each diagonal.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn turn_of_four<const PLACES: i32>(a: Four) -> Four {
    _mm512_shuffle_epi32::<PLACES>(a)
}

/// Returns the diagonal of the first state.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn first_of_four(a: Four) -> [u32; 4] {
    let (first, mut words) = (_mm512_castsi512_si128(a), [0; 4]);
    // SAFETY: the array has the 16 bytes that are written. The store needs no alignment.
    unsafe { _mm_storeu_si128(words.as_mut_ptr().cast(), first) };
    words
}

/// Writes four states, one behind the other.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn store_four([a, b, c, d]: &[Four; 4], bytes: &mut [u8; SHORT]) {
    let row = |[w, x, y, z]: [Four; 4]| {
        let row = _mm512_mask_blend_epi32(0x2222, w, x);
        _mm512_mask_blend_epi32(0x8888, _mm512_mask_blend_epi32(0x4444, row, y), z)
    };
    let rows = [
        row([*a, *d, *c, *b]),
        row([*b, *a, *d, *c]),
        row([*c, *b, *a, *d]),
        row([*d, *c, *b, *a]),
    ];
    let low = [
        _mm512_shuffle_i32x4::<0x44>(rows[0], rows[1]),
        _mm512_shuffle_i32x4::<0x44>(rows[2], rows[3]),
    ];
    let high = [
        _mm512_shuffle_i32x4::<0xee>(rows[0], rows[1]),
        _mm512_shuffle_i32x4::<0xee>(rows[2], rows[3]),
    ];
    let blocks = [
        _mm512_shuffle_i32x4::<0x88>(low[0], low[1]),
        _mm512_shuffle_i32x4::<0xdd>(low[0], low[1]),
        _mm512_shuffle_i32x4::<0x88>(high[0], high[1]),
        _mm512_shuffle_i32x4::<0xdd>(high[0], high[1]),
    ];
    for (block, bytes) in blocks.iter().zip(bytes.as_chunks_mut().0) {
        store(block, bytes);
    }
}

/// A block of the keystream of a message.
type Row = Vector;

/// Returns sixteen rows of which row `i` has the words `i` of all vectors.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn transpose(words: &[Vector; 16]) -> [Row; WORDS] {
    let mut pairs = *words;
    for at in 0..8 {
        pairs[2 * at] = _mm512_unpacklo_epi32(words[2 * at], words[2 * at + 1]);
        pairs[2 * at + 1] = _mm512_unpackhi_epi32(words[2 * at], words[2 * at + 1]);
    }
    let mut fours = pairs;
    for at in (0..16).step_by(4) {
        fours[at] = _mm512_unpacklo_epi64(pairs[at], pairs[at + 2]);
        fours[at + 1] = _mm512_unpackhi_epi64(pairs[at], pairs[at + 2]);
        fours[at + 2] = _mm512_unpacklo_epi64(pairs[at + 1], pairs[at + 3]);
        fours[at + 3] = _mm512_unpackhi_epi64(pairs[at + 1], pairs[at + 3]);
    }
    let mut eights = fours;
    for at in 0..4 {
        eights[at] = _mm512_shuffle_i32x4::<0x88>(fours[at], fours[at + 4]);
        eights[at + 4] = _mm512_shuffle_i32x4::<0xdd>(fours[at], fours[at + 4]);
        eights[at + 8] = _mm512_shuffle_i32x4::<0x88>(fours[at + 8], fours[at + 12]);
        eights[at + 12] = _mm512_shuffle_i32x4::<0xdd>(fours[at + 8], fours[at + 12]);
    }
    let mut rows = eights;
    for at in 0..8 {
        rows[at] = _mm512_shuffle_i32x4::<0x88>(eights[at], eights[at + 8]);
        rows[at + 8] = _mm512_shuffle_i32x4::<0xdd>(eights[at], eights[at + 8]);
    }
    rows
}

const M44: u64 = (1 << 44) - 1;
const M42: u64 = (1 << 42) - 1;

/// Poly1305 of eight messages, with limbs of 44, 44 and 42 bits: the products of IFMA have 104 bits.
struct Eight<'t> {
    limbs: Limbs,
    texts: [&'t [[u8; BLOCK]]; LONGS],
}

/// The secrets of eight authenticators, which are wiped after use.
struct Limbs {
    sums: [Vector; 3],
    factors: [Vector; 3],
    /// The two high factors times 20: a limb above bit 132 returns at bit 0, times 5 · 4.
    returning: [Vector; 2],
}

impl Drop for Limbs {
    fn drop(&mut self) {
        // SAFETY: the fields are integers, for which zeros are valid, and nothing reads them any more.
        unsafe { zeroize::zeroize_flat_type(&raw mut *self) };
    }
}

impl<'t> Eight<'t> {
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn new(states: &[Poly1305; LONGS], texts: [&'t [[u8; BLOCK]]; LONGS]) -> Self {
        let lanes = |word: &dyn Fn(&Poly1305) -> u64| {
            load64(&std::array::from_fn(|lane| word(&states[lane])))
        };
        let middle = |low: u64, high: u64| (low >> 44 | high << 20) & M44;
        let limbs = Limbs {
            sums: [
                lanes(&|state| state.sum[0] & M44),
                lanes(&|state| middle(state.sum[0], state.sum[1])),
                lanes(&|state| state.sum[1] >> 24 | state.sum[2] << 40),
            ],
            factors: [
                lanes(&|state| state.factor[0] & M44),
                lanes(&|state| middle(state.factor[0], state.factor[1])),
                lanes(&|state| state.factor[1] >> 24),
            ],
            returning: [
                lanes(&|state| 20 * middle(state.factor[0], state.factor[1])),
                lanes(&|state| 20 * (state.factor[1] >> 24)),
            ],
        };
        Self { limbs, texts }
    }

    /// Absorbs block `at` of each message.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn absorb(&mut self, at: usize) {
        let [f0, f1, f2] = self.limbs.factors;
        let [r1, r2] = self.limbs.returning;
        let four = |[a, b, c, d]: [usize; 4]| {
            let text = |lane: usize| block_of(&self.texts[lane][at]);
            let fours = _mm512_castsi128_si512(text(a));
            let fours = _mm512_inserti32x4::<1>(fours, text(b));
            let fours = _mm512_inserti32x4::<2>(fours, text(c));
            _mm512_inserti32x4::<3>(fours, text(d))
        };
        let (even, odd) = (four([0, 2, 4, 6]), four([1, 3, 5, 7]));
        let low = _mm512_unpacklo_epi64(even, odd);
        let up = _mm512_unpackhi_epi64(even, odd);
        let across = _mm512_or_si512(_mm512_srli_epi64::<44>(low), _mm512_slli_epi64::<20>(up));
        let (m44, m42) = (all64(M44), all64(M42));
        let [s0, s1, s2] = self.limbs.sums;
        let s0 = add64(s0, _mm512_and_si512(low, m44));
        let s1 = add64(s1, _mm512_and_si512(across, m44));
        let s2 = add64(
            s2,
            _mm512_or_si512(_mm512_srli_epi64::<24>(up), all64(1 << 40)),
        );
        let zero = _mm512_setzero_si512();
        let product = |a, b, c| {
            let low = add64(
                _mm512_madd52lo_epu64(_mm512_madd52lo_epu64(zero, s0, a), s2, c),
                _mm512_madd52lo_epu64(zero, s1, b),
            );
            let high = add64(
                _mm512_madd52hi_epu64(_mm512_madd52hi_epu64(zero, s0, a), s2, c),
                _mm512_madd52hi_epu64(zero, s1, b),
            );
            (low, high)
        };
        let ((d0, e0), (d1, e1), (d2, e2)) = (
            product(f0, r2, r1),
            product(f1, f0, r2),
            product(f2, f1, f0),
        );
        // The high parts begin at bit 52 of their limb: at bit 8 of the next limb.
        let d1 = add64(
            d1,
            add64(_mm512_srli_epi64::<44>(d0), _mm512_slli_epi64::<8>(e0)),
        );
        let d2 = add64(
            d2,
            add64(_mm512_srli_epi64::<44>(d1), _mm512_slli_epi64::<8>(e1)),
        );
        let over = add64(_mm512_srli_epi64::<42>(d2), _mm512_slli_epi64::<10>(e2));
        let over = add64(over, _mm512_slli_epi64::<2>(over));
        let d0 = add64(_mm512_and_si512(d0, m44), over);
        self.limbs.sums = [
            _mm512_and_si512(d0, m44),
            add64(_mm512_and_si512(d1, m44), _mm512_srli_epi64::<44>(d0)),
            _mm512_and_si512(d2, m42),
        ];
    }

    /// Returns the sums to the states.
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn finish(self, states: &mut [Poly1305; LONGS]) {
        let mut sums = [[0; LONGS]; 3];
        for (vector, words) in self.limbs.sums.into_iter().zip(&mut sums) {
            store64(vector, words);
        }
        for (lane, state) in states.iter_mut().enumerate() {
            let [s0, s1, s2] = [
                sums[0][lane],
                sums[1][lane] & M44,
                sums[2][lane] + (sums[1][lane] >> 44),
            ];
            state.sum = [s0 | s1 << 44, s1 >> 20 | s2 << 24, s2 >> 40];
        }
    }
}

/// Absorbs the whole blocks that all messages have. Returns the number of bytes of each message that were absorbed.
#[target_feature(enable = "avx512f,avx512ifma")]
fn absorb(states: &mut [Poly1305; WORDS], texts: &[&[u8]; WORDS]) -> usize {
    let blocks = texts.iter().map(|text| text.len() / BLOCK);
    let blocks = blocks.min().unwrap_or(0);
    let (states, _) = states.as_chunks_mut::<LONGS>();
    let [low, high] = states else { return 0 };
    let texts = |from: usize| {
        std::array::from_fn(|lane| &texts[from + lane].as_chunks::<BLOCK>().0[..blocks])
    };
    let mut first = Eight::new(low, texts(0));
    let mut second = Eight::new(high, texts(LONGS));
    // Each absorption waits for the one before: two at a time use the time of waiting.
    for at in 0..blocks {
        first.absorb(at);
        second.absorb(at);
    }
    first.finish(low);
    second.finish(high);
    blocks * BLOCK
}

engine!("avx512f,avx512ifma,bmi2");
keccak!("avx512f,avx512ifma");
