//! The sections that files of several kinds have: where the market is, what is remembered, what is logged.

use std::path::PathBuf;
use std::time::Duration;

use xbr_core::Amount;
use xbr_core::cbor::MAX_DEPTH;
use xbr_wamp::{Invoke, Match, Serializer};

use super::document::Node;
use super::files::AuthFile;
use super::problem::{Place, ProblemKind};
use super::read::Reader;
use super::section::{
    Located, Section, boolean, duration, integer, list, parsed, shorten, table, text, text_that_is, word,
};
use super::{LogConfig, LogFormat, MarketConfig, ServingConfig, StoreConfig};

const SECONDS: fn(u64) -> Duration = Duration::from_secs;
const MIB: usize = 1 << 20;

/// What an amount must be.
pub(super) const XBR: &str = "a string of decimal XBR with up to 18 decimals, such as \"35\" or \"0.5\"";

impl Reader<'_> {
    pub(super) fn path(&self, text: &str) -> PathBuf {
        self.folder.join(text)
    }

    pub(super) fn file(&self, section: &mut Section<'_>, key: &'static str) -> Option<Located<PathBuf>> {
        let located = section.located(key, non_empty)?;
        Some(located.map(|text| self.path(&text)))
    }

    pub(super) fn required_file(
        &self,
        section: &mut Section<'_>,
        key: &'static str,
    ) -> Option<Located<PathBuf>> {
        let located = section.required(key, "the path of a file", non_empty)?;
        Some(located.map(|text| self.path(&text)))
    }

    /// `[market]` of somebody who only calls.
    pub(super) fn market(&mut self, mut section: Section<'_>) -> Option<MarketConfig> {
        let market = self.connection(&mut section);
        section.finish();
        market
    }

    /// `[market]` of somebody who is called as well.
    pub(super) fn market_of_callee(
        &mut self,
        mut section: Section<'_>,
    ) -> (Option<MarketConfig>, ServingConfig) {
        let market = self.connection(&mut section);
        let policies = [Invoke::Single, Invoke::First, Invoke::Last, Invoke::RoundRobin, Invoke::Random];
        let policies = policies.map(|invoke| (invoke.as_str(), invoke));
        let invoke = section.optional("invoke", |node| word(node, &policies)).unwrap_or_default();
        let force_reregister = section.optional("force_reregister", boolean).unwrap_or(false);
        section.finish();
        (market, ServingConfig { invoke, force_reregister })
    }

    /// What those who join the market's router say about it.
    pub(super) fn connection(&mut self, section: &mut Section<'_>) -> Option<MarketConfig> {
        let (market, auth, cafile) = self.router_to_join(section);
        self.files.auth = auth;
        self.files.others.extend(cafile);
        market
    }

    /// What those who join a router say about it: how, as whom, and whom they trust.
    pub(super) fn router_to_join(
        &self,
        section: &mut Section<'_>,
    ) -> (Option<MarketConfig>, AuthFile, Option<Located<PathBuf>>) {
        let url =
            section.required("url", "the address of a router, such as ws://127.0.0.1:8080/ws", router_url);
        let realm = section.required("realm", "the name of a realm", |node| uri_that_is(node, "realm"));
        let serializers = section.optional("serializers", serializers).unwrap_or(Serializer::ALL.to_vec());
        let auth = match section.optional("auth", |node| Ok((node.place.clone(), table(node)?))) {
            Some((place, table)) => {
                self.auth(Section::new(self.report, place, section.path_of("auth"), table))
            }
            None => AuthFile::None,
        };
        let cafile = self.file(section, "cafile");
        let mut time = |key, default| section.optional(key, positive).unwrap_or(SECONDS(default));
        let connect_timeout = time("connect_timeout", 10);
        let call_timeout = time("call_timeout", 30);
        let ping_timeout = time("ping_timeout", 10);
        let ping_interval = section.optional("ping_interval", duration).unwrap_or(SECONDS(20));
        let bytes = |node| integer(node, 64 << 10, 1 << 30);
        let max_message_bytes = section.optional("max_message_bytes", bytes).unwrap_or(16 * MIB);
        let max_depth = section.optional("max_depth", |node| integer(node, 8, MAX_DEPTH)).unwrap_or(64);
        let router = url.zip(realm).map(|(url, realm)| MarketConfig {
            url: url.value,
            realm: realm.value,
            serializers,
            cafile: cafile.as_ref().map(|file| file.value.clone()),
            connect_timeout,
            call_timeout,
            ping_interval: Some(ping_interval).filter(|interval| !interval.is_zero()),
            ping_timeout,
            max_message_bytes,
            max_depth,
        });
        (router, auth, cafile)
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

    /// `[store]`. Its master key has a key of its own in another section.
    pub(super) fn store(
        &mut self,
        mut section: Section<'_>,
        master_key: &str,
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
            Located { key: master_key.to_owned(), ..path.clone().map(beside) }
        });
        let store = StoreConfig { path: path.value.clone(), master_key_file: master_key_file.value.clone() };
        self.files.store = Some(path);
        self.files.master_key = Some(master_key_file);
        Some(store)
    }

    /// `[log]`.
    pub(super) fn log(&self, mut section: Section<'_>) -> LogConfig {
        let filter = section.optional("level", |node| {
            let filter = text(node)?;
            crate::logging::check_filter(&filter).map_err(ProblemKind::value)?;
            Ok(filter)
        });
        let words = [("auto", LogFormat::Auto), ("pretty", LogFormat::Pretty), ("json", LogFormat::Json)];
        let format = section.optional("format", |node| word(node, &words)).unwrap_or_default();
        section.finish();
        if let Some(Err(error)) = self.log_filter.map(crate::logging::check_filter) {
            let place = Place::Variable("RUST_LOG".to_owned());
            self.report.note(place, "log.level", ProblemKind::value(error));
        }
        let filter = self.log_filter.map(str::to_owned).or(filter);
        LogConfig { filter: filter.unwrap_or_else(|| "info".to_owned()), format }
    }
}

/// An exact amount of XBR.
pub(super) fn amount(node: Node) -> Result<Amount, ProblemKind> {
    text_that_is(node, XBR)?.parse().map_err(ProblemKind::value)
}

/// Which URIs: a `uri`, and how it is matched. With `all`, the empty prefix stands for all of them.
pub(super) fn pattern(section: &mut Section<'_>, all: bool) -> Option<(String, Match)> {
    let words = [Match::Exact, Match::Prefix, Match::Wildcard].map(|matching| (matching.as_str(), matching));
    let matching = section.optional("match", |node| word(node, &words)).unwrap_or_default();
    let uri = section.required("uri", "a URI, or a pattern", |node| {
        let uri = text(node)?;
        let everything = all && uri.is_empty() && matching == Match::Prefix;
        if everything || xbr_wamp::uri::is_valid_pattern(&uri, matching) {
            return Ok(uri);
        }
        let reason = format!("is no URI to be matched as {matching}: {:?}", shorten(&uri));
        Err(ProblemKind::Value { reason })
    });
    Some((uri?.value, matching))
}

/// A URI, or a name of the same form.
pub(super) fn uri_that_is(node: Node, what: &str) -> Result<String, ProblemKind> {
    let uri = text(node)?;
    if xbr_wamp::uri::is_valid(&uri) {
        return Ok(uri);
    }
    Err(ProblemKind::Value { reason: format!("is no {what}: {:?}", shorten(&uri)) })
}

/// A string with something in it.
pub(super) fn non_empty(node: Node) -> Result<String, ProblemKind> {
    let text = text(node)?;
    if text.is_empty() {
        return Err(ProblemKind::Value { reason: "must not be empty".to_owned() });
    }
    Ok(text)
}

/// A duration that is not nothing.
pub(super) fn positive(node: Node) -> Result<Duration, ProblemKind> {
    match duration(node)? {
        Duration::ZERO => Err(ProblemKind::Value { reason: "must be longer than nothing".to_owned() }),
        time => Ok(time),
    }
}

/// What a peer speaks, the preferred first.
pub(super) fn serializers(node: Node) -> Result<Vec<Serializer>, ProblemKind> {
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
