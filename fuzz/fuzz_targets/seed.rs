//! Stored ratchets.

#![no_main]

use kc_core::ratchet::{KeyIdForm, Seed};
use kc_core::store::SealedRatchetHeader;
use kc_core::types::KeyId;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(header) = SealedRatchetHeader::of(data) {
        assert!(data.starts_with(&header.encode()));
    }
    let Ok(seed) = Seed::decode(data) else { return };
    let index = seed.index();
    let encoded = seed.encode();
    let again = Seed::decode(encoded.expose()).expect("what was written reads");
    assert_eq!(again.index(), index);
    assert_eq!(again.encode(), encoded);
    let Ok(pending) = seed.advance() else {
        assert_eq!(index, u64::MAX);
        return;
    };
    assert_eq!(pending.next().index(), index + 1);
    let (step, next) = pending.stored();
    assert_eq!(step.index(), index);
    assert_eq!(step.key_id(&KeyIdForm::Short), KeyId::Short(index));
    assert_ne!(next.encode(), encoded);
    assert!(Seed::decode(next.encode().expose()).is_ok());
});
