//! `xbr-seller config check`: everything that can be said about a configuration without starting anything.

use std::io::{self, Write};
use std::path::Path;

use xbr_core::Signer;
use xbr_store::SqliteStore;

use super::Failure;
use crate::config::{Config, Environment};

pub(super) fn execute(file: &Path) -> Result<(), Failure> {
    let (config, secrets) = Config::load(file, &Environment::of_process())?;
    let store =
        if SqliteStore::exists(&config.store.path) { "there already" } else { "made at the first start" };
    let mut out = io::stdout().lock();
    writeln!(out, "{} can be used", file.display())?;
    writeln!(out, "seller:  {}", secrets.delegate.address())?;
    writeln!(
        out,
        "market:  {} realm {} as {}",
        config.market.url,
        config.market.realm,
        secrets.auth.method()
    )?;
    writeln!(out, "store:   {} ({store})", config.store.path.display())?;
    for api in &config.apis {
        let terms = &api.terms;
        writeln!(out, "api:     {} {} for {} XBR a key", terms.api_id, terms.prefix, terms.price)?;
    }
    for feed in &config.feeds {
        writeln!(out, "feed:    {} to {}", feed.source, feed.uri)?;
    }
    Ok(())
}
