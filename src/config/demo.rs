//! The configuration of `xbr-seller demo`: without a file it is the bundled one.

use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;
use xbr_actors::ApiOptions;
use xbr_core::Amount;

use super::common::{XBR, amount, positive};
use super::problem::ConfigError;
use super::read::{Reader, collect};
use super::section::{Located, Section, duration, integer, parsed, word};
use super::{Environment, LogConfig, parse, read_file};
use crate::feed::sensor::SensorKind;

/// The bundled file, which tells the defaults.
const BUNDLED: &str = include_str!("../../config/demo.toml");

/// The whole configuration of a demo, checked.
#[derive(Debug, Clone)]
pub struct DemoConfig {
    /// What is put into each payment channel.
    pub deposit: Amount,
    /// What may be given for one key.
    pub max_price: Amount,
    /// How many buy.
    pub buyers: usize,
    /// How long stopping may take.
    pub grace: Duration,
    /// What the measurements begin with, and what fails by chance.
    pub seed: u64,
    /// Where the seller's HTTP interface, and with it the dashboard, is to be had.
    pub http: DemoHttp,
    /// What is measured and sold.
    pub sensors: Vec<SensorConfig>,
    /// How the lines of a file are sold.
    pub feed: SourceConfig,
    /// What is logged, and how.
    pub log: LogConfig,
}

/// Where the HTTP interface of a demo is to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DemoHttp {
    /// Where a seller has it, or at another port if somebody is there; only where somebody watches the screen.
    #[default]
    Auto,
    /// Nowhere.
    Off,
    /// At this loopback address and nowhere else.
    At(SocketAddr),
}

/// A text does not say where the interface is to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be an address of this machine such as 127.0.0.1:7070, auto or off")]
pub struct DemoHttpError;

impl FromStr for DemoHttp {
    type Err = DemoHttpError;

    fn from_str(text: &str) -> Result<Self, DemoHttpError> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            // It has no token: nobody else may ask.
            address => match address.parse::<SocketAddr>() {
                Ok(address) if address.ip().is_loopback() => Ok(Self::At(address)),
                _ => Err(DemoHttpError),
            },
        }
    }
}

/// A `[[sensor]]`.
#[derive(Debug, Clone)]
pub struct SensorConfig {
    /// What it measures.
    pub kind: SensorKind,
    /// How its measurements are sold.
    pub source: SourceConfig,
}

/// Something that payloads come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceConfig {
    /// How often there is one.
    pub every: Duration,
    /// On which terms their keys are sold, and when they are replaced. Payloads are published under the
    /// prefix.
    pub api: ApiOptions,
}

impl DemoConfig {
    /// Reads a configuration.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong.
    pub fn parse(path: &Path, text: &str, environment: &Environment) -> Result<Self, ConfigError> {
        parse(path, text, environment, |reader, root| reader.demo(root))
    }

    /// Reads the configuration file, or else the bundled one.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong.
    pub fn load(path: Option<&Path>, environment: &Environment) -> Result<Self, ConfigError> {
        match path {
            Some(path) => Self::parse(path, &read_file(path)?, environment),
            None => Self::parse(Path::new("the bundled demo.toml"), BUNDLED, environment),
        }
    }
}

impl Reader<'_> {
    /// The file of a demo.
    pub(super) fn demo(&mut self, root: &mut Section<'_>) -> Option<DemoConfig> {
        let mut section = root.table("demo");
        let deposit = section.required("deposit", XBR, amount);
        let max_price = section.required("max_price", XBR, amount);
        let buyers = section.required("buyers", "an integer", |node| integer(node, 1, 1024));
        let grace = section.optional("grace", duration).unwrap_or(Duration::from_secs(10));
        let seed = section.optional("seed", |node| integer(node, 0, u64::MAX)).unwrap_or(1);
        let http = section.optional("http", parsed).unwrap_or_default();
        section.finish();
        let sensors = root.required_tables("sensor", "an array of tables, each begun with [[sensor]]");
        let sensors: Option<Vec<_>> = collect(sensors.into_iter().map(|section| self.sensor(section)));
        let feed = self.source(root.table("feed"));
        let log = self.log(root.table("log"));

        let (sensors, feed) = (sensors?, feed?);
        let apis: Vec<_> = sensors.iter().map(|(_, source)| source).chain([&feed]).map(api_of).collect();
        self.check_apis(&apis);
        let sensors = sensors.into_iter();
        Some(DemoConfig {
            deposit: deposit?.value,
            max_price: max_price?.value,
            buyers: buyers?.value,
            grace,
            seed,
            http,
            sensors: sensors.map(|(kind, source)| SensorConfig { kind, source: source.value }).collect(),
            feed: feed.value,
            log,
        })
    }

    fn sensor(&self, mut section: Section<'_>) -> Option<(SensorKind, Located<SourceConfig>)> {
        let words = [("weather", SensorKind::Weather), ("wind", SensorKind::Wind)];
        let kind = section.required("kind", "one of weather, wind", |node| word(node, &words));
        let source = self.source(section);
        Some((kind?.value, source?))
    }

    fn source(&self, mut section: Section<'_>) -> Option<Located<SourceConfig>> {
        let every = section.required("every", "a duration such as \"250ms\"", positive);
        let api = self.api(section)?;
        let every = every?.value;
        Some(api.map(|api| SourceConfig { every, api }))
    }
}

fn api_of(source: &Located<SourceConfig>) -> Located<ApiOptions> {
    source.clone().map(|source| source.api)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dashboard_is_where_only_this_machine_gets_to() {
        assert_eq!("auto".parse(), Ok(DemoHttp::Auto));
        assert_eq!("off".parse(), Ok(DemoHttp::Off));
        for good in ["127.0.0.1:7070", "[::1]:0"] {
            assert_eq!(good.parse(), good.parse().map(DemoHttp::At).map_err(|_| DemoHttpError), "{good}");
        }
        for bad in ["", "on", "127.0.0.1", "7070", "0.0.0.0:7070", "192.168.0.1:7070", "localhost:7070"] {
            assert_eq!(bad.parse::<DemoHttp>(), Err(DemoHttpError), "{bad}");
        }
    }
}
