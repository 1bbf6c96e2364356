//! Reading CBOR: a recursive reader over a byte slice, with the bounds of [`Limits`].

use cbor4ii::core::dec::{Decode, Error, Read, Reference};
use cbor4ii::core::{major, marker, types};

use super::{CborError, Limits, MAX_DEPTH, has_repeated_key};
use crate::value::Value;

/// No container is given room for more than this many items before they were read.
const MAX_RESERVE: usize = 1024;

/// Decodes one value that makes up the whole input.
///
/// # Errors
/// [`CborError`] when the input is not exactly one well-formed item within the limits.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Value, CborError> {
    let mut reader = Reader::new(bytes, limits);
    let value = reader.value()?;
    reader.end()?;
    Ok(value)
}

/// Decodes the items of a top-level array, pushing each to `items` as soon as it is complete: after an error,
/// `items` holds what came before the culprit. With `max_elements`, reading stops in front of the next item
/// and the rest of the input isn't looked at.
///
/// # Errors
/// [`CborError`] when the input is no array, or not exactly one well-formed item within the limits.
pub fn decode_array_into(
    bytes: &[u8],
    limits: &Limits,
    max_elements: Option<usize>,
    items: &mut Vec<Value>,
) -> Result<(), CborError> {
    let mut reader = Reader::new(bytes, limits);
    if reader.peek()? >> 5 != major::ARRAY {
        return Err(CborError::NotAnArray);
    }
    reader.item()?;
    let declared = reader.array_len()?;
    reader.enter()?;
    let max_elements = max_elements.unwrap_or(usize::MAX);
    let mut count = 0;
    while reader.has_next(declared, count)? {
        if count == max_elements {
            return Ok(());
        }
        items.push(reader.value()?);
        count += 1;
    }
    reader.end()
}

struct Reader<'a> {
    rest: &'a [u8],
    input_len: usize,
    limits: Limits,
    depth: usize,
    items: usize,
}

impl<'a> Read<'a> for Reader<'a> {
    type Error = std::convert::Infallible;

    #[inline]
    fn fill<'short>(&'short mut self, want: usize) -> Result<Reference<'a, 'short>, Self::Error> {
        Ok(Reference::Long(self.rest.get(..want).unwrap_or(self.rest)))
    }

    #[inline]
    fn advance(&mut self, n: usize) {
        self.rest = self.rest.get(n..).unwrap_or_default();
    }
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], limits: &Limits) -> Self {
        let limits = Limits { max_depth: limits.max_depth.min(MAX_DEPTH), ..*limits };
        Self { rest: bytes, input_len: bytes.len(), limits, depth: 0, items: 0 }
    }

    fn end(&self) -> Result<(), CborError> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(CborError::TrailingBytes { count }),
        }
    }

    fn peek(&self) -> Result<u8, CborError> {
        self.rest.first().copied().ok_or(CborError::Truncated)
    }

    fn malformed(&self) -> CborError {
        CborError::Malformed { offset: self.input_len - self.rest.len() }
    }

    /// Decodes something primitive, with the error put into our words.
    fn primitive<T: Decode<'a>>(&mut self) -> Result<T, CborError> {
        T::decode(self).map_err(|error| self.explain(&error))
    }

    fn explain<E>(&self, error: &Error<E>) -> CborError {
        match error {
            Error::Eof { .. } => CborError::Truncated,
            Error::RequireUtf8 { .. } => CborError::InvalidUtf8,
            _ => self.malformed(),
        }
    }

    fn item(&mut self) -> Result<(), CborError> {
        self.items += 1;
        if self.items > self.limits.max_items {
            return Err(CborError::TooManyItems { max: self.limits.max_items });
        }
        Ok(())
    }

    fn enter(&mut self) -> Result<(), CborError> {
        self.depth += 1;
        if self.depth > self.limits.max_depth {
            return Err(CborError::TooDeep { max: self.limits.max_depth });
        }
        Ok(())
    }

    fn array_len(&mut self) -> Result<Option<usize>, CborError> {
        types::Array::len(self).map_err(|error| self.explain(&error))
    }

    /// Whether another item of a container follows, of which `count` have been read; swallows the break.
    fn has_next(&mut self, declared: Option<usize>, count: usize) -> Result<bool, CborError> {
        match declared {
            Some(declared) => Ok(count < declared),
            None if self.peek()? == marker::BREAK => {
                self.advance(1);
                Ok(false)
            }
            None => Ok(true),
        }
    }

    /// Room for a container of that declared length, which has to fit the rest of the input.
    fn reserve(&self, declared: Option<usize>, bytes_per_item: usize) -> Result<usize, CborError> {
        let declared = declared.unwrap_or(0);
        if declared > self.rest.len() / bytes_per_item {
            return Err(CborError::Truncated);
        }
        Ok(declared.min(MAX_RESERVE))
    }

    fn value(&mut self) -> Result<Value, CborError> {
        self.item()?;
        let first = self.peek()?;
        match first >> 5 {
            major::UNSIGNED => Ok(Value::Int(self.primitive::<u64>()?.into())),
            major::NEGATIVE => {
                let types::Negative(int) = self.primitive::<types::Negative<u64>>()?;
                Ok(Value::Int(-1 - i128::from(int)))
            }
            major::BYTES => self.bytes().map(Value::Bytes),
            major::STRING => self.primitive::<String>().map(Value::Str),
            major::ARRAY => self.array(),
            major::MAP => self.map(),
            major::TAG => self.tag(),
            _ => self.simple(first),
        }
    }

    fn bytes(&mut self) -> Result<Vec<u8>, CborError> {
        self.primitive::<types::Bytes<Vec<u8>>>().map(|types::Bytes(bytes)| bytes)
    }

    fn array(&mut self) -> Result<Value, CborError> {
        self.enter()?;
        let declared = self.array_len()?;
        let mut list = Vec::with_capacity(self.reserve(declared, 1)?);
        while self.has_next(declared, list.len())? {
            list.push(self.value()?);
        }
        self.depth -= 1;
        Ok(Value::List(list))
    }

    fn map(&mut self) -> Result<Value, CborError> {
        self.enter()?;
        let declared = types::Map::len(self).map_err(|error| self.explain(&error))?;
        let mut pairs = Vec::with_capacity(self.reserve(declared, 2)?);
        while self.has_next(declared, pairs.len())? {
            let key = self.value()?;
            pairs.push((key, self.value()?));
        }
        self.depth -= 1;
        if has_repeated_key(&pairs) {
            return Err(CborError::RepeatedKey);
        }
        Ok(Value::Map(pairs))
    }

    fn tag(&mut self) -> Result<Value, CborError> {
        self.enter()?;
        let tag = types::Tag::tag(self).map_err(|error| self.explain(&error))?;
        let value = match tag {
            2 | 3 => {
                self.item()?;
                if self.peek()? >> 5 != major::BYTES {
                    return Err(CborError::InvalidBigInt);
                }
                Value::from_magnitude(tag == 3, &self.bytes()?)
            }
            _ => Value::Tag(tag, Box::new(self.value()?)),
        };
        self.depth -= 1;
        Ok(value)
    }

    fn simple(&mut self, first: u8) -> Result<Value, CborError> {
        Ok(match first {
            marker::FALSE | marker::TRUE => Value::Bool(self.primitive::<bool>()?),
            marker::NULL => {
                self.advance(1);
                Value::Null
            }
            marker::UNDEFINED => {
                self.advance(1);
                Value::Undefined
            }
            marker::F16 => Value::Float(self.primitive::<half::f16>()?.into()),
            marker::F32 => Value::Float(self.primitive::<f32>()?.into()),
            marker::F64 => Value::Float(self.primitive::<f64>()?),
            _ => match self.primitive::<types::Simple>()? {
                types::Simple(number) if first < 0xf4 || number >= 32 => Value::Simple(number),
                _ => return Err(self.malformed()),
            },
        })
    }
}
