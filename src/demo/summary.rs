//! What a demo ends with: what was sold in which time, and whether everybody's accounts agree.

use std::fmt;
use std::time::Duration;

use xbr_core::Value;
use xbr_wamp::codec::json;

use super::accounts::Totals;

/// What a demo ends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// How long it took.
    pub elapsed: Duration,
    /// Keys that were sold meanwhile.
    pub sales: u64,
    /// Events that were decrypted meanwhile.
    pub events: u64,
    /// Purchases that failed meanwhile.
    pub refused: u64,
    /// Everybody's books.
    pub totals: Totals,
    /// In what the books differ.
    pub differences: Vec<String>,
}

impl Summary {
    /// Sales a second, with one decimal.
    pub fn rate(&self) -> String {
        let tenths = u128::from(self.sales) * 10_000 / self.elapsed.as_millis().max(1);
        format!("{}.{}", tenths / 10, tenths % 10)
    }

    /// One JSON object; amounts are decimal texts of XBR.
    pub fn to_json(&self) -> String {
        let [buyers, market_maker, seller] = self.totals.to_values();
        let number = |text: &str| Value::from_json_number(text).unwrap_or(Value::Null);
        let differences: Vec<_> = self.differences.iter().map(|text| Value::from(text.as_str())).collect();
        let summary: Value = [
            ("sales", self.sales.into()),
            ("events", self.events.into()),
            ("refused", self.refused.into()),
            ("seconds", number(&format!("{}.{:03}", self.elapsed.as_secs(), self.elapsed.subsec_millis()))),
            ("sales_per_second", number(&self.rate())),
            buyers,
            market_maker,
            seller,
            ("agree", self.differences.is_empty().into()),
            ("differences", differences.into()),
        ]
        .into_iter()
        .collect();
        // All of it has a form in JSON.
        String::from_utf8(json::to_vec(&summary).unwrap_or_default()).unwrap_or_default()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tenths, rate) = (self.elapsed.as_millis() / 100, self.rate());
        let Self { sales, events, refused, totals, differences, .. } = self;
        let seconds = format!("{}.{}", tenths / 10, tenths % 10);
        writeln!(
            f,
            "{sales} keys sold in {seconds} s ({rate} a second), {events} events decrypted, {refused} refused"
        )?;
        writeln!(f, "{totals}")?;
        match differences.as_slice() {
            [] => write!(f, "The accounts of all three agree to the last unit of 10^-18 XBR."),
            differences => write!(f, "The accounts differ:\n  {}", differences.join("\n  ")),
        }
    }
}
