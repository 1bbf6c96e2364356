//! From the tree to the types: one function per section, each key read where its type is known.

use std::collections::{BTreeMap, BTreeSet};
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use xbr_actors::{ApiOptions, DEFAULT_OFFLINE_KEYS, Retention, Rotation};
use xbr_core::cbor::Limits;
use xbr_core::channel::Reconcile;
use xbr_core::offer::{OfferTerms, UriPrefix};
use xbr_core::{Amount, ApiId, ProviderId};

use super::common::{XBR, amount, positive};
use super::document::{self, Node};
use super::files::Files;
use super::problem::{ConfigError, Place, ProblemKind};
use super::section::{
    Located, Report, Section, duration, integer, parsed, shorten, table, text, text_that_is, word,
};
use super::{Config, Environment, SellerConfig, Settings, TracesConfig};
use crate::telemetry::Collector;

const SECONDS: fn(u64) -> Duration = Duration::from_secs;

/// Reads a whole file with the reader of its kind; what is wrong is in the report, and then parts of the
/// result are missing.
pub(super) fn read<T>(
    path: &Path,
    text: &str,
    environment: &Environment,
    report: &Report,
    kind: impl FnOnce(&mut Reader<'_>, &mut Section<'_>) -> Option<T>,
) -> Result<(Option<T>, Files), ConfigError> {
    let mut document = document::parse(path, text)?;
    report.extend(document::override_with(&mut document, environment.overrides.iter().cloned()));
    report.extend(document::set_options(&mut document, &environment.options));
    let settings = Settings::of(&document);
    let mut root = Section::new(report, Place::Line(1), "", document);
    let mut reader = Reader {
        folder: path.parent().unwrap_or(Path::new("")),
        files: Files::default(),
        settings,
        log_filter: environment.log_filter.as_deref(),
        report,
    };
    let config = kind(&mut reader, &mut root);
    root.finish();
    Ok((config, reader.files))
}

/// All or none, but each of them is looked at.
pub(super) fn collect<T>(results: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let results: Vec<_> = results.collect();
    results.into_iter().collect()
}

pub(super) struct Reader<'a> {
    /// What relative paths are relative to.
    pub(super) folder: &'a Path,
    pub(super) files: Files,
    /// All keys of the file.
    pub(super) settings: Settings,
    /// What the environment says about the log, which comes first.
    pub(super) log_filter: Option<&'a str>,
    pub(super) report: &'a Report,
}

impl Reader<'_> {
    /// The file of a seller.
    pub(super) fn service(&mut self, root: &mut Section<'_>) -> Option<Config> {
        let retention = retention(root.table("retention"));
        let (seller, master_key_file) = self.seller(root.table("seller"), retention);
        let (market, serving) = self.market_of_callee(root.table("market"));
        let store = self.store(root.table("store"), "seller.master_key_file", master_key_file);
        let http = root.has("http").then(|| root.table("http")).map(|section| self.http(section));
        let apis = root.tables("api", "an array of tables, each begun with [[api]]");
        let apis: Option<Vec<_>> = collect(apis.into_iter().map(|section| self.api(section)));
        let feeds = root.tables("feed", "an array of tables, each begun with [[feed]]");
        let feeds: Option<Vec<_>> = collect(feeds.into_iter().map(|section| self.feed(section)));
        let log = self.log(root.table("log"));
        let traces = traces(root.table("telemetry"));

        if let (Some(apis), Some(feeds)) = (&apis, &feeds) {
            self.check_apis(apis);
            self.check_feeds(feeds, apis, market.as_ref());
        }
        let limits = Limits { max_depth: market.as_ref()?.max_depth, ..Limits::default() };
        let mut feeds: Vec<_> = feeds?.into_iter().map(|feed| feed.value).collect();
        for feed in &mut feeds {
            feed.limits = limits;
        }
        let apis = apis?.into_iter().map(|api| api.value).collect();
        let settings = self.settings.clone();
        Some(Config {
            seller: seller?,
            market: market?,
            serving,
            store: store?,
            http,
            apis,
            feeds,
            log,
            traces,
            settings,
        })
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

    pub(super) fn api(&self, mut section: Section<'_>) -> Option<Located<ApiOptions>> {
        let before = self.report.count();
        let api_id = section.required("id", "a UUID", parsed::<ApiId>);
        let prefix =
            section.required("prefix", "a URI, or prefix of URIs, such as io.crossbar.example", |node| {
                UriPrefix::new(text(node)?).map_err(ProblemKind::value)
            });
        let price = section.required("price", XBR, amount);
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

    /// No two may have the same id.
    pub(super) fn check_apis(&self, apis: &[Located<ApiOptions>]) {
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
}

fn retention(mut section: Section<'_>) -> Retention {
    let max_age = section.optional("max_age", positive);
    let max_keys = section.optional("max_keys", |node| integer(node, 1, u64::MAX)).and_then(NonZeroU64::new);
    section.finish();
    Retention { max_age, max_keys }
}

fn traces(mut section: Section<'_>) -> Option<TracesConfig> {
    let collector = section.optional("otlp_endpoint", |node| {
        let endpoint = text_that_is(node, "the URL of a collector, such as \"http://127.0.0.1:4318\"")?;
        let wrong = |problem| format!("{problem}: {:?}", shorten(&endpoint));
        Collector::new(&endpoint).map_err(|problem| ProblemKind::Value { reason: wrong(problem) })
    });
    let permille = section.optional("sample_permille", |node| integer(node, 1, 1000)).unwrap_or(1000);
    section.finish();
    Some(TracesConfig { collector: collector?, permille })
}

fn categories(node: Node) -> Result<BTreeMap<String, String>, ProblemKind> {
    let entries = table(node)?.into_iter();
    entries.map(|(name, node)| Ok((name, text_that_is(node, "strings in a table")?))).collect()
}
