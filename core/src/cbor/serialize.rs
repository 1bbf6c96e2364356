//! Writing CBOR from anything that serde can serialize.
//!
//! Unlike other serde back ends for CBOR, a unit is null, and numbers of `serde_json` with arbitrary
//! precision (which come as a struct with a private name) become exact integers where they are integers.

use std::fmt;

use cbor4ii::core::types;
use serde::Serialize;
use serde::ser::{self, SerializeMap as _};

use super::encode::{encode_into, end_open, list_head, list_open, map_head, map_open, put, put_float};
use super::{CborError, decode};
use crate::value::Value;

/// Under this struct name `serde_json` hands over the digits of a number when it is built with arbitrary
/// precision.
const JSON_NUMBER: &str = "$serde_json::private::Number";

/// Encodes anything serializable. Byte strings stay byte strings when they are serialized as such
/// (`serde_bytes`).
///
/// # Errors
/// [`CborError::Serialize`] with the text of the error that the type itself reported.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CborError> {
    let mut out = Vec::new();
    to_vec_into(value, &mut out)?;
    Ok(out)
}

/// Like [`to_vec`], appending to `out`; after an error `out` ends within an item.
///
/// # Errors
/// As [`to_vec`].
pub fn to_vec_into<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), CborError> {
    value.serialize(&mut Serializer { out })
}

impl ser::Error for CborError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Serialize { message: message.to_string() }
    }
}

struct Serializer<'a> {
    out: &'a mut Vec<u8>,
}

/// A container that is being written.
struct Compound<'s, 'a> {
    ser: &'s mut Serializer<'a>,
    /// Whether its length wasn't known at the start, so that a break ends it.
    open: bool,
    /// Whether it is a number of `serde_json` instead.
    number: bool,
}

impl<'a> Serializer<'a> {
    fn compound(&mut self, open: bool) -> Compound<'_, 'a> {
        Compound { ser: self, open, number: false }
    }

    /// Writes `{variant: …`, the form of an enum variant with content.
    fn variant(&mut self, variant: &str) {
        map_head(1, self.out);
        put(&variant, self.out);
    }
}

macro_rules! put_as_is {
    ($($method:ident: $type:ty),* $(,)?) => {
        $(fn $method(self, value: $type) -> Result<(), CborError> {
            put(&value, self.out);
            Ok(())
        })*
    };
}

impl<'s, 'a> ser::Serializer for &'s mut Serializer<'a> {
    type Ok = ();
    type Error = CborError;
    type SerializeSeq = Compound<'s, 'a>;
    type SerializeTuple = Compound<'s, 'a>;
    type SerializeTupleStruct = Compound<'s, 'a>;
    type SerializeTupleVariant = Compound<'s, 'a>;
    type SerializeMap = Compound<'s, 'a>;
    type SerializeStruct = Compound<'s, 'a>;
    type SerializeStructVariant = Compound<'s, 'a>;

    put_as_is! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_i128: i128,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_u128: u128,
        serialize_str: &str,
    }

    fn serialize_f32(self, value: f32) -> Result<(), CborError> {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<(), CborError> {
        put_float(value, self.out);
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), CborError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), CborError> {
        put(&types::Bytes(value), self.out);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), CborError> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CborError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), CborError> {
        put(&types::Null, self.out);
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), CborError> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), CborError> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), CborError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), CborError> {
        self.variant(variant);
        value.serialize(self)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Compound<'s, 'a>, CborError> {
        match len {
            Some(len) => list_head(len, self.out),
            None => list_open(self.out),
        }
        Ok(self.compound(len.is_none()))
    }

    fn serialize_tuple(self, len: usize) -> Result<Compound<'s, 'a>, CborError> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(self, _name: &'static str, len: usize) -> Result<Compound<'s, 'a>, CborError> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Compound<'s, 'a>, CborError> {
        self.variant(variant);
        self.serialize_seq(Some(len))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Compound<'s, 'a>, CborError> {
        match len {
            Some(len) => map_head(len, self.out),
            None => map_open(self.out),
        }
        Ok(self.compound(len.is_none()))
    }

    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Compound<'s, 'a>, CborError> {
        if name == JSON_NUMBER {
            return Ok(Compound { ser: self, open: false, number: true });
        }
        self.serialize_map(Some(len))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Compound<'s, 'a>, CborError> {
        self.variant(variant);
        self.serialize_map(Some(len))
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<(), CborError> {
        self.serialize_str(&value.to_string())
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

impl Compound<'_, '_> {
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CborError> {
        value.serialize(&mut *self.ser)
    }

    fn finish(self) -> Result<(), CborError> {
        if self.open {
            end_open(self.ser.out);
        }
        Ok(())
    }

    /// Writes the digits of a JSON number as the number that they are.
    fn json_number<T: Serialize + ?Sized>(&mut self, digits: &T) -> Result<(), CborError> {
        let unexpected = || <CborError as ser::Error>::custom("a json number is not made of digits");
        let text = decode(&to_vec(digits)?, &super::Limits::default())?;
        let number = text.as_str().and_then(Value::from_json_number).ok_or_else(unexpected)?;
        encode_into(&number, self.ser.out);
        Ok(())
    }
}

macro_rules! elements {
    ($($trait:ident::$method:ident),* $(,)?) => {
        $(impl ser::$trait for Compound<'_, '_> {
            type Ok = ();
            type Error = CborError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CborError> {
                self.element(value)
            }

            fn end(self) -> Result<(), CborError> {
                self.finish()
            }
        })*
    };
}

elements! {
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field,
}

impl ser::SerializeMap for Compound<'_, '_> {
    type Ok = ();
    type Error = CborError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), CborError> {
        self.element(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CborError> {
        self.element(value)
    }

    fn end(self) -> Result<(), CborError> {
        self.finish()
    }
}

macro_rules! fields {
    ($($trait:ident),* $(,)?) => {
        $(impl ser::$trait for Compound<'_, '_> {
            type Ok = ();
            type Error = CborError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), CborError> {
                match self.number {
                    true => self.json_number(value),
                    false => self.serialize_entry(key, value),
                }
            }

            fn end(self) -> Result<(), CborError> {
                self.finish()
            }
        })*
    };
}

fields! { SerializeStruct, SerializeStructVariant }
