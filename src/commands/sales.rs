//! `xbr-seller sales`: what was sold, also while the service runs; what was earned by hours or days.

use std::fmt::{self, Display};
use std::num::NonZeroU64;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use xbr_core::Amount;
use xbr_core::channel::SaleRecord;
use xbr_store::{EarningsQuery, MAX_PAGE, ReadOnlyStore, SalesQuery};

use super::rows::{Rows, unless_nobody_reads};
use super::{Failure, open_store, receipts};
use crate::cli::{EarningsArgs, SalesArgs, SalesCommand, Step};
use crate::when;

/// How often somebody who follows looks for more.
const POLL: Duration = Duration::from_millis(250);

const HOUR_NS: NonZeroU64 = NonZeroU64::new(3_600_000_000_000).unwrap();
const DAY_NS: NonZeroU64 = NonZeroU64::new(24 * HOUR_NS.get()).unwrap();

pub(super) fn execute(args: &SalesArgs) -> Result<(), Failure> {
    match (&args.command, &args.config) {
        (Some(SalesCommand::Earnings(args)), _) => unless_nobody_reads(earnings(args)),
        (Some(SalesCommand::Export(args)), _) => unless_nobody_reads(receipts::export(args)),
        (Some(SalesCommand::Verify(args)), _) => receipts::verify(args),
        (None, Some(config)) => unless_nobody_reads(list(args, config)),
        // The command line has one of them.
        (None, None) => Ok(()),
    }
}

fn list(args: &SalesArgs, config: &Path) -> Result<(), Failure> {
    let store = open_store(config)?;
    let mut rows = Rows::new(args.form);
    let query = SalesQuery {
        api_id: args.api,
        channel_id: args.channel,
        key_id: args.key,
        from_ns: args.since.unwrap_or(0),
        to_ns: args.until,
        ..SalesQuery::default()
    };
    let (sales, last) = latest(&store, query, args.limit)?;
    for sale in &sales {
        rows.print(&Line::of(sale))?;
    }
    rows.flush()?;
    if args.follow {
        return follow(&store, SalesQuery { after: last, limit: MAX_PAGE, ..query }, &mut rows);
    }
    if sales.is_empty() {
        rows.remark("no such sale")?;
    }
    Ok(())
}

/// Prints what comes, until nobody reads it any more.
fn follow(store: &ReadOnlyStore, mut query: SalesQuery, rows: &mut Rows) -> Result<(), Failure> {
    loop {
        let page = store.sales(&query)?;
        for sale in &page.items {
            rows.print(&Line::of(sale))?;
        }
        rows.flush()?;
        query.after = page.last.or(query.after);
        if !page.more {
            std::thread::sleep(POLL);
        }
    }
}

/// The latest so many, in the order of time, and the place of the last one.
fn latest(
    store: &ReadOnlyStore,
    query: SalesQuery,
    limit: u32,
) -> Result<(Vec<SaleRecord>, Option<xbr_store::SalesCursor>), Failure> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut sales, mut last) = (Vec::new(), None);
    let mut backwards = SalesQuery { newest_first: true, ..query };
    store.at_one_moment(|store| {
        // The place of the newest of all: what comes later is behind it.
        let newest = store.sales(&SalesQuery { limit: 1, ..backwards })?;
        last = newest.last;
        loop {
            backwards.limit = (limit - sales.len()).min(MAX_PAGE);
            let page = store.sales(&backwards)?;
            backwards.after = page.next();
            sales.extend(page.items);
            if backwards.after.is_none() || sales.len() == limit {
                return Ok::<_, Failure>(());
            }
        }
    })?;
    sales.reverse();
    Ok((sales, last))
}

/// A sale as it is listed.
#[derive(Serialize)]
struct Line {
    sold_at: Option<String>,
    api: Option<String>,
    key: String,
    buyer_key: String,
    channel: String,
    seq: u32,
    amount: String,
    surplus: String,
    remaining: String,
}

impl Line {
    fn of(sale: &SaleRecord) -> Self {
        Self {
            sold_at: Some(sale.sold_ns).filter(|ns| *ns > 0).map(when::rfc_3339),
            api: sale.api_id.map(|api_id| api_id.to_string()),
            key: sale.key_id.to_string(),
            buyer_key: sale.buyer_key.to_string(),
            channel: sale.channel_id.to_string(),
            seq: sale.state.seq.value(),
            amount: sale.amount.to_string(),
            surplus: sale.surplus.to_string(),
            remaining: sale.state.balance.to_string(),
        }
    }
}

impl Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // To the second; what is finer is for programs.
        let time = self.sold_at.as_deref().and_then(|time| time.get(..19)).unwrap_or("long ago           ");
        let Self { api, key, channel, seq, amount, remaining, .. } = self;
        let api = api.as_deref().unwrap_or("of an unknown API");
        write!(
            f,
            "{time}  {amount:>8} XBR  key {key}  api {api}  channel {channel} seq {seq}, {remaining} remain"
        )
    }
}

fn earnings(args: &EarningsArgs) -> Result<(), Failure> {
    let store = open_store(&args.config)?;
    let step_ns = match args.by {
        Step::Hour => HOUR_NS,
        Step::Day => DAY_NS,
    };
    let to_ns = args.until.unwrap_or_else(when::now_ns);
    let query = EarningsQuery { api_id: args.api, from_ns: args.since, to_ns, step_ns };
    let mut rows = Rows::new(args.form);
    let (mut sales, mut total) = (0, Amount::ZERO);
    for earned in store.earnings(&query)? {
        (sales, total) = (sales + earned.sales, total.checked_add(earned.amount).unwrap_or(Amount::MAX));
        rows.print(&Earned {
            start: when::to_the_second(earned.start_ns),
            api: earned.api_id.map(|api_id| api_id.to_string()),
            sales: earned.sales,
            amount: earned.amount.to_string(),
        })?;
    }
    rows.remark(format_args!("{total} XBR by {sales} sales"))?;
    Ok(rows.flush()?)
}

/// What an API earned in a step of time.
#[derive(Serialize)]
struct Earned {
    start: String,
    api: Option<String>,
    sales: u64,
    amount: String,
}

impl Display for Earned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start, api, sales, amount } = self;
        let api = api.as_deref().unwrap_or("an unknown API");
        write!(f, "{start}  {amount:>12} XBR by {sales:>6} sales of {api}")
    }
}
