//! JSON: with byte strings as the WAMP specification has them (a text of NUL and base64) for messages, and
//! plain for everything else.
//!
//! Integers of any size are exact; numbers with a fraction or an exponent are floats. A key that occurs twice
//! in an object is refused.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, DeserializeSeed, Deserializer as _, MapAccess, SeqAccess, Visitor};
use xbr_core::Value;
use xbr_core::cbor::{Limits, has_repeated_key};

use super::{Budget, CodecError, Serializer};

const SELF: Serializer = Serializer::Json;

/// How `serde_json` hands over a number that no machine word can hold exactly: a map with this key.
const NUMBER: &str = "$serde_json::private::Number";

/// Reads one JSON value as it is: a text that begins with NUL stays a text.
///
/// # Errors
/// [`CodecError`] when it is not exactly one well-formed value within the limits.
pub fn parse_plain(text: &str, limits: &Limits) -> Result<Value, CodecError> {
    let mut reader = Reader { budget: Budget::new(SELF, limits), binary: false, failure: None };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = reader.deserialize(&mut deserializer);
    let value = value.map_err(|error| reader.explain(&error))?;
    deserializer.end().map_err(|error| reader.explain(&error))?;
    Ok(value)
}

pub(super) fn decode_array_into(
    bytes: &[u8],
    limits: &Limits,
    max_elements: Option<usize>,
    elements: &mut Vec<Value>,
) -> Result<(), CodecError> {
    let mut reader = Reader { budget: Budget::new(SELF, limits), binary: true, failure: None };
    reader.budget.item()?;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let wanted = elements.len().saturating_add(max_elements.unwrap_or(usize::MAX));
    let result = deserializer.deserialize_seq(Elements { reader: &mut reader, elements, wanted });
    if elements.len() == wanted {
        return Ok(());
    }
    result.and_then(|()| deserializer.end()).map_err(|error| reader.explain(&error))
}

/// Reads values, and keeps the reason of its own refusals, for which the error type of serde has no room.
struct Reader {
    budget: Budget,
    /// Whether a text that begins with NUL is a byte string.
    binary: bool,
    failure: Option<CodecError>,
}

impl Reader {
    fn explain(&mut self, error: &serde_json::Error) -> CodecError {
        let position = CodecError::Json { line: error.line(), column: error.column() };
        self.failure.take().unwrap_or(position)
    }

    fn fail<E: de::Error>(&mut self, failure: CodecError) -> E {
        let error = E::custom("refused");
        self.failure = Some(failure);
        error
    }

    fn enter<E: de::Error>(&mut self) -> Result<(), E> {
        self.budget.enter().map_err(|failure| self.fail(failure))
    }

    fn number<E: de::Error>(&mut self, text: &str) -> Result<Value, E> {
        Value::from_json_number(text).ok_or_else(|| self.fail(SELF.malformed("a number is out of range")))
    }
}

/// The elements of a message.
struct Elements<'a> {
    reader: &'a mut Reader,
    elements: &'a mut Vec<Value>,
    wanted: usize,
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.reader.enter()?;
        while self.elements.len() < self.wanted {
            match seq.next_element_seed(&mut *self.reader)? {
                Some(element) => self.elements.push(element),
                None => return Ok(()),
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for &mut Reader {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.budget.item().map_err(|failure| self.fail(failure))?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a json value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, bool: bool) -> Result<Value, E> {
        Ok(Value::Bool(bool))
    }

    fn visit_u64<E>(self, int: u64) -> Result<Value, E> {
        Ok(Value::Int(int.into()))
    }

    fn visit_i64<E>(self, int: i64) -> Result<Value, E> {
        Ok(Value::Int(int.into()))
    }

    fn visit_f64<E>(self, float: f64) -> Result<Value, E> {
        Ok(Value::Float(float))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        match text.strip_prefix('\0') {
            Some(encoded) if self.binary => STANDARD
                .decode(encoded)
                .map(Value::Bytes)
                .map_err(|_| self.fail(SELF.malformed("a byte string is not base64"))),
            _ => Ok(Value::Str(text.to_owned())),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        self.enter()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(&mut *self)? {
            items.push(item);
        }
        self.budget.leave();
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut next = map.next_key::<String>()?;
        if next.as_deref() == Some(NUMBER) {
            return match map.next_value_seed(FieldSeed)? {
                Field::Number(digits) => self.number(&digits),
                Field::Forged => Err(self.fail(SELF.malformed("a reserved key"))),
            };
        }
        self.enter()?;
        let mut pairs = Vec::new();
        while let Some(key) = next {
            self.budget.item().map_err(|failure| self.fail(failure))?;
            pairs.push((Value::Str(key), map.next_value_seed(&mut *self)?));
            next = map.next_key()?;
        }
        self.budget.leave();
        if has_repeated_key(&pairs) {
            return Err(self.fail(SELF.malformed("an object repeats a key")));
        }
        Ok(Value::Map(pairs))
    }
}

/// What stands under the key of a number: the digits of a real one come as an owned text, which nothing in
/// the input does.
enum Field {
    Number(String),
    Forged,
}

struct FieldSeed;

impl<'de> DeserializeSeed<'de> for FieldSeed {
    type Value = Field;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Field, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FieldSeed {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the digits of a number")
    }

    fn visit_string<E>(self, digits: String) -> Result<Field, E> {
        Ok(Field::Number(digits))
    }

    fn visit_str<E: de::Error>(self, _text: &str) -> Result<Field, E> {
        Ok(Field::Forged)
    }
}

/// Writes one value as messages have it, on one line: a byte string is a text of NUL and base64, an integer
/// of any size is exact.
///
/// # Errors
/// [`CodecError::Unsupported`] for what JSON has no form for.
pub fn to_vec(value: &Value) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    write(value, &mut out)?;
    Ok(out)
}

fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), CodecError> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(bool) => out.extend_from_slice(if *bool { b"true" } else { b"false" }),
        Value::Int(_) | Value::BigInt { .. } => {
            let digits = value.to_decimal().ok_or(SELF.unsupported("an integer of that length"))?;
            out.extend_from_slice(digits.as_bytes());
        }
        Value::Float(float) if float.is_finite() => written(serde_json::to_writer(out, float))?,
        Value::Float(_) => return Err(SELF.unsupported("a float that is not finite")),
        Value::Str(text) => write_text(text, out)?,
        Value::Bytes(bytes) => {
            out.extend_from_slice(b"\"\\u0000");
            let start = out.len();
            out.resize(start + bytes.len().div_ceil(3) * 4, 0);
            let room = out.get_mut(start..).unwrap_or_default();
            written(STANDARD.encode_slice(bytes, room))?;
            out.push(b'"');
        }
        Value::List(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(item, out)?;
            }
            out.push(b']');
        }
        Value::Map(pairs) => {
            out.push(b'{');
            for (index, (key, value)) in pairs.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                let key = key.as_str().ok_or(SELF.unsupported("a key that is not a text"))?;
                write_text(key, out)?;
                out.push(b':');
                write(value, out)?;
            }
            out.push(b'}');
        }
        Value::Undefined | Value::Simple(_) | Value::Tag(..) => return Err(SELF.unsupported(value.kind())),
    }
    Ok(())
}

fn write_text(text: &str, out: &mut Vec<u8>) -> Result<(), CodecError> {
    if text.starts_with('\0') {
        return Err(SELF.unsupported("a text that begins with NUL"));
    }
    written(serde_json::to_writer(out, text))
}

/// What a writer reports when it cannot write to memory: nothing, since it can.
fn written<T, E>(result: Result<T, E>) -> Result<(), CodecError> {
    result.map(drop).map_err(|_| SELF.malformed("cannot be written"))
}
