//! What came of a measurement: a table for people, one JSON object for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use xbr_core::{Amount, ProviderId, Value};
use xbr_wamp::codec::json;

use super::maker::Offered;
use crate::config::TargetConfig;

/// What a report tells of the latencies: the name in a table and in JSON, and the part of the sales that took
/// no longer.
const QUANTILES: [(&str, &str, f64); 5] = [
    ("p50", "p50", 0.5),
    ("p90", "p90", 0.9),
    ("p99", "p99", 0.99),
    ("p99.9", "p99_9", 0.999),
    ("max", "max", 1.0),
];

/// What was measured.
#[derive(Debug, Clone)]
pub struct Report {
    /// What is between buyer and seller.
    pub router: String,
    /// Who sold; `None` when nothing was measured.
    pub provider_id: Option<ProviderId>,
    /// What a key costs.
    pub price: Amount,
    /// How many sales a second were to be begun; `None`: a closed loop.
    pub rate: Option<u32>,
    /// The measurements.
    pub levels: Vec<Level>,
}

/// One measurement.
#[derive(Debug, Clone)]
pub struct Level {
    /// How many sales were in flight at the most.
    pub in_flight: usize,
    /// From the first call to the last answer.
    pub elapsed: Duration,
    /// How long sales took whose receipts were right, in ns.
    pub latencies: Histogram<u64>,
    /// How many failed, by error URI, or by what was wrong with the answer.
    pub errors: BTreeMap<String, u64>,
}

impl Report {
    pub(super) fn new(target: &TargetConfig, rate: Option<u32>) -> Self {
        let router = match target {
            TargetConfig::Own { .. } => "its own router and seller, in one process, over loopback".to_owned(),
            TargetConfig::Running(running) => running.market.url.clone(),
        };
        Self { router, provider_id: None, price: Amount::ZERO, rate, levels: Vec::new() }
    }

    pub(super) fn add(&mut self, offered: &Offered, level: Level) {
        self.provider_id = Some(offered.provider_id.clone());
        self.price = offered.offer.price;
        self.levels.push(level);
    }

    /// How many sales failed.
    pub fn failed(&self) -> u64 {
        self.levels.iter().map(Level::failed).sum()
    }

    /// One JSON object.
    pub fn to_json(&self) -> String {
        let provider_id = self.provider_id.as_ref().map(|it| Value::from(it.as_str()));
        let report: Value = [
            ("router", Value::from(self.router.as_str())),
            ("provider_id", provider_id.unwrap_or(Value::Null)),
            ("price", self.price.to_string().into()),
            ("rate", self.rate.map_or(Value::Null, Value::from)),
            ("levels", self.levels.iter().map(Level::to_value).collect::<Vec<_>>().into()),
        ]
        .into_iter()
        .collect();
        // All of it has a form in JSON.
        String::from_utf8(json::to_vec(&report).unwrap_or_default()).unwrap_or_default()
    }
}

impl Level {
    /// How many sales were made, with a receipt that holds.
    pub fn sold(&self) -> u64 {
        self.latencies.len()
    }

    /// How many failed.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Sales a second, with one decimal.
    pub fn throughput(&self) -> String {
        let tenths = u128::from(self.sold()) * 10_000_000 / self.elapsed.as_micros().max(1);
        format!("{}.{}", tenths / 10, tenths % 10)
    }

    fn to_value(&self) -> Value {
        let seconds = format!("{}.{:03}", self.elapsed.as_secs(), self.elapsed.subsec_millis());
        let number = |text: &str| Value::from_json_number(text).unwrap_or(Value::Null);
        let latency = |(_, name, quantile): &(_, &str, f64)| {
            ((*name).to_owned(), Value::from(self.latencies.value_at_quantile(*quantile) / 1000))
        };
        [
            ("in_flight".to_owned(), Value::from(self.in_flight as u64)),
            ("sales".to_owned(), self.sold().into()),
            ("seconds".to_owned(), number(&seconds)),
            ("sales_per_second".to_owned(), number(&self.throughput())),
            ("latency_us".to_owned(), QUANTILES.iter().map(latency).collect()),
            (
                "errors".to_owned(),
                self.errors.iter().map(|(uri, count)| (uri.clone(), Value::from(*count))).collect(),
            ),
        ]
        .into_iter()
        .collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { router, price, rate, levels, .. } = self;
        match rate {
            Some(rate) => writeln!(f, "{router}; {price} XBR a key, {rate} sales begun a second")?,
            None => writeln!(f, "{router}; {price} XBR a key")?,
        }
        write!(f, "{:>9} {:>8} {:>9}", "in flight", "sales", "a second")?;
        QUANTILES.iter().try_for_each(|(name, ..)| write!(f, " {name:>9}"))?;
        write!(f, " {:>7}", "failed")?;
        for level in levels {
            let (in_flight, sold, throughput) = (level.in_flight, level.sold(), level.throughput());
            write!(f, "\n{in_flight:>9} {sold:>8} {throughput:>9}")?;
            for (.., quantile) in QUANTILES {
                write!(f, " {:>9}", milliseconds(level.latencies.value_at_quantile(quantile)))?;
            }
            write!(f, " {:>7}", level.failed())?;
        }
        for level in levels.iter().filter(|level| level.failed() > 0) {
            write!(f, "\nfailed with {} in flight:", level.in_flight)?;
            level.errors.iter().try_for_each(|(uri, count)| write!(f, "\n{count:>9} {uri}"))?;
        }
        Ok(())
    }
}

/// Three digits or more: microseconds are noise above ten milliseconds.
pub(super) fn milliseconds(ns: u64) -> String {
    match ns / 1000 {
        us @ ..10_000 => format!("{}.{:02} ms", us / 1000, us % 1000 / 10),
        us @ ..1_000_000 => format!("{}.{} ms", us / 1000, us % 1000 / 100),
        us => format!("{} ms", us / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(levels: Vec<Level>) -> Report {
        Report {
            router: "ws://localhost/".into(),
            provider_id: Some(ProviderId::new("acme").unwrap()),
            price: "0.5".parse().unwrap(),
            rate: None,
            levels,
        }
    }

    fn level(errors: &[(&str, u64)]) -> Level {
        let mut latencies = Histogram::new(3).unwrap();
        (1..=1000).for_each(|ms| latencies.record(ms * 1_000_000).unwrap());
        let errors = errors.iter().map(|(uri, count)| ((*uri).to_owned(), *count)).collect();
        Level { in_flight: 16, elapsed: Duration::from_millis(1500), latencies, errors }
    }

    #[test]
    fn the_table_has_a_line_for_each_measurement_and_the_errors_by_their_uri() {
        let told = report(vec![level(&[("xbr.error.a", 2), ("xbr.error.b", 1)])]).to_string();
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(lines.len(), 6, "{told}");
        let words: Vec<_> = lines[2].split_whitespace().collect();
        assert_eq!(words[..3], ["16", "1000", "666.6"]);
        assert_eq!(words.last(), Some(&"3"));
        assert_eq!(lines[4].split_whitespace().collect::<Vec<_>>(), ["2", "xbr.error.a"]);
        assert!(lines.iter().take(3).all(|line| line.chars().count() <= 100), "{told}");
    }

    #[test]
    fn the_json_has_the_same_figures_in_microseconds() {
        let told = report(vec![level(&[])]).to_json();
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        let level = &told["levels"][0];
        assert_eq!((&level["sales"], &told["price"]), (&1000.into(), &"0.5".into()));
        let (p50, max) = (&level["latency_us"]["p50"], &level["latency_us"]["max"]);
        assert!((499_000..=501_000).contains(&p50.as_u64().unwrap()), "{p50}");
        assert!((999_000..=1_001_000).contains(&max.as_u64().unwrap()), "{max}");
        assert_eq!(level["errors"], serde_json::json!({}));
    }

    #[test]
    fn a_latency_has_the_digits_that_mean_something() {
        for (ns, text) in
            [(0, "0.00 ms"), (1_239_999, "1.23 ms"), (12_345_678, "12.3 ms"), (1_999_999_999, "1999 ms")]
        {
            assert_eq!(milliseconds(ns), text);
        }
    }
}
