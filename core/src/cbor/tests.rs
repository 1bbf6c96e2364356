//! Known answers, malformed input and round trips.

use proptest::prelude::*;
use serde::Serialize;

use super::*;
use crate::value::Value;

fn read(hex: &str) -> Result<Value, CborError> {
    decode(&hex::decode(hex).unwrap(), &Limits::default())
}

/// Equal also where there is a NaN, with the same bits.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(&a.0, &b.0) && same(&a.1, &b.1))
        }
        (Value::Tag(s, a), Value::Tag(t, b)) => s == t && same(a, b),
        _ => one == other,
    }
}

#[test]
fn every_payload_of_the_reference_is_read_and_written_back_byte_for_byte() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/vectors/vectors.json")).unwrap();
    let vectors = vectors["secretbox"].as_array().unwrap();
    assert!(vectors.len() > 50);
    for vector in vectors {
        let hex = vector["cbor"].as_str().unwrap();
        let value = read(hex).unwrap_or_else(|error| panic!("{}: {error}", vector["name"]));
        let encoded = encode(&value);
        assert!(same(&decode(&encoded, &Limits::default()).unwrap(), &value), "{}", vector["name"]);
        assert_eq!(hex::encode(encoded), hex, "{}", vector["name"]);
    }
}

#[test]
fn forms_that_only_other_writers_use_are_read() {
    let text = |text: &str| Value::Str(text.into());
    for (hex, value) in [
        ("1b0000000000000001", Value::Int(1)),
        ("c24101", Value::Int(1)),
        ("c240", Value::Int(0)),
        ("c34a0000ffffffffffffffff", Value::Int(-(1 << 64))),
        ("c25f44000000014164ff", Value::Int(356)),
        ("c25f4401000000450000000001ff", Value::from_magnitude(false, &[1, 0, 0, 0, 0, 0, 0, 0, 1])),
        ("f93c00", Value::Float(1.0)),
        ("f90001", Value::Float(5.960_464_477_539_063e-8)),
        ("fa47c35000", Value::Float(100_000.0)),
        ("f7", Value::Undefined),
        ("e0", Value::Simple(0)),
        ("f8ff", Value::Simple(255)),
        ("7f61616162ff", text("ab")),
        ("5f4101420203ff", Value::Bytes(vec![1, 2, 3])),
        ("9f01ff", Value::List(vec![Value::Int(1)])),
        ("bf616101ff", Value::Map(vec![(text("a"), Value::Int(1))])),
        ("d9d9f701", Value::Tag(55799, Box::new(Value::Int(1)))),
    ] {
        assert_eq!(read(hex), Ok(value), "{hex}");
    }
}

#[test]
fn what_is_not_cbor_is_refused_with_its_reason() {
    for (hex, error) in [
        ("", CborError::Truncated),
        ("18", CborError::Truncated),
        ("6261", CborError::Truncated),
        ("8201", CborError::Truncated),
        ("9f01", CborError::Truncated),
        ("9affffffff", CborError::Truncated),
        ("bb00000000ffffffff", CborError::Truncated),
        ("5bffffffffffffffff", CborError::Truncated),
        ("0000", CborError::TrailingBytes { count: 1 }),
        ("62c328", CborError::InvalidUtf8),
        ("a2616101616102", CborError::RepeatedKey),
        ("c201", CborError::InvalidBigInt),
        ("ff", CborError::Malformed { offset: 1 }),
        ("1c", CborError::Malformed { offset: 1 }),
        ("f818", CborError::Malformed { offset: 2 }),
        ("bf01ff", CborError::Malformed { offset: 3 }),
    ] {
        assert_eq!(read(hex), Err(error), "{hex}");
    }
}

#[test]
fn depth_and_items_are_bounded() {
    let nested = |depth: usize| [vec![0x81; depth - 1], vec![0x80]].concat();
    let limits = Limits { max_depth: 5, max_items: 10 };
    assert!(decode(&nested(5), &limits).is_ok());
    assert_eq!(decode(&nested(6), &limits), Err(CborError::TooDeep { max: 5 }));
    assert_eq!(decode(&[0xc1; 6], &limits), Err(CborError::TooDeep { max: 5 }));
    assert_eq!(decode(&nested(100_000), &Limits { max_depth: usize::MAX, ..limits }), {
        Err(CborError::TooManyItems { max: 10 })
    });
    let endless = Limits { max_depth: usize::MAX, max_items: usize::MAX };
    assert_eq!(decode(&nested(100_000), &endless), Err(CborError::TooDeep { max: MAX_DEPTH }));
    let flat = |items: u8| [vec![0x80 + items], vec![0; items.into()]].concat();
    assert!(decode(&flat(9), &limits).is_ok());
    assert_eq!(decode(&flat(10), &limits), Err(CborError::TooManyItems { max: 10 }));
}

#[test]
fn the_items_before_a_malformed_one_survive() {
    let mut items = Vec::new();
    let limits = Limits::default();
    let bytes = hex::decode("85184407a062c32880").unwrap();
    assert_eq!(decode_array_into(&bytes, &limits, None, &mut items), Err(CborError::InvalidUtf8));
    assert_eq!(items, [Value::Int(68), Value::Int(7), Value::Map(vec![])]);

    items.clear();
    assert_eq!(decode_array_into(&bytes, &limits, Some(3), &mut items), Ok(()));
    assert_eq!(items.len(), 3);

    items.clear();
    assert_eq!(decode_array_into(&[0x9f, 1, 0xff], &limits, None, &mut items), Ok(()));
    assert_eq!(decode_array_into(&[0x81, 1, 2], &limits, None, &mut items), {
        Err(CborError::TrailingBytes { count: 1 })
    });
    assert_eq!(decode_array_into(&[0xa0], &limits, None, &mut items), Err(CborError::NotAnArray));
    assert_eq!(decode_array_into(&[], &limits, None, &mut items), Err(CborError::Truncated));
}

#[test]
fn a_repeated_key_is_found_in_maps_of_any_size() {
    for len in [2, 8, 9, 1000] {
        let mut pairs: Vec<_> = (0..len).map(|key: u32| (Value::from(key), Value::Null)).collect();
        assert!(!has_repeated_key(&pairs));
        pairs[0].0 = Value::from(len - 1);
        assert!(has_repeated_key(&pairs));
    }
}

#[test]
fn large_maps_compare_keys_of_every_kind() {
    let text = |text: &str| Value::from(text);
    let map = |key: &str, value: u32| Value::from_iter([(text(key), Value::from(value))]);
    let keys = [
        Value::Null,
        Value::Undefined,
        Value::Bool(true),
        Value::Int(1),
        Value::from_magnitude(false, &[1; 9]),
        Value::from_magnitude(true, &[1; 9]),
        Value::Float(1.0),
        Value::Float(f64::NAN),
        Value::Simple(1),
        text("a"),
        Value::Bytes(b"a".to_vec()),
        Value::List(vec![Value::Int(1), Value::Int(2)]),
        Value::List(vec![Value::Int(1), Value::Int(3)]),
        map("a", 1),
        map("a", 2),
        Value::Tag(9, Box::new(Value::Null)),
        Value::Tag(9, Box::new(Value::Int(1))),
    ];
    let pairs: Vec<_> = keys.iter().map(|key| (key.clone(), Value::Null)).collect();
    assert!(!has_repeated_key(&pairs));
    for key in keys {
        let again = [pairs.clone(), vec![(key.clone(), Value::Null)]].concat();
        assert!(has_repeated_key(&again), "{key:?}");
    }
}

#[test]
fn maps_as_keys_of_maps_cost_no_more_than_what_they_hold() {
    let count = 300_000_u32;
    let list = [&[0x9a][..], &count.to_be_bytes(), &vec![0; 300_000]].concat();
    let mut nested = vec![0xa9; MAX_DEPTH - 1];
    nested.extend(&list);
    for _ in 1..MAX_DEPTH {
        nested.extend([0, 0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0]);
    }
    let limits = Limits { max_depth: MAX_DEPTH, ..Limits::default() };
    let time = |bytes: &[u8]| {
        let started = std::time::Instant::now();
        assert!(decode(bytes, &limits).is_ok());
        started.elapsed()
    };
    // It was a hundred times the flat list when every level wrote its keys out to compare them.
    let flat = time(&list).max(std::time::Duration::from_millis(2));
    assert!(time(&nested) < flat * 30, "{flat:?}");
}

#[test]
fn serde_writes_what_the_value_would() {
    #[derive(Serialize)]
    struct Payload<'a> {
        text: &'a str,
        bytes: serde_bytes::Bytes<'a>,
        wide: u128,
        unit: (),
        option: Option<i8>,
        variant: Kind,
        list: Vec<f32>,
    }
    #[derive(Serialize)]
    enum Kind {
        Pair(u8, bool),
    }
    mod serde_bytes {
        pub(super) struct Bytes<'a>(pub(super) &'a [u8]);
        impl serde::Serialize for Bytes<'_> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(self.0)
            }
        }
    }
    let payload = Payload {
        text: "a",
        bytes: serde_bytes::Bytes(&[1, 2]),
        wide: 1 << 64,
        unit: (),
        option: Some(-1),
        variant: Kind::Pair(1, true),
        list: vec![1.5, f32::INFINITY],
    };
    let value = Value::from_iter([
        ("text", Value::from("a")),
        ("bytes", Value::Bytes(vec![1, 2])),
        ("wide", Value::from_magnitude(false, &[1, 0, 0, 0, 0, 0, 0, 0, 0])),
        ("unit", Value::Null),
        ("option", Value::Int(-1)),
        ("variant", Value::from_iter([("Pair", Value::List(vec![Value::Int(1), Value::Bool(true)]))])),
        ("list", Value::List(vec![Value::Float(1.5), Value::Float(f64::INFINITY)])),
    ]);
    assert_eq!(hex::encode(to_vec(&payload).unwrap()), hex::encode(encode(&value)));
}

#[test]
fn a_serde_json_value_is_written_exactly() {
    let text = r#"{"a":[1,-2,1.5,null,true,"x"],"b":123456789012345678901234567890,"c":1e2}"#;
    let json: serde_json::Value = serde_json::from_str(text).unwrap();
    let decoded = decode(&to_vec(&json).unwrap(), &Limits::default()).unwrap();
    let list = [Value::Int(1), Value::Int(-2), Value::Float(1.5), Value::Null, Value::Bool(true), "x".into()];
    assert_eq!(decoded.field("a"), Some(&Value::List(list.to_vec())));
    assert_eq!(decoded.field("b").unwrap().to_decimal().unwrap(), "123456789012345678901234567890");
    assert_eq!(decoded.field("c"), Some(&Value::Float(100.0)));
}

#[test]
fn decimal_digits_are_exact_at_the_borders() {
    for (text, hex) in [
        ("0", "00"),
        ("-0", "00"),
        ("18446744073709551615", "1bffffffffffffffff"),
        ("18446744073709551616", "c249010000000000000000"),
        ("-18446744073709551616", "3bffffffffffffffff"),
        ("-18446744073709551617", "c349010000000000000000"),
    ] {
        let value = Value::from_json_number(text).unwrap();
        assert_eq!(hex::encode(encode(&value)), hex, "{text}");
        assert_eq!(value.to_decimal().unwrap(), text.replace("-0", "0"), "{text}");
    }
    for bad in ["", "-", "+1", "1x", "1e999", "--1", " 1"] {
        assert_eq!(Value::from_json_number(bad), None, "{bad}");
    }
    assert_eq!(Value::from_json_number(&"9".repeat(4097)), None);
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        Just(Value::Undefined),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(|int| Value::Int(-1 - i128::from(int))),
        (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(negative, magnitude)| Value::from_magnitude(negative, &magnitude)),
        any::<u64>().prop_map(|bits| Value::Float(f64::from_bits(bits))),
        prop_oneof![0u8..20, 32u8..].prop_map(Value::Simple),
        ".{0,20}".prop_map(Value::Str),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(4, 60, 12, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..12).prop_map(Value::List),
            proptest::collection::vec((inner.clone(), inner.clone()), 0..12).prop_map(|pairs| {
                let mut kept: Vec<(Value, Value)> = Vec::new();
                for (key, value) in pairs {
                    if !kept.iter().any(|(other, _)| same(other, &key)) {
                        kept.push((key, value));
                    }
                }
                Value::Map(kept)
            }),
            (4u64.., inner).prop_map(|(tag, value)| Value::Tag(tag, Box::new(value))),
        ]
    })
}

proptest! {
    #[test]
    fn every_value_survives_the_round_trip(value in any_value()) {
        let decoded = decode(&encode(&value), &Limits::default()).unwrap();
        prop_assert!(same(&decoded, &value), "{decoded:?}");
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes, &Limits::default());
        let mut items = Vec::new();
        let _ = decode_array_into(&bytes, &Limits::default(), None, &mut items);
    }

    #[test]
    fn decimal_digits_round_trip(negative: bool, bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let value = Value::from_magnitude(negative, &bytes);
        prop_assert_eq!(Value::from_json_number(&value.to_decimal().unwrap()), Some(value));
    }
}
