//! Sealed components of records: as they are, or plaintexts that are sealed.

#![no_main]

use kc_core::message::{Envelope, Opened, Unopened, seal, sealed_len};
use kc_core::ratchet::Component;
use kc_core::types::KeyId;
use kc_core::wire::Writer;
use kc_fuzz::world::TOPIC;
use kc_fuzz::{choices, keys};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choices, rest)) = choices(data) else {
        return;
    };
    let component = match choices & 2 {
        0 => Component::Key,
        _ => Component::Value,
    };
    match choices & 1 {
        0 => read(rest, component),
        _ => sealed(rest, component, choices & 4 != 0),
    }
});

fn read(bytes: &[u8], component: Component) {
    let (_, ring) = keys(false);
    let opened = ring.open(TOPIC, component, bytes);
    let envelope = match (Envelope::parse(bytes), &opened) {
        (Ok(envelope), _) => envelope,
        (Err(foreign), Opened::Unopened(Unopened::Foreign(why))) => {
            assert_eq!(foreign, *why);
            return;
        }
        (Err(foreign), opened) => panic!("{foreign}, and {opened:?}"),
    };
    let expected = match envelope.body {
        Some(_) if envelope.key_id != KeyId::Short(0) => Unopened::AwaitingKey(envelope.key_id),
        // No component of this input is sealed under the key.
        _ => Unopened::Unauthentic(envelope.key_id),
    };
    assert_eq!(opened, Opened::Unopened(expected));
    let Some((salt, sealed)) = envelope.body else {
        return;
    };
    let mut writer = Writer::append_to(vec![1]);
    writer.array(3);
    match &envelope.key_id {
        KeyId::Short(id) => writer.uint(*id),
        KeyId::Long(id) => writer.bytes(id),
    };
    let written = writer.bytes(salt).bytes(sealed);
    let written = std::mem::take(written).into_vec();
    assert_eq!(Envelope::parse(&written), Ok(envelope));
}

fn sealed(plaintext: &[u8], component: Component, long: bool) {
    let (key, ring) = keys(long);
    let seal = || {
        let mut sealed = Vec::new();
        seal(&key, component, plaintext, &mut sealed).expect("a fresh key");
        sealed
    };
    let (mut sealed, other) = (seal(), seal());
    assert!(sealed.len() <= sealed_len(plaintext.len()));
    let parts = |sealed: &[u8]| {
        Envelope::parse(sealed)
            .ok()
            .and_then(|sealed| sealed.body.map(|body| *body.0))
    };
    assert_ne!(parts(&sealed), parts(&other), "a salt comes once");
    let open = |bytes: &[u8], component| ring.open(TOPIC, component, bytes).into_plaintext();
    assert_eq!(open(&sealed, component).as_deref(), Ok(plaintext));
    let wrong = match component {
        Component::Key => Component::Value,
        Component::Value => Component::Key,
    };
    assert_eq!(open(&sealed, wrong), Err(Unopened::Unauthentic(key.id())));
    let place = plaintext.first().map_or(0, |byte| usize::from(*byte)) % sealed.len();
    sealed[place] ^= 1;
    assert!(open(&sealed, component).is_err(), "byte {place}");
}
