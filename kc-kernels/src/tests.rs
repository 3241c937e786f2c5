//! All engines against BLAKE2b and XSalsa20-Poly1305 of other crates.

use dryoc::classic::crypto_secretbox::crypto_secretbox_detached;
use proptest::prelude::*;

use super::*;

struct Given {
    data_key: [u8; KEY_LEN],
    context: [u8; CONTEXT_LEN],
    salt: [u8; SALT_LEN],
    plaintext: Vec<u8>,
}

impl Given {
    fn message<'m>(&'m self, input: &'m [u8], output: &'m mut [u8]) -> Message<'m> {
        Message {
            data_key: &self.data_key,
            context: &self.context,
            salt: &self.salt,
            input,
            output,
        }
    }
}

fn derived(given: &Given) -> ([u8; 32], [u8; 24]) {
    let mut parameters = blake2b_simd::Params::new();
    let parameters = parameters.hash_length(56).key(&given.data_key);
    let hash = parameters
        .salt(&given.salt)
        .personal(&given.context)
        .hash(b"");
    let (key, nonce) = hash.as_bytes().split_at(32);
    (key.try_into().unwrap(), nonce.try_into().unwrap())
}

fn expected(given: &Given) -> Vec<u8> {
    let (key, nonce) = derived(given);
    let mut sealed = vec![0; TAG_LEN + given.plaintext.len()];
    let (tag, ciphertext) = sealed.split_at_mut(TAG_LEN);
    let tag = tag.try_into().unwrap();
    crypto_secretbox_detached(ciphertext, tag, &given.plaintext, &nonce, &key).unwrap();
    sealed
}

fn seal(engine: Engine, given: &[Given]) -> Vec<Vec<u8>> {
    let mut sealed: Vec<_> = given
        .iter()
        .map(|given| vec![0; given.plaintext.len() + TAG_LEN])
        .collect();
    let mut messages: Vec<_> = given
        .iter()
        .zip(&mut sealed)
        .map(|(given, output)| given.message(&given.plaintext, output))
        .collect();
    engine.seal(&mut messages);
    sealed
}

/// Returns the plaintexts; `None` for a box that did not open, whose output must not be touched.
fn open(engine: Engine, given: &[Given], sealed: &[Vec<u8>]) -> Vec<Option<Vec<u8>>> {
    let mut opened: Vec<_> = sealed
        .iter()
        .map(|it| vec![0x5a; it.len() - TAG_LEN])
        .collect();
    let mut verified = vec![false; given.len()];
    let mut messages: Vec<_> = given
        .iter()
        .zip(&mut opened)
        .zip(sealed)
        .map(|((given, output), input)| given.message(input, output))
        .collect();
    engine.open(&mut messages, |index, verifies| verified[index] = verifies);
    let results = opened.into_iter().zip(verified);
    results
        .map(|(plaintext, verified)| {
            assert!(verified || plaintext.iter().all(|byte| *byte == 0x5a));
            verified.then_some(plaintext)
        })
        .collect()
}

fn given(number: usize, length: usize) -> Given {
    let byte = |at: usize| (at.wrapping_mul(31) + number * 7 + length) as u8;
    Given {
        data_key: std::array::from_fn(byte),
        context: std::array::from_fn(|at| byte(at + 5)),
        salt: std::array::from_fn(|at| byte(at + 3)),
        plaintext: (0..length).map(|at| byte(at.wrapping_mul(at))).collect(),
    }
}

fn check(given: &[Given]) {
    let expected: Vec<_> = given.iter().map(expected).collect();
    for engine in Engine::all() {
        assert_eq!(seal(engine, given), expected, "{engine:?}");
        let opened = open(engine, given, &expected);
        let plaintexts = given.iter().map(|given| Some(given.plaintext.clone()));
        assert_eq!(opened, plaintexts.collect::<Vec<_>>(), "{engine:?}");
    }
}

#[test]
fn all_lengths() {
    for length in 0..=4096 {
        let lengths = [length, length, length / 2, 0, length + 1];
        let given: Vec<_> = lengths
            .iter()
            .enumerate()
            .map(|(n, l)| given(n, *l))
            .collect();
        check(&given);
    }
}

#[test]
fn short_messages_one_by_one() {
    for length in 0..=MAX_SHORT_LEN {
        let given = given(length, length);
        let (key, nonce) = derived(&given);
        let expected = expected(&given);
        for engine in Engine::all() {
            let mut sealed = vec![0; length + TAG_LEN];
            engine.seal_short(&key, &nonce, &given.plaintext, &mut sealed);
            assert_eq!(sealed, expected, "{engine:?}");
            for at in 0..=sealed.len() {
                let mut changed = sealed.clone();
                if let Some(byte) = changed.get_mut(at) {
                    *byte ^= 1 << (at % 8);
                }
                let (tag, text) = changed.split_first_chunk_mut().unwrap();
                let before = text.to_vec();
                let opens = engine.open_short(&key, &nonce, tag, text);
                assert_eq!(opens, at == sealed.len(), "{engine:?}, byte {at}");
                assert_eq!(text, if opens { &given.plaintext } else { &before });
            }
        }
    }
}

#[test]
fn all_numbers_of_messages() {
    for count in 0..=40 {
        let given: Vec<_> = (0..count)
            .map(|number| given(number, 17 * number))
            .collect();
        check(&given);
    }
}

#[test]
fn all_alignments() {
    let given: Vec<_> = (0..4).map(|number| given(number, 200)).collect();
    let expected: Vec<_> = given.iter().map(expected).collect();
    for engine in Engine::all() {
        for shift in 0..64 {
            let inputs: Vec<_> = given
                .iter()
                .map(|given| [vec![0; shift], given.plaintext.clone()].concat())
                .collect();
            let mut outputs = vec![vec![0; 63 - shift + 200 + TAG_LEN]; 4];
            let places = outputs.iter_mut().map(|output| &mut output[63 - shift..]);
            let mut messages: Vec<_> = given
                .iter()
                .zip(&inputs)
                .zip(places)
                .map(|((given, input), output)| given.message(&input[shift..], output))
                .collect();
            engine.seal(&mut messages);
            for (output, expected) in outputs.iter().zip(&expected) {
                assert_eq!(&output[63 - shift..], expected, "{engine:?}, {shift}");
            }
        }
    }
}

#[test]
fn a_change_of_any_byte_is_noticed_and_only_there() {
    let given: Vec<_> = (0..16).map(|number| given(number, 90 + number)).collect();
    let sealed: Vec<_> = given.iter().map(expected).collect();
    for engine in Engine::all() {
        for lane in 0..16 {
            for at in 0..sealed[lane].len() {
                let mut changed = sealed.clone();
                changed[lane][at] ^= 1 << (at % 8);
                let opened = open(engine, &given, &changed);
                let opens: Vec<_> = opened.iter().map(Option::is_some).collect();
                let others: Vec<_> = (0..16).map(|number| number != lane).collect();
                assert_eq!(opens, others, "{engine:?}, byte {at}");
            }
        }
    }
}

#[test]
fn sums_next_to_the_modulus() {
    // Ciphertexts of ones and zeros make the limbs of Poly1305 overflow most often.
    for byte in [0x00, 0xff] {
        let mut given: Vec<_> = (0..16).map(|number| given(number, 64 * number)).collect();
        for given in &mut given {
            let (key, nonce) = derived(given);
            let mut keystream = vec![0; TAG_LEN + given.plaintext.len()];
            let (tag, stream) = keystream.split_at_mut(TAG_LEN);
            let zeros = vec![0; given.plaintext.len()];
            crypto_secretbox_detached(stream, tag.try_into().unwrap(), &zeros, &nonce, &key)
                .unwrap();
            given.plaintext = stream.iter().map(|stream| stream ^ byte).collect();
        }
        check(&given);
    }
}

#[test]
fn keccak_of_eight_states() {
    let state = |lane: usize| -> [u64; 25] {
        std::array::from_fn(|word| ((word + 25 * lane) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    };
    for engine in Engine::all() {
        let mut words: [[u64; KECCAK_LANES]; 25] =
            std::array::from_fn(|word| std::array::from_fn(|lane| state(lane)[word]));
        for _ in 0..3 {
            engine.keccak_f(&mut words);
        }
        for lane in 0..KECCAK_LANES {
            let mut expected = state(lane);
            (0..3).for_each(|_| ::keccak::f1600(&mut expected));
            assert_eq!(words.map(|word| word[lane]), expected, "{engine:?}, {lane}");
        }
    }
}

fn numbered(lengths: &[usize], seed: u16) -> Vec<Given> {
    let lengths = lengths.iter().enumerate();
    lengths
        .map(|(number, length)| given(number + usize::from(seed), *length))
        .collect()
}

proptest! {
    #[test]
    fn any_messages(lengths in prop::collection::vec(0..3000_usize, 1..40), seed: u16) {
        check(&numbered(&lengths, seed));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn long_messages(lengths in prop::collection::vec(0..=1_usize << 20, 1..4), seed: u16) {
        check(&numbered(&lengths, seed));
    }
}
