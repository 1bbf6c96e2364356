//! Events whose arguments are positional. The others carry one dictionary, [`OfferInfo`](super::OfferInfo) or
//! [`ChannelClosing`](super::ChannelClosing), or a [`ByChannel`](super::ByChannel).

use super::form::{Bound, MarketIdText};
use super::{Args, Field, LenientAmount, MarketMakerStatus};
use crate::channel::ChannelState;
use crate::ids::{ChannelId, MarketId};
use crate::reject::ArgumentError;
use crate::value::Value;

/// The event `on_status`: the market maker starts or stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnStatus {
    /// The market. The reference sends its bytes when it starts, but the name of a component, or null, when
    /// it stops: `None` then.
    pub market_id: Option<MarketId>,
    /// What it does now.
    pub status: MarketMakerStatus,
}

impl OnStatus {
    /// Parses the arguments of the event.
    ///
    /// # Errors
    /// [`ArgumentError`] for another arity, or a status that there is not.
    pub fn parse(args: &[Value], kwargs: &[(String, Value)]) -> Result<Self, ArgumentError> {
        let bound = Bound::new(&["id", "status"], args, kwargs)?;
        let market_id = bound.optional::<MarketIdText>("id").ok().flatten().map(|market| market.0);
        Ok(Self { market_id, status: bound.required("status")? })
    }

    /// The arguments of the event.
    pub fn to_args(&self) -> Args {
        vec![self.market_id.map_or(Value::Null, |market| market.encode()), self.status.encode()]
    }
}

/// The event `on_channel_closed`: the market maker has sent the close of a paying channel to the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnChannelClosed {
    /// The channel.
    pub channel_id: ChannelId,
    /// The state that it is closed at.
    pub state: ChannelState,
    /// Whether it ends at once.
    pub is_final: bool,
}

impl OnChannelClosed {
    /// Parses the arguments of the event.
    ///
    /// # Errors
    /// [`ArgumentError`] for another arity, type or length.
    pub fn parse(args: &[Value], kwargs: &[(String, Value)]) -> Result<Self, ArgumentError> {
        let bound =
            Bound::new(&["channel_oid", "channel_seq", "channel_balance", "channel_is_final"], args, kwargs)?;
        Ok(Self {
            channel_id: bound.required("channel_oid")?,
            state: ChannelState {
                seq: bound.required("channel_seq")?,
                balance: bound.required::<LenientAmount>("channel_balance")?.0,
            },
            is_final: bound.required("channel_is_final")?,
        })
    }

    /// The arguments of the event.
    pub fn to_args(&self) -> Args {
        vec![
            self.channel_id.encode(),
            self.state.seq.encode(),
            self.state.balance.encode(),
            self.is_final.encode(),
        ]
    }
}
