//! An event as a line of JSON: `{"topic":…,"key_id":…,"payload":…,"received_ns":…}`.
//!
//! Integers of any size are exact, and a byte string is a text of NUL and base64, as in WAMP messages. A
//! payload that JSON has no form for, such as a map whose keys are numbers, comes as `cbor` instead of
//! `payload`: its encoding, as a byte string.

use xbr_core::{KeyId, Value, cbor};
use xbr_wamp::codec::json;

/// The line, with its end.
pub fn event(topic: &str, key_id: KeyId, payload: &Value, received_ns: u64) -> Vec<u8> {
    // Texts and byte strings always have a form.
    let text = |value: Value| json::to_vec(&value).unwrap_or_default();
    let (name, payload) = match json::to_vec(payload) {
        Ok(payload) => ("payload", payload),
        Err(_) => ("cbor", text(cbor::encode(payload).into())),
    };
    let middle = format!(",\"key_id\":\"{key_id}\",\"{name}\":");
    let end = format!(",\"received_ns\":{received_ns}}}\n");
    [b"{\"topic\":", text(topic.into()).as_slice(), middle.as_bytes(), &payload, end.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: KeyId = KeyId::new([0x11; 16]);

    fn line(payload: Value) -> String {
        String::from_utf8(event("io.example", KEY, &payload, 7)).unwrap()
    }

    #[test]
    fn what_json_has_a_form_for_is_exact() {
        let big = Value::from_json_number("-340282366920938463463374607431768211457").unwrap();
        let payload: Value =
            [("big", big), ("raw", vec![0_u8, 255].into()), ("text", "ä\n\"".into())].into_iter().collect();
        assert_eq!(
            line(payload),
            concat!(
                r#"{"topic":"io.example","key_id":"11111111-1111-1111-1111-111111111111","#,
                r#""payload":{"big":-340282366920938463463374607431768211457,"raw":"\u0000AP8=","text":"ä\n\""},"#,
                r#""received_ns":7}"#,
                "\n"
            )
        );
    }

    #[test]
    fn what_json_has_no_form_for_is_not_lost() {
        let payload = Value::Map(vec![(Value::from(1_u64), Value::Float(f64::NAN))]);
        let line = line(payload);
        assert!(line.contains(r#","cbor":"\u0000"#) && !line.contains("payload"), "{line}");
        let value = json::parse_plain(line.trim(), &Default::default()).unwrap();
        assert!(value.field("cbor").unwrap().as_str().is_some_and(|text| text.len() > 1));
    }
}
