use proptest::prelude::*;

use super::*;

/// Lists of literals and regular expressions over a small alphabet, so that they meet.
fn list() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[ab]{0,3}|\\^[ab.*]{0,3}", 0..4)
}

proptest! {
    #[test]
    fn reading_never_panics(bytes: Vec<u8>) {
        let _ = Certificate::parse(&bytes);
        let _ = TrustEntry::parse(&bytes);
        let chain = [&[0x91, 0xc5, 0, 64], bytes.as_slice()].concat();
        for bytes in [&bytes, &chain] {
            if let Ok(chain) = UnverifiedChain::parse(bytes) {
                let _ = chain.validate(&trust(&[&key(1)]), &demand());
            }
        }
    }

    #[test]
    fn what_a_root_signed_never_panics(certificate: Vec<u8>, poison: Vec<u8>) {
        let _ = validate(&chain(&[sign(&key(1), &certificate)]), &trust(&[&key(1)]), &demand());
        let mut writer = Writer::new();
        writer.array(3).uint(0).bytes(&poison).bytes(&key(3).verifying_key().to_bytes());
        let link = sign(&key(1), &writer.into_vec());
        let _ = validate(&chain(&[link]), &trust(&[&key(1)]), &demand());
    }

    #[test]
    fn no_altered_chain_is_valid(place: prop::sample::Index, bit in 0..8_u8) {
        let mut bytes = chain(&usual_links());
        let place = place.index(bytes.len());
        bytes[place] ^= 1_u8 << bit;
        prop_assert!(validate(&bytes, &trust(&[&key(1)]), &demand()).is_err());
    }

    #[test]
    fn constraints_survive_their_encoding(
        topics in prop::option::of(list()),
        usages in prop::option::of(list()),
        path_length: i64,
    ) {
        let constraints = Constraints { topics, usages, path_length: Some(path_length) };
        let read = Restrictions::decode(&constraints.encode());
        if let Ok(read) = read.and_then(|read| read.evaluate()) {
            prop_assert_eq!(read, constraints);
        }
    }

    #[test]
    fn an_intersection_grants_no_more_than_the_child_lists(parent in list(), child in list()) {
        if let Ok(Some(left)) = intersect(Some(parent.clone()), Some(child.clone())) {
            for text in &left {
                prop_assert!(child.contains(text));
                prop_assert!(multimatch(text, &parent).unwrap());
            }
        }
    }
}
