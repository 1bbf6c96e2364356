//! The configuration of `xbr-seller buy`.

use std::path::Path;
use std::time::Duration;

use xbr_core::{Address, Amount};
use xbr_market::buyer::BuyerOptions;
use xbr_wamp::Match;

use super::common::{XBR, amount, pattern};
use super::files::Secrets;
use super::problem::ConfigError;
use super::read::{Reader, collect};
use super::section::{Section, duration, integer, parsed, text};
use super::{Environment, LogConfig, MarketConfig, StoreConfig, load, parse};

/// The whole configuration of a buyer, checked.
#[derive(Debug, Clone)]
pub struct BuyConfig {
    /// Who buys.
    pub buyer: BuyerConfig,
    /// Where the market is.
    pub market: MarketConfig,
    /// What is remembered, and where.
    pub store: StoreConfig,
    /// What is bought.
    pub subscriptions: Vec<Subscription>,
    /// What is logged, and how.
    pub log: LogConfig,
}

/// The section `[buyer]`, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuyerConfig {
    /// The market maker whose signature counts.
    pub market_maker: Address,
    /// What may be given for one key.
    pub max_price: Amount,
    /// Who consumes the data, for the log.
    pub consumer_id: String,
    /// The block that off-chain states are signed for.
    pub close_at: Amount,
    /// How long stopping may take.
    pub grace: Duration,
}

/// A `[[subscribe]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The topic, or a pattern.
    pub uri: String,
    /// How it is matched.
    pub matching: Match,
}

impl BuyConfig {
    /// Reads a configuration without looking at the files that it names.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong.
    pub fn parse(path: &Path, text: &str, environment: &Environment) -> Result<Self, ConfigError> {
        parse(path, text, environment, |reader, root| reader.buy(root))
    }

    /// Reads the configuration file, and the secrets that it names.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong, in the file and with the files that it names.
    pub fn load(path: &Path, environment: &Environment) -> Result<(Self, Secrets), ConfigError> {
        load(path, environment, |reader, root| reader.buy(root))
    }
}

impl BuyerConfig {
    /// Applies the section to the defaults of an embedder.
    pub fn apply(&self, options: &mut BuyerOptions) {
        options.consumer_id.clone_from(&self.consumer_id);
        options.close_at = self.close_at;
    }
}

impl Reader<'_> {
    /// The file of a buyer.
    pub(super) fn buy(&mut self, root: &mut Section<'_>) -> Option<BuyConfig> {
        let mut section = root.table("buyer");
        self.files.delegate = self.required_file(&mut section, "key_file");
        let market_maker = section.required("market_maker", "an address, 0x and 40 hex digits", parsed);
        let max_price = section.required("max_price", XBR, amount);
        let consumer_id = section.optional("consumer_id", text).unwrap_or_default();
        let close_at = section.optional("close_at", |node| integer(node, 0, u64::MAX)).unwrap_or(1);
        let grace = section.optional("grace", duration).unwrap_or(Duration::from_secs(10));
        let master_key_file = self.file(&mut section, "master_key_file");
        section.finish();

        let market = self.market(root.table("market"));
        let store = self.store(root.table("store"), "buyer.master_key_file", master_key_file);
        let subscriptions =
            root.required_tables("subscribe", "an array of tables, each begun with [[subscribe]]");
        let subscriptions = collect(subscriptions.into_iter().map(subscription));
        let log = self.log(root.table("log"));
        let buyer = BuyerConfig {
            market_maker: market_maker?.value,
            max_price: max_price?.value,
            consumer_id,
            close_at: Amount::from_units(close_at.into()),
            grace,
        };
        Some(BuyConfig { buyer, market: market?, store: store?, subscriptions: subscriptions?, log })
    }
}

fn subscription(mut section: Section<'_>) -> Option<Subscription> {
    let pattern = pattern(&mut section, false);
    section.finish();
    let (uri, matching) = pattern?;
    Some(Subscription { uri, matching })
}
