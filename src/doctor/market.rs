//! What is at the other end: the market maker, and the paying channel. It asks, and leaves.

use std::time::Duration;

use thiserror::Error;
use xbr_core::channel::{Channel, ChannelState, Reconciliation};
use xbr_core::reject::ArgumentError;
use xbr_core::wire::{
    Args, ByChannel, ByDelegate, ChannelBalance, ChannelInfo, GetConfig, GetStatus, MarketConfig,
    MarketStatus, active_channel, uri,
};
use xbr_core::{Address, Signer};
use xbr_store::ReadOnlyStore;
use xbr_wamp::{Call, CallError, Session};

use super::{Diagnosis, router};
use crate::config::{Config, Secrets};
use crate::when;

const MARKET_MAKER: &str = "market maker";
const CLOCK: &str = "clock";
const CHANNEL: &str = "channel";

/// A clock that differs by more is wrong.
const SKEW: Duration = Duration::from_secs(30);

/// Notes that nothing of it can be looked at.
pub(super) fn skip(found: &mut Diagnosis, because: &str) {
    router::skip(found, because);
    found.skip(&[MARKET_MAKER, CLOCK, CHANNEL], because);
}

/// A question to the market maker that got no answer, or none that can be read.
#[derive(Debug, Error)]
enum Unanswered {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("its answer is out of form: {0}")]
    Malformed(#[from] ArgumentError),
}

pub(super) async fn examine(
    config: &Config,
    secrets: Option<Secrets>,
    store: Option<&ReadOnlyStore>,
    found: &mut Diagnosis,
) {
    let Some(secrets) = secrets else { return skip(found, "the key files cannot be read") };
    let delegate = secrets.delegate.address();
    let Some(session) = router::join(&config.market, secrets.auth, found).await else {
        return found.skip(&[MARKET_MAKER, CLOCK, CHANNEL], "there is no session");
    };
    if market_maker(config, &session, found).await {
        clock(&session, found).await;
        channel(config, &session, delegate, store, found).await;
    } else {
        found.skip(&[CLOCK, CHANNEL], "there is no market maker to ask");
    }
    session.leave().await;
}

/// Whether there is one to ask more.
async fn market_maker(config: &Config, session: &Session, found: &mut Diagnosis) -> bool {
    let expected = config.seller.market_maker;
    match ask_config(session).await {
        Ok(actual) if actual == expected => {
            found.ok(MARKET_MAKER, format_args!("{actual} answers"));
            true
        }
        Ok(actual) => {
            let seen = format!("it is {actual}, not {expected}");
            found.fail(MARKET_MAKER, seen, "correct seller.market_maker, or join the market that it is of");
            true
        }
        Err(error) => {
            found.fail(MARKET_MAKER, error, "ask the market's operator whether it runs, and may be called");
            false
        }
    }
}

async fn ask_config(session: &Session) -> Result<Address, Unanswered> {
    let answer = call(session, uri::GET_CONFIG, GetConfig::default().to_args()).await?;
    Ok(MarketConfig::parse(&answer)?.market_maker)
}

async fn clock(session: &Session, found: &mut Diagnosis) {
    let asked = async {
        let answer = call(session, uri::GET_STATUS, GetStatus.to_args()).await?;
        Ok::<_, Unanswered>(MarketStatus::parse(&answer)?.now_ns)
    };
    match asked.await {
        Ok(theirs) => {
            let skew = Duration::from_nanos(theirs.abs_diff(when::now_ns()));
            let seen = format!("{} s from the market maker's", skew.as_secs());
            if skew > SKEW {
                let advice = "set the clock: offers would expire at other times than you think";
                found.warn(CLOCK, seen, advice);
            } else {
                found.ok(CLOCK, seen);
            }
        }
        Err(error) => {
            found.warn(CLOCK, error, "the market maker does not tell its time; check the clock yourself")
        }
    }
}

async fn channel(
    config: &Config,
    session: &Session,
    delegate: Address,
    store: Option<&ReadOnlyStore>,
    found: &mut Diagnosis,
) {
    let advice = "ask the market's operator about the channel";
    let open = match ask_channel(session, delegate).await {
        Ok(Some(open)) => open,
        Ok(None) => {
            let seen = format!("no paying channel of {delegate} is open");
            return found.fail(CHANNEL, seen, "ask the market's operator to open one");
        }
        Err(error) => return found.fail(CHANNEL, error, advice),
    };
    let (info, balance) = open;
    let theirs = balance.state();
    let seen = format!(
        "{}: {} of {} XBR remain at seq {}",
        info.channel_id, theirs.balance, info.amount, theirs.seq
    );
    if info.market_maker != config.seller.market_maker {
        return found.fail(CHANNEL, format_args!("{seen}, but it is paid by {}", info.market_maker), advice);
    }
    let ours = match store.map(ReadOnlyStore::inspect).transpose() {
        Ok(held) => {
            held.into_iter().flat_map(|held| held.channels).find(|it| it.terms.channel_id == info.channel_id)
        }
        Err(error) => return found.fail(CHANNEL, error, "see above: the store cannot be read"),
    };
    if let Some(ours) = ours {
        return compare(ours, theirs, &seen, found);
    }
    if theirs.balance < config.seller.low_balance || theirs.balance.is_zero() {
        return found.warn(CHANNEL, format_args!("{seen}, which is low"), "ask for another channel in time");
    }
    found.ok(CHANNEL, format_args!("{seen}; the store has not seen it yet"));
}

/// The store's word against the market maker's.
fn compare(mut ours: Channel, theirs: ChannelState, seen: &str, found: &mut Diagnosis) {
    let state = ours.state;
    let stands = format!("{seen}; the store is at seq {} with {} XBR", state.seq, state.balance);
    match ours.reconcile(theirs) {
        _ if ours.is_closed() => {
            found.warn(CHANNEL, format_args!("{seen}; it is closed here"), "ask for another channel");
        }
        Reconciliation::Equal => found.ok(CHANNEL, format_args!("{seen}; the store agrees")),
        Reconciliation::Ahead { unconfirmed, .. } => found.warn(
            CHANNEL,
            format_args!("{stands}: {unconfirmed} XBR are not signed"),
            "sales failed or are in flight; the next sale signs for them",
        ),
        Reconciliation::Behind { .. } => found.fail(
            CHANNEL,
            stands,
            "the market maker went back behind a state that it has signed; settle that with the market's operator",
        ),
        Reconciliation::Outdated { .. } => found.fail(
            CHANNEL,
            stands,
            "the store comes from a backup; restore a newer one, or have the market's operator close the channel",
        ),
    }
}

async fn ask_channel(
    session: &Session,
    delegate: Address,
) -> Result<Option<(ChannelInfo, ChannelBalance)>, Unanswered> {
    let answer = call(session, uri::GET_ACTIVE_PAYING_CHANNEL, ByDelegate { delegate }.to_args()).await?;
    let Some(info) = active_channel(&answer)? else { return Ok(None) };
    let wanted = ByChannel { channel_id: info.channel_id }.to_args();
    let balance = ChannelBalance::parse(&call(session, uri::GET_PAYING_CHANNEL_BALANCE, wanted).await?)?;
    Ok(Some((info, balance)))
}

async fn call(session: &Session, procedure: &str, args: Args) -> Result<Args, Unanswered> {
    Ok(session.call(Call::new(procedure).args(args)).await?.args)
}
