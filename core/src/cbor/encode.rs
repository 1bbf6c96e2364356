//! Writing CBOR: dynamic values in the form that the reference writes, byte for byte.

use std::convert::Infallible;

use cbor4ii::core::enc::{Encode, Write};
use cbor4ii::core::types;

use crate::value::Value;

/// Maps up to this size are searched for repeated keys pair by pair, larger ones by sorting.
const SMALL_MAP: usize = 8;

/// Encodes a value: shortest integers, definite lengths, floats with 64 bits (infinities and NaN with 16), as
/// the reference does.
pub fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    encode_into(value, &mut out);
    out
}

/// Like [`encode`], appending to `out`.
pub fn encode_into(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => put(&types::Null, out),
        Value::Undefined => put(&types::Undefined, out),
        Value::Bool(bool) => put(bool, out),
        Value::Int(int) => put(int, out),
        Value::BigInt { negative, magnitude } => {
            put(&types::Tag(2 + u64::from(*negative), types::Bytes(magnitude.as_slice())), out);
        }
        Value::Float(float) => put_float(*float, out),
        Value::Simple(number) => put(&types::Simple(*number), out),
        Value::Str(text) => put(text, out),
        Value::Bytes(bytes) => put(&types::Bytes(bytes.as_slice()), out),
        Value::List(items) => {
            list_head(items.len(), out);
            items.iter().for_each(|item| encode_into(item, out));
        }
        Value::Map(pairs) => {
            map_head(pairs.len(), out);
            for (key, value) in pairs {
                encode_into(key, out);
                encode_into(value, out);
            }
        }
        Value::Tag(tag, value) => {
            put(&types::Tag(*tag, types::Nothing), out);
            encode_into(value, out);
        }
    }
}

/// Whether two pairs of a map have the same key.
pub fn has_repeated_key(pairs: &[(Value, Value)]) -> bool {
    if pairs.len() <= SMALL_MAP {
        return pairs
            .iter()
            .enumerate()
            .any(|(index, (key, _))| pairs.iter().skip(index + 1).any(|(other, _)| key == other));
    }
    let mut encoded = Vec::new();
    let mut ranges = Vec::with_capacity(pairs.len());
    for (key, _) in pairs {
        let start = encoded.len();
        encode_into(key, &mut encoded);
        ranges.push(start..encoded.len());
    }
    let mut keys: Vec<&[u8]> = ranges.into_iter().filter_map(|range| encoded.get(range)).collect();
    keys.sort_unstable();
    keys.windows(2).any(|pair| matches!(pair, [one, other] if one == other))
}

/// A byte sink that cannot fail.
struct Sink<'a>(&'a mut Vec<u8>);

impl Write for Sink<'_> {
    type Error = Infallible;

    #[inline]
    fn push(&mut self, input: &[u8]) -> Result<(), Infallible> {
        self.0.extend_from_slice(input);
        Ok(())
    }
}

#[inline]
pub(super) fn put<T: Encode>(item: &T, out: &mut Vec<u8>) {
    // The sink cannot fail, so neither can this.
    let _infallible = item.encode(&mut Sink(out));
}

pub(super) fn put_float(float: f64, out: &mut Vec<u8>) {
    if float.is_infinite() || float.to_bits() == f64::NAN.to_bits() {
        put(&half::f16::from_f64(float), out);
    } else {
        put(&float, out);
    }
}

pub(super) fn list_head(len: usize, out: &mut Vec<u8>) {
    let _infallible = types::Array::bounded(len, &mut Sink(out));
}

pub(super) fn map_head(len: usize, out: &mut Vec<u8>) {
    let _infallible = types::Map::bounded(len, &mut Sink(out));
}

/// Starts a list whose length isn't known yet.
pub(super) fn list_open(out: &mut Vec<u8>) {
    let _infallible = types::Array::unbounded(&mut Sink(out));
}

/// Starts a map whose length isn't known yet.
pub(super) fn map_open(out: &mut Vec<u8>) {
    let _infallible = types::Map::unbounded(&mut Sink(out));
}

/// Ends what [`list_open`] or [`map_open`] started.
pub(super) fn end_open(out: &mut Vec<u8>) {
    let _infallible = types::Array::end(&mut Sink(out));
}
