//! The procedures of an XBR data market as typed requests and results, each with a parser and an encoder.
//!
//! Requests to the seller are parsed strictly: arity, types and lengths are exactly those of the contract.
//! Results of the market maker are parsed leniently where real peers deviate: an amount may be 32 bytes or a
//! non-negative integer, and unknown fields are passed over.

use std::collections::BTreeMap;

use crate::amount::{Amount, AmountError};
use crate::ids::{
    Address, ApiId, BuyerKey, ChannelId, ChannelSeq, KeyId, MarketId, OfferId, ProviderId, Signature,
};
use crate::offer::UriPrefix;
use crate::reject::ArgumentError;
use crate::value::Value;

mod buy;
mod channels;
mod close;
mod event;
mod form;
mod market;
mod offers;
mod sell;
pub mod uri;

pub use buy::{BuyReceipt, BuyRequest, Quote};
pub use channels::{
    ByChannel, ByDelegate, ChannelBalance, ChannelClosing, ChannelIds, ChannelInfo, ChannelStatus,
    ChannelType, ChannelsByDelegate, MarketCloseRequest, OpenChannel, active_channel,
};
pub use close::{CloseReceipt, CloseRequest};
pub use event::{OnChannelClosed, OnStatus};
pub use market::{
    Block, Eula, GetConfig, GetStatus, MarketConfig, MarketDomain, MarketMakerStatus, MarketStatus,
};
pub use offers::{ByKey, ByOffer, OfferInfo, PlaceOffer, UnsignedOffer};
pub use sell::{SellReceipt, SellRequest};

/// Positional arguments, in order.
pub type Args = Vec<Value>;
/// Keyword arguments, or the fields of a dictionary, in the order of the wire.
pub type Kwargs = Vec<(String, Value)>;
/// A dictionary whose keys are not fixed.
type Pairs<T> = BTreeMap<String, T>;

/// A value that has one type and form on the wire.
pub trait Field: Sized {
    /// Parses it; `name` is for the error.
    ///
    /// # Errors
    /// [`ArgumentError`] when it has another type, length or form.
    fn parse(name: &'static str, value: &Value) -> Result<Self, ArgumentError>;

    /// The form on the wire.
    fn encode(&self) -> Value;
}

/// Positional arguments that are taken one by one.
#[derive(Debug)]
pub(crate) struct Positional<'a>(std::slice::Iter<'a, Value>);

impl<'a> Positional<'a> {
    /// Exactly `expected` positional arguments and no keyword arguments.
    pub(crate) fn exactly(
        expected: usize,
        args: &'a [Value],
        kwargs: &[(String, Value)],
    ) -> Result<Self, ArgumentError> {
        if args.len() != expected {
            return Err(ArgumentError::Arity { expected, actual: args.len() });
        }
        if !kwargs.is_empty() {
            return Err(ArgumentError::Keywords { actual: kwargs.len() });
        }
        Ok(Self(args.iter()))
    }

    /// The next one.
    pub(crate) fn take<T: Field>(&mut self, name: &'static str) -> Result<T, ArgumentError> {
        T::parse(name, self.0.next().ok_or(ArgumentError::Missing { name })?)
    }
}

/// The only positional value of a result.
pub(crate) fn single(args: &[Value]) -> Result<&Value, ArgumentError> {
    match args {
        [value] => Ok(value),
        _ => Err(ArgumentError::Arity { expected: 1, actual: args.len() }),
    }
}

/// A field of a dictionary that must be there.
pub(crate) fn field<T: Field>(dict: &Value, name: &'static str) -> Result<T, ArgumentError> {
    if dict.as_map().is_none() {
        return Err(ArgumentError::Type { name: "result", expected: "a dictionary", actual: dict.kind() });
    }
    T::parse(name, dict.field(name).ok_or(ArgumentError::Missing { name })?)
}

/// A field of a dictionary that may be missing or null.
pub(crate) fn optional<T: Field>(dict: &Value, name: &'static str) -> Result<Option<T>, ArgumentError> {
    match dict.field(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => T::parse(name, value).map(Some),
    }
}

fn wrong_type(name: &'static str, expected: &'static str, value: &Value) -> ArgumentError {
    ArgumentError::Type { name, expected, actual: value.kind() }
}

fn bytes<'a>(name: &'static str, value: &'a Value) -> Result<&'a [u8], ArgumentError> {
    value.as_bytes().ok_or_else(|| wrong_type(name, "a byte string", value))
}

macro_rules! byte_fields {
    ($($id:ident),*) => {$(
        impl Field for $id {
            fn parse(name: &'static str, value: &Value) -> Result<Self, ArgumentError> {
                let bytes = bytes(name, value)?;
                Self::from_slice(bytes).map_err(|_| ArgumentError::Length {
                    name,
                    expected: Self::LEN,
                    actual: bytes.len(),
                })
            }

            fn encode(&self) -> Value {
                Value::Bytes(self.as_bytes().to_vec())
            }
        }
    )*};
}

byte_fields!(Address, ApiId, BuyerKey, ChannelId, KeyId, MarketId, OfferId, Signature);

/// Strictly 32 bytes, as in a request.
impl Field for Amount {
    fn parse(name: &'static str, value: &Value) -> Result<Self, ArgumentError> {
        let bytes = bytes(name, value)?;
        Self::from_slice(bytes).map_err(|_| ArgumentError::Length { name, expected: 32, actual: bytes.len() })
    }

    fn encode(&self) -> Value {
        self.to_value()
    }
}

/// An amount as market makers send it: 32 bytes, or a non-negative integer (always so for zero).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LenientAmount(pub Amount);

impl Field for LenientAmount {
    fn parse(name: &'static str, value: &Value) -> Result<Self, ArgumentError> {
        let expected = "32 bytes or a non-negative integer";
        Amount::from_value(value).map(Self).map_err(|error| match (error, value) {
            (AmountError::Length { actual }, _) => ArgumentError::Length { name, expected: 32, actual },
            (_, Value::Int(_) | Value::BigInt { .. }) => ArgumentError::Range { name, expected },
            _ => wrong_type(name, expected, value),
        })
    }

    fn encode(&self) -> Value {
        self.0.to_value()
    }
}

impl Field for ChannelSeq {
    fn parse(name: &'static str, value: &Value) -> Result<Self, ArgumentError> {
        let Value::Int(seq) = value else { return Err(wrong_type(name, "an integer", value)) };
        u32::try_from(*seq)
            .map(Self::new)
            .map_err(|_| ArgumentError::Range { name, expected: "an integer from 0 to 2^32 - 1" })
    }

    fn encode(&self) -> Value {
        Value::from(self.value())
    }
}

impl Field for u64 {
    fn parse(name: &'static str, value: &Value) -> Result<Self, ArgumentError> {
        let Value::Int(int) = value else { return Err(wrong_type(name, "an integer", value)) };
        Self::try_from(*int)
            .map_err(|_| ArgumentError::Range { name, expected: "an integer from 0 to 2^64 - 1" })
    }

    fn encode(&self) -> Value {
        Value::from(*self)
    }
}

impl Field for bool {
    fn parse(name: &'static str, value: &Value) -> Result<Self, ArgumentError> {
        value.as_bool().ok_or_else(|| wrong_type(name, "a boolean", value))
    }

    fn encode(&self) -> Value {
        Value::Bool(*self)
    }
}

impl Field for String {
    fn parse(name: &'static str, value: &Value) -> Result<Self, ArgumentError> {
        value.as_str().map(str::to_owned).ok_or_else(|| wrong_type(name, "a string", value))
    }

    fn encode(&self) -> Value {
        Value::Str(self.clone())
    }
}

impl Field for UriPrefix {
    fn parse(name: &'static str, value: &Value) -> Result<Self, ArgumentError> {
        Self::new(String::parse(name, value)?).map_err(|_| ArgumentError::Range {
            name,
            expected: "a URI, or a prefix of URIs, of a to z, 0 to 9 and _",
        })
    }

    fn encode(&self) -> Value {
        Value::from(self.as_str())
    }
}

impl Field for ProviderId {
    fn parse(name: &'static str, value: &Value) -> Result<Self, ArgumentError> {
        Self::new(String::parse(name, value)?)
            .map_err(|_| ArgumentError::Range { name, expected: "one URI part of a to z, 0 to 9 and _" })
    }

    fn encode(&self) -> Value {
        Value::from(self.as_str())
    }
}

impl Field for Vec<u8> {
    fn parse(name: &'static str, value: &Value) -> Result<Self, ArgumentError> {
        bytes(name, value).map(<[u8]>::to_vec)
    }

    fn encode(&self) -> Value {
        Value::Bytes(self.clone())
    }
}
