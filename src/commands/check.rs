//! `xbr-seller config check`: everything that can be said about a configuration without starting anything.

use std::io::{self, Write};
use std::path::Path;

use xbr_core::Signer;
use xbr_store::SqliteStore;
use xbr_wamp::{Auth, Match};

use super::Failure;
use crate::config::{
    AnyConfig, BenchConfig, BenchSecrets, BridgeTopic, BuyConfig, ChannelConfig, Config, DemoConfig,
    Environment, FeedSource, HostConfig, HostSecrets, MarketConfig, PrincipalConfig, RealmConfig,
    RouterConfig, Secrets, SourceConfig, TargetConfig,
};

pub(super) fn execute(file: &Path) -> Result<(), Failure> {
    let config = AnyConfig::load(file, &Environment::of_process())?;
    let mut out = io::stdout().lock();
    writeln!(out, "{} can be used", file.display())?;
    match config {
        AnyConfig::Seller(config, secrets) => seller(&mut out, &config, &secrets)?,
        AnyConfig::Buyer(config, secrets) => buyer(&mut out, &config, &secrets)?,
        AnyConfig::Market(config, secrets) => host(&mut out, &config, &secrets)?,
        AnyConfig::Demo(config) => demo(&mut out, &config)?,
        AnyConfig::Bench(config, secrets) => bench(&mut out, &config, &secrets)?,
    }
    Ok(())
}

fn seller(out: &mut impl Write, config: &Config, secrets: &Secrets) -> io::Result<()> {
    writeln!(out, "seller:  {}", secrets.delegate.address())?;
    market(out, &config.market, &secrets.auth)?;
    store(out, &config.store.path)?;
    if let Some(http) = &config.http {
        let who = if secrets.http_token.is_some() { "with a token" } else { "for programs of this machine" };
        writeln!(out, "http:    http://{}, {who}", http.listen)?;
    }
    for api in &config.apis {
        let terms = &api.terms;
        writeln!(out, "api:     {} {} for {} XBR a key", terms.api_id, terms.prefix, terms.price)?;
    }
    for feed in &config.feeds {
        writeln!(out, "feed:    {} to {}", feed.source, feed.uri)?;
        if let FeedSource::Wamp(bridge) = &feed.source {
            for topic in &bridge.topics {
                writeln!(out, "         {}", mapping(topic))?;
            }
        }
    }
    Ok(())
}

/// What becomes of a topic that is republished.
fn mapping(topic: &BridgeTopic) -> String {
    let BridgeTopic { uri, matching, from, to } = topic;
    match matching {
        Match::Exact => match topic.map(uri) {
            Some(mapped) => format!("{uri} becomes {mapped}"),
            None => format!("{uri} becomes no URI, and is skipped"),
        },
        Match::Prefix | Match::Wildcard if from.is_empty() => format!("{uri} ({matching}): … becomes {to}.…"),
        Match::Prefix | Match::Wildcard => format!("{uri} ({matching}): {from}… becomes {to}…"),
    }
}

fn buyer(out: &mut impl Write, config: &BuyConfig, secrets: &Secrets) -> io::Result<()> {
    let max_price = config.buyer.max_price;
    writeln!(out, "buyer:   {}, for at most {max_price} XBR a key", secrets.delegate.address())?;
    market(out, &config.market, &secrets.auth)?;
    store(out, &config.store.path)?;
    for subscription in &config.subscriptions {
        writeln!(out, "topic:   {} ({})", subscription.uri, subscription.matching)?;
    }
    Ok(())
}

fn host(out: &mut impl Write, config: &HostConfig, secrets: &HostSecrets) -> io::Result<()> {
    let HostConfig { maker, realm, channels, .. } = config;
    writeln!(out, "maker:   {} for market {}", secrets.key.address(), maker.market_id)?;
    store(out, &config.store)?;
    match realm {
        RealmConfig::Own(own) => router(out, own)?,
        RealmConfig::Other { market, .. } => self::market(out, market, &secrets.auth)?,
    }
    for ChannelConfig { member, amount } in channels {
        writeln!(out, "channel: {amount} XBR for {member}")?;
    }
    Ok(())
}

fn router(out: &mut impl Write, router: &RouterConfig) -> io::Result<()> {
    for address in &router.listen {
        writeln!(out, "router:  ws://{address} realm {}", router.realm)?;
    }
    if let Some(role) = &router.anonymous {
        writeln!(out, "member:  anybody as {role}")?;
    }
    for PrincipalConfig { authid, role, public_key } in &router.principals {
        let proof = if public_key.is_some() { "a key" } else { "a ticket" };
        writeln!(out, "member:  {authid} as {role}, by {proof}")?;
    }
    Ok(())
}

fn demo(out: &mut impl Write, config: &DemoConfig) -> io::Result<()> {
    writeln!(out, "buyers:  {} with {} XBR each", config.buyers, config.deposit)?;
    for sensor in &config.sensors {
        let SourceConfig { every, api } = &sensor.source;
        let terms = &api.terms;
        writeln!(
            out,
            "sensor:  {} {} every {every:?} for {} XBR a key",
            terms.api_id, terms.prefix, terms.price
        )?;
    }
    Ok(())
}

fn bench(out: &mut impl Write, config: &BenchConfig, secrets: &BenchSecrets) -> io::Result<()> {
    match &config.target {
        TargetConfig::Own { .. } => writeln!(out, "seller:  one of its own"),
        TargetConfig::Running(running) => {
            writeln!(out, "maker:   {}, with {} XBR for each seller", secrets.key.address(), running.amount)?;
            market(out, &running.market, &secrets.auth)
        }
    }
}

fn market(out: &mut impl Write, market: &MarketConfig, auth: &Auth) -> io::Result<()> {
    writeln!(out, "market:  {} realm {} as {}", market.url, market.realm, auth.method())
}

fn store(out: &mut impl Write, path: &Path) -> io::Result<()> {
    let state = if SqliteStore::exists(path) { "there already" } else { "made at the first start" };
    writeln!(out, "store:   {} ({state})", path.display())
}
