//! Keccak-f[1600] (FIPS 202), for any vector: lane `i` works for state `i`.

/// The constants of the rounds (FIPS 202, section 3.2.5).
pub(crate) const ROUNDS: [u64; 24] = [
    0x0000_0000_0000_0001,
    0x0000_0000_0000_8082,
    0x8000_0000_0000_808a,
    0x8000_0000_8000_8000,
    0x0000_0000_0000_808b,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8009,
    0x0000_0000_0000_008a,
    0x0000_0000_0000_0088,
    0x0000_0000_8000_8009,
    0x0000_0000_8000_000a,
    0x0000_0000_8000_808b,
    0x8000_0000_0000_008b,
    0x8000_0000_0000_8089,
    0x8000_0000_0000_8003,
    0x8000_0000_0000_8002,
    0x8000_0000_0000_0080,
    0x0000_0000_0000_800a,
    0x8000_0000_8000_000a,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8080,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8008,
];

/// Defines the permutation for the vectors of a module, which defines their operations.
macro_rules! keccak {
    ($features:literal) => {
        /// A round: θ, ρ and π, then χ and ι.
        #[target_feature(enable = $features)]
        #[inline]
        fn keccak_round(a: &mut [Vector; 25], constant: u64) {
            let c = |x: usize| xor3(xor3(a[x], a[x + 5], a[x + 10]), a[x + 15], a[x + 20]);
            let [c0, c1, c2, c3, c4] = [c(0), c(1), c(2), c(3), c(4)];
            let d0 = xor(c4, right64::<63>(c1));
            let d1 = xor(c0, right64::<63>(c2));
            let d2 = xor(c1, right64::<63>(c3));
            let d3 = xor(c2, right64::<63>(c4));
            let d4 = xor(c3, right64::<63>(c0));
            // The numbers are 64 less the offsets of ρ, because the rotations are to the right.
            let b = [
                [
                    xor(a[0], d0),
                    right64::<20>(xor(a[6], d1)),
                    right64::<21>(xor(a[12], d2)),
                    right64::<43>(xor(a[18], d3)),
                    right64::<50>(xor(a[24], d4)),
                ],
                [
                    right64::<36>(xor(a[3], d3)),
                    right64::<44>(xor(a[9], d4)),
                    right64::<61>(xor(a[10], d0)),
                    right64::<19>(xor(a[16], d1)),
                    right64::<3>(xor(a[22], d2)),
                ],
                [
                    right64::<63>(xor(a[1], d1)),
                    right64::<58>(xor(a[7], d2)),
                    right64::<39>(xor(a[13], d3)),
                    right64::<56>(xor(a[19], d4)),
                    right64::<46>(xor(a[20], d0)),
                ],
                [
                    right64::<37>(xor(a[4], d4)),
                    right64::<28>(xor(a[5], d0)),
                    right64::<54>(xor(a[11], d1)),
                    right64::<49>(xor(a[17], d2)),
                    right64::<8>(xor(a[23], d3)),
                ],
                [
                    right64::<2>(xor(a[2], d2)),
                    right64::<9>(xor(a[8], d3)),
                    right64::<25>(xor(a[14], d4)),
                    right64::<23>(xor(a[15], d0)),
                    right64::<62>(xor(a[21], d1)),
                ],
            ];
            for (row, [b0, b1, b2, b3, b4]) in a.as_chunks_mut::<5>().0.iter_mut().zip(b) {
                *row = [
                    chi(b0, b1, b2),
                    chi(b1, b2, b3),
                    chi(b2, b3, b4),
                    chi(b3, b4, b0),
                    chi(b4, b0, b1),
                ];
            }
            a[0] = xor(a[0], all64(constant));
        }

        /// Permutes eight states, of which `words[i][j]` is word `i` of state `j`.
        #[target_feature(enable = $features)]
        pub(crate) fn keccak_f(words: &mut [[u64; KECCAK_LANES]; 25]) {
            for part in 0..KECCAK_LANES / LONGS {
                let mut state = KeccakState([all64(0); 25]);
                for (vector, words) in state.0.iter_mut().zip(&*words) {
                    if let Some(words) = words.as_chunks().0.get(part) {
                        *vector = load64(words);
                    }
                }
                for constant in ROUNDS {
                    keccak_round(&mut state.0, constant);
                }
                for (vector, words) in state.0.iter().zip(&mut *words) {
                    if let Some(words) = words.as_chunks_mut().0.get_mut(part) {
                        store64(*vector, words);
                    }
                }
            }
        }

        /// States, which are wiped after use: the hashed text may be secret.
        struct KeccakState([Vector; 25]);

        impl Drop for KeccakState {
            fn drop(&mut self) {
                // SAFETY: the field is integers, for which zeros are valid, and nothing reads them any more.
                unsafe { zeroize::zeroize_flat_type(&raw mut *self) };
            }
        }
    };
}
pub(crate) use keccak;
