//! Known forms in all three serializers, malformed input and round trips.

use proptest::prelude::*;

use super::*;

fn decode(serializer: Serializer, bytes: &[u8]) -> Result<Vec<Value>, CodecError> {
    let mut elements = Vec::new();
    serializer.decode(bytes, &Limits::default(), None, &mut elements).map(|()| elements)
}

fn list(items: impl IntoIterator<Item = Value>) -> Value {
    Value::List(items.into_iter().collect())
}

#[test]
fn known_values_have_their_known_form_both_ways() {
    let huge = Value::from_json_number("123456789012345678901234567890").unwrap();
    let cases: [(Serializer, Vec<Value>, &[u8]); 10] = [
        (Serializer::Json, vec![Value::from(&b"\x00\xff"[..])], br#"["\u0000AP8="]"#),
        (Serializer::Json, vec![Value::Bytes(vec![])], br#"["\u0000"]"#),
        (Serializer::Json, vec!["a\"\u{1}ü".into(), Value::Null], "[\"a\\\"\\u0001ü\",null]".as_bytes()),
        (Serializer::Json, vec![huge], b"[123456789012345678901234567890]"),
        (
            Serializer::Json,
            vec![u64::MAX.into(), i64::MIN.into()],
            b"[18446744073709551615,-9223372036854775808]",
        ),
        (Serializer::Json, vec![1.5.into(), 3.0.into(), (-0.0).into()], b"[1.5,3.0,-0.0]"),
        (Serializer::Msgpack, vec![Value::Bytes(vec![1]), "a".into()], b"\x92\xc4\x01\x01\xa1a"),
        (Serializer::Msgpack, vec![u64::MAX.into()], b"\x91\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
        (Serializer::Msgpack, vec![(-33i64).into(), (-1i64).into()], b"\x92\xd0\xdf\xff"),
        (Serializer::Cbor, vec![Value::Bytes(vec![1]), "a".into()], b"\x82\x41\x01\x61a"),
    ];
    for (serializer, values, bytes) in cases {
        assert_eq!(serializer.encode(values.clone()).as_deref(), Ok(bytes), "{serializer} {values:?}");
        assert_eq!(decode(serializer, bytes), Ok(values), "{serializer}");
    }
}

#[test]
fn other_forms_of_numbers_are_read() {
    let read = |text: &str| decode(Serializer::Json, text.as_bytes());
    assert_eq!(read("[1e2, 1E+2, 1.0]"), Ok(vec![100.0.into(), 100.0.into(), 1.0.into()]));
    assert_eq!(read("[-18446744073709551616]"), Ok(vec![Value::Int(-(1 << 64))]));
    assert_eq!(decode(Serializer::Msgpack, b"\x91\xca\x3f\xc0\x00\x00"), Ok(vec![1.5.into()]));
}

#[test]
fn what_a_serializer_cannot_carry_is_refused_before_it_is_sent() {
    let big = Value::from_magnitude(false, &[1; 9]);
    let numbered: Value = [(Value::from(1u64), Value::Null)].into_iter().collect();
    for (serializer, value) in [
        (Serializer::Msgpack, big.clone()),
        (Serializer::Msgpack, Value::Int(-(1 << 64))),
        (Serializer::Msgpack, Value::Int(1 << 64)),
        (Serializer::Msgpack, Value::Undefined),
        (Serializer::Msgpack, Value::Tag(1, Box::new(Value::Null))),
        (Serializer::Json, Value::from("\0a")),
        (Serializer::Json, Value::from_iter([("\0", 1u64)])),
        (Serializer::Json, Value::Float(f64::NAN)),
        (Serializer::Json, Value::Float(f64::INFINITY)),
        (Serializer::Json, Value::Simple(3)),
        (Serializer::Json, numbered),
    ] {
        let error = serializer.encode(vec![value.clone()]);
        assert!(matches!(error, Err(CodecError::Unsupported { .. })), "{serializer} {value:?}");
    }
    assert!(Serializer::Json.encode(vec![big.clone()]).is_ok());
    assert!(Serializer::Cbor.encode(vec![big]).is_ok());
}

#[test]
fn malformed_input_keeps_what_came_before_it() {
    let deep_json = [b"[68,7,".to_vec(), vec![b'['; 1000], vec![b']'; 1000], b"]".to_vec()].concat();
    let deep_msgpack = [vec![0x93, 68, 7], vec![0x91; 1000], vec![0xc0]].concat();
    let deep_cbor = [vec![0x83, 0x18, 68, 7], vec![0x81; 1000], vec![0xf6]].concat();
    let cases: &[(Serializer, &[u8])] = &[
        (Serializer::Cbor, b"\x83\x18\x44\x07\x62\xc3\x28"),
        (Serializer::Cbor, &deep_cbor),
        (Serializer::Msgpack, &deep_msgpack),
        (Serializer::Msgpack, b"\x93\x44\x07\xa2\xc3\x28"),
        (Serializer::Msgpack, b"\x93\x44\x07\xd4\x01\x00"),
        (Serializer::Msgpack, b"\x93\x44\x07\xc7\x09\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00"),
        (Serializer::Msgpack, b"\x93\x44\x07\xc1"),
        (Serializer::Msgpack, b"\x93\x44\x07\xdd\xff\xff\xff\xff"),
        (Serializer::Msgpack, b"\x93\x44\x07\x82\x01\x01\x01\x02"),
        (Serializer::Msgpack, b"\x93\x44\x07"),
        (Serializer::Json, &deep_json),
        (Serializer::Json, br#"[68,7,"\u0000AP8"]"#),
        (Serializer::Json, br#"[68,7,"\u0000*"]"#),
        (Serializer::Json, br#"[68,7,{"a":1,"a":2}]"#),
        (Serializer::Json, br#"[68,7,1e999]"#),
        (Serializer::Json, br#"[68,7,NaN]"#),
        (Serializer::Json, br#"[68,7,"\ud800"]"#),
        (Serializer::Json, b"[68,7,\"\xc3\x28\"]"),
        (Serializer::Json, br#"[68,7,{"$serde_json::private::Number":"1"}]"#),
        (Serializer::Json, br#"[68,7,{"$serde_json::private::Number":1}]"#),
        (Serializer::Json, b"[68,7"),
    ];
    for (serializer, bytes) in cases {
        let mut elements = Vec::new();
        let result = serializer.decode(bytes, &Limits::default(), None, &mut elements);
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
        assert!(result.is_err(), "{serializer} {shown}");
        assert_eq!(elements, [Value::Int(68), Value::Int(7)], "{serializer} {shown}");
        elements.clear();
        let header = serializer.decode(bytes, &Limits::default(), Some(2), &mut elements);
        assert_eq!((header, elements.len()), (Ok(()), 2), "{serializer} {shown}");
    }
}

#[test]
fn what_is_no_list_or_has_something_behind_it_is_refused() {
    let cases: [(Serializer, &[u8]); 7] = [
        (Serializer::Json, b"{}"),
        (Serializer::Json, b""),
        (Serializer::Json, b"[1] 2"),
        (Serializer::Msgpack, b"\x80"),
        (Serializer::Msgpack, b""),
        (Serializer::Msgpack, b"\x91\x01\x02"),
        (Serializer::Cbor, b"\xa0"),
    ];
    for (serializer, bytes) in cases {
        assert!(decode(serializer, bytes).is_err(), "{serializer} {bytes:?}");
    }
}

#[test]
fn depth_and_items_are_bounded_alike() {
    let limits = Limits { max_depth: 3, max_items: 6 };
    for serializer in Serializer::ALL {
        let check = |values: Vec<Value>| {
            serializer.decode(&serializer.encode(values).unwrap(), &limits, None, &mut Vec::new())
        };
        assert!(check(vec![list([list([])])]).is_ok(), "{serializer}");
        assert!(check(vec![list([list([list([])])])]).is_err(), "{serializer}");
        assert!(check(vec![Value::Null; 5]).is_ok(), "{serializer}");
        assert!(check(vec![Value::Null; 6]).is_err(), "{serializer}");
    }
}

#[test]
fn plain_json_knows_no_binary_and_no_repeated_keys() {
    let parse = |text| json::parse_plain(text, &Limits::default());
    assert_eq!(parse(r#""\u0000AP8=""#), Ok(Value::from("\0AP8=")));
    assert_eq!(parse(r#" {"a":[1,2.5,1e2]} "#).unwrap().field("a").unwrap().as_list().unwrap().len(), 3);
    assert_eq!(parse("340282366920938463463374607431768211456").unwrap().to_decimal().unwrap().len(), 39);
    assert!(parse(r#"{"a":1,"b":2,"a":3}"#).is_err());
    assert!(parse("1 2").is_err());
    assert_eq!(parse("[1,\n}"), Err(CodecError::Json { line: 2, column: 1 }));
}

/// Values that all three can carry.
fn common_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |float| float.is_finite()).prop_map(Value::Float),
        "[^\0].{0,20}".prop_map(Value::Str),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(4, 40, 10, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..10).prop_map(Value::List),
            proptest::collection::btree_map("[a-zü\"]{0,5}", inner, 0..10)
                .prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn every_common_value_survives_every_serializer(
        values in proptest::collection::vec(common_value(), 0..6),
    ) {
        for serializer in Serializer::ALL {
            let bytes = serializer.encode(values.clone()).unwrap();
            prop_assert_eq!(decode(serializer, &bytes), Ok(values.clone()));
        }
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        for serializer in Serializer::ALL {
            let _ = decode(serializer, &bytes);
        }
    }

    #[test]
    fn no_text_makes_the_json_decoder_panic(text in r#"[\[\]{}",:0-9eE+\-. a\\u]{0,60}"#) {
        let _ = decode(Serializer::Json, text.as_bytes());
    }
}
