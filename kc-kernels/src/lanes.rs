//! The three steps, for any vector: lane `i` works for message `i`.

use crate::{Message, TAG_LEN};

/// Length of a block of Salsa20, in bytes.
pub(crate) const ROW: usize = 64;
/// Length of the keystream of a short message, in bytes.
pub(crate) const SHORT: usize = 4 * ROW;
/// The beginning of the first block is the key of Poly1305; the rest of it encrypts.
pub(crate) const HEAD: usize = 32;
/// The constants of Salsa20.
pub(crate) const SIGMA: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];
/// The initial values of BLAKE2b (RFC 7693, section 2.6).
pub(crate) const IV: [u64; 8] = [
    0x6a09_e667_f3bc_c908,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
    0x5be0_cd19_137e_2179,
];
/// The order of the words of the message in the rounds of BLAKE2b (RFC 7693, section 2.7).
pub(crate) const ORDER: [[usize; 16]; 10] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
    [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
    [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
    [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
    [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
    [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
    [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
    [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];
/// The parameters of BLAKE2b: a digest of 56 bytes, a key of 32, no tree.
pub(crate) const PARAMETERS: u64 = 0x0101_2038;
/// The length of what BLAKE2b hashes: the key, padded to a block.
pub(crate) const HASHED: u64 = 128;

/// The number of words of 32 bits that are derived: eight of the key, then six of the nonce.
pub(crate) const DERIVED: usize = 14;

/// Returns word `at` of 64 bits.
#[inline]
pub(crate) fn word<const BYTES: usize>(bytes: &[u8; BYTES], at: usize) -> u64 {
    bytes
        .as_chunks()
        .0
        .get(at)
        .map_or(0, |word| u64::from_le_bytes(*word))
}

/// Adds a part of the keystream to a text of the same length.
#[inline]
pub(crate) fn add_keystream(keystream: &[u8], text: &mut [u8]) {
    let (words, rest) = text.as_chunks_mut::<8>();
    let (keys, key_rest) = keystream.as_chunks::<8>();
    for (word, key) in words.iter_mut().zip(keys) {
        *word = (u64::from_ne_bytes(*word) ^ u64::from_ne_bytes(*key)).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key_rest) {
        *byte ^= key;
    }
}

/// A text of a lane: what is left of it after the first [`HEAD`] bytes, in whole rows and the rest.
pub(crate) struct Text<'t> {
    head: (&'t [u8], &'t mut [u8]),
    pub(crate) rows: (&'t [[u8; ROW]], &'t mut [[u8; ROW]]),
    rest: (&'t [u8], &'t mut [u8]),
}

impl<'t> Text<'t> {
    /// Splits a text of which `input` is read and `output`, of the same length, is written.
    pub(crate) fn new(input: &'t [u8], output: &'t mut [u8]) -> Self {
        let (input_head, input) = input.split_at(input.len().min(HEAD));
        let (output_head, output) = output.split_at_mut(output.len().min(HEAD));
        let (input, output) = (input.as_chunks(), output.as_chunks_mut());
        Self {
            head: (input_head, output_head),
            rows: (input.0, output.0),
            rest: (input.1, output.1),
        }
    }

    /// Encrypts the first bytes with the end of the first block of the keystream, whose beginning was the key of the
    /// authenticator.
    pub(crate) fn apply_head(&mut self, block: &[u8; ROW]) {
        let (input, output) = &mut self.head;
        output.copy_from_slice(input);
        add_keystream(&block[HEAD..HEAD + output.len()], output);
    }

    /// Encrypts the rest with the beginning of the last block of the keystream.
    pub(crate) fn apply_rest(&mut self, block: &[u8; ROW]) {
        let (input, output) = &mut self.rest;
        output.copy_from_slice(input);
        add_keystream(&block[..output.len()], output);
    }

    /// Returns the number of blocks of the keystream after the first one.
    pub(crate) fn blocks(&self) -> usize {
        self.rows.0.len() + usize::from(!self.rest.0.is_empty())
    }
}

/// Returns whether two tags are equal, in constant time.
pub(crate) fn equal(a: &[u8; TAG_LEN], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b));
    b.len() == TAG_LEN && std::hint::black_box(difference) == 0
}

/// Returns the ciphertext of each lane. A lane without a message has that of the first one, so that it does not end the
/// steps that all lanes make together.
pub(crate) fn texts<'t, const WORDS: usize>(
    messages: &'t [Message<'_>],
    text: impl Fn(&'t Message<'_>) -> &'t [u8],
) -> [&'t [u8]; WORDS] {
    std::array::from_fn(|lane| {
        let message = messages.get(lane).or(messages.first());
        message.map_or(&[][..], &text)
    })
}

/// Defines the engine for the vectors of a module, which defines their operations.
macro_rules! engine {
    ($features:literal) => {
        use zeroize::Zeroize;

        use $crate::lanes::{
            DERIVED, HASHED, HEAD, IV, ORDER, PARAMETERS, ROW, SHORT, SIGMA, Text, add_keystream,
            equal, texts, word,
        };
        use $crate::{KEY_LEN, Message, NONCE_LEN, TAG_LEN};

        /// The number of messages that are sealed or opened at once.
        pub(crate) const LANES: usize = WORDS;

        #[target_feature(enable = $features)]
        #[inline]
        fn mix(
            v: &mut [Vector; 16],
            key: &[Vector; 4],
            [x, y]: [usize; 2],
            [a, b, c, d]: [usize; 4],
        ) {
            v[a] = add64(v[a], v[b]);
            // The message is the key. All other words of its block are zero.
            if x < 4 {
                v[a] = add64(v[a], key[x]);
            }
            v[d] = right64::<32>(xor(v[d], v[a]));
            v[c] = add64(v[c], v[d]);
            v[b] = right64::<24>(xor(v[b], v[c]));
            v[a] = add64(v[a], v[b]);
            if y < 4 {
                v[a] = add64(v[a], key[y]);
            }
            v[d] = right64::<16>(xor(v[d], v[a]));
            v[c] = add64(v[c], v[d]);
            v[b] = right64::<63>(xor(v[b], v[c]));
        }

        /// A round of BLAKE2b. The order of the words is a constant, so that no word that is zero costs anything.
        #[target_feature(enable = $features)]
        #[inline]
        fn round<const ROUND: usize>(v: &mut [Vector; 16], key: &[Vector; 4]) {
            let order = const { ORDER[ROUND] };
            mix(v, key, [order[0], order[1]], [0, 4, 8, 12]);
            mix(v, key, [order[2], order[3]], [1, 5, 9, 13]);
            mix(v, key, [order[4], order[5]], [2, 6, 10, 14]);
            mix(v, key, [order[6], order[7]], [3, 7, 11, 15]);
            mix(v, key, [order[8], order[9]], [0, 5, 10, 15]);
            mix(v, key, [order[10], order[11]], [1, 6, 11, 12]);
            mix(v, key, [order[12], order[13]], [2, 7, 8, 13]);
            mix(v, key, [order[14], order[15]], [3, 4, 9, 14]);
        }

        /// Returns the keys and nonces of the lanes from lane `from` on, as many as a vector has words of 64 bits, by keyed
        /// BLAKE2b (RFC 7693).
        #[target_feature(enable = $features)]
        fn derive(messages: &[Message<'_>], from: usize) -> [Vector; DERIVED / 2] {
            let messages: [Option<&Message<'_>>; LONGS] =
                std::array::from_fn(|lane| messages.get(from + lane));
            let key =
                |at: usize| load64(&messages.map(|it| it.map_or(0, |it| word(it.data_key, at))));
            let salt = |at: usize| load64(&messages.map(|it| it.map_or(0, |it| word(it.salt, at))));
            let context =
                |at: usize| load64(&messages.map(|it| it.map_or(0, |it| word(it.context, at))));
            let key = [key(0), key(1), key(2), key(3)];
            let start = [
                all64(IV[0] ^ PARAMETERS),
                all64(IV[1]),
                all64(IV[2]),
                all64(IV[3]),
                xor(all64(IV[4]), salt(0)),
                xor(all64(IV[5]), salt(1)),
                xor(all64(IV[6]), context(0)),
                xor(all64(IV[7]), context(1)),
            ];
            let [s0, s1, s2, s3, s4, s5, s6, s7] = start;
            let [i0, i1, i2, i3, i4, i5, i6, i7] = [
                all64(IV[0]),
                all64(IV[1]),
                all64(IV[2]),
                all64(IV[3]),
                all64(IV[4] ^ HASHED),
                all64(IV[5]),
                all64(!IV[6]),
                all64(IV[7]),
            ];
            let mut v = [
                s0, s1, s2, s3, s4, s5, s6, s7, i0, i1, i2, i3, i4, i5, i6, i7,
            ];
            round::<0>(&mut v, &key);
            round::<1>(&mut v, &key);
            round::<2>(&mut v, &key);
            round::<3>(&mut v, &key);
            round::<4>(&mut v, &key);
            round::<5>(&mut v, &key);
            round::<6>(&mut v, &key);
            round::<7>(&mut v, &key);
            round::<8>(&mut v, &key);
            round::<9>(&mut v, &key);
            round::<0>(&mut v, &key);
            round::<1>(&mut v, &key);
            let mut derived = [s0; DERIVED / 2];
            for (at, derived) in derived.iter_mut().enumerate() {
                *derived = xor(start[at], xor(v[at], v[at + 8]));
            }
            derived
        }

        #[target_feature(enable = $features)]
        #[inline]
        fn quarter(x: &mut [Vector; 16], [a, b, c, d]: [usize; 4]) {
            x[b] = xor(x[b], left32::<7>(add32(x[a], x[d])));
            x[c] = xor(x[c], left32::<9>(add32(x[b], x[a])));
            x[d] = xor(x[d], left32::<13>(add32(x[c], x[b])));
            x[a] = xor(x[a], left32::<18>(add32(x[d], x[c])));
        }

        /// The twenty rounds of Salsa20.
        #[target_feature(enable = $features)]
        #[inline]
        fn rounds(x: &mut [Vector; 16]) {
            for _ in 0..10 {
                quarter(x, [0, 4, 8, 12]);
                quarter(x, [5, 9, 13, 1]);
                quarter(x, [10, 14, 2, 6]);
                quarter(x, [15, 3, 7, 11]);
                quarter(x, [0, 1, 2, 3]);
                quarter(x, [5, 6, 7, 4]);
                quarter(x, [10, 11, 8, 9]);
                quarter(x, [15, 12, 13, 14]);
            }
        }

        /// Returns the states of XSalsa20 with the counter 0: HSalsa20 of the keys and the first 16 bytes of the nonces.
        #[target_feature(enable = $features)]
        fn states(derived: &[Vector; DERIVED]) -> [Vector; 16] {
            let [k0, k1, k2, k3, k4, k5, k6, k7, n0, n1, n2, n3, n4, n5] = *derived;
            let [c0, c1, c2, c3] = [
                all32(SIGMA[0]),
                all32(SIGMA[1]),
                all32(SIGMA[2]),
                all32(SIGMA[3]),
            ];
            let mut x = [
                c0, k0, k1, k2, k3, c1, n0, n1, n2, n3, c2, k4, k5, k6, k7, c3,
            ];
            rounds(&mut x);
            let zero = all32(0);
            [
                c0, x[0], x[5], x[10], x[15], c1, n4, n5, zero, zero, c2, x[6], x[7], x[8], x[9],
                c3,
            ]
        }

        /// Returns block `counter` of the keystream of each lane.
        #[target_feature(enable = $features)]
        #[inline]
        fn block(states: &[Vector; 16], counter: u64) -> [Row; WORDS] {
            let mut start = *states;
            start[8] = all32(counter as u32);
            start[9] = all32((counter >> 32) as u32);
            let mut x = start;
            rounds(&mut x);
            for (x, start) in x.iter_mut().zip(&start) {
                *x = add32(*x, *start);
            }
            transpose(&x)
        }

        /// The secrets of a group of messages, which are wiped after use.
        struct Secrets {
            derived: [Vector; DERIVED],
            states: [Vector; 16],
            blocks: [[u8; ROW]; WORDS],
        }

        impl Drop for Secrets {
            fn drop(&mut self) {
                // SAFETY: the fields are integers, for which zeros are valid, and nothing reads them any more.
                unsafe { zeroize::zeroize_flat_type(&raw mut *self) };
            }
        }

        /// Derives the keys of the messages, and the first block of their keystreams.
        #[target_feature(enable = $features)]
        fn begin(messages: &[Message<'_>]) -> (Secrets, [Poly1305; WORDS]) {
            let zero = all32(0);
            let mut secrets = Secrets {
                derived: [zero; DERIVED],
                states: [zero; 16],
                blocks: [[0; ROW]; WORDS],
            };
            let (low, high) = (derive(messages, 0), derive(messages, LONGS));
            let (words, _) = secrets.derived.as_chunks_mut();
            for ((words, low), high) in words.iter_mut().zip(low).zip(high) {
                *words = words_of(low, high);
            }
            secrets.states = states(&secrets.derived);
            for (row, bytes) in block(&secrets.states, 0).iter().zip(&mut secrets.blocks) {
                store(row, bytes);
            }
            let authenticators = std::array::from_fn(|lane| {
                Poly1305::new(secrets.blocks[lane].first_chunk().unwrap_or(&[0; HEAD]))
            });
            (secrets, authenticators)
        }

        /// Returns the tags of ciphertexts.
        #[target_feature(enable = $features)]
        fn tags(
            mut authenticators: [Poly1305; WORDS],
            texts: &[&[u8]; WORDS],
        ) -> [[u8; TAG_LEN]; WORDS] {
            let absorbed = absorb(&mut authenticators, texts);
            let mut texts = texts.iter();
            authenticators.map(|state| {
                state.finish(
                    texts
                        .next()
                        .and_then(|text| text.get(absorbed..))
                        .unwrap_or_default(),
                )
            })
        }

        /// Adds the keystreams to the texts.
        #[target_feature(enable = $features)]
        fn crypt<'t>(secrets: &mut Secrets, texts: impl Iterator<Item = Option<Text<'t>>>) {
            let mut lanes: [Option<Text<'_>>; WORDS] = std::array::from_fn(|_| None);
            let mut blocks = 0;
            for ((text, lane), block) in texts.zip(&mut lanes).zip(&secrets.blocks) {
                *lane = text.map(|mut text| {
                    text.apply_head(block);
                    blocks = blocks.max(text.blocks());
                    text
                });
            }
            for at in 0..blocks {
                let rows = block(&secrets.states, at as u64 + 1);
                for ((lane, row), bytes) in lanes.iter_mut().zip(&rows).zip(&mut secrets.blocks) {
                    let Some(text) = lane else { continue };
                    if let (Some(input), Some(output)) =
                        (text.rows.0.get(at), text.rows.1.get_mut(at))
                    {
                        add(row, input, output);
                    } else if at == text.rows.0.len() {
                        store(row, bytes);
                        text.apply_rest(bytes);
                    }
                }
            }
        }

        /// The keystream of a short message: four blocks of XSalsa20, of which the first bytes are the key of the
        /// authenticator.
        struct Short([u8; SHORT]);

        impl Drop for Short {
            fn drop(&mut self) {
                self.0.zeroize();
            }
        }

        /// The twenty rounds of Salsa20 of four states, each of which has its diagonals in a part of 128 bits of the vectors.
        #[target_feature(enable = $features)]
        #[inline]
        fn rounds_of_four(start: &[Four; 4]) -> [Four; 4] {
            let [mut a, mut b, mut c, mut d] = *start;
            for _ in 0..20 {
                b = step_of_four::<7>(b, a, d);
                c = step_of_four::<9>(c, b, a);
                d = step_of_four::<13>(d, c, b);
                a = step_of_four::<18>(a, d, c);
                // From columns to rows, or back.
                (b, c, d) = (
                    turn_of_four::<0x39>(d),
                    turn_of_four::<0x4e>(c),
                    turn_of_four::<0x93>(b),
                );
            }
            [a, b, c, d]
        }

        /// Returns the diagonals of four states of Salsa20 with this key and these four words between its halves.
        #[target_feature(enable = $features)]
        #[inline]
        fn diagonals(key: &[u32; 8], middle: &[u32; 4]) -> [[u32; 4]; 4] {
            let [k0, k1, k2, k3, k4, k5, k6, k7] = *key;
            let [n0, n1, n2, n3] = *middle;
            [SIGMA, [k3, n3, k7, k2], [n2, k6, k1, n1], [k5, k0, n0, k4]]
        }

        /// Returns the keystream of a short message.
        #[target_feature(enable = $features)]
        fn keystream(key: &[u8; KEY_LEN], nonce: &[u8; NONCE_LEN]) -> Short {
            let mut words = [0; 8];
            for (word, bytes) in words.iter_mut().zip(key.as_chunks().0) {
                *word = u32::from_le_bytes(*bytes);
            }
            let mut nonces = [0; 6];
            for (word, bytes) in nonces.iter_mut().zip(nonce.as_chunks().0) {
                *word = u32::from_le_bytes(*bytes);
            }
            let [n0, n1, n2, n3, n4, n5] = nonces;
            let hashed =
                rounds_of_four(&diagonals(&words, &[n0, n1, n2, n3]).map(|it| all_of_four(&it)));
            let [a, b, c, d] = hashed.map(|it| first_of_four(it));
            // HSalsa20 returns the words 0, 5, 10, 15, 6, 7, 8, 9.
            words = [a[0], a[1], a[2], a[3], d[2], c[3], c[0], b[1]];
            let start = diagonals(&words, &[n4, n5, 0, 0]).map(|it| all_of_four(&it));
            words.zeroize();
            let [a, b, c, d] = start;
            let start = [a, b, counted_of_four(c), d];
            let [a, b, c, d] = rounds_of_four(&start);
            let [x, y, z, w] = start;
            let ends = [
                add_of_four(a, x),
                add_of_four(b, y),
                add_of_four(c, z),
                add_of_four(d, w),
            ];
            let mut short = Short([0; SHORT]);
            store_four(&ends, &mut short.0);
            short
        }

        /// Seals a short message.
        #[target_feature(enable = $features)]
        pub(crate) fn seal_short(
            key: &[u8; KEY_LEN],
            nonce: &[u8; NONCE_LEN],
            input: &[u8],
            output: &mut [u8],
        ) {
            let short = keystream(key, nonce);
            let (tag, output) = output.split_at_mut(TAG_LEN);
            output.copy_from_slice(input);
            add_keystream(&short.0[HEAD..HEAD + output.len()], output);
            let authenticator = Poly1305::new(short.0.first_chunk().unwrap_or(&[0; HEAD]));
            tag.copy_from_slice(&authenticator.finish(output));
        }

        /// Opens a short message in place. Returns whether its tag verified; if not, the text is unchanged.
        #[target_feature(enable = $features)]
        pub(crate) fn open_short(
            key: &[u8; KEY_LEN],
            nonce: &[u8; NONCE_LEN],
            tag: &[u8; TAG_LEN],
            text: &mut [u8],
        ) -> bool {
            let short = keystream(key, nonce);
            let authenticator = Poly1305::new(short.0.first_chunk().unwrap_or(&[0; HEAD]));
            let verified = equal(&authenticator.finish(text), tag);
            if verified {
                add_keystream(&short.0[HEAD..HEAD + text.len()], text);
            }
            verified
        }

        /// Seals at most [`LANES`] messages.
        #[target_feature(enable = $features)]
        pub(crate) fn seal(messages: &mut [Message<'_>]) {
            let (mut secrets, authenticators) = begin(messages);
            crypt(
                &mut secrets,
                messages
                    .iter_mut()
                    .map(|message| Some(Text::new(message.input, &mut message.output[TAG_LEN..]))),
            );
            let tags = tags(
                authenticators,
                &texts(messages, |message| &message.output[TAG_LEN..]),
            );
            for (message, tag) in messages.iter_mut().zip(&tags) {
                message.output[..TAG_LEN].copy_from_slice(tag);
            }
        }

        /// Opens at most [`LANES`] messages. Returns for each lane whether the tag of its message verified.
        #[target_feature(enable = $features)]
        pub(crate) fn open(messages: &mut [Message<'_>]) -> [bool; WORDS] {
            let (mut secrets, authenticators) = begin(messages);
            let tags = tags(
                authenticators,
                &texts(messages, |message| &message.input[TAG_LEN..]),
            );
            let verified = std::array::from_fn(|lane| {
                messages
                    .get(lane)
                    .is_some_and(|message| equal(&tags[lane], &message.input[..TAG_LEN]))
            });
            crypt(
                &mut secrets,
                messages
                    .iter_mut()
                    .zip(verified)
                    .map(|(message, verified)| {
                        verified.then(|| Text::new(&message.input[TAG_LEN..], message.output))
                    }),
            );
            verified
        }
    };
}
pub(crate) use engine;
