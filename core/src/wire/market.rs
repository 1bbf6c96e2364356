//! What the market maker tells about itself: its configuration and its status.

use super::form::{Bound, dictionary, numbered};
use super::{Args, Pairs};
use crate::amount::Amount;
use crate::ids::{Address, MarketId};
use crate::reject::ArgumentError;
use crate::value::Value;

/// The arguments of `get_config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GetConfig {
    /// Whether the text of the licence agreement is to be in the result; the market maker fetches it from the
    /// web.
    pub include_eula_text: bool,
}

impl GetConfig {
    /// Parses the arguments of a call, by position or by keyword.
    ///
    /// # Errors
    /// [`ArgumentError`] for arguments that are too many, or have another type.
    pub fn parse(args: &[Value], kwargs: &[(String, Value)]) -> Result<Self, ArgumentError> {
        let bound = Bound::new(&["include_eula_text"], args, kwargs)?;
        Ok(Self { include_eula_text: bound.optional("include_eula_text")?.unwrap_or_default() })
    }

    /// The positional arguments of a call: none, unless the text is wanted.
    pub fn to_args(&self) -> Args {
        if self.include_eula_text { vec![Value::Bool(true)] } else { Vec::new() }
    }
}

/// The arguments of `get_status`: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GetStatus;

impl GetStatus {
    /// Parses the arguments of a call.
    ///
    /// # Errors
    /// [`ArgumentError`] when there are any.
    pub fn parse(args: &[Value], kwargs: &[(String, Value)]) -> Result<Self, ArgumentError> {
        Bound::new(&[], args, kwargs).map(|_| Self)
    }

    /// The positional arguments of a call.
    pub fn to_args(&self) -> Args {
        Vec::new()
    }
}

/// What every signature of a market is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarketDomain {
    /// The chain that signatures are verified on (`uint256`).
    pub chain_id: Amount,
    /// The contract that verifies them.
    pub verifying_contract: Address,
    /// The market.
    pub market_id: MarketId,
}

dictionary!(
    /// The result of `get_config`: who the market maker is, and what its market's signatures are bound to.
    MarketConfig {
        /// The chain that signatures are verified on.
        verifying_chain_id: u64 = Required "verifying_chain_id",
        /// The contract that verifies signatures.
        verifying_contract: Address = Text "verifying_contract_adr",
        /// The market maker's address.
        market_maker: Address = Text "marketmaker",
        /// The market.
        market_id: MarketId = Text "market",
        /// The owner of the market.
        owner: Option<Address> = OptionalText "owner",
        /// The token that the market pays in.
        coin: Option<Address> = OptionalText "coin",
        /// The addresses of the contracts by name, as `0x…`.
        contracts: Pairs<String> = Labels "contracts",
        /// The licence agreement of the network.
        eula: Option<Eula> = Optional "eula",
        /// The market maker's clock, Unix time in ns.
        now_ns: Option<u64> = Optional "now",
        /// The chain that the market maker is connected to.
        chain: Option<u64> = Optional "chain",
    }
);

impl MarketConfig {
    /// What the market's signatures are bound to.
    pub fn domain(&self) -> MarketDomain {
        MarketDomain {
            chain_id: Amount::from_units(self.verifying_chain_id.into()),
            verifying_contract: self.verifying_contract,
            market_id: self.market_id,
        }
    }
}

dictionary!(
    /// The licence agreement in [`MarketConfig`].
    Eula {
        /// Where its text is.
        url: Option<String> = Optional "url",
        /// The hash of its text.
        hash: Option<String> = Optional "hash",
        /// Its text, when it was asked for.
        text: Option<String> = Optional "text",
    }
);

dictionary!(
    /// The result of `get_status`.
    MarketStatus {
        /// The market maker's clock, Unix time in ns.
        now_ns: u64 = Required "now",
        /// The chain that it is connected to.
        chain: u64 = Required "chain",
        /// The newest block that it knows.
        block: Block = Required "block",
        /// Whether it is running.
        status: MarketMakerStatus = Required "status",
    }
);

dictionary!(
    /// A block of the chain.
    Block {
        /// Its number: a close on the chain is signed for a recent one.
        number: u64 = Required "number",
        /// Its hash, 32 bytes.
        hash: Option<Vec<u8>> = Optional "hash",
        /// How much gas it may use.
        gas_limit: Option<u64> = Optional "gas_limit",
    }
);

numbered!(
    /// Whether the market maker is running.
    MarketMakerStatus, "an integer from 0 to 3", {
        /// Not started; but the reference's says so for as long as it runs.
        None = 0,
        /// Running.
        Running = 1,
        /// Stopping.
        Stopping = 2,
        /// Stopped.
        Stopped = 3,
    }
);
