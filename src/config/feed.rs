//! `[[feed]]`: where payloads come from.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use xbr_actors::ApiOptions;
use xbr_core::ApiId;
use xbr_core::cbor::Limits;
use xbr_core::crypto::keccak256;
use xbr_wamp::Match;

use super::MarketConfig;
use super::common::{non_empty, pattern, uri_that_is};
use super::document::Node;
use super::files::AuthFile;
use super::problem::ProblemKind;
use super::read::{Reader, collect};
use super::section::{Located, Section, boolean, integer, parsed, text};
use crate::feed::sensor::SensorKind;

const MIB: usize = 1 << 20;
/// A JSON line may be so many times as long once it is CBOR, encrypted and in base64.
const LINE_GROWTH: usize = 4;
/// How much of a file's name is part of that of the file with its position.
const MAX_NAME: usize = 100;

/// A `[[feed]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedConfig {
    /// Where its items come from.
    pub source: FeedSource,
    /// The API whose keys encrypt them.
    pub api_id: ApiId,
    /// The topic that they are published to, unless a bridge says otherwise.
    pub uri: String,
    /// How long a line may be, in bytes, without its end.
    pub max_line_bytes: usize,
    /// How many publications may wait for the router's acknowledgement.
    pub in_flight: usize,
    /// How much structure a line may have.
    pub limits: Limits,
}

/// Where the items of a feed come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedSource {
    /// Standard input, to its end.
    Stdin,
    /// A file, to its end; or a FIFO, which is opened again whenever its writers have closed it.
    Path(PathBuf),
    /// A file that is read as it grows, through rotations and restarts.
    Follow {
        /// The file, which need not exist yet.
        path: PathBuf,
        /// The file in which is kept up to where all is settled.
        state: PathBuf,
    },
    /// Lines of whoever connects.
    Tcp(TcpConfig),
    /// Topics of another router.
    Wamp(Box<BridgeConfig>),
    /// Synthetic measurements, without end.
    Sensor {
        /// What is measured.
        kind: SensorKind,
        /// What they begin with.
        seed: u64,
    },
}

/// Where lines are taken from writers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpConfig {
    /// Where to listen, on this machine only.
    pub address: SocketAddr,
    /// Whether writers hear of the outcome of each line.
    pub acknowledge: bool,
    /// How many may be connected at once.
    pub max_connections: usize,
}

/// What is republished from another router, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeConfig {
    /// The router.
    pub router: MarketConfig,
    /// What is subscribed to.
    pub topics: Vec<BridgeTopic>,
}

/// A topic, or a pattern of topics, and the URIs that its events are republished under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeTopic {
    /// The topic, or the pattern.
    pub uri: String,
    /// How it is matched.
    pub matching: Match,
    /// What the topics begin with.
    pub from: String,
    /// What takes the place of that.
    pub to: String,
}

impl BridgeTopic {
    /// The URI to republish an event under; `None` if there is none.
    pub fn map(&self, topic: &str) -> Option<String> {
        let rest = topic.strip_prefix(&self.from)?;
        let mapped = match self.from.is_empty() {
            true => format!("{}.{rest}", self.to),
            false => format!("{}{rest}", self.to),
        };
        xbr_wamp::uri::is_valid(&mapped).then_some(mapped)
    }

    /// Whether what is republished of this one may be an event of the other.
    fn feeds(&self, other: &Self) -> bool {
        let theirs = common(&other.uri, other.matching);
        match (self.matching, other.matching) {
            (Match::Exact, Match::Exact) => self.map(&self.uri).is_some_and(|mapped| mapped == theirs),
            (_, Match::Exact) => theirs.starts_with(&self.to),
            _ => self.to.starts_with(theirs) || theirs.starts_with(&self.to),
        }
    }
}

impl Reader<'_> {
    pub(super) fn feed(&mut self, mut section: Section<'_>) -> Option<Located<FeedConfig>> {
        let kind = "stdin, tcp://127.0.0.1:port, wamp, or the path of a file or FIFO";
        let source = section.required("source", kind, non_empty);
        let api_id = section.required("api", "the id of an [[api]]", parsed::<ApiId>);
        let uri = section.required("uri", "the URI to publish to", |node| uri_that_is(node, "URI"));
        let bytes = |node| integer(node, 1, 256 * MIB);
        let max_line_bytes = section.optional("max_line_bytes", bytes).unwrap_or(MIB);
        let in_flight = section.optional("in_flight", |node| integer(node, 1, 1024)).unwrap_or(64);
        let (place, key) = (section.place(), section.path_of("api"));
        let auths = self.files.feeds.len();
        let target = uri.as_ref().map_or("", |uri| &uri.value);
        let source = source.and_then(|source| self.feed_source(source, target, &mut section));
        self.files.feeds.resize_with(auths + 1, AuthFile::default);
        section.finish();
        let (source, api_id, uri) = (source?, api_id?.value, uri?.value);
        let limits = Limits::default();
        let value = FeedConfig { source, api_id, uri, max_line_bytes, in_flight, limits };
        Some(Located { place, key, value })
    }

    fn feed_source(
        &mut self,
        source: Located<String>,
        target: &str,
        section: &mut Section<'_>,
    ) -> Option<FeedSource> {
        match source.value.as_str() {
            "stdin" => Some(FeedSource::Stdin),
            "wamp" => self.bridge(target, section).map(Box::new).map(FeedSource::Wamp),
            tcp if tcp.starts_with("tcp://") => self.tcp(&source, section).map(FeedSource::Tcp),
            path => {
                let path = self.path(path);
                let file = source.clone().map(|_| path.clone());
                if !section.optional("follow", boolean).unwrap_or(false) {
                    self.files.others.push(file);
                    return Some(FeedSource::Path(path));
                }
                self.files.awaited.push(file);
                // Without a store nothing is started; what is wrong with it is said already.
                let state = position_file(&self.files.store.as_ref()?.value, &path);
                Some(FeedSource::Follow { path, state })
            }
        }
    }

    fn tcp(&self, source: &Located<String>, section: &mut Section<'_>) -> Option<TcpConfig> {
        let acknowledge = section.optional("acknowledge", boolean).unwrap_or(false);
        let count = |node| integer(node, 1, 1024);
        let max_connections = section.optional("max_connections", count).unwrap_or(16);
        let address = source.value.strip_prefix("tcp://").and_then(|address| address.parse().ok());
        let address = address.filter(|address: &SocketAddr| address.ip().is_loopback());
        if address.is_none() {
            let reason =
                "must be tcp://127.0.0.1:port or tcp://[::1]:port; whoever can connect can publish, so \
                          only this machine is listened to"
                    .to_owned();
            source.complain(self.report, ProblemKind::Value { reason });
        }
        Some(TcpConfig { address: address?, acknowledge, max_connections })
    }

    fn bridge(&mut self, target: &str, section: &mut Section<'_>) -> Option<BridgeConfig> {
        let mut router = section.table("router");
        let (config, auth, cafile) = self.router_to_join(&mut router);
        router.finish();
        self.files.feeds.push(auth);
        self.files.others.extend(cafile);
        let topics = section.required_tables("topics", "a list of tables, each with the uri of a topic");
        let topics = collect(topics.into_iter().map(|section| self.bridge_topic(section, target)));
        Some(BridgeConfig { router: config?, topics: topics? })
    }

    fn bridge_topic(&self, mut section: Section<'_>, target: &str) -> Option<BridgeTopic> {
        let pattern = pattern(&mut section, false);
        let from = section.located("from", text);
        let to = section.optional("to", |node: Node| uri_that_is(node, "URI"));
        section.finish();
        let (uri, matching) = pattern?;
        let begin = common(&uri, matching);
        if let Some(from) = from.as_ref().filter(|from| !begin.starts_with(&from.value)) {
            let reason = format!("not all topics begin with it; at most {begin:?} can be replaced");
            from.complain(self.report, ProblemKind::Value { reason });
        }
        let from = from.map_or_else(|| begin.trim_end_matches('.').to_owned(), |from| from.value);
        Some(BridgeTopic { uri, matching, from, to: to.unwrap_or_else(|| target.to_owned()) })
    }

    pub(super) fn check_feeds(
        &self,
        feeds: &[Located<FeedConfig>],
        apis: &[Located<ApiOptions>],
        market: Option<&MarketConfig>,
    ) {
        let mut sources = Vec::new();
        for feed in feeds {
            let FeedConfig { source, api_id, max_line_bytes, .. } = &feed.value;
            let complain = |reason: String| feed.complain(self.report, ProblemKind::Value { reason });
            match apis.iter().map(|api| &api.value.terms).find(|terms| terms.api_id == *api_id) {
                None => complain(format!("there is no [[api]] with the id {api_id}")),
                Some(terms) => {
                    for uri in feed.value.targets().filter(|uri| !terms.prefix.covers(uri)) {
                        complain(format!("the uri {uri} is outside the API's prefix {}", terms.prefix));
                    }
                }
            }
            if market
                .is_some_and(|market| max_line_bytes.saturating_mul(LINE_GROWTH) > market.max_message_bytes)
            {
                complain(format!(
                    "market.max_message_bytes must be at least {LINE_GROWTH} times max_line_bytes"
                ));
            }
            if let (FeedSource::Wamp(bridge), Some(market)) = (source, market)
                && bridge.hears_itself(market)
            {
                complain("the bridge would republish its own events for ever".to_owned());
            }
            if sources.contains(&source) {
                complain("another feed reads the same source".to_owned());
            }
            sources.push(source);
        }
    }
}

impl FeedConfig {
    /// The URIs, or what they begin with, that are published to.
    fn targets(&self) -> impl Iterator<Item = &str> {
        let (own, mapped) = match &self.source {
            FeedSource::Wamp(bridge) => (None, bridge.topics.as_slice()),
            _ => (Some(self.uri.as_str()), &[][..]),
        };
        own.into_iter().chain(mapped.iter().map(|topic| topic.to.as_str()))
    }
}

impl BridgeConfig {
    /// Whether what it publishes may be among what it subscribes to.
    fn hears_itself(&self, market: &MarketConfig) -> bool {
        let same = self.router.url == market.url && self.router.realm == market.realm;
        same && self.topics.iter().any(|topic| self.topics.iter().any(|other| topic.feeds(other)))
    }
}

/// What all topics begin with that match.
fn common(uri: &str, matching: Match) -> &str {
    match matching {
        Match::Exact | Match::Prefix => uri,
        Match::Wildcard => {
            let any = uri.split('.').take_while(|component| !component.is_empty());
            let length: usize = any.map(|component| component.len() + 1).sum();
            uri.get(..length.saturating_sub(1).min(uri.len())).unwrap_or_default()
        }
    }
}

/// Where the position in a followed file is kept: beside the store, under a name of its own.
fn position_file(store: &Path, path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let hash =
        hex::encode(keccak256(whole.as_os_str().as_encoded_bytes()).first_chunk::<4>().unwrap_or(&[0; 4]));
    let file = path.file_name().unwrap_or(OsStr::new("")).to_string_lossy();
    let file: String = file.chars().take(MAX_NAME).collect();
    let mut name = store.to_owned().into_os_string();
    name.push(format!("-feed-{file}-{hash}"));
    name.into()
}
