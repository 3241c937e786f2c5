//! Vectors of 256 bits: eight words of 32 bits, or four of 64.

use std::arch::x86_64::{
    __m256i, _mm_cvtsi32_si128, _mm_loadu_si128, _mm_storeu_si128, _mm256_add_epi32,
    _mm256_add_epi64, _mm256_andnot_si256, _mm256_blend_epi32, _mm256_broadcastsi128_si256,
    _mm256_castps_si256, _mm256_castsi256_ps, _mm256_castsi256_si128, _mm256_loadu_si256,
    _mm256_or_si256, _mm256_permute2x128_si256, _mm256_permute4x64_epi64, _mm256_set_epi64x,
    _mm256_set1_epi32, _mm256_set1_epi64x, _mm256_shuffle_epi32, _mm256_shuffle_ps,
    _mm256_sll_epi32, _mm256_sll_epi64, _mm256_srl_epi32, _mm256_srl_epi64, _mm256_storeu_si256,
    _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi32, _mm256_unpacklo_epi64,
    _mm256_xor_si256,
};

use crate::KECCAK_LANES;
use crate::keccak::{ROUNDS, keccak};
use crate::lanes::engine;
use crate::poly1305::{BLOCK, Poly1305};

type Vector = __m256i;
/// The number of words of 32 bits in a vector.
const WORDS: usize = 8;
/// The number of words of 64 bits in a vector.
const LONGS: usize = 4;

macro_rules! operations {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty = $body:expr;)*) => {$(
        #[target_feature(enable = "avx2")]
        #[inline]
        fn $name($($argument: $type),*) -> $result {
            $body
        }
    )*};
}

operations! {
    add32(a: Vector, b: Vector) -> Vector = _mm256_add_epi32(a, b);
    add64(a: Vector, b: Vector) -> Vector = _mm256_add_epi64(a, b);
    xor(a: Vector, b: Vector) -> Vector = _mm256_xor_si256(a, b);
    xor3(a: Vector, b: Vector, c: Vector) -> Vector = xor(xor(a, b), c);
    chi(a: Vector, b: Vector, c: Vector) -> Vector = xor(a, _mm256_andnot_si256(b, c));
    all32(word: u32) -> Vector = _mm256_set1_epi32(word.cast_signed());
    all64(word: u64) -> Vector = _mm256_set1_epi64x(word.cast_signed());
    // SAFETY: the array has the 32 bytes that are read. The load needs no alignment.
    load64(words: &[u64; LONGS]) -> Vector = unsafe { _mm256_loadu_si256(words.as_ptr().cast()) };
    // SAFETY: as above.
    half(bytes: &[u8; ROW / 2]) -> Vector = unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) };
    // SAFETY: the array has the 32 bytes that are written. The store needs no alignment.
    store_half(vector: Vector, bytes: &mut [u8; ROW / 2]) -> () = unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), vector) };
    // SAFETY: as above.
    store64(vector: Vector, words: &mut [u64; LONGS]) -> () = unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), vector) };
}

#[target_feature(enable = "avx2")]
#[inline]
fn store(row: &Row, bytes: &mut [u8; ROW]) {
    for (half, bytes) in row.iter().zip(bytes.as_chunks_mut().0) {
        store_half(*half, bytes);
    }
}

#[target_feature(enable = "avx2")]
#[inline]
fn add(keystream: &Row, input: &[u8; ROW], output: &mut [u8; ROW]) {
    let halves = input.as_chunks().0.iter().zip(output.as_chunks_mut().0);
    for (key, (input, output)) in keystream.iter().zip(halves) {
        store_half(xor(*key, half(input)), output);
    }
}

/// Returns the low and the high halves of words of 64 bits: first those of `first`, then those of `second`.
#[target_feature(enable = "avx2")]
#[inline]
fn words_of(first: Vector, second: Vector) -> [Vector; 2] {
    let (first, second) = (_mm256_castsi256_ps(first), _mm256_castsi256_ps(second));
    let low = _mm256_castps_si256(_mm256_shuffle_ps::<0x88>(first, second));
    let high = _mm256_castps_si256(_mm256_shuffle_ps::<0xdd>(first, second));
    [low, high].map(|halves| _mm256_permute4x64_epi64::<0xd8>(halves))
}

#[target_feature(enable = "avx2")]
#[inline]
fn left32<const BITS: i32>(a: Vector) -> Vector {
    let (left, right) = (_mm_cvtsi32_si128(BITS), _mm_cvtsi32_si128(32 - BITS));
    _mm256_or_si256(_mm256_sll_epi32(a, left), _mm256_srl_epi32(a, right))
}

#[target_feature(enable = "avx2")]
#[inline]
fn right64<const BITS: i32>(a: Vector) -> Vector {
    let (right, left) = (_mm_cvtsi32_si128(BITS), _mm_cvtsi32_si128(64 - BITS));
    _mm256_or_si256(_mm256_srl_epi64(a, right), _mm256_sll_epi64(a, left))
}

/// A diagonal of four states of Salsa20.
type Four = [Vector; 2];

operations! {
    add_of_four(a: Four, b: Four) -> Four = [add32(a[0], b[0]), add32(a[1], b[1])];
    // SAFETY: the array has the 16 bytes that are read. The load needs no alignment.
    all_of_four(words: &[u32; 4]) -> Four = [_mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(words.as_ptr().cast()) }); 2];
    counted_of_four(c: Four) -> Four = [add64(c[0], _mm256_set_epi64x(0, 1, 0, 0)), add64(c[1], _mm256_set_epi64x(0, 3, 0, 2))];
}

#[target_feature(enable = "avx2")]
#[inline]
fn step_of_four<const BITS: i32>(a: Four, b: Four, c: Four) -> Four {
    let step = |half: usize| xor(a[half], left32::<BITS>(add32(b[half], c[half])));
    [step(0), step(1)]
}

/// Turns each diagonal.
#[target_feature(enable = "avx2")]
#[inline]
fn turn_of_four<const PLACES: i32>(a: Four) -> Four {
    a.map(|half| _mm256_shuffle_epi32::<PLACES>(half))
}

/// Returns the diagonal of the first state.
#[target_feature(enable = "avx2")]
#[inline]
fn first_of_four(a: Four) -> [u32; 4] {
    let (first, mut words) = (_mm256_castsi256_si128(a[0]), [0; 4]);
    // SAFETY: the array has the 16 bytes that are written. The store needs no alignment.
    unsafe { _mm_storeu_si128(words.as_mut_ptr().cast(), first) };
    words
}

/// Writes four states, one behind the other.
#[target_feature(enable = "avx2")]
#[inline]
fn store_four([a, b, c, d]: &[Four; 4], bytes: &mut [u8; SHORT]) {
    let (blocks, _) = bytes.as_chunks_mut::<{ 2 * ROW }>();
    for (half, blocks) in blocks.iter_mut().enumerate() {
        let row = |[w, x, y, z]: [&Four; 4]| {
            let row = _mm256_blend_epi32::<0x22>(w[half], x[half]);
            let row = _mm256_blend_epi32::<0x44>(row, y[half]);
            _mm256_blend_epi32::<0x88>(row, z[half])
        };
        let rows = [
            row([a, d, c, b]),
            row([b, a, d, c]),
            row([c, b, a, d]),
            row([d, c, b, a]),
        ];
        let halves = [
            _mm256_permute2x128_si256::<0x20>(rows[0], rows[1]),
            _mm256_permute2x128_si256::<0x20>(rows[2], rows[3]),
            _mm256_permute2x128_si256::<0x31>(rows[0], rows[1]),
            _mm256_permute2x128_si256::<0x31>(rows[2], rows[3]),
        ];
        for (half, bytes) in halves.into_iter().zip(blocks.as_chunks_mut().0) {
            store_half(half, bytes);
        }
    }
}

/// A block of the keystream of a message: its two halves.
type Row = [Vector; 2];

/// Returns eight rows of which row `i` has the words `i` of all vectors.
#[target_feature(enable = "avx2")]
#[inline]
fn transpose(words: &[Vector; 16]) -> [Row; WORDS] {
    let mut rows = [[words[0]; 2]; WORDS];
    for half in 0..2 {
        let words = &words[half * 8..half * 8 + 8];
        let mut pairs = [words[0]; 8];
        for at in 0..4 {
            pairs[2 * at] = _mm256_unpacklo_epi32(words[2 * at], words[2 * at + 1]);
            pairs[2 * at + 1] = _mm256_unpackhi_epi32(words[2 * at], words[2 * at + 1]);
        }
        let mut fours = pairs;
        for at in (0..8).step_by(4) {
            fours[at] = _mm256_unpacklo_epi64(pairs[at], pairs[at + 2]);
            fours[at + 1] = _mm256_unpackhi_epi64(pairs[at], pairs[at + 2]);
            fours[at + 2] = _mm256_unpacklo_epi64(pairs[at + 1], pairs[at + 3]);
            fours[at + 3] = _mm256_unpackhi_epi64(pairs[at + 1], pairs[at + 3]);
        }
        for at in 0..4 {
            let (low, high) = (fours[at], fours[at + 4]);
            rows[at][half] = _mm256_permute2x128_si256::<0x20>(low, high);
            rows[at + 4][half] = _mm256_permute2x128_si256::<0x31>(low, high);
        }
    }
    rows
}

/// Absorbs the whole blocks that all messages have, two messages at a time. Returns the number of bytes of each message that
/// were absorbed.
#[target_feature(enable = "bmi2")]
fn absorb(states: &mut [Poly1305; WORDS], texts: &[&[u8]; WORDS]) -> usize {
    let blocks = texts.iter().map(|text| text.len() / BLOCK);
    let blocks = blocks.min().unwrap_or(0);
    let (states, texts) = (states.as_chunks_mut::<2>().0, texts.as_chunks::<2>().0);
    for (states, texts) in states.iter_mut().zip(texts) {
        let [low, high] = texts.map(|text| &text.as_chunks().0[..blocks]);
        Poly1305::absorb_two(states, low, high);
    }
    blocks * BLOCK
}

engine!("avx2,bmi2");
keccak!("avx2");
