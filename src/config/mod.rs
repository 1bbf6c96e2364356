//! The configuration: a TOML file with environment variables laid over it, read into one typed [`Config`].
//!
//! Everything that is wrong is reported together, each with its place and key. Unknown keys are refused, in
//! the file and in the environment. Relative paths are relative to the folder of the file.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use xbr_actors::{ApiOptions, MarketOptions, Retention, SellerLimits, SellerOptions};
use xbr_core::channel::Reconcile;
use xbr_core::{Address, Amount, ProviderId};
use xbr_store::MasterKey;
use xbr_wamp::{Auth, ClientOptions, Invoke, Roots, Serializer};

mod bench;
mod buyer;
mod common;
mod demo;
mod document;
mod feed;
mod files;
mod host;
mod http;
mod problem;
mod read;
mod section;
mod settings;

pub use bench::{BenchConfig, BenchSecrets, Extent, LoadConfig, RunningConfig, TargetConfig};
pub use buyer::{BuyConfig, BuyerConfig, Subscription};
pub use demo::{DemoConfig, DemoHttp, DemoHttpError, SensorConfig, SourceConfig};
pub use feed::{BridgeConfig, BridgeTopic, FeedConfig, FeedSource, TcpConfig};
pub use files::Secrets;
pub use host::{
    ChannelConfig, HostConfig, HostSecrets, MARKET_MAKER_ROLE, MakerConfig, Member, OPERATOR,
    PrincipalConfig, RealmConfig, RouterConfig,
};
pub use http::{HttpConfig, Rate};
pub use problem::{ConfigError, Place, Problem, ProblemKind};
pub use settings::Settings;

use document::CliOption;
use files::Files;
use read::Reader;
use section::{Report, Section};

use crate::telemetry::Collector;

/// The variable that may hold the master key, as 64 hex digits.
pub const MASTER_KEY_VARIABLE: &str = "XBR_SELLER_MASTER_KEY";

/// The whole configuration of a seller, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who sells.
    pub seller: SellerConfig,
    /// Where the market is.
    pub market: MarketConfig,
    /// How procedures are registered there.
    pub serving: ServingConfig,
    /// What is remembered, and where.
    pub store: StoreConfig,
    /// The local HTTP interface; `None`: there is none.
    pub http: Option<HttpConfig>,
    /// What is sold.
    pub apis: Vec<ApiOptions>,
    /// Where payloads come from.
    pub feeds: Vec<FeedConfig>,
    /// What is logged, and how.
    pub log: LogConfig,
    /// Where the steps of sales are traced; `None`: nowhere.
    pub traces: Option<TracesConfig>,
    /// What the file says, to compare it with what it says later.
    pub settings: Settings,
}

/// The section `[seller]`, without its secrets.
#[derive(Debug, Clone)]
pub struct SellerConfig {
    /// The market maker whose signature counts.
    pub market_maker: Address,
    /// Under which name the provider's procedures are registered; `None`: the delegate's public key.
    pub provider_id: Option<ProviderId>,
    /// How deviations in the seller's favour are treated.
    pub reconcile: Reconcile,
    /// The block that off-chain states are signed for.
    pub close_at: Amount,
    /// How long stopping may take.
    pub grace: Duration,
    /// Below which balance a channel is running low; zero: never.
    pub low_balance: Amount,
    /// How often to look for new channels; `None`: never.
    pub channel_poll: Option<Duration>,
    /// How many keys of an API may wait to be offered.
    pub offline_keys: NonZeroUsize,
    /// The section `[retention]`: which data keys leave the archive.
    pub retention: Retention,
}

/// The section `[market]`, or another router to be joined, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarketConfig {
    /// The router.
    pub url: String,
    /// The realm.
    pub realm: String,
    /// What to offer, the preferred one first.
    pub serializers: Vec<Serializer>,
    /// The file of the certificates to trust; `None`: those that the system trusts.
    pub cafile: Option<PathBuf>,
    /// How long connecting, and then joining, may take.
    pub connect_timeout: Duration,
    /// How long requests wait for their answer.
    pub call_timeout: Duration,
    /// After how much silence a ping goes out; `None`: never.
    pub ping_interval: Option<Duration>,
    /// How long after a ping the connection counts as dead.
    pub ping_timeout: Duration,
    /// The largest message, in bytes, in both directions.
    pub max_message_bytes: usize,
    /// How deep values may nest.
    pub max_depth: usize,
}

/// What the section `[market]` says to somebody who is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServingConfig {
    /// How invocations are shared with other nodes of the same seller.
    pub invoke: Invoke,
    /// Whether to take registrations over from an earlier session.
    pub force_reregister: bool,
}

/// The section `[store]`.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The file.
    pub path: PathBuf,
    /// The file of the master key, which is made together with the store.
    pub master_key_file: PathBuf,
}

/// The section `[log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Which events: a level, or directives such as `info,xbr_wamp=debug`.
    pub filter: String,
    /// In which form.
    pub format: LogFormat,
}

/// The section `[telemetry]`, when it names a collector.
#[derive(Debug, Clone)]
pub struct TracesConfig {
    /// Who takes the spans.
    pub collector: Collector,
    /// Of a thousand sales so many are traced.
    pub permille: u16,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Coloured text.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// What the process's environment says.
#[derive(Clone, Default)]
pub struct Environment {
    /// `XBR_SELLER__SECTION__KEY=value`.
    overrides: Vec<(String, String)>,
    /// What the command line says, which comes first.
    options: Vec<CliOption>,
    master_key: Option<String>,
    log_filter: Option<String>,
}

impl Environment {
    /// The environment of this process.
    pub fn of_process() -> Self {
        // What is not UTF-8 is no value of any key, and is refused where it is read.
        let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        Self::new(std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))))
    }

    /// Picks what concerns this program.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut environment = Self::default();
        for (name, value) in variables {
            match name.as_str() {
                MASTER_KEY_VARIABLE => environment.master_key = Some(value),
                "RUST_LOG" if !value.is_empty() => environment.log_filter = Some(value),
                _ if name.starts_with(document::PREFIX) => environment.overrides.push((name, value)),
                _ => {}
            }
        }
        environment
    }

    /// Lets an option of the command line, if it was given, override a key: `key` is its path, and `name` what
    /// the option is called, dashes included.
    #[must_use]
    pub fn with_option(mut self, name: &'static str, key: &'static str, value: Option<String>) -> Self {
        self.options.extend(value.map(|value| CliOption { name, key, value }));
        self
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment")
            .field("overrides", &self.overrides)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Reads a configuration without looking at the files that it names.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong.
    pub fn parse(path: &Path, text: &str, environment: &Environment) -> Result<Self, ConfigError> {
        parse(path, text, environment, |reader, root| reader.service(root))
    }

    /// Reads the configuration file, and the secrets that it names.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong, in the file and with the files that it names.
    pub fn load(path: &Path, environment: &Environment) -> Result<(Self, Secrets), ConfigError> {
        load(path, environment, |reader, root| reader.service(root))
    }

    /// The secrets that a configuration file names, but for the token of the HTTP interface, and that token: each with
    /// what is wrong with it, so that one fault hides no other.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong with the one, or with the other.
    pub fn load_secrets(
        path: &Path,
        environment: &Environment,
    ) -> (Result<Secrets, ConfigError>, Result<Option<SecretString>, ConfigError>) {
        let master_key = environment.master_key.as_deref();
        let service = |reader: &mut Reader<'_>, root: &mut Section<'_>| reader.service(root);
        let load_but_token = |files: Files, report: &Report| files.load_but_http_token(master_key, report);
        let load_token = |files: Files, report: &Report| files.load_http_token(report);
        let text = match read_file(path) {
            Ok(text) => text,
            Err(error) => return (Err(error.clone()), Err(error)),
        };
        let secrets = load_with(path, &text, environment, service, load_but_token);
        let token = load_with(path, &text, environment, service, load_token);
        (secrets.map(|(_, secrets)| secrets), token.map(|(_, token)| token))
    }
}

/// A configuration of any kind, with the secrets that it names.
#[derive(Debug)]
pub enum AnyConfig {
    /// Of `xbr-seller run`; a file without a section that tells its kind counts as one.
    Seller(Box<Config>, Secrets),
    /// Of `xbr-seller buy`, which has a section `[buyer]`.
    Buyer(BuyConfig, Secrets),
    /// Of `xbr-seller market`, which has a section `[maker]`.
    Market(HostConfig, HostSecrets),
    /// Of `xbr-seller demo`, which has a section `[demo]`.
    Demo(DemoConfig),
    /// Of `xbr-seller bench`, which has a section `[bench]`.
    Bench(BenchConfig, BenchSecrets),
}

impl AnyConfig {
    /// Reads a file of whatever kind it is, and the secrets that it names.
    ///
    /// # Errors
    /// [`ConfigError`], as for the one of its kind.
    pub fn load(path: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let mut kind = "";
        let sections = ["buyer", "maker", "demo", "bench"];
        let found = parse(path, &read_file(path)?, environment, |_, root| {
            kind = sections.into_iter().find(|section| root.has(section)).unwrap_or_default();
            Some(())
        });
        // What is wrong with it is for the reader of its kind to say.
        drop(found);
        match kind {
            "buyer" => {
                BuyConfig::load(path, environment).map(|(config, secrets)| Self::Buyer(config, secrets))
            }
            "maker" => {
                HostConfig::load(path, environment).map(|(config, secrets)| Self::Market(config, secrets))
            }
            "demo" => DemoConfig::load(Some(path), environment).map(Self::Demo),
            "bench" => BenchConfig::load(Some(path), environment)
                .map(|(config, secrets)| Self::Bench(config, secrets)),
            _ => Config::load(path, environment)
                .map(|(config, secrets)| Self::Seller(Box::new(config), secrets)),
        }
    }
}

fn parse<T>(
    path: &Path,
    text: &str,
    environment: &Environment,
    kind: impl FnOnce(&mut Reader<'_>, &mut Section<'_>) -> Option<T>,
) -> Result<T, ConfigError> {
    let report = Report::default();
    let config = read::read(path, text, environment, &report, kind)?.0;
    conclude(path, config, report)
}

fn load<T>(
    path: &Path,
    environment: &Environment,
    kind: impl FnOnce(&mut Reader<'_>, &mut Section<'_>) -> Option<T>,
) -> Result<(T, Secrets), ConfigError> {
    let master_key = environment.master_key.as_deref();
    let text = read_file(path)?;
    load_with(path, &text, environment, kind, |files, report| files.load(master_key, report))
}

fn load_with<T, S>(
    path: &Path,
    text: &str,
    environment: &Environment,
    kind: impl FnOnce(&mut Reader<'_>, &mut Section<'_>) -> Option<T>,
    secrets: impl FnOnce(Files, &Report) -> Option<S>,
) -> Result<(T, S), ConfigError> {
    let report = Report::default();
    let (config, files) = read::read(path, text, environment, &report, kind)?;
    let secrets = secrets(files, &report);
    conclude(path, config.zip(secrets), report)
}

fn read_file(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|error| ConfigError::Read { path: path.to_owned(), reason: error.to_string() })
}

fn conclude<T>(path: &Path, result: Option<T>, report: Report) -> Result<T, ConfigError> {
    let problems = report.into_problems();
    match result {
        Some(result) if problems.is_empty() => Ok(result),
        _ => Err(ConfigError::Invalid { path: path.to_owned(), problems }),
    }
}

impl SellerConfig {
    /// What can change while the seller runs.
    pub fn limits(&self) -> SellerLimits {
        SellerLimits {
            low_balance: self.low_balance,
            channel_poll: self.channel_poll,
            offline_keys: self.offline_keys,
            retention: self.retention,
        }
    }

    /// Applies the section to the defaults of an embedder.
    pub fn apply(&self, options: &mut SellerOptions) {
        options.reconcile = self.reconcile;
        options.close_at = self.close_at;
        options.low_balance = self.low_balance;
        options.channel_poll = self.channel_poll;
        options.offline_keys = self.offline_keys;
        options.retention = self.retention;
        if let Some(provider_id) = &self.provider_id {
            options.provider_id = provider_id.clone();
        }
    }
}

impl MarketConfig {
    /// How to connect, with that identity.
    pub fn options(&self, auth: Auth) -> ClientOptions {
        let mut client = ClientOptions::new(&self.url, &self.realm);
        client.serializers.clone_from(&self.serializers);
        client.auth = auth;
        client.roots = self.cafile.clone().map_or(Roots::System, Roots::PemFile);
        client.agent = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")).to_owned();
        client.connect_timeout = self.connect_timeout;
        client.join_timeout = self.connect_timeout;
        client.call_timeout = self.call_timeout;
        client.ping_interval = self.ping_interval;
        client.ping_timeout = self.ping_timeout;
        client.max_message_bytes = self.max_message_bytes;
        client.max_outgoing_bytes = self.max_message_bytes;
        client.limits.max_depth = self.max_depth;
        client
    }
}

impl ServingConfig {
    /// How to be called over that connection.
    pub fn options(&self, client: ClientOptions) -> MarketOptions {
        let mut options = MarketOptions::new(client);
        options.invoke = self.invoke;
        options.force_reregister = self.force_reregister;
        options
    }
}

impl StoreConfig {
    /// The master key: the one that was given, or the one in its file, which is made together with the store.
    ///
    /// # Errors
    /// [`MasterKeyError`](xbr_store::MasterKeyError) when there is none, and none can be made.
    pub fn master_key(&self, given: Option<MasterKey>) -> Result<MasterKey, xbr_store::MasterKeyError> {
        match given {
            Some(key) => Ok(key),
            None => {
                MasterKey::load_or_create(&self.master_key_file, xbr_store::SqliteStore::exists(&self.path))
            }
        }
    }
}
