use proptest::prelude::*;

use super::*;

#[test]
fn reads_both_string_families() {
    let raw = Value::decode(&[0xa2, b'h', b'i']).unwrap();
    let bin = Value::decode(&[0xc4, 2, b'h', b'i']).unwrap();
    assert_ne!(raw, bin);
    assert_eq!(raw.text(), Ok("hi"));
    assert_eq!(bin.text(), Ok("hi"));
    assert_eq!(raw.bytes(), bin.bytes());
}

#[test]
fn refuses_what_is_not_exactly_one_value() {
    assert_eq!(Value::decode(&[]), Err(WireError::Truncated));
    assert_eq!(Value::decode(&[1, 2]), Err(WireError::TrailingBytes(1)));
    assert_eq!(Value::decode(&[0x92, 1]), Err(WireError::Truncated));
    assert_eq!(
        Value::decode(&[0xc1]),
        Err(WireError::UnsupportedType(0xc1))
    );
    assert_eq!(
        Value::decode(&[0xd4, 1, 0]),
        Err(WireError::UnsupportedType(0xd4))
    );
}

#[test]
fn bounds_depth_and_elements() {
    let nested = |depth| {
        let mut bytes = vec![0x91; depth];
        bytes.push(0xc0);
        bytes
    };
    assert!(Value::decode(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(
        Value::decode(&nested(MAX_DEPTH + 1)),
        Err(WireError::TooDeep)
    );

    let flat = |len: u32| {
        let mut bytes = vec![0xdd];
        bytes.extend(len.to_be_bytes());
        bytes.resize(bytes.len() + len as usize, 0xc0);
        bytes
    };
    assert!(Value::decode(&flat(MAX_ELEMENTS as u32 - 1)).is_ok());
    assert_eq!(
        Value::decode(&flat(MAX_ELEMENTS as u32)),
        Err(WireError::TooManyElements)
    );
}

#[test]
fn a_huge_announced_length_reserves_nothing() {
    assert_eq!(
        Value::decode(&[0xdd, 0xff, 0xff, 0xff, 0xff]),
        Err(WireError::Truncated)
    );
    assert_eq!(
        Value::decode(&[0xc6, 0xff, 0xff, 0xff, 0xff]),
        Err(WireError::Truncated)
    );
}

proptest! {
    #[test]
    fn never_panics(bytes: Vec<u8>) {
        let _ = Value::decode(&bytes);
    }

    #[test]
    fn numbers_come_back(uint: u64, int: i64, float: f64) {
        let mut writer = Writer::new();
        writer.array(3).uint(uint).int(int).float(float);
        let bytes = writer.into_vec();
        let value = Value::decode(&bytes).unwrap();
        let elements = value.array().unwrap();
        prop_assert_eq!(elements[0].int(), Ok(uint.into()));
        prop_assert_eq!(elements[1].int(), Ok(int.into()));
        prop_assert!(matches!(&elements[2], Value::Float(read) if read.to_bits() == float.to_bits()));
    }

    #[test]
    fn what_was_written_from_a_value_reads_the_same(bytes: Vec<u8>, text: String) {
        let mut writer = Writer::new();
        writer.array(2).bytes(&bytes).text(&text);
        let first = writer.into_vec();
        let mut writer = Writer::new();
        writer.value(&Value::decode(&first).unwrap());
        prop_assert_eq!(writer.into_vec(), first);
    }
}
