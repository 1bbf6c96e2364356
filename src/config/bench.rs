//! The configuration of `xbr-seller bench`: without a file it is the bundled one, which measures a seller of
//! its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use xbr_core::{Amount, DelegateKey, ProviderId};
use xbr_wamp::Auth;

use super::common::{amount, positive};
use super::document::Node;
use super::problem::{ConfigError, ProblemKind};
use super::read::Reader;
use super::section::{Section, boolean, integer, list, text};
use super::{Environment, LogConfig, MarketConfig, load_with, parse, read_file};

/// The bundled file, which tells the defaults.
const BUNDLED: &str = include_str!("../../config/bench.toml");
/// The name of the bundled file, for messages.
const BUNDLED_NAME: &str = "the bundled bench.toml";
/// Receipts are kept until they are checked.
const MAX_SALES: usize = 1_000_000;
const IN_FLIGHT: &str = "a list of integers from 1 to 1024, such as [1, 16, 64]";

/// The whole configuration of a load generator, checked.
#[derive(Debug, Clone)]
pub struct BenchConfig {
    /// How much is bought, and how fast.
    pub load: LoadConfig,
    /// From whom.
    pub target: TargetConfig,
    /// What is logged, and how.
    pub log: LogConfig,
}

/// How much is bought, and how fast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadConfig {
    /// How many sales are in flight, one measurement for each.
    pub in_flight: Vec<usize>,
    /// How many sales there are before each measurement, as many at once as in it.
    pub warm_up: usize,
    /// How much a measurement is.
    pub extent: Extent,
    /// How many sales are begun each second; `None`: each as soon as there is room for it.
    pub rate: Option<u32>,
}

/// How much a measurement is: it ends with whatever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// So many sales.
    pub sales: usize,
    /// After so long no sale is begun any more; `None`: however long it takes.
    pub time: Option<Duration>,
}

/// From whom keys are bought.
#[derive(Debug, Clone)]
pub enum TargetConfig {
    /// From a seller of its own, over a router of its own, both in this process.
    Own {
        /// Where the seller's store is, in a folder of its own; `None`: where the system has such things.
        folder: Option<PathBuf>,
    },
    /// From one that runs.
    Running(Box<RunningConfig>),
}

/// A seller that runs, and the market maker that is played for it. Without its secrets.
#[derive(Debug, Clone)]
pub struct RunningConfig {
    /// The router.
    pub market: MarketConfig,
    /// Whether to take registrations over from an earlier session that the router still holds.
    pub force_reregister: bool,
    /// Whose keys are bought; `None`: those of the first seller that offers one.
    pub provider_id: Option<ProviderId>,
    /// What each seller's paying channel holds.
    pub amount: Amount,
    /// For how long to wait for an offer.
    pub patience: Duration,
}

/// What the configuration of a load generator names but does not hold.
#[derive(Debug)]
pub struct BenchSecrets {
    /// The market maker's key: the one of the file, or a new one.
    pub key: DelegateKey,
    /// Who we are towards the router.
    pub auth: Auth,
}

impl BenchConfig {
    /// Reads a configuration without looking at the files that it names.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong.
    pub fn parse(path: &Path, text: &str, environment: &Environment) -> Result<Self, ConfigError> {
        parse(path, text, environment, |reader, root| reader.bench(root))
    }

    /// Reads the configuration file, or else the bundled one, and the secrets that it names.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong, in the file and with the files that it names.
    pub fn load(path: Option<&Path>, environment: &Environment) -> Result<(Self, BenchSecrets), ConfigError> {
        let text = path.map_or_else(|| Ok(BUNDLED.to_owned()), read_file)?;
        let path = path.unwrap_or(Path::new(BUNDLED_NAME));
        load_with(
            path,
            &text,
            environment,
            |reader, root| reader.bench(root),
            |files, report| files.load_bench(report),
        )
    }
}

impl Reader<'_> {
    /// The file of a load generator.
    pub(super) fn bench(&mut self, root: &mut Section<'_>) -> Option<BenchConfig> {
        let mut section = root.table("bench");
        let load = load(&mut section);
        let target = match root.has("market") {
            true => self.running(&mut section, root.table("market")).map(Box::new).map(TargetConfig::Running),
            false => Some(self.own(&mut section)),
        };
        section.finish();
        let log = self.log(root.table("log"));
        Some(BenchConfig { load: load?, target: target?, log })
    }

    fn own(&self, section: &mut Section<'_>) -> TargetConfig {
        for key in ["key_file", "provider_id", "amount", "patience"] {
            let found = section.located(key, Ok);
            if let Some(found) = found {
                let reason = "is for a seller that runs: say where, by market.url and market.realm";
                found.complain(self.report, ProblemKind::value(reason));
            }
        }
        TargetConfig::Own { folder: self.file(section, "dir").map(|folder| folder.value) }
    }

    fn running(&mut self, section: &mut Section<'_>, mut market: Section<'_>) -> Option<RunningConfig> {
        self.files.delegate = self.required_file(section, "key_file");
        let provider_id =
            section.optional("provider_id", |node| ProviderId::new(text(node)?).map_err(ProblemKind::value));
        let amount = section.optional("amount", amount).unwrap_or(Amount::from_xbr(1_000_000_000));
        let patience = section.optional("patience", positive).unwrap_or(Duration::from_secs(30));
        // What the store of one's own seller is in is of no use here, but no error either.
        let _ = self.file(section, "dir");
        let connection = self.connection(&mut market);
        let force_reregister = market.optional("force_reregister", boolean).unwrap_or(false);
        market.finish();
        Some(RunningConfig { market: connection?, force_reregister, provider_id, amount, patience })
    }
}

fn load(section: &mut Section<'_>) -> Option<LoadConfig> {
    let in_flight = section.required("in_flight", IN_FLIGHT, in_flight);
    let warm_up = section.optional("warm_up", |node| integer(node, 0, MAX_SALES)).unwrap_or(200);
    let rate = section.optional("rate", |node| integer(node, 1, 1_000_000));
    let sales = section.optional("sales", |node| integer(node, 1, MAX_SALES));
    let time = section.optional("duration", positive);
    let default = sales.is_none().then_some(Duration::from_secs(2));
    let extent = Extent { sales: sales.unwrap_or(MAX_SALES), time: time.or(default) };
    Some(LoadConfig { in_flight: in_flight?.value, warm_up, extent, rate })
}

fn in_flight(node: Node) -> Result<Vec<usize>, ProblemKind> {
    let levels = list(node, IN_FLIGHT)?.into_iter().map(|node| integer(node, 1, 1024));
    let levels: Vec<_> = levels.collect::<Result<_, _>>()?;
    if levels.is_empty() {
        return Err(ProblemKind::value("must have at least one number in it"));
    }
    Ok(levels)
}
