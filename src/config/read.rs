//! From the tree to the types: one function per section, each key read where its type is known.

use std::collections::{BTreeMap, BTreeSet};
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use xbr_actors::{ApiOptions, DEFAULT_OFFLINE_KEYS, Retention, Rotation};
use xbr_core::cbor::{Limits, MAX_DEPTH};
use xbr_core::channel::Reconcile;
use xbr_core::offer::{OfferTerms, UriPrefix};
use xbr_core::{Amount, ApiId, ProviderId};
use xbr_wamp::{Invoke, Serializer};

use super::document::{self, Node};
use super::files::{AuthFile, Files};
use super::problem::{ConfigError, Place, ProblemKind};
use super::section::{
    Located, Report, Section, boolean, duration, integer, list, parsed, shorten, table, text, text_that_is,
    word,
};
use super::{
    Config, Environment, FeedConfig, FeedSource, LogConfig, LogFormat, MarketConfig, SellerConfig,
    StoreConfig,
};

const SECONDS: fn(u64) -> Duration = Duration::from_secs;
const MIB: usize = 1 << 20;
/// A JSON line may be so many times as long once it is CBOR, encrypted and in base64.
const LINE_GROWTH: usize = 4;

const AMOUNT: &str = "a string of decimal XBR with up to 18 decimals, such as \"35\" or \"0.5\"";

/// Reads everything; what is wrong is in the report, and then parts of the result are missing.
pub(super) fn read(
    path: &Path,
    text: &str,
    environment: &Environment,
    report: &Report,
) -> Result<(Option<Config>, Files), ConfigError> {
    let mut document = document::parse(path, text)?;
    report.extend(document::override_with(&mut document, environment.overrides.iter().cloned()));
    let mut root = Section::new(report, Place::Line(1), "", document);
    let mut reader =
        Reader { folder: path.parent().unwrap_or(Path::new("")), files: Files::default(), report };

    let retention = retention(root.table("retention"));
    let (seller, master_key_file) = reader.seller(root.table("seller"), retention);
    let market = reader.market(root.table("market"));
    let store = reader.store(root.table("store"), master_key_file);
    let apis = root.tables("api", "an array of tables, each begun with [[api]]");
    let apis: Option<Vec<_>> = collect(apis.into_iter().map(|section| reader.api(section)));
    let feeds = root.tables("feed", "an array of tables, each begun with [[feed]]");
    let feeds: Option<Vec<_>> = collect(feeds.into_iter().map(|section| reader.feed(section)));
    let log = reader.log(root.table("log"), environment.log_filter.as_deref());
    root.finish();

    if let (Some(apis), Some(feeds)) = (&apis, &feeds) {
        reader.check_apis(apis);
        reader.check_feeds(feeds, apis, market.as_ref());
    }
    let files = reader.files;
    let config = (|| {
        let limits = Limits { max_depth: market.as_ref()?.max_depth, ..Limits::default() };
        let mut feeds: Vec<_> = feeds?.into_iter().map(|feed| feed.value).collect();
        for feed in &mut feeds {
            feed.limits = limits;
        }
        let apis = apis?.into_iter().map(|api| api.value).collect();
        Some(Config { seller: seller?, market: market?, store: store?, apis, feeds, log: log? })
    })();
    Ok((config, files))
}

/// All or none, but each of them is looked at.
fn collect<T>(results: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let results: Vec<_> = results.collect();
    results.into_iter().collect()
}

struct Reader<'a> {
    /// What relative paths are relative to.
    folder: &'a Path,
    files: Files,
    report: &'a Report,
}

impl Reader<'_> {
    fn path(&self, text: &str) -> PathBuf {
        self.folder.join(text)
    }

    fn file(&self, section: &mut Section<'_>, key: &'static str) -> Option<Located<PathBuf>> {
        let located = section.located(key, non_empty)?;
        Some(located.map(|text| self.path(&text)))
    }

    fn required_file(&self, section: &mut Section<'_>, key: &'static str) -> Option<Located<PathBuf>> {
        let located = section.required(key, "the path of a file", non_empty)?;
        Some(located.map(|text| self.path(&text)))
    }

    fn seller(
        &mut self,
        mut section: Section<'_>,
        retention: Retention,
    ) -> (Option<SellerConfig>, Option<Located<PathBuf>>) {
        self.files.delegate = self.required_file(&mut section, "key_file");
        let market_maker = section.required("market_maker", "an address, 0x and 40 hex digits", parsed);
        let provider_id =
            section.optional("provider_id", |node| ProviderId::new(text(node)?).map_err(ProblemKind::value));
        let words = [("surplus", Reconcile::Surplus), ("strict", Reconcile::Strict)];
        let reconcile = section.optional("reconcile", |node| word(node, &words)).unwrap_or_default();
        let close_at = section.optional("close_at", |node| integer(node, 0, u64::MAX)).unwrap_or(1);
        let grace = section.optional("grace", duration).unwrap_or(SECONDS(10));
        let low_balance = section.optional("low_balance", amount).unwrap_or(Amount::ZERO);
        let channel_poll = section.optional("channel_poll", duration).unwrap_or(SECONDS(60));
        let offline_keys = section.optional("offline_keys", |node| integer(node, 1, 1_000_000));
        let offline_keys = offline_keys.and_then(NonZeroUsize::new).unwrap_or(DEFAULT_OFFLINE_KEYS);
        let master_key_file = self.file(&mut section, "master_key_file");
        section.finish();
        let close_at = Amount::from_units(close_at.into());
        let seller = market_maker.map(|market_maker| {
            let market_maker = market_maker.value;
            let channel_poll = Some(channel_poll).filter(|interval| !interval.is_zero());
            SellerConfig {
                market_maker,
                provider_id,
                reconcile,
                close_at,
                grace,
                low_balance,
                channel_poll,
                offline_keys,
                retention,
            }
        });
        (seller, master_key_file)
    }

    fn market(&mut self, mut section: Section<'_>) -> Option<MarketConfig> {
        let url =
            section.required("url", "the address of a router, such as ws://127.0.0.1:8080/ws", router_url);
        let realm = section.required("realm", "the name of a realm", |node| {
            let realm = text(node)?;
            let wrong = || ProblemKind::Value { reason: format!("is no realm: {:?}", shorten(&realm)) };
            xbr_wamp::uri::is_valid(&realm).then(|| realm.clone()).ok_or_else(wrong)
        });
        let serializers = section.optional("serializers", serializers).unwrap_or(Serializer::ALL.to_vec());
        self.files.auth = match section.optional("auth", |node| Ok((node.place.clone(), table(node)?))) {
            Some((place, table)) => {
                self.auth(Section::new(self.report, place, section.path_of("auth"), table))
            }
            None => AuthFile::None,
        };
        self.files.cafile = self.file(&mut section, "cafile");
        let cafile = self.files.cafile.as_ref().map(|file| file.value.clone());
        let mut time = |key, default| section.optional(key, positive).unwrap_or(SECONDS(default));
        let connect_timeout = time("connect_timeout", 10);
        let call_timeout = time("call_timeout", 30);
        let ping_timeout = time("ping_timeout", 10);
        let ping_interval = section.optional("ping_interval", duration).unwrap_or(SECONDS(20));
        let bytes = |node| integer(node, 64 << 10, 1 << 30);
        let max_message_bytes = section.optional("max_message_bytes", bytes).unwrap_or(16 * MIB);
        let max_depth = section.optional("max_depth", |node| integer(node, 8, MAX_DEPTH)).unwrap_or(64);
        let policies = [Invoke::Single, Invoke::First, Invoke::Last, Invoke::RoundRobin, Invoke::Random];
        let policies = policies.map(|invoke| (invoke.as_str(), invoke));
        let invoke = section.optional("invoke", |node| word(node, &policies)).unwrap_or_default();
        let force_reregister = section.optional("force_reregister", boolean).unwrap_or(false);
        section.finish();
        Some(MarketConfig {
            url: url?.value,
            realm: realm?.value,
            serializers,
            cafile,
            connect_timeout,
            call_timeout,
            ping_interval: Some(ping_interval).filter(|interval| !interval.is_zero()),
            ping_timeout,
            max_message_bytes,
            max_depth,
            invoke,
            force_reregister,
        })
    }

    fn auth(&self, mut section: Section<'_>) -> AuthFile {
        #[derive(Clone, Copy)]
        enum Method {
            Anonymous,
            Ticket,
            Cryptosign,
        }
        let methods = [
            ("anonymous", Method::Anonymous),
            ("ticket", Method::Ticket),
            ("cryptosign", Method::Cryptosign),
        ];
        let method =
            section.required("method", "one of anonymous, ticket, cryptosign", |node| word(node, &methods));
        // Without a method nothing can be said about the other keys.
        let Some(method) = method else { return AuthFile::None };
        let file = match method.value {
            Method::Anonymous => AuthFile::None,
            Method::Ticket => {
                let authid = section.required("authid", "the name that the router knows us by", non_empty);
                let file = self.required_file(&mut section, "ticket_file");
                match (authid, file) {
                    (Some(authid), Some(file)) => AuthFile::Ticket { authid: authid.value, file },
                    _ => AuthFile::None,
                }
            }
            Method::Cryptosign => {
                let authid = section.optional("authid", non_empty);
                match self.required_file(&mut section, "key_file") {
                    Some(file) => AuthFile::Cryptosign { authid, file },
                    None => AuthFile::None,
                }
            }
        };
        section.finish();
        file
    }

    fn store(
        &mut self,
        mut section: Section<'_>,
        master_key_file: Option<Located<PathBuf>>,
    ) -> Option<StoreConfig> {
        let path = self.required_file(&mut section, "path");
        section.finish();
        let path = path?;
        let master_key_file = master_key_file.unwrap_or_else(|| {
            let beside = |path: PathBuf| {
                let mut name = path.into_os_string();
                name.push(".master");
                PathBuf::from(name)
            };
            let key = "seller.master_key_file".to_owned();
            Located { key, ..path.clone().map(beside) }
        });
        let store = StoreConfig { path: path.value.clone(), master_key_file: master_key_file.value.clone() };
        self.files.store = Some(path);
        self.files.master_key = Some(master_key_file);
        Some(store)
    }

    fn api(&self, mut section: Section<'_>) -> Option<Located<ApiOptions>> {
        let before = self.report.count();
        let api_id = section.required("id", "a UUID", parsed::<ApiId>);
        let prefix =
            section.required("prefix", "a URI, or prefix of URIs, such as io.crossbar.example", |node| {
                UriPrefix::new(text(node)?).map_err(ProblemKind::value)
            });
        let price = section.required("price", AMOUNT, amount);
        let interval = section.optional("interval", duration);
        let count = section.optional("count", |node| integer(node, 1, u64::MAX));
        let expires_after = section.optional("expires_after", duration);
        let copies = section.optional("copies", |node| integer(node, 1, u64::MAX));
        let categories = section.optional("categories", categories).unwrap_or_default();
        let (place, key) = (section.place(), section.path_of("id"));
        let terms = (|| {
            let (api_id, prefix, price) = (api_id?.value, prefix?.value, price?.value);
            Some(OfferTerms { api_id, prefix, price, categories, expires_after, copies })
        })();
        let api = terms.map(|terms| ApiOptions { terms, rotation: Rotation { interval, count } });
        section.finish();
        // What keys mean together is of interest once each of them is right.
        if let Some(Err(error)) =
            api.as_ref().filter(|_| self.report.count() == before).map(ApiOptions::check)
        {
            section.complain(ProblemKind::value(error));
        }
        Some(Located { place, key, value: api? })
    }

    fn feed(&mut self, mut section: Section<'_>) -> Option<Located<FeedConfig>> {
        let source = section.required("source", "stdin, or the path of a file or FIFO", non_empty);
        let source = source.map(|source| match source.value.as_str() {
            "stdin" => FeedSource::Stdin,
            path => {
                let path = self.path(path);
                self.files.sources.push(source.clone().map(|_| path.clone()));
                FeedSource::Path(path)
            }
        });
        let api_id = section.required("api", "the id of an [[api]]", parsed::<ApiId>);
        let uri = section.required("uri", "the URI to publish to", |node| {
            let uri = text(node)?;
            let wrong = || ProblemKind::Value { reason: format!("is no URI: {:?}", shorten(&uri)) };
            xbr_wamp::uri::is_valid(&uri).then(|| uri.clone()).ok_or_else(wrong)
        });
        let bytes = |node| integer(node, 1, 256 * MIB);
        let max_line_bytes = section.optional("max_line_bytes", bytes).unwrap_or(MIB);
        let in_flight = section.optional("in_flight", |node| integer(node, 1, 1024)).unwrap_or(64);
        let (place, key) = (section.place(), section.path_of("api"));
        section.finish();
        let (source, api_id, uri) = (source?, api_id?.value, uri?.value);
        let limits = Limits::default();
        let value = FeedConfig { source, api_id, uri, max_line_bytes, in_flight, limits };
        Some(Located { place, key, value })
    }

    fn log(&self, mut section: Section<'_>, from_environment: Option<&str>) -> Option<LogConfig> {
        let filter = section.optional("level", |node| {
            let filter = text(node)?;
            crate::logging::check_filter(&filter).map_err(ProblemKind::value)?;
            Ok(filter)
        });
        let words = [("auto", LogFormat::Auto), ("pretty", LogFormat::Pretty), ("json", LogFormat::Json)];
        let format = section.optional("format", |node| word(node, &words)).unwrap_or_default();
        section.finish();
        if let Some(Err(error)) = from_environment.map(crate::logging::check_filter) {
            let place = Place::Variable("RUST_LOG".to_owned());
            self.report.note(place, "log.level", ProblemKind::value(error));
        }
        let filter = from_environment.map(str::to_owned).or(filter);
        Some(LogConfig { filter: filter.unwrap_or_else(|| "info".to_owned()), format })
    }

    fn check_apis(&self, apis: &[Located<ApiOptions>]) {
        let mut seen = BTreeSet::new();
        for api in apis {
            let api_id = api.value.terms.api_id;
            if !seen.insert(api_id) {
                api.complain(
                    self.report,
                    ProblemKind::Value { reason: format!("{api_id} is there already") },
                );
            }
        }
    }

    fn check_feeds(
        &self,
        feeds: &[Located<FeedConfig>],
        apis: &[Located<ApiOptions>],
        market: Option<&MarketConfig>,
    ) {
        let mut sources = Vec::new();
        for feed in feeds {
            let FeedConfig { source, api_id, uri, max_line_bytes, .. } = &feed.value;
            let complain = |reason: String| feed.complain(self.report, ProblemKind::Value { reason });
            match apis.iter().map(|api| &api.value.terms).find(|terms| terms.api_id == *api_id) {
                None => complain(format!("there is no [[api]] with the id {api_id}")),
                Some(terms) if !terms.prefix.covers(uri) => {
                    complain(format!("the uri {uri} is outside the API's prefix {}", terms.prefix));
                }
                Some(_) => {}
            }
            if market
                .is_some_and(|market| max_line_bytes.saturating_mul(LINE_GROWTH) > market.max_message_bytes)
            {
                complain(format!(
                    "market.max_message_bytes must be at least {LINE_GROWTH} times max_line_bytes"
                ));
            }
            if sources.contains(&source) {
                complain("another feed reads the same source".to_owned());
            }
            sources.push(source);
        }
    }
}

fn retention(mut section: Section<'_>) -> Retention {
    let max_age = section.optional("max_age", positive);
    let max_keys = section.optional("max_keys", |node| integer(node, 1, u64::MAX)).and_then(NonZeroU64::new);
    section.finish();
    Retention { max_age, max_keys }
}

fn amount(node: Node) -> Result<Amount, ProblemKind> {
    text_that_is(node, AMOUNT)?.parse().map_err(ProblemKind::value)
}

fn non_empty(node: Node) -> Result<String, ProblemKind> {
    let text = text(node)?;
    if text.is_empty() {
        return Err(ProblemKind::Value { reason: "must not be empty".to_owned() });
    }
    Ok(text)
}

fn positive(node: Node) -> Result<Duration, ProblemKind> {
    match duration(node)? {
        Duration::ZERO => Err(ProblemKind::Value { reason: "must be longer than nothing".to_owned() }),
        time => Ok(time),
    }
}

fn serializers(node: Node) -> Result<Vec<Serializer>, ProblemKind> {
    let expected = "a list of cbor, msgpack and json";
    let serializers: Vec<Serializer> =
        list(node, expected)?.into_iter().map(parsed).collect::<Result<_, _>>()?;
    match serializers.as_slice() {
        [] => {
            Err(ProblemKind::Value { reason: "must name at least one of cbor, msgpack and json".to_owned() })
        }
        _ => Ok(serializers),
    }
}

fn categories(node: Node) -> Result<BTreeMap<String, String>, ProblemKind> {
    let entries = table(node)?.into_iter();
    entries.map(|(name, node)| Ok((name, text_that_is(node, "strings in a table")?))).collect()
}

/// As much as can be said without dialling.
fn router_url(node: Node) -> Result<String, ProblemKind> {
    let url = text(node)?;
    let rest = url.strip_prefix("ws://").or_else(|| url.strip_prefix("wss://"));
    let authority = rest.map(|rest| rest.split(['/', '?']).next().unwrap_or_default());
    let (host, port) = match authority.unwrap_or_default().rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse::<u16>().is_ok_and(|port| port > 0)),
        _ => (authority.unwrap_or_default(), true),
    };
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '#' | '@');
    if host.is_empty() || !port || url.contains(odd) {
        let url = shorten(&url);
        let reason = format!("must be ws://host[:port]/path or wss://host[:port]/path, got {url:?}");
        return Err(ProblemKind::Value { reason });
    }
    Ok(url)
}
