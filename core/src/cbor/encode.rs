//! Writing CBOR: dynamic values in the form that the reference writes, byte for byte.

use std::cmp::Ordering;
use std::convert::Infallible;

use cbor4ii::core::enc::{Encode, Write};
use cbor4ii::core::types;

use crate::append::append;
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
    let mut keys: Vec<&Value> = pairs.iter().map(|(key, _)| key).collect();
    keys.sort_unstable_by(|one, other| order(one, other));
    keys.windows(2).any(|pair| matches!(pair, [one, other] if order(one, other).is_eq()))
}

/// Some total order, in which equal is what is written alike.
///
/// Keys are compared in place because a comparison ends at the first difference. Were they encoded instead,
/// maps as keys of maps as keys of maps would be encoded anew on each level.
fn order(one: &Value, other: &Value) -> Ordering {
    use Value::{BigInt, Bool, Bytes, Float, Int, List, Map, Simple, Str, Tag};
    match (one, other) {
        (Bool(one), Bool(other)) => one.cmp(other),
        (Int(one), Int(other)) => one.cmp(other),
        (BigInt { negative, magnitude }, BigInt { negative: other_negative, magnitude: other_magnitude }) => {
            negative.cmp(other_negative).then_with(|| magnitude.cmp(other_magnitude))
        }
        (Float(one), Float(other)) => one.to_bits().cmp(&other.to_bits()),
        (Simple(one), Simple(other)) => one.cmp(other),
        (Str(one), Str(other)) => one.cmp(other),
        (Bytes(one), Bytes(other)) => one.cmp(other),
        (List(one), List(other)) => order_all(one, other, order),
        (Map(one), Map(other)) => {
            order_all(one, other, |(k, v), (l, w)| order(k, l).then_with(|| order(v, w)))
        }
        (Tag(one, value), Tag(other, other_value)) => one.cmp(other).then_with(|| order(value, other_value)),
        _ => one.kind().cmp(other.kind()),
    }
}

fn order_all<T>(one: &[T], other: &[T], order: impl Fn(&T, &T) -> Ordering) -> Ordering {
    let mut items = one.iter().zip(other).map(|(one, other)| order(one, other));
    one.len().cmp(&other.len()).then_with(|| items.find(|item| item.is_ne()).unwrap_or(Ordering::Equal))
}

/// A byte sink that cannot fail.
struct Sink<'a>(&'a mut Vec<u8>);

impl Write for Sink<'_> {
    type Error = Infallible;

    #[inline]
    fn push(&mut self, input: &[u8]) -> Result<(), Infallible> {
        append(self.0, input);
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
