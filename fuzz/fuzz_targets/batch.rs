//! Batches: all kernels seal and open as one message after the other does.

#![no_main]

use kc_core::message::{Kernel, ToSeal, seal, seal_batch_with};
use kc_core::ratchet::Component;
use kc_fuzz::world::TOPIC;
use kc_fuzz::{choices, counted, keys};
use libfuzzer_sys::fuzz_target;

/// What a message may be longer than its part of the input, as a multiple of this number of bytes.
const STRETCH: usize = 97;

fuzz_target!(|data: &[u8]| {
    let Some((choices, mut rest)) = choices(data) else {
        return;
    };
    let component = match choices & 1 {
        0 => Component::Key,
        _ => Component::Value,
    };
    let mut plaintexts = Vec::new();
    while let Some((part, others)) = counted(rest) {
        let mut plaintext = part.to_vec();
        let more = part.first().map_or(0, |byte| usize::from(*byte & 63));
        plaintext.resize(part.len() + more * STRETCH, 0xa5);
        plaintexts.push(plaintext);
        rest = others;
    }
    let sealed = sealed(&plaintexts, component);
    opened(&plaintexts, sealed, component, choices >> 1);
});

fn sealed(plaintexts: &[Vec<u8>], component: Component) -> Vec<Vec<u8>> {
    let (one_by_one, _) = keys(true);
    let expected = plaintexts.iter().map(|plaintext| {
        let mut sealed = Vec::new();
        seal(&one_by_one, component, plaintext, &mut sealed).expect("a fresh key");
        sealed
    });
    let expected: Vec<_> = expected.collect();
    for kernel in Kernel::all() {
        let mut sealed = vec![Vec::new(); plaintexts.len()];
        let messages = plaintexts.iter().zip(&mut sealed);
        let mut messages: Vec<_> = messages
            .map(|(plaintext, sealed)| ToSeal { plaintext, sealed })
            .collect();
        seal_batch_with(kernel, &keys(true).0, component, &mut messages).expect("a fresh key");
        assert_eq!(sealed, expected, "{kernel:?}");
    }
    expected
}

/// Opens components, of which every one at a multiple of `altered` has another byte.
fn opened(plaintexts: &[Vec<u8>], mut sealed: Vec<Vec<u8>>, component: Component, altered: u8) {
    for (number, (plaintext, sealed)) in plaintexts.iter().zip(&mut sealed).enumerate() {
        if altered > 0 && number % usize::from(altered) == 0 {
            let place = plaintext.last().map_or(0, |byte| usize::from(*byte)) * STRETCH;
            let place = place % sealed.len();
            sealed[place] ^= 1 << (number % 8);
        }
    }
    let (_, ring) = keys(true);
    let open = |sealed: &Vec<u8>| ring.open(TOPIC, component, sealed).into_plaintext();
    let expected: Vec<_> = sealed.iter().map(open).collect();
    for kernel in Kernel::all() {
        let mut opened = Vec::new();
        let mut places = Vec::new();
        let parts = sealed.iter().map(Vec::as_slice);
        ring.open_batch_with(kernel, TOPIC, component, parts, &mut opened, |place| {
            places.push(place);
        });
        let opened: Vec<_> = places
            .into_iter()
            .map(|place| place.map(|place| opened[place].to_vec()))
            .collect();
        assert_eq!(opened, expected, "{kernel:?}");
    }
}
