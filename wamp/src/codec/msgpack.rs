//! MessagePack, with `str` and `bin` kept apart. Extension types are not understood.

use rmp::{Marker, encode};
use xbr_core::Value;
use xbr_core::cbor::{Limits, has_repeated_key};

use super::{Budget, CodecError, Serializer};

const SELF: Serializer = Serializer::Msgpack;

/// No container is given room for more than this many items before they were read.
const MAX_RESERVE: usize = 1024;

pub(super) fn decode_array_into(
    bytes: &[u8],
    limits: &Limits,
    max_elements: Option<usize>,
    elements: &mut Vec<Value>,
) -> Result<(), CodecError> {
    let mut reader = Reader { rest: bytes, budget: Budget::new(SELF, limits) };
    reader.budget.item()?;
    reader.budget.enter()?;
    let len = match Marker::from_u8(reader.byte()?) {
        Marker::FixArray(len) => len.into(),
        Marker::Array16 => reader.len(2)?,
        Marker::Array32 => reader.len(4)?,
        _ => return Err(SELF.malformed("a list was expected")),
    };
    for _ in 0..len.min(max_elements.unwrap_or(len)) {
        elements.push(reader.value()?);
    }
    if max_elements.is_none() && !reader.rest.is_empty() {
        return Err(SELF.malformed("something follows after the message"));
    }
    Ok(())
}

struct Reader<'a> {
    rest: &'a [u8],
    budget: Budget,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], CodecError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(SELF.malformed("it ends early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(SELF.malformed("it ends early"))?;
        self.rest = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, CodecError> {
        self.array().map(|[byte]| byte)
    }

    fn len(&mut self, bytes: usize) -> Result<usize, CodecError> {
        Ok(self.take(bytes)?.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)))
    }

    fn value(&mut self) -> Result<Value, CodecError> {
        self.budget.item()?;
        Ok(match Marker::from_u8(self.byte()?) {
            Marker::Null => Value::Null,
            Marker::True => Value::Bool(true),
            Marker::False => Value::Bool(false),
            Marker::FixPos(int) => Value::Int(int.into()),
            Marker::FixNeg(int) => Value::Int(int.into()),
            Marker::U8 => Value::Int(self.byte()?.into()),
            Marker::U16 => Value::Int(u16::from_be_bytes(self.array()?).into()),
            Marker::U32 => Value::Int(u32::from_be_bytes(self.array()?).into()),
            Marker::U64 => Value::Int(u64::from_be_bytes(self.array()?).into()),
            Marker::I8 => Value::Int(i8::from_be_bytes(self.array()?).into()),
            Marker::I16 => Value::Int(i16::from_be_bytes(self.array()?).into()),
            Marker::I32 => Value::Int(i32::from_be_bytes(self.array()?).into()),
            Marker::I64 => Value::Int(i64::from_be_bytes(self.array()?).into()),
            Marker::F32 => Value::Float(f32::from_be_bytes(self.array()?).into()),
            Marker::F64 => Value::Float(f64::from_be_bytes(self.array()?)),
            Marker::FixStr(len) => self.text(len.into())?,
            Marker::Str8 => self.sized(1, Self::text)?,
            Marker::Str16 => self.sized(2, Self::text)?,
            Marker::Str32 => self.sized(4, Self::text)?,
            Marker::Bin8 => self.sized(1, Self::bytes)?,
            Marker::Bin16 => self.sized(2, Self::bytes)?,
            Marker::Bin32 => self.sized(4, Self::bytes)?,
            Marker::FixArray(len) => self.list(len.into())?,
            Marker::Array16 => self.sized(2, Self::list)?,
            Marker::Array32 => self.sized(4, Self::list)?,
            Marker::FixMap(len) => self.map(len.into())?,
            Marker::Map16 => self.sized(2, Self::map)?,
            Marker::Map32 => self.sized(4, Self::map)?,
            Marker::Reserved => return Err(SELF.malformed("reserved byte")),
            _ => return Err(SELF.malformed("extension types are not accepted")),
        })
    }

    fn sized(
        &mut self,
        len_bytes: usize,
        read: fn(&mut Self, usize) -> Result<Value, CodecError>,
    ) -> Result<Value, CodecError> {
        let len = self.len(len_bytes)?;
        read(self, len)
    }

    fn text(&mut self, len: usize) -> Result<Value, CodecError> {
        let text = std::str::from_utf8(self.take(len)?);
        text.map(Value::from).map_err(|_| SELF.malformed("a text is not utf-8"))
    }

    fn bytes(&mut self, len: usize) -> Result<Value, CodecError> {
        self.take(len).map(Value::from)
    }

    /// Room for so many items, each of which takes that many bytes at least.
    fn reserve(&self, len: usize, bytes_per_item: usize) -> Result<usize, CodecError> {
        if len > self.rest.len() / bytes_per_item {
            return Err(SELF.malformed("it ends early"));
        }
        Ok(len.min(MAX_RESERVE))
    }

    fn list(&mut self, len: usize) -> Result<Value, CodecError> {
        self.budget.enter()?;
        let mut items = Vec::with_capacity(self.reserve(len, 1)?);
        for _ in 0..len {
            items.push(self.value()?);
        }
        self.budget.leave();
        Ok(Value::List(items))
    }

    fn map(&mut self, len: usize) -> Result<Value, CodecError> {
        self.budget.enter()?;
        let mut pairs = Vec::with_capacity(self.reserve(len, 2)?);
        for _ in 0..len {
            let key = self.value()?;
            pairs.push((key, self.value()?));
        }
        self.budget.leave();
        if has_repeated_key(&pairs) {
            return Err(SELF.malformed("a map repeats a key"));
        }
        Ok(Value::Map(pairs))
    }
}

pub(super) fn to_vec(message: &Value) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    write(message, &mut out)?;
    Ok(out)
}

/// What rmp reports when it cannot write to memory: nothing, since it can.
fn written<T, E>(result: Result<T, E>) -> Result<(), CodecError> {
    result.map(drop).map_err(|_| SELF.malformed("cannot be written"))
}

fn length(len: usize) -> Result<u32, CodecError> {
    u32::try_from(len).map_err(|_| SELF.unsupported("a length beyond 32 bits"))
}

fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), CodecError> {
    match value {
        Value::Null => written(encode::write_nil(out)),
        Value::Bool(bool) => written(encode::write_bool(out, *bool)),
        Value::Int(int) => match (u64::try_from(*int), i64::try_from(*int)) {
            (Ok(int), _) => written(encode::write_uint(out, int)),
            (_, Ok(int)) => written(encode::write_sint(out, int)),
            _ => Err(SELF.unsupported("an integer beyond 64 bits")),
        },
        Value::BigInt { .. } => Err(SELF.unsupported("an integer beyond 64 bits")),
        Value::Float(float) => written(encode::write_f64(out, *float)),
        Value::Str(text) => {
            written(encode::write_str_len(out, length(text.len())?))?;
            out.extend_from_slice(text.as_bytes());
            Ok(())
        }
        Value::Bytes(bytes) => {
            written(encode::write_bin_len(out, length(bytes.len())?))?;
            out.extend_from_slice(bytes);
            Ok(())
        }
        Value::List(items) => {
            written(encode::write_array_len(out, length(items.len())?))?;
            items.iter().try_for_each(|item| write(item, out))
        }
        Value::Map(pairs) => {
            written(encode::write_map_len(out, length(pairs.len())?))?;
            pairs.iter().try_for_each(|(key, value)| {
                write(key, out)?;
                write(value, out)
            })
        }
        Value::Undefined | Value::Simple(_) | Value::Tag(..) => Err(SELF.unsupported(value.kind())),
    }
}
