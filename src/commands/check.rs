//! `xbr-seller config check`: everything that can be said about a configuration without starting anything.

use std::io::{self, Write};
use std::path::Path;

use xbr_core::Signer;
use xbr_store::SqliteStore;

use super::Failure;
use crate::config::{AnyConfig, BuyConfig, Config, Environment, MarketConfig, Secrets, StoreConfig};

pub(super) fn execute(file: &Path) -> Result<(), Failure> {
    let config = AnyConfig::load(file, &Environment::of_process())?;
    let mut out = io::stdout().lock();
    writeln!(out, "{} can be used", file.display())?;
    match config {
        AnyConfig::Seller(config, secrets) => seller(&mut out, &config, &secrets)?,
        AnyConfig::Buyer(config, secrets) => buyer(&mut out, &config, &secrets)?,
    }
    Ok(())
}

fn seller(out: &mut impl Write, config: &Config, secrets: &Secrets) -> io::Result<()> {
    writeln!(out, "seller:  {}", secrets.delegate.address())?;
    market(out, &config.market, secrets)?;
    store(out, &config.store)?;
    for api in &config.apis {
        let terms = &api.terms;
        writeln!(out, "api:     {} {} for {} XBR a key", terms.api_id, terms.prefix, terms.price)?;
    }
    for feed in &config.feeds {
        writeln!(out, "feed:    {} to {}", feed.source, feed.uri)?;
    }
    Ok(())
}

fn buyer(out: &mut impl Write, config: &BuyConfig, secrets: &Secrets) -> io::Result<()> {
    let max_price = config.buyer.max_price;
    writeln!(out, "buyer:   {}, for at most {max_price} XBR a key", secrets.delegate.address())?;
    market(out, &config.market, secrets)?;
    store(out, &config.store)?;
    for subscription in &config.subscriptions {
        writeln!(out, "topic:   {} ({})", subscription.uri, subscription.matching)?;
    }
    Ok(())
}

fn market(out: &mut impl Write, market: &MarketConfig, secrets: &Secrets) -> io::Result<()> {
    writeln!(out, "market:  {} realm {} as {}", market.url, market.realm, secrets.auth.method())
}

fn store(out: &mut impl Write, store: &StoreConfig) -> io::Result<()> {
    let state = if SqliteStore::exists(&store.path) { "there already" } else { "made at the first start" };
    writeln!(out, "store:   {} ({state})", store.path.display())
}
