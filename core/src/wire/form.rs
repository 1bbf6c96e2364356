//! The tools that requests and dictionaries of the market maker are made with: one table per type gives its
//! fields, its parser and its encoder, so that the two cannot differ.

use super::{Field, LenientAmount, Pairs, field, optional, wrong_type};
use crate::amount::Amount;
use crate::ids::{Address, MarketId};
use crate::reject::ArgumentError;
use crate::value::Value;

/// Arguments as the market maker takes them: each by position or by keyword, like those of a Python function.
/// An optional one may be missing or null.
#[derive(Debug)]
pub(crate) struct Bound<'a> {
    names: &'static [&'static str],
    values: Vec<Option<&'a Value>>,
}

impl<'a> Bound<'a> {
    /// Brings the arguments into the order of `names`.
    ///
    /// # Errors
    /// [`ArgumentError::Arity`] for too many positional arguments, [`ArgumentError::Keywords`] for keywords
    /// that the procedure does not have, or that repeat an argument.
    pub(crate) fn new(
        names: &'static [&'static str],
        args: &'a [Value],
        kwargs: &'a [(String, Value)],
    ) -> Result<Self, ArgumentError> {
        if args.len() > names.len() {
            return Err(ArgumentError::Arity { expected: names.len(), actual: args.len() });
        }
        let mut values: Vec<Option<&Value>> = args.iter().map(Some).collect();
        values.resize(names.len(), None);
        let mut unexpected = 0;
        for (keyword, value) in kwargs {
            let slot = names.iter().position(|name| name == keyword).and_then(|index| values.get_mut(index));
            match slot {
                Some(slot @ None) => *slot = Some(value),
                _ => unexpected += 1,
            }
        }
        match unexpected {
            0 => Ok(Self { names, values }),
            actual => Err(ArgumentError::Keywords { actual }),
        }
    }

    fn value(&self, name: &str) -> Option<&'a Value> {
        self.names.iter().position(|n| *n == name).and_then(|index| self.values.get(index).copied().flatten())
    }

    /// An argument that must be there.
    pub(crate) fn required<T: Field>(&self, name: &'static str) -> Result<T, ArgumentError> {
        T::parse(name, self.value(name).ok_or(ArgumentError::Missing { name })?)
    }

    /// An argument that may be missing or null.
    pub(crate) fn optional<T: Field>(&self, name: &'static str) -> Result<Option<T>, ArgumentError> {
        match self.value(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::parse(name, value).map(Some),
        }
    }
}

/// How a field stands in a dictionary of the market maker.
pub(crate) trait Form<T> {
    /// Reads it.
    fn read(dict: &Value, name: &'static str) -> Result<T, ArgumentError>;

    /// Its form on the wire.
    fn write(value: &T) -> Value;
}

/// It must be there.
pub(crate) struct Required;

impl<T: Field> Form<T> for Required {
    fn read(dict: &Value, name: &'static str) -> Result<T, ArgumentError> {
        field(dict, name)
    }

    fn write(value: &T) -> Value {
        value.encode()
    }
}

/// It may be missing or null, and is written as null then.
pub(crate) struct Optional;

impl<T: Field> Form<Option<T>> for Optional {
    fn read(dict: &Value, name: &'static str) -> Result<Option<T>, ArgumentError> {
        optional(dict, name)
    }

    fn write(value: &Option<T>) -> Value {
        value.as_ref().map_or(Value::Null, Field::encode)
    }
}

/// A number of which 0, like null, means that there is none.
pub(crate) struct NonZero;

impl Form<Option<u64>> for NonZero {
    fn read(dict: &Value, name: &'static str) -> Result<Option<u64>, ArgumentError> {
        optional(dict, name).map(|number| number.filter(|number| *number != 0))
    }

    fn write(value: &Option<u64>) -> Value {
        Optional::write(value)
    }
}

/// It must be there, in any form that a [`LenientAmount`] has; it is written as 32 bytes.
pub(crate) struct Lenient;

impl Form<Amount> for Lenient {
    fn read(dict: &Value, name: &'static str) -> Result<Amount, ArgumentError> {
        field::<LenientAmount>(dict, name).map(|amount| amount.0)
    }

    fn write(value: &Amount) -> Value {
        value.to_value()
    }
}

/// It must be there as text: `0x…` for an address, a UUID for a market. The bytes themselves are read as
/// well.
pub(crate) struct Text;

impl Form<Address> for Text {
    fn read(dict: &Value, name: &'static str) -> Result<Address, ArgumentError> {
        field::<AddressText>(dict, name).map(|address| address.0)
    }

    fn write(value: &Address) -> Value {
        AddressText(*value).encode()
    }
}

impl Form<MarketId> for Text {
    fn read(dict: &Value, name: &'static str) -> Result<MarketId, ArgumentError> {
        field::<MarketIdText>(dict, name).map(|market| market.0)
    }

    fn write(value: &MarketId) -> Value {
        MarketIdText(*value).encode()
    }
}

/// It may be missing or null, and is text else.
pub(crate) struct OptionalText;

impl Form<Option<Address>> for OptionalText {
    fn read(dict: &Value, name: &'static str) -> Result<Option<Address>, ArgumentError> {
        Ok(optional::<AddressText>(dict, name)?.map(|address| address.0))
    }

    fn write(value: &Option<Address>) -> Value {
        value.map_or(Value::Null, |address| AddressText(address).encode())
    }
}

/// A map from texts that may be missing or null, and is empty then.
pub(crate) struct Labels;

impl<T: Field> Form<Pairs<T>> for Labels {
    fn read(dict: &Value, name: &'static str) -> Result<Pairs<T>, ArgumentError> {
        optional(dict, name).map(Option::unwrap_or_default)
    }

    fn write(value: &Pairs<T>) -> Value {
        value.encode()
    }
}

impl<T: Field> Field for Pairs<T> {
    fn parse(name: &'static str, value: &Value) -> Result<Self, ArgumentError> {
        let pairs = value.as_map().ok_or_else(|| wrong_type(name, "a dictionary", value))?;
        pairs.iter().map(|(key, value)| Ok((String::parse(name, key)?, T::parse(name, value)?))).collect()
    }

    fn encode(&self) -> Value {
        self.iter().map(|(key, value)| (key.as_str(), value.encode())).collect()
    }
}

/// An address as the market maker's configuration has it: `0x` and 40 hex digits, or 20 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AddressText(pub(crate) Address);

impl Field for AddressText {
    fn parse(name: &'static str, value: &Value) -> Result<Self, ArgumentError> {
        let Some(text) = value.as_str() else { return Address::parse(name, value).map(Self) };
        text.parse().map(Self).map_err(|_| ArgumentError::Range { name, expected: "0x and 40 hex digits" })
    }

    fn encode(&self) -> Value {
        Value::Str(self.0.to_string())
    }
}

/// A market as the market maker's configuration and some events have it: the text of a UUID, or 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MarketIdText(pub(crate) MarketId);

impl Field for MarketIdText {
    fn parse(name: &'static str, value: &Value) -> Result<Self, ArgumentError> {
        let Some(text) = value.as_str() else { return MarketId::parse(name, value).map(Self) };
        text.parse().map(Self).map_err(|_| ArgumentError::Range { name, expected: "a UUID" })
    }

    fn encode(&self) -> Value {
        Value::Str(self.0.to_string())
    }
}

/// A request of positional arguments, all of which must be there.
macro_rules! request {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$field_doc:meta])* $field:ident: $type:ty = $wire:literal),+ $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)+
        }

        impl $name {
            /// The names of the arguments, in order.
            pub const ARGUMENTS: &'static [&'static str] = &[$($wire),+];

            /// Parses the arguments of a call, each by position or by keyword, as the market maker does.
            ///
            /// # Errors
            /// [`ArgumentError`](crate::reject::ArgumentError) for arguments that are missing or too many, or
            /// have another type or length.
            pub fn parse(
                args: &[$crate::Value],
                kwargs: &[(String, $crate::Value)],
            ) -> Result<Self, $crate::reject::ArgumentError> {
                let bound = $crate::wire::form::Bound::new(Self::ARGUMENTS, args, kwargs)?;
                Ok(Self { $($field: bound.required($wire)?,)+ })
            }

            /// The positional arguments of a call.
            pub fn to_args(&self) -> $crate::wire::Args {
                vec![$($crate::wire::Field::encode(&self.$field)),+]
            }
        }
    };
}

/// A dictionary that is the only positional value of a result or an event: each field with its [`Form`].
macro_rules! dictionary {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$field_doc:meta])* $field:ident: $type:ty = $form:ident $wire:literal),+ $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)+
        }

        impl $name {
            /// Parses the positional values of a result or an event. Fields that are not known are passed
            /// over.
            ///
            /// # Errors
            /// [`ArgumentError`](crate::reject::ArgumentError) when it is not one dictionary, or a field is
            /// missing or has another type, length or form.
            pub fn parse(args: &[$crate::Value]) -> Result<Self, $crate::reject::ArgumentError> {
                $crate::wire::Field::parse("result", $crate::wire::single(args)?)
            }

            /// The dictionary on the wire.
            pub fn to_value(&self) -> $crate::Value {
                $crate::Value::from_iter([
                    $((
                        $wire,
                        <$crate::wire::form::$form as $crate::wire::form::Form<$type>>::write(&self.$field),
                    ),)+
                ])
            }
        }

        impl $crate::wire::Field for $name {
            fn parse(
                name: &'static str,
                value: &$crate::Value,
            ) -> Result<Self, $crate::reject::ArgumentError> {
                if value.as_map().is_none() {
                    return Err($crate::wire::wrong_type(name, "a dictionary", value));
                }
                Ok(Self {
                    $($field: <$crate::wire::form::$form as $crate::wire::form::Form<$type>>::read(value, $wire)?,)+
                })
            }

            fn encode(&self) -> $crate::Value {
                self.to_value()
            }
        }
    };
}

/// A number that stands for one of a few things.
macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident, $expected:literal, {
        $($(#[$variant_doc:meta])* $variant:ident = $number:literal),+ $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $crate::wire::Field for $name {
            fn parse(
                name: &'static str,
                value: &$crate::Value,
            ) -> Result<Self, $crate::reject::ArgumentError> {
                match value {
                    $($crate::Value::Int($number) => Ok(Self::$variant),)+
                    $crate::Value::Int(_) => {
                        Err($crate::reject::ArgumentError::Range { name, expected: $expected })
                    }
                    _ => Err($crate::wire::wrong_type(name, "an integer", value)),
                }
            }

            fn encode(&self) -> $crate::Value {
                $crate::Value::Int(match self {
                    $(Self::$variant => $number,)+
                })
            }
        }
    };
}

pub(crate) use {dictionary, numbered, request};
