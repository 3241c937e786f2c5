use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;

/// Lists of literals and regular expressions over a small alphabet, so that they often match.
fn list() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[ab]{0,3}|\\^[ab.*]{0,3}", 0..4)
}

/// A change of valid bytes. Most bytes remain, so that a parser reads far into them.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Insert(Index, u8),
    Remove(Index, usize),
    Repeat(Index, usize),
    Cut(Index),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let (at, count) = (any::<Index>, 1..40_usize);
    // Small numbers are MessagePack's small types, lengths and key versions.
    let byte = || prop_oneof![any::<u8>(), 0..10_u8, 0x90..0xb0_u8];
    let change = prop_oneof![
        4 => (at(), byte()).prop_map(|(at, byte)| Change::Set(at, byte)),
        2 => (at(), byte()).prop_map(|(at, byte)| Change::Insert(at, byte)),
        2 => (at(), count.clone()).prop_map(|(at, count)| Change::Remove(at, count)),
        2 => (at(), count).prop_map(|(at, count)| Change::Repeat(at, count)),
        1 => at().prop_map(Change::Cut),
    ];
    prop::collection::vec(change, 1..4)
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let place = |at: &Index| at.index(bytes.len().max(1)).min(bytes.len());
        let end = |start: usize, count: &usize| (start + count).min(bytes.len());
        match change {
            Change::Set(at, byte) => {
                let at = place(at);
                bytes[at..].iter_mut().take(1).for_each(|old| *old = *byte);
            }
            Change::Insert(at, byte) => bytes.insert(place(at), *byte),
            Change::Remove(at, count) => {
                let start = place(at);
                bytes.drain(start..end(start, count));
            }
            Change::Repeat(at, count) => {
                let start = place(at);
                let part = bytes[start..end(start, count)].to_vec();
                bytes.splice(start..start, part);
            }
            Change::Cut(at) => bytes.truncate(place(at)),
        }
    }
    bytes
}

/// Valid certificates of all kinds.
fn certificates() -> Vec<Vec<u8>> {
    let limited = Constraints {
        topics: Some(vec!["t".into(), "^t[0-9]+.*".into(), "u".into()]),
        path_length: Some(3),
        ..granting(&[], &["key-encrypt", "key-encrypt-request"])
    };
    let subject = |number| key(number).verifying_key().to_bytes();
    let of = |write_key: &dyn Fn(&mut Writer)| {
        encode_certificate(
            MaxAge::Int(1_000_000),
            &usual().encode(),
            write_key,
            (0, |_| {}),
        )
    };
    vec![
        usual_certificate(&key(2)),
        usual_certificate(&hybrid(2)),
        certificate(MaxAge::UNLIMITED, &limited, key(2).verifying_key()),
        of(&|writer| {
            writer.array(2).bytes(&subject(2)).bytes(&subject(3));
        }),
        of(&|writer| {
            writer.array(2).uint(5).array(2);
            writer.bytes(&[9; 32]).bytes(&[9; 1568]);
        }),
    ]
}

/// Reads a changed certificate in all ways. Returns the check that refuses a chain with it.
fn refusal(certificate: &[u8]) -> Option<Check> {
    let _ = Certificate::parse(certificate);
    let _ = TrustEntry::parse(certificate);
    let link = sign(&key(1), certificate);
    validate(&chain(&[link]), &trust(&[&key(1)]), &demand()).err()
}

#[test]
fn changed_certificates_get_as_far_as_every_check_of_one() {
    let mut runner = TestRunner::deterministic();
    let certificates = certificates();
    for certificate in &certificates {
        assert_eq!(refusal(certificate), None);
    }
    let mut refused = BTreeSet::new();
    for round in 0..4_000 {
        let changes = changes().new_tree(&mut runner).unwrap().current();
        let certificate = certificates[round % certificates.len()].clone();
        refused.insert(refusal(&changed(certificate, &changes)));
    }
    let reached = [
        Check::Certificate,
        Check::Key,
        Check::Constraints,
        Check::Expiry,
        Check::Topic,
        Check::Usage,
    ];
    for check in reached.map(Some).into_iter().chain([None]) {
        assert!(refused.contains(&check), "{check:?}");
    }
}

proptest! {
    #[test]
    fn reading_never_panics(which: Index, place: Index, changes in changes()) {
        let certificates = certificates();
        let certificate = changed(certificates[which.index(certificates.len())].clone(), &changes);
        refusal(&certificate);
        let links = usual_links();
        let altered = changed(links[place.index(links.len())].clone(), &changes);
        for chain in [changed(chain(&links), &changes), chain(&[altered])] {
            let _ = validate(&chain, &trust(&[&key(1)]), &demand());
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
    fn no_altered_chain_is_valid(place: Index, bit in 0..8_u8) {
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
