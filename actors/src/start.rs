//! The order in which a seller starts: load the ledger, join, learn the market's configuration, look at each channel
//! and its balance, reconcile, register, then offer keys. Each step is awaited before the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::{Addr, Recipient};
use futures_util::future::join_all;
use thiserror::Error;
use xbr_core::channel::{ChannelState, ChannelTerms, Reconciliation};
use xbr_core::wire::{ChannelBalance, ChannelInfo, ChannelStatus, ChannelType, MarketDomain};
use xbr_core::{Address, ChannelId, ChannelSeq};
use xbr_store::StoreError;

use crate::channel_ledger::{Attach, ChannelLedger, Load};
use crate::key_series::{AttachMarket, KeySeries, OfferPort, Resume};
use crate::messages::{
    FetchActiveChannel, FetchBalance, FetchChannel, FetchChannels, FetchConfig, Join, MarketError,
    MarketPort, Serve, SessionLost, ask,
};
use crate::options::SellerOptions;
use crate::seller::Seller;

/// Why a start failed. The seller is stopped then, and can be started again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StartError {
    /// The ledger or the archive cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The market maker cannot be reached, or refuses.
    #[error(transparent)]
    Market(#[from] MarketError),
    /// The market maker on this realm is another one than the configured one.
    #[error(
        "the market maker is {actual}, the configuration says {expected}: set seller.market_maker, or join another realm"
    )]
    OtherMarketMaker {
        /// The configured address.
        expected: Address,
        /// The one that `get_config` tells.
        actual: Address,
    },
    /// The seller has no open channel with a positive balance, and never had one.
    #[error("no active paying channel for delegate {delegate}: ask the market's operator to open one")]
    NoPayingChannel {
        /// The seller's address.
        delegate: Address,
    },
    /// The active channel is not what it should be.
    #[error("the active paying channel {channel_id} is not usable: {problem}")]
    Channel {
        /// The channel.
        channel_id: ChannelId,
        /// What is wrong.
        problem: &'static str,
    },
    /// The session ended before the start was through.
    #[error("the session was lost during the start")]
    SessionLost,
    /// It was stopped meanwhile.
    #[error("stopped before the start was through")]
    Interrupted,
    /// The seller, or one of its actors, has gone.
    #[error("the seller has gone")]
    Gone,
}

/// What is known once the channels are reconciled; from here on sales can be judged.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) domain: MarketDomain,
    pub(crate) terms: BTreeMap<ChannelId, Arc<ChannelTerms>>,
}

/// The first part: everything before the first sale can come in.
pub(crate) async fn reconcile(
    options: Arc<SellerOptions>,
    market: MarketPort,
    ledger: Addr<ChannelLedger>,
    lost: Recipient<SessionLost>,
) -> Result<Ready, StartError> {
    let known = ledger.send(Load).await.map_err(|_| StartError::Gone)??;
    ask(&market.join, Join { lost }).await?;
    let config = ask(&market.fetch_config, FetchConfig).await?;
    if config.market_maker != options.market_maker {
        let (expected, actual) = (options.market_maker, config.market_maker);
        return Err(StartError::OtherMarketMaker { expected, actual });
    }
    let domain = config.domain();
    let mut terms: BTreeMap<_, _> = known.into_iter().map(|terms| (terms.channel_id, terms)).collect();
    let delegate = options.signer.address();
    let active = ask(&market.fetch_active_channel, FetchActiveChannel { delegate }).await?;
    match &active {
        Some(active) => check_channel(active, &options, &domain)
            .map_err(|problem| StartError::Channel { channel_id: active.channel_id, problem })?,
        None if terms.is_empty() => return Err(StartError::NoPayingChannel { delegate }),
        // Data goes on flowing under keys that can be bought as soon as there is a channel to pay with.
        None => tracing::warn!("no paying channel is open, waiting for a new one; ask the market's operator"),
    }
    let others = ask(&market.fetch_channels, FetchChannels { delegate }).await?;
    let mut channels: Vec<_> = active.into_iter().collect();
    for channel_id in others {
        if channels.iter().all(|channel| channel.channel_id != channel_id) {
            channels.push(ask(&market.fetch_channel, FetchChannel { channel_id }).await?);
        }
    }
    for channel in channels {
        if let Err(problem) = check_channel(&channel, &options, &domain) {
            tracing::warn!(channel = %channel.channel_id, problem, "channel passed over");
            continue;
        }
        let attached = Arc::new(terms_of(&channel, &options, &domain));
        attach(&attached, &market, &ledger, !terms.contains_key(&channel.channel_id)).await?;
        terms.insert(channel.channel_id, attached);
    }
    Ok(Ready { domain, terms })
}

/// The second part: sales can come in, and keys are offered.
pub(crate) async fn serve(
    options: Arc<SellerOptions>,
    market: MarketPort,
    seller: Addr<Seller>,
    series: Vec<Addr<KeySeries>>,
) -> Result<(), StartError> {
    let serve = Serve {
        provider_id: options.provider_id.clone(),
        sell: seller.clone().recipient(),
        close: seller.clone().recipient(),
        back: seller.recipient(),
    };
    ask(&market.serve, serve).await?;
    let port = OfferPort { place: market.place_offer.clone(), revoke: market.revoke_offer.clone() };
    join_all(series.iter().map(|series| async {
        // A series that has died is replaced, and its successor attached, by the seller.
        let _ = series.send(Resume).await;
        let _ = series.send(AttachMarket(port.clone())).await;
    }))
    .await;
    Ok(())
}

async fn attach(
    terms: &ChannelTerms,
    market: &MarketPort,
    ledger: &Addr<ChannelLedger>,
    is_new: bool,
) -> Result<(), StartError> {
    let channel_id = terms.channel_id;
    let balance = ask(&market.fetch_balance, FetchBalance { channel_id }).await?;
    let theirs = if is_new { before_sales_in_flight(&balance) } else { balance.state() };
    let attach = Attach { terms: terms.clone(), theirs, compare: true };
    let reconciliation = ledger.send(attach).await.map_err(|_| StartError::Gone)??;
    let (seq, remaining) = (theirs.seq.value(), theirs.balance);
    match reconciliation {
        Reconciliation::Equal if is_new => {
            tracing::info!(channel = %channel_id, seq, %remaining, "channel adopted at the market maker's figures");
        }
        Reconciliation::Equal => tracing::info!(channel = %channel_id, seq, %remaining, "channel reconciled"),
        Reconciliation::Ahead { gap, unconfirmed } => tracing::warn!(
            channel = %channel_id, seq, %remaining, gap, %unconfirmed,
            "the market maker is ahead by sales that failed; held as unconfirmed until it signs a state"
        ),
        Reconciliation::Behind { ours, theirs: _ } => tracing::error!(
            channel = %channel_id, seq, %remaining, our_seq = ours.seq.value(), our_remaining = %ours.balance,
            "the market maker is behind a state that it has signed; nothing is sold on this channel"
        ),
        Reconciliation::Outdated { ours, theirs: _ } => tracing::error!(
            channel = %channel_id, seq, %remaining, our_seq = ours.seq.value(), our_remaining = %ours.balance,
            "the store comes from a backup and the market maker has gone on since; nothing is sold on this channel: \
             restore a newer backup, or have the market's operator close the channel and open another"
        ),
    }
    Ok(())
}

/// Where a channel stands that is seen for the first time. The market maker's figures already count the sales in
/// flight, of which nothing was signed here: a ledger that began after them would refuse them.
fn before_sales_in_flight(balance: &ChannelBalance) -> ChannelState {
    let counted = balance.state();
    if balance.inflight.is_zero() {
        return counted;
    }
    let seq = ChannelSeq::new(counted.seq.value().saturating_sub(1));
    let balance = counted.balance.checked_add(balance.inflight).unwrap_or(counted.balance);
    ChannelState { seq, balance }
}

/// Whether a channel pays this seller, and is open.
pub(crate) fn check_channel(
    channel: &ChannelInfo,
    options: &SellerOptions,
    domain: &MarketDomain,
) -> Result<(), &'static str> {
    check_parties(channel, options, domain)?;
    if channel.state == ChannelStatus::Open { Ok(()) } else { Err("it is not open") }
}

/// Whether a channel pays this seller.
pub(crate) fn check_parties(
    channel: &ChannelInfo,
    options: &SellerOptions,
    domain: &MarketDomain,
) -> Result<(), &'static str> {
    if channel.channel_type != ChannelType::Paying {
        return Err("it is not a paying channel");
    }
    if channel.market_id != domain.market_id {
        return Err("it belongs to another market");
    }
    if channel.market_maker != options.market_maker {
        return Err("it belongs to another market maker");
    }
    if channel.delegate != options.signer.address() {
        return Err("it pays another delegate");
    }
    Ok(())
}

pub(crate) fn terms_of(
    channel: &ChannelInfo,
    options: &SellerOptions,
    domain: &MarketDomain,
) -> ChannelTerms {
    ChannelTerms { amount: channel.amount, ..terms_before(channel.channel_id, options, domain) }
}

/// The terms that a channel must have if it pays this seller, before the market maker was asked.
pub(crate) fn terms_before(
    channel_id: ChannelId,
    options: &SellerOptions,
    domain: &MarketDomain,
) -> ChannelTerms {
    ChannelTerms {
        channel_id,
        market_id: domain.market_id,
        market_maker: options.market_maker,
        delegate: options.signer.address(),
        amount: xbr_core::Amount::ZERO,
        chain_id: domain.chain_id,
        verifying_contract: domain.verifying_contract,
        close_at: options.close_at,
    }
}
