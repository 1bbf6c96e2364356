//! Closing a paying channel from the seller's side, on the chain, through `xbr.marketmaker.close_channel`.
//!
//! The market maker sends a close on without checking it, and takes one only: so everything that can be known is
//! checked first, and the close is durable before it is sent. If it gets lost after that, the same command sends the
//! same close again. Nothing of this file survives a restart but the close, in the store.

use std::sync::Arc;

use actix::{Addr, Message};
use thiserror::Error;
use xbr_compute::on_worker;
use xbr_core::channel::{Channel, OwnClose, OwnCloseDecision, Reconciliation};
use xbr_core::reject::OwnCloseReject;
use xbr_core::wire::{ChannelStatus, MarketCloseRequest, MarketDomain, MarketMakerStatus};
use xbr_core::{Address, Amount, ChannelId, Eip712};
use xbr_store::StoreError;

use crate::channel_ledger::{ChannelLedger, CommitOwnClose, Observe};
use crate::messages::{
    FetchBalance, FetchChannel, FetchConfig, FetchStatus, MarketError, MarketPort, SubmitClose, ask,
};
use crate::options::SellerOptions;
use crate::start::check_parties;

/// How many blocks old a state may be for the contract.
const MAX_AGE_BLOCKS: u64 = 1_440;
/// A close that was signed before is sent again only while it has at least this many blocks left to be mined in.
const SPARE_BLOCKS: u64 = 240;

/// Which channel is closed, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CloseOptions {
    /// The channel; `None`: the only one, or the only one that is not closed.
    pub channel_id: Option<ChannelId>,
    /// The block that the final state is signed for.
    pub close_at: CloseAt,
    /// Whether to check only: nothing is signed, stored or sent.
    pub dry_run: bool,
}

/// The block that a final state is signed for (`closeAt`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CloseAt {
    /// The newest block that the market maker knows, or that of an earlier try while the contract still takes it.
    #[default]
    RecentBlock,
    /// This one. The contract takes none that is more than 1,440 blocks old.
    Block(u64),
    /// The one that off-chain states are signed for: the same state as if the market maker had asked for the close.
    Configured,
}

/// Close a channel on the chain.
#[derive(Debug, Message)]
#[rtype(result = "Result<CloseReport, CloseError>")]
pub struct Close(pub CloseOptions);

/// What became of a close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseReport {
    /// The channel as it was before, at the state that it is closed at.
    pub channel: Channel,
    /// How the market maker's figures relate to that state: what it is ahead by is given up.
    pub reconciliation: Reconciliation,
    /// The block that the final state is signed for.
    pub close_at: Amount,
    /// What happened.
    pub outcome: CloseOutcome,
}

/// What happened to a close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseOutcome {
    /// Nothing: it was a dry run, and all checks passed.
    Checked,
    /// The market maker has sent it to the chain. Whether the contract takes it, only the chain tells.
    Sent {
        /// The hash of the transaction, 32 bytes.
        transaction: Option<Vec<u8>>,
    },
    /// It was sent before: the market maker does not say any more that the channel is open.
    SentBefore,
}

/// Why a channel was not closed, in the order in which it is checked. Up to [`Rejected`](Self::Rejected) nothing was
/// signed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CloseError {
    /// The seller is on its way from one state to another.
    #[error("the seller is starting or stopping; try again when it is done")]
    NotNow,
    /// The ledger cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The market maker cannot be reached, or refuses what has to be known first.
    #[error(transparent)]
    Market(#[from] MarketError),
    /// The market maker on this realm is another one than the configured one.
    #[error("the market maker is {actual}, the configuration says {expected}")]
    OtherMarketMaker {
        /// The configured address.
        expected: Address,
        /// The one that `get_config` tells.
        actual: Address,
    },
    /// No channel was named, and there is not exactly one that is open.
    #[error("the ledger knows {actual} channels that are not closed; name the one to close")]
    Ambiguous {
        /// How many there are.
        actual: usize,
    },
    /// The channel's states are signed for another market, chain or contract than the market maker's.
    #[error(
        "the market maker's chain, contract or market is not the one that the channel's states are signed for"
    )]
    OtherDomain,
    /// The market maker shows something else than a channel that pays this seller.
    #[error("the channel is not usable: {problem}")]
    Channel {
        /// What is wrong.
        problem: &'static str,
    },
    /// The market maker is stopping, so it might send nothing.
    #[error("the market maker is {actual:?}; try again when it is back")]
    Stopping {
        /// What it says of itself.
        actual: MarketMakerStatus,
    },
    /// The market maker says that the channel is not open, and this seller has not closed it.
    #[error("the market maker says that the channel is {actual:?}, not open")]
    NotOpen {
        /// What it says.
        actual: ChannelStatus,
    },
    /// The contract would not take a state that is signed for this block.
    #[error("the block must be from {oldest} to {newest}, got {actual}")]
    Block {
        /// The oldest that it takes.
        oldest: u64,
        /// The newest that the market maker knows.
        newest: u64,
        /// The one that was asked for.
        actual: u64,
    },
    /// The ledger refuses.
    #[error(transparent)]
    Rejected(#[from] OwnCloseReject),
    /// There is no signature.
    #[error("the close cannot be signed")]
    Unsigned,
    /// It is signed and durable, and nothing is sold on the channel any more; but the market maker has not taken it.
    #[error(
        "the close is signed and stored, but was not taken: {0}; close the same channel again to send it again"
    )]
    NotTaken(MarketError),
    /// The seller, or one of its actors, has gone.
    #[error("the seller has gone")]
    Gone,
}

/// Checks, signs, stores and sends, over a session that is joined.
pub(crate) async fn close(
    options: Arc<SellerOptions>,
    market: MarketPort,
    ledger: Addr<ChannelLedger>,
    wanted: CloseOptions,
) -> Result<CloseReport, CloseError> {
    let config = ask(&market.fetch_config, FetchConfig).await?;
    if config.market_maker != options.market_maker {
        let (expected, actual) = (options.market_maker, config.market_maker);
        return Err(CloseError::OtherMarketMaker { expected, actual });
    }
    let channel = pick(&ledger, wanted.channel_id).await?;
    let domain = config.domain();
    check_domain(&channel, &domain)?;
    let channel_id = channel.terms.channel_id;
    let shown = ask(&market.fetch_channel, FetchChannel { channel_id }).await?;
    check_parties(&shown, &options, &domain).map_err(|problem| CloseError::Channel { problem })?;
    let status = ask(&market.fetch_status, FetchStatus).await?;
    // The real one says that it is not started for as long as it runs.
    if matches!(status.status, MarketMakerStatus::Stopping | MarketMakerStatus::Stopped) {
        return Err(CloseError::Stopping { actual: status.status });
    }
    let theirs = ask(&market.fetch_balance, FetchBalance { channel_id }).await?.state();
    let reconciliation = channel.clone().reconcile(theirs);
    if shown.state != ChannelStatus::Open {
        let own = channel.own_close.ok_or(CloseError::NotOpen { actual: shown.state })?;
        let (close_at, outcome) = (own.close_at, CloseOutcome::SentBefore);
        return Ok(CloseReport { channel, reconciliation, close_at, outcome });
    }
    let block_number = block(wanted.close_at, status.block.number, &channel)?;
    let close_at = Amount::from_units(block_number.into());
    let close = sign(&options, &channel, close_at).await?;
    let commit = CommitOwnClose { close, theirs, dry_run: wanted.dry_run };
    let decision = ledger.send(commit).await.map_err(|_| CloseError::Gone)??;
    let report = |outcome| CloseReport { channel: channel.clone(), reconciliation, close_at, outcome };
    if wanted.dry_run {
        return Ok(report(CloseOutcome::Checked));
    }
    tracing::info!(
        channel = %channel_id, seq = close.state.seq.value(), balance = %close.state.balance, block = block_number,
        again = decision == OwnCloseDecision::Replay, "final close signed and stored, sending it"
    );
    let request = MarketCloseRequest {
        channel_id,
        chain_id: config.verifying_chain_id,
        block_number,
        verifying_contract: domain.verifying_contract,
        balance: close.state.balance,
        seq: close.state.seq,
        is_final: true,
        signature: close.signature,
    };
    match ask(&market.submit_close, SubmitClose { request }).await {
        Ok(closing) => Ok(report(CloseOutcome::Sent { transaction: closing.transaction })),
        // The answer may be what got lost.
        Err(error) => match ask(&market.fetch_channel, FetchChannel { channel_id }).await {
            Ok(shown) if shown.state != ChannelStatus::Open => Ok(report(CloseOutcome::SentBefore)),
            _ => Err(CloseError::NotTaken(error)),
        },
    }
}

/// The channel that is meant.
async fn pick(ledger: &Addr<ChannelLedger>, wanted: Option<ChannelId>) -> Result<Channel, CloseError> {
    let known = ledger.send(Observe).await.map_err(|_| CloseError::Gone)?;
    let mut channels: Vec<_> = known.into_iter().map(|status| status.channel).collect();
    match wanted {
        Some(wanted) => channels.retain(|channel| channel.terms.channel_id == wanted),
        // One that is closed is meant only when there is no other.
        None if channels.len() > 1 => channels.retain(|channel| !channel.is_closed()),
        None => {}
    }
    match (channels.pop(), wanted) {
        (Some(channel), _) if channels.is_empty() => Ok(channel),
        (None, Some(_)) => Err(CloseError::Rejected(OwnCloseReject::UnknownChannel)),
        (last, _) => Err(CloseError::Ambiguous { actual: channels.len() + usize::from(last.is_some()) }),
    }
}

fn check_domain(channel: &Channel, domain: &MarketDomain) -> Result<(), CloseError> {
    let terms = &channel.terms;
    let signed_for = MarketDomain {
        chain_id: terms.chain_id,
        verifying_contract: terms.verifying_contract,
        market_id: terms.market_id,
    };
    if signed_for == *domain { Ok(()) } else { Err(CloseError::OtherDomain) }
}

/// The block to sign for.
fn block(wanted: CloseAt, newest: u64, channel: &Channel) -> Result<u64, CloseError> {
    let oldest = newest.saturating_sub(MAX_AGE_BLOCKS);
    match wanted {
        CloseAt::RecentBlock => {
            let before = channel.own_close.and_then(|own| own.close_at.to_u64());
            let lasts = |block: &u64| {
                newest.checked_sub(*block).is_some_and(|age| age <= MAX_AGE_BLOCKS - SPARE_BLOCKS)
            };
            Ok(before.filter(lasts).unwrap_or(newest))
        }
        CloseAt::Block(actual) if (oldest..=newest).contains(&actual) => Ok(actual),
        CloseAt::Block(actual) => Err(CloseError::Block { oldest, newest, actual }),
        CloseAt::Configured => channel.terms.close_at.to_u64().ok_or(CloseError::OtherDomain),
    }
}

/// Signs on a worker thread. What is signed leaves only after it is stored.
async fn sign(
    options: &Arc<SellerOptions>,
    channel: &Channel,
    close_at: Amount,
) -> Result<OwnClose, CloseError> {
    let (signer, state) = (options.signer.clone(), channel.state);
    let message = channel.terms.final_state(state, close_at);
    let signed = on_worker(move || message.sign(&*signer)).await.and_then(Result::ok);
    let signature = signed.ok_or(CloseError::Unsigned)?;
    Ok(OwnClose { channel_id: channel.terms.channel_id, state, close_at, signature })
}
