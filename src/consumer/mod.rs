//! A buyer as a service: it opens the store, starts the buyer, prints the events of its subscriptions once
//! they are decrypted, and ends everything in order. The store is closed last.

use std::future::Future;
use std::io;
use std::sync::Arc;

use thiserror::Error;
use tokio::time::{Instant, timeout};
use xbr_actors::{Clock, SystemClock};
use xbr_market::buyer::{
    BuyerHandle, BuyerOptions, DecryptedEvent, MarketError, SpawnError, SqliteBuyerStore, StartError,
};
use xbr_store::{MasterKeyError, StoreError};

use self::time_of_day::TimeOfDay;
use crate::config::{BuyConfig, Secrets};

pub mod line;
mod printer;
mod time_of_day;

pub use printer::Printer;

/// Why a buyer does not run.
#[derive(Debug, Error)]
pub enum ConsumerError {
    /// There is no master key, and none can be made.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The buyer has no thread to run on.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The buyer does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The router refuses a subscription.
    #[error("cannot subscribe: {0}")]
    Subscribe(#[source] MarketError),
    /// Events cannot be printed.
    #[error("cannot print events: {0}")]
    Output(#[source] io::Error),
    /// The buyer ended by itself, which it never should.
    #[error("the buyer has gone")]
    Gone,
}

impl ConsumerError {
    /// Whether the buyer failed to start, as opposed to fail later.
    pub fn is_failed_start(&self) -> bool {
        !matches!(self, Self::Output(_) | Self::Gone)
    }

    /// What an operator can do about it, where the text of the error does not say so.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Start(StartError::Market(_)) => {
                "check that the router and its market maker run, and market.url, market.realm and market.auth"
            }
            Self::Start(StartError::SessionLost) => "the router may be restarting; start again",
            Self::Start(StartError::Channel { .. } | StartError::Drift { .. }) => {
                "ask the market's operator about the channel"
            }
            Self::Store(_) => "check the disk and store.path",
            Self::Subscribe(_) => "check the uri, and what the router allows to whom",
            Self::Gone => "the log above says which part failed; start again",
            _ => "correct what the error names, and start again",
        }
    }
}

/// Buys and prints until `stop` resolves, or so many events are printed, or nobody reads them any more.
/// Nothing durable is lost whenever it ends.
///
/// # Errors
/// [`ConsumerError`]; everything is ended all the same.
pub async fn run(
    config: BuyConfig,
    secrets: Secrets,
    printer: Printer,
    count: Option<u64>,
    stop: impl Future<Output = ()>,
) -> Result<(), ConsumerError> {
    let master_key = config.store.master_key(secrets.master_key)?;
    let path = config.store.path.clone();
    let opening = tokio::task::spawn_blocking(move || SqliteBuyerStore::open(path, master_key));
    let store = opening.await.map_err(|_| StoreError::Closed)??;

    let mut options = BuyerOptions::new(
        config.buyer.market_maker,
        Arc::new(secrets.delegate),
        config.buyer.max_price,
        Arc::new(store.clone()),
        config.market.options(secrets.auth),
    );
    config.buyer.apply(&mut options);
    let buyer = BuyerHandle::spawn(options)?;
    let result = tokio::select! {
        () = stop => Ok(()),
        result = consume(&config, &buyer, &printer, count) => result,
    };

    let grace = config.buyer.grace;
    tracing::info!(?grace, "stopping");
    let printed = match timeout(grace, printer.finish()).await {
        Ok(printed) => printed.map_err(ConsumerError::Output),
        // Whoever reads the events does not, but keeps the pipe open.
        Err(_) => Ok(()),
    };
    buyer.stop(grace).await;
    report_stop(&buyer).await;
    if let Err(error) = store.flush().await {
        tracing::error!(%error, "cannot close the store");
    }
    result.and(printed)
}

/// Starts, and goes on for as long as there are events to be printed.
async fn consume(
    config: &BuyConfig,
    buyer: &BuyerHandle,
    printer: &Printer,
    count: Option<u64>,
) -> Result<(), ConsumerError> {
    buyer.start().await?;
    let topics = config.subscriptions.iter().map(|topic| (topic.uri.as_str(), topic.matching));
    let mut events = buyer.subscribe_all(topics).await.map_err(ConsumerError::Subscribe)?;
    tracing::info!(topics = config.subscriptions.len(), "subscribed");
    let mut time = TimeOfDay::new(Instant::now(), SystemClock.now_ns());
    let mut printed = 0;
    while count != Some(printed) {
        let event = tokio::select! {
            () = printer.closed() => None,
            event = events.next() => Some(event.ok_or(ConsumerError::Gone)?),
        };
        let Some(event) = event else {
            tracing::info!("nobody reads the events any more");
            return Ok(());
        };
        if let Some(line) = line_of(event, &mut time) {
            printer.print(line).await;
            printed += 1;
        }
    }
    Ok(())
}

/// What is printed of an event; `None`, and a line in the log, for one that cannot be decrypted.
fn line_of(event: DecryptedEvent, time: &mut TimeOfDay) -> Option<Vec<u8>> {
    let DecryptedEvent { topic, key_id, payload, missed, received } = event;
    if missed > 0 {
        tracing::warn!(%topic, missed, "events came faster than they were printed, and were left out");
    }
    let received_ns = time.at(received, Instant::now(), SystemClock.now_ns());
    match payload {
        Ok(payload) => Some(line::event(&topic, key_id?, &payload, received_ns)),
        Err(error) => {
            let key_id = key_id.as_ref().map(tracing::field::display);
            tracing::warn!(%topic, key_id, %error, "event not decrypted");
            None
        }
    }
}

async fn report_stop(buyer: &BuyerHandle) {
    let wallet = buyer.observe().await.and_then(|status| status.wallet);
    let Some(wallet) = wallet else { return tracing::info!("stopped") };
    let (channel, keys) = (wallet.terms.channel_id, wallet.purchases);
    let (spent, lost, remaining) = (wallet.spent, wallet.lost, wallet.state.balance);
    tracing::info!(%channel, keys, %spent, %lost, %remaining, "stopped");
}
