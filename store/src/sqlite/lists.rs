//! Lists, a page at a time, and what was earned. Each query walks one index in order and says which, so that a page
//! costs the rows that it shows, however many there are beside them.

use std::collections::BTreeMap;

use rusqlite::types::Value;
use rusqlite::{params, params_from_iter};
use xbr_core::channel::{CloseRecord, SaleRecord};
use xbr_core::{Amount, ApiId, ChannelId, ChannelSeq, KeyId};

use super::columns;
use super::database::Database;
use crate::operation::refused;
use crate::{
    Earnings, EarningsQuery, KeyCursor, KeyEntry, KeyPage, KeyQuery, KeyState, MAX_EARNINGS, MAX_PAGE, Page,
    SalesCursor, SalesPage, SalesQuery, StoreError,
};

/// A select statement in the making: its conditions, and the values that they are of.
struct Select {
    sql: String,
    values: Vec<Value>,
}

impl Select {
    fn new(table: &str, index: &str) -> Self {
        Self { sql: format!("SELECT * FROM {table} INDEXED BY {index} WHERE TRUE"), values: Vec::new() }
    }

    /// Adds a condition without values.
    fn that(&mut self, condition: &str) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
    }

    /// Adds that a column is equal to an id, if there is one.
    fn equal(&mut self, column: &str, id: Option<impl AsRef<[u8]>>) {
        if let Some(id) = id {
            self.values.push(Value::Blob(id.as_ref().to_vec()));
            let number = self.values.len();
            self.that(&format!("{column} = ?{number}"));
        }
    }

    /// Adds that two columns, compared together, lie between two places, both excluded.
    fn between(&mut self, columns: &str, low: [Value; 2], high: [Value; 2]) {
        for (relation, place) in [(">", low), ("<", high)] {
            self.values.extend(place);
            let number = self.values.len();
            self.that(&format!("({columns}) {relation} (?{}, ?{number})", number - 1));
        }
    }

    /// In the order of two columns, and one row more than the page, which tells whether there are more.
    fn page(mut self, [first, second]: [&str; 2], newest_first: bool, limit: usize) -> Self {
        let direction = if newest_first { "DESC" } else { "ASC" };
        let order = format!(" ORDER BY {first} {direction}, {second} {direction} LIMIT {}", limit + 1);
        self.sql.push_str(&order);
        self
    }
}

/// How many rows a page has.
fn page_length(limit: usize) -> usize {
    limit.min(MAX_PAGE)
}

fn page<T, C>(mut rows: Vec<(C, T)>, limit: usize) -> Page<T, C> {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let mut last = None;
    let items = rows.into_iter().map(|(cursor, item)| {
        last = Some(cursor);
        item
    });
    let items = items.collect();
    Page { items, last, more }
}

impl Database {
    pub(super) fn sales(&self, query: &SalesQuery) -> Result<SalesPage, StoreError> {
        self.sound_so_far()?;
        let limit = page_length(query.limit);
        let select = select_sales(query)?.page(["sold_ns", "id"], query.newest_first, limit);
        let rows = self.all(&select.sql, params_from_iter(select.values), "sale", |row| {
            let record = row.sale()?;
            Ok((SalesCursor { sold_ns: record.sold_ns, row: row.number()? }, record))
        })?;
        Ok(page(rows, limit))
    }

    /// By rising sequence numbers, behind one of them.
    pub(super) fn sales_of(
        &self,
        channel_id: ChannelId,
        after: Option<ChannelSeq>,
        limit: usize,
    ) -> Result<Vec<SaleRecord>, StoreError> {
        let after = after.map_or(-1, |seq| i64::from(seq.value()));
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.all(
            "SELECT * FROM sale INDEXED BY sqlite_autoindex_sale_1 WHERE channel_id = ?1 AND seq > ?2
             ORDER BY seq LIMIT ?3",
            params![channel_id.as_bytes(), after, limit],
            "sale",
            |row| row.sale(),
        )
    }

    /// By rising sequence numbers; of the same one, the final one last.
    pub(super) fn closes(&self, channel_id: ChannelId) -> Result<Vec<CloseRecord>, StoreError> {
        self.all(
            "SELECT * FROM channel_close WHERE channel_id = ?1 ORDER BY seq, is_final",
            params![channel_id.as_bytes()],
            "channel_close",
            |row| row.close(),
        )
    }

    pub(super) fn key_list(&self, query: &KeyQuery) -> Result<KeyPage, StoreError> {
        self.sound_so_far()?;
        let limit = page_length(query.limit);
        let select = select_keys(query)?.page(["created_ns", "key_id"], query.newest_first, limit);
        let rows = self.all(&select.sql, params_from_iter(select.values), "data_key", |row| {
            let entry = row.key_entry(query.now_ns)?;
            Ok((KeyCursor { created_ns: entry.created_ns, key_id: entry.key_id }, entry))
        })?;
        let mut page = page(rows, limit);
        for entry in &mut page.items {
            self.count_sales(entry)?;
        }
        Ok(page)
    }

    fn count_sales(&self, entry: &mut KeyEntry) -> Result<(), StoreError> {
        let mut select = Select::new("sale", "sale_key");
        select.equal("key_id", Some(entry.key_id));
        self.each(
            &select.sql,
            params_from_iter(select.values),
            "sale",
            |row| row.sale(),
            |record| {
                (entry.sales, entry.earned) = (entry.sales + 1, plus(entry.earned, record.amount));
                Ok(())
            },
        )
    }

    pub(super) fn earnings(&self, query: &EarningsQuery) -> Result<Vec<Earnings>, StoreError> {
        self.sound_so_far()?;
        let mut steps: BTreeMap<(u64, Option<ApiId>), (u64, Amount)> = BTreeMap::new();
        let sales = SalesQuery {
            api_id: query.api_id,
            from_ns: query.from_ns,
            to_ns: Some(query.to_ns),
            ..SalesQuery::default()
        };
        let select = select_sales(&sales)?;
        let add = |record: SaleRecord| {
            let start_ns = record.sold_ns - record.sold_ns % query.step_ns;
            let (count, amount) = steps.entry((start_ns, record.api_id)).or_default();
            (*count, *amount) = (*count + 1, plus(*amount, record.amount));
            if steps.len() > MAX_EARNINGS {
                return Err(refused(format!(
                    "earnings in more than {MAX_EARNINGS} rows; ask for longer steps, or for a shorter time"
                )));
            }
            Ok(())
        };
        self.each(&select.sql, params_from_iter(select.values), "sale", |row| row.sale(), add)?;
        let earnings = steps.into_iter().map(|((start_ns, api_id), (sales, amount))| Earnings {
            start_ns,
            api_id,
            sales,
            amount,
        });
        Ok(earnings.collect())
    }
}

/// The ledger's rule: amounts of channels never come near this.
fn plus(sum: Amount, amount: Amount) -> Amount {
    sum.checked_add(amount).unwrap_or(Amount::MAX)
}

fn select_sales(query: &SalesQuery) -> Result<Select, StoreError> {
    let index = match query {
        SalesQuery { key_id: Some(_), .. } => "sale_key",
        SalesQuery { channel_id: Some(_), .. } => "sale_channel",
        SalesQuery { api_id: Some(_), .. } => "sale_api",
        _ => "sale_time",
    };
    let mut select = Select::new("sale", index);
    select.equal("key_id", query.key_id);
    select.equal("channel_id", query.channel_id);
    select.equal("api_id", query.api_id);
    // Before all rows of that time, and so it is a bound for all of them.
    let at = |ns: u64| (ns, i64::MIN);
    let (mut low, mut high) = (at(query.from_ns), at(query.to_ns.unwrap_or(i64::MAX.unsigned_abs())));
    if let Some(SalesCursor { sold_ns, row }) = query.after {
        let end = if query.newest_first { &mut high } else { &mut low };
        *end = if query.newest_first { (*end).min((sold_ns, row)) } else { (*end).max((sold_ns, row)) };
    }
    let place = |(ns, row): (u64, i64)| Ok([Value::Integer(columns::integer(ns)?), Value::Integer(row)]);
    select.between("sold_ns, id", place(low)?, place(high)?);
    Ok(select)
}

fn select_keys(query: &KeyQuery) -> Result<Select, StoreError> {
    let index = match (query.state, query.api_id) {
        (Some(KeyState::Unoffered), _) => "data_key_unoffered",
        (Some(KeyState::Retired), _) => "data_key_retired",
        (Some(KeyState::Offered | KeyState::Expired), Some(_)) => "data_key_age",
        _ => "data_key_time",
    };
    let mut select = Select::new("data_key", index);
    select.equal("api_id", query.api_id);
    let now_ns = columns::integer(query.now_ns)?;
    let valid = format!("(expires_ns IS NULL OR expires_ns > {now_ns})");
    let conditions: &[&str] = match query.state {
        None => &[],
        Some(KeyState::Unoffered) => &["sealed_key IS NOT NULL", "offered_ns IS NULL", &valid],
        Some(KeyState::Offered) => &["sealed_key IS NOT NULL", "offered_ns IS NOT NULL", &valid],
        Some(KeyState::Expired) => &["sealed_key IS NOT NULL", &format!("expires_ns <= {now_ns}")],
        Some(KeyState::Retired) => &["sealed_key IS NULL"],
    };
    for condition in conditions {
        select.that(condition);
    }
    // No time is negative, and no id is longer than this.
    let mut low = [Value::Integer(-1), Value::Blob(Vec::new())];
    let mut high = [Value::Integer(i64::MAX), Value::Blob(vec![u8::MAX; KeyId::LEN + 1])];
    if let Some(KeyCursor { created_ns, key_id }) = query.after {
        let end = if query.newest_first { &mut high } else { &mut low };
        *end = [Value::Integer(columns::integer(created_ns)?), Value::Blob(key_id.as_bytes().to_vec())];
    }
    select.between("created_ns, key_id", low, high);
    Ok(select)
}
