//! Token amounts: 256-bit unsigned integers of 10^-18 XBR, exact in every form. No float comes near one.

use std::fmt;
use std::str::FromStr;

use ruint::aliases::U256;
use thiserror::Error;

use crate::value::Value;

/// Decimals of the XBR token: 1 XBR is 10^18 units.
const DECIMALS: usize = 18;

/// An amount of token in units of 10^-18 XBR (`uint256`). Shown, and read from text, as decimal XBR with up to 18
/// decimals: `35`, `0.5`, `1000000.000000000000000001`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(U256);

/// Why a text or a value from the wire is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AmountError {
    /// Not decimal digits with at most one point.
    #[error("amount must be decimal XBR such as 35 or 0.5, got {actual:?}")]
    Syntax {
        /// The text there was, cut to 100 characters.
        actual: String,
    },
    /// More than 18 decimals.
    #[error("amount has {actual} decimals, the token has {DECIMALS}")]
    Decimals {
        /// How many decimals there were.
        actual: usize,
    },
    /// Does not fit 256 bits.
    #[error("amount does not fit 256 bits")]
    Overflow,
    /// A byte string of the wrong length.
    #[error("amount must be 32 bytes, got {actual}")]
    Length {
        /// How many bytes there were.
        actual: usize,
    },
    /// Neither a byte string nor a non-negative integer.
    #[error("amount must be 32 bytes or a non-negative integer, got {actual}")]
    Type {
        /// The kind of value there was.
        actual: &'static str,
    },
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(U256::ZERO);
    /// The greatest amount, 2^256 - 1 units.
    pub const MAX: Self = Self(U256::MAX);

    /// From units of 10^-18 XBR.
    pub fn from_units(units: u128) -> Self {
        Self(U256::from(units))
    }

    /// From whole XBR.
    pub fn from_xbr(xbr: u64) -> Self {
        Self(U256::from(u128::from(xbr) * 10u128.pow(18)))
    }

    /// From decimal digits in units of 10^-18 XBR.
    ///
    /// # Errors
    /// [`AmountError::Syntax`] for anything but digits, [`AmountError::Overflow`] past 256 bits.
    pub fn parse_units(text: &str) -> Result<Self, AmountError> {
        if text.is_empty() || !text.bytes().all(|c| c.is_ascii_digit()) {
            return Err(AmountError::Syntax { actual: text.chars().take(100).collect() });
        }
        U256::from_str_radix(text, 10).map(Self).map_err(|_| AmountError::Overflow)
    }

    /// Decimal digits in units of 10^-18 XBR.
    pub fn units(self) -> String {
        self.0.to_string()
    }

    /// From 32 bytes, big-endian: the form on the wire.
    pub fn from_be_bytes(bytes: [u8; 32]) -> Self {
        Self(U256::from_be_bytes(bytes))
    }

    /// 32 bytes, big-endian: the form on the wire.
    pub fn to_be_bytes(self) -> [u8; 32] {
        self.0.to_be_bytes()
    }

    /// From a byte string of exactly 32 bytes.
    ///
    /// # Errors
    /// [`AmountError::Length`] when it has another length.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, AmountError> {
        bytes.try_into().map(Self::from_be_bytes).map_err(|_| AmountError::Length { actual: bytes.len() })
    }

    /// From a result of the market maker, which sends 32 bytes, but the integer 0 for zero, and in some peers plain
    /// integers of any size.
    ///
    /// # Errors
    /// [`AmountError`] for another length, a negative integer, or another type.
    pub fn from_value(value: &Value) -> Result<Self, AmountError> {
        match value {
            Value::Bytes(bytes) => Self::from_slice(bytes),
            Value::Int(int) => u128::try_from(*int)
                .map(Self::from_units)
                .map_err(|_| AmountError::Type { actual: "a negative integer" }),
            Value::BigInt { negative: false, magnitude } => {
                U256::try_from_be_slice(magnitude).map(Self).ok_or(AmountError::Overflow)
            }
            other => Err(AmountError::Type { actual: other.kind() }),
        }
    }

    /// 32 bytes, as a value for the wire.
    pub fn to_value(self) -> Value {
        Value::Bytes(self.to_be_bytes().to_vec())
    }

    /// The sum, or `None` past 256 bits.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, or `None` when it would be negative.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// The units as a number, for what is no amount of money but comes as one, such as a block; `None` above
    /// 2^64 - 1.
    pub fn to_u64(self) -> Option<u64> {
        self.0.try_into().ok()
    }

    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    /// Reads decimal XBR with up to 18 decimals.
    fn from_str(text: &str) -> Result<Self, AmountError> {
        let syntax = || AmountError::Syntax { actual: text.chars().take(100).collect() };
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit());
        if !digits(whole) || !digits(decimals) {
            return Err(syntax());
        }
        if decimals.len() > DECIMALS {
            return Err(AmountError::Decimals { actual: decimals.len() });
        }
        U256::from_str_radix(&format!("{whole}{decimals:0<DECIMALS$}"), 10)
            .map(Self)
            .map_err(|_| AmountError::Overflow)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:0>width$}", self.0.to_string(), width = DECIMALS + 1);
        let (whole, decimals) = digits.split_at(digits.len() - DECIMALS);
        match decimals.trim_end_matches('0') {
            "" => f.pad(whole),
            decimals => f.pad(&format!("{whole}.{decimals}")),
        }
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Amount({self} XBR)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimal_xbr_is_exact() {
        for (text, units) in [
            ("0", "0"),
            ("35", "35000000000000000000"),
            ("0.5", "500000000000000000"),
            ("1000000.000000000000000001", "1000000000000000000000001"),
        ] {
            let amount: Amount = text.parse().unwrap();
            assert_eq!(amount.units(), units);
            assert_eq!(amount.to_string(), text);
        }
        assert_eq!("007.50".parse::<Amount>().unwrap().to_string(), "7.5");
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for bad in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", " 1", "0x10", "1_000", "١"] {
            assert!(matches!(bad.parse::<Amount>(), Err(AmountError::Syntax { .. })), "{bad:?}");
        }
        assert_eq!("0.0000000000000000001".parse::<Amount>(), Err(AmountError::Decimals { actual: 19 }));
        assert_eq!("9".repeat(70).parse::<Amount>(), Err(AmountError::Overflow));
        assert_eq!(Amount::from_slice(&[0; 31]), Err(AmountError::Length { actual: 31 }));
        assert!(Amount::from_value(&Value::Int(-1)).is_err());
        assert!(Amount::from_value(&Value::Float(1.0)).is_err());
    }

    #[test]
    fn both_wire_forms_are_read() {
        assert_eq!(Amount::from_value(&Value::Int(0)), Ok(Amount::ZERO));
        let big = Value::BigInt { negative: false, magnitude: vec![1, 0, 0, 0, 0, 0, 0, 0, 0] };
        assert_eq!(Amount::from_value(&big), Ok(Amount::from_units(1 << 64)));
        let amount = Amount::from_xbr(35);
        assert_eq!(Amount::from_value(&amount.to_value()), Ok(amount));
    }

    proptest! {
        #[test]
        fn text_and_bytes_round_trip(bytes: [u8; 32]) {
            let amount = Amount::from_be_bytes(bytes);
            prop_assert_eq!(amount.to_be_bytes(), bytes);
            prop_assert_eq!(amount.to_string().parse(), Ok(amount));
            prop_assert_eq!(Amount::parse_units(&amount.units()), Ok(amount));
        }
    }
}
