use proptest::prelude::*;

use super::*;

fn chunk(data: &[u8]) -> Chunk<'_> {
    Chunk {
        path: "sub/deep/three b.bin".parse().unwrap(),
        file_hash: Sha512::digest(data).into(),
        index: 1,
        count: 1,
        offset: 0,
        data,
        modified: 1.5,
        extras: None,
    }
}

fn encoded(chunk: &Chunk<'_>) -> Vec<u8> {
    chunk.encode(&Sha512::digest(chunk.data).into())
}

fn refusal(chunk: &Chunk<'_>) -> WireError {
    Chunk::parse(&encoded(chunk)).unwrap_err()
}

#[test]
fn the_bytes_are_those_of_openmsistream() {
    let hash = Sha512::digest(b"abc");
    let mut expected = vec![0x9a, 0xab];
    expected.extend(b"three b.bin");
    for _ in 0..2 {
        expected.extend([0xc4, 64]);
        expected.extend(hash);
    }
    expected.extend([0, 1, 1, 0xa8]);
    expected.extend(b"sub/deep");
    expected.extend([0xa0, 0xc4, 3]);
    expected.extend(b"abc");
    expected.push(0xcb);
    expected.extend(1.5_f64.to_be_bytes());
    let chunk = chunk(b"abc");
    assert_eq!(encoded(&chunk), expected);
    assert_eq!(Chunk::parse(&expected), Ok(chunk));
}

#[test]
fn keys_are_those_of_openmsistream() {
    let mut chunk = chunk(b"");
    chunk.count = 6;
    assert_eq!(chunk.key(), "sub_deep_three b.bin_chunk_1_of_6");
    chunk.path = "one_k.bin".parse().unwrap();
    assert_eq!(chunk.key(), "_one_k.bin_chunk_1_of_6");
}

#[test]
fn numbers_that_do_not_fit_are_refused() {
    let middle = Chunk {
        index: 2,
        count: 3,
        offset: 4,
        ..chunk(b"abcd")
    };
    assert!(Chunk::parse(&encoded(&middle)).is_ok());
    let last = Chunk {
        index: 3,
        offset: 8,
        data: b"ab",
        ..middle.clone()
    };
    assert_eq!(Chunk::parse(&encoded(&last)).unwrap().chunk_size(), 4);
    assert_eq!((middle.file_bytes(), last.file_bytes()), (12, 10));
    let size = |size| {
        Some(Extras {
            size: Some(size),
            ..Extras::default()
        })
    };
    for wrong in [
        Chunk {
            index: 0,
            ..middle.clone()
        },
        Chunk {
            index: 4,
            ..middle.clone()
        },
        Chunk {
            count: 0,
            index: 0,
            ..middle.clone()
        },
        Chunk {
            count: 1_000_000_000,
            ..middle.clone()
        },
        Chunk {
            offset: 3,
            ..middle.clone()
        },
        Chunk {
            offset: u64::MAX,
            ..middle.clone()
        },
        Chunk {
            data: b"",
            ..middle.clone()
        },
        Chunk {
            data: b"",
            ..last.clone()
        },
        Chunk {
            data: b"abcdef",
            ..last.clone()
        },
        Chunk {
            offset: 7,
            ..last.clone()
        },
        Chunk {
            offset: 1 << 60,
            ..last.clone()
        },
        Chunk {
            offset: 1,
            index: 1,
            count: 1,
            ..middle.clone()
        },
        Chunk {
            modified: f64::NAN,
            ..middle.clone()
        },
        Chunk {
            extras: size(8),
            ..middle.clone()
        },
        Chunk {
            extras: size(13),
            ..middle.clone()
        },
        Chunk {
            extras: size(11),
            ..last.clone()
        },
    ] {
        assert!(
            matches!(refusal(&wrong), WireError::Inconsistent(_)),
            "{wrong:?}"
        );
    }
    assert!(
        Chunk::parse(&encoded(&Chunk {
            extras: size(10),
            ..last
        }))
        .is_ok()
    );
}

#[test]
fn a_hash_that_lies_is_refused() {
    let value = chunk(b"abc").encode(&[0; 64]);
    assert_eq!(Chunk::parse(&value), Err(WireError::Hash));
}

#[test]
fn names_that_lead_out_are_refused() {
    let mut value = encoded(&chunk(b""));
    let at = value.windows(8).position(|window| window == b"sub/deep");
    value[at.unwrap()..][..8].copy_from_slice(b"../../ab");
    assert!(matches!(
        Chunk::parse(&value),
        Err(WireError::Path(PathError::Traversal(_)))
    ));
}

#[test]
fn unknown_extras_are_ignored_and_special_modes_are_not_sent() {
    let extras = Extras {
        mode: Some(0o4755),
        mtime_ns: Some(-7),
        size: None,
    };
    let mut value = encoded(&Chunk {
        extras: Some(extras),
        ..chunk(b"abc")
    });
    let parsed = Chunk::parse(&value).unwrap();
    let known = parsed.extras;
    assert_eq!(known.unwrap().mode, Some(0o755));
    assert_eq!(parsed.modified_ns(), -7);
    let map = value.iter().rposition(|byte| *byte == 0x82).unwrap();
    value[map] = 0x84;
    value.extend(b"\xa4tool\xa3kc1\xa1x\xcd\x01\x02");
    assert_eq!(Chunk::parse(&value).unwrap().extras, known);
    value.extend(b"more");
    assert!(Chunk::parse(&value).is_err());
}

proptest! {
    #[test]
    fn chunks_survive_the_wire(
        data in proptest::collection::vec(any::<u8>(), 1..300),
        index in 1_u32..50,
        more in 1_u32..50,
        mode in proptest::option::of(0_u32..0o1000),
        mtime_ns in proptest::option::of(any::<i64>()),
    ) {
        let chunk = Chunk {
            index,
            count: index + more,
            offset: u64::from(index - 1) * data.len() as u64,
            extras: Some(Extras { mode, mtime_ns, size: None }),
            ..chunk(&data)
        };
        let value = encoded(&chunk);
        prop_assert_eq!(Chunk::parse(&value), Ok(chunk));
        for end in 0..value.len() {
            prop_assert!(Chunk::parse(&value[..end]).is_err());
        }
    }

    #[test]
    fn damaged_records_are_refused_without_a_panic(
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
        noise in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let extras = Extras { mode: Some(0o644), mtime_ns: Some(1), size: Some(3) };
        let mut value = encoded(&Chunk { extras: Some(extras), ..chunk(b"abc") });
        let at = at.index(value.len());
        value[at] = byte;
        if let Ok(chunk) = Chunk::parse(&value) {
            prop_assert!(chunk.index <= chunk.count && chunk.count <= MAX_CHUNKS);
            prop_assert_eq!(chunk.data, b"abc");
        }
        prop_assert!(Chunk::parse(&noise).is_err());
    }
}
