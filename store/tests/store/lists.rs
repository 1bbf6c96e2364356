//! Lists show what a plain filter shows, page by page, whatever is asked; earnings are exact; what was damaged is
//! not listed.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::Path;
use std::time::Instant;

use proptest::prelude::*;
use rusqlite::Connection;
use xbr_core::channel::SaleRecord;
use xbr_core::{Amount, ApiId, ChannelSeq, KeyId};
use xbr_store::{
    Earnings, EarningsQuery, KeyEntry, KeyQuery, KeyState, MAX_EARNINGS, MasterKey, Page, ReadOnlyStore,
    SalesQuery, SqliteStore, Store, StoreError,
};

use crate::support::{MASTER, channel, channel_id, key, key_id, nth_sale, open, units};

const HOUR: NonZeroU64 = NonZeroU64::new(3_600_000_000_000).unwrap();

fn api(n: u8) -> ApiId {
    ApiId::new([n; 16])
}

/// A row of sales over two channels, a number of each sale deciding on the rest of it; times repeat and go back.
async fn fill(store: &SqliteStore, numbers: &[u8]) -> Vec<SaleRecord> {
    let mut sales = Vec::new();
    for n in [1, 2] {
        store.attach_channel(channel(n)).await.unwrap();
    }
    let mut made = [0; 2];
    for number in numbers {
        let n = number % 2;
        made[usize::from(n)] += 1;
        let record = SaleRecord {
            sold_ns: u64::from(number / 2 % 8),
            api_id: Some(number / 16 % 3).filter(|n| *n > 0).map(api),
            key_id: key_id(number / 48),
            ..nth_sale(n + 1, made[usize::from(n)])
        };
        store.commit_sale(record.clone()).await.unwrap();
        sales.push(record);
    }
    sales
}

fn expected(sales: &[SaleRecord], query: &SalesQuery) -> Vec<SaleRecord> {
    let mut picked: Vec<_> = sales
        .iter()
        .filter(|sale| query.api_id.is_none_or(|id| sale.api_id == Some(id)))
        .filter(|sale| query.channel_id.is_none_or(|id| sale.channel_id == id))
        .filter(|sale| query.key_id.is_none_or(|id| sale.key_id == id))
        .filter(|sale| sale.sold_ns >= query.from_ns && query.to_ns.is_none_or(|to_ns| sale.sold_ns < to_ns))
        .cloned()
        .collect();
    // Stable: those of the same time stay in the order in which they were made.
    picked.sort_by_key(|sale| sale.sold_ns);
    if query.newest_first {
        picked.reverse();
    }
    picked
}

/// All pages, one behind the other. Cursors go through text, as they do over HTTP.
async fn walk(store: &SqliteStore, mut query: SalesQuery) -> Vec<SaleRecord> {
    let mut all = Vec::new();
    loop {
        let page = store.sales(query).await.unwrap();
        let next = page.next();
        assert!(page.items.len() == query.limit || next.is_none());
        all.extend(page.items);
        let Some(cursor) = next else { return all };
        query.after = Some(cursor.to_string().parse().unwrap());
    }
}

fn query() -> impl Strategy<Value = SalesQuery> {
    let id = |count| prop::option::weighted(0.3, 0..count);
    (id(3u8), id(3u8), id(5u8), 0..9u64, id(9u8), any::<bool>(), 1..7usize).prop_map(
        |(api_number, channel, key, from_ns, to_ns, newest_first, limit)| SalesQuery {
            api_id: api_number.map(api),
            channel_id: channel.map(channel_id),
            key_id: key.map(key_id),
            from_ns,
            to_ns: to_ns.map(u64::from),
            newest_first,
            after: None,
            limit,
        },
    )
}

async fn compare(numbers: Vec<u8>, queries: Vec<SalesQuery>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seller.db");
    let store = open(&path);
    let sales = fill(&store, &numbers).await;
    let reader = ReadOnlyStore::open(&path, MasterKey::from_bytes(MASTER)).unwrap();
    for query in queries {
        assert_eq!(walk(&store, query).await, expected(&sales, &query), "{query:?}");
        assert_eq!(reader.sales(&query), store.sales(query).await, "{query:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pages_show_each_sale_once_and_in_order(
        numbers in prop::collection::vec(any::<u8>(), 0..40),
        queries in prop::collection::vec(query(), 20),
    ) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(compare(numbers, queries));
    }
}

#[tokio::test]
async fn a_list_goes_on_behind_its_last_row_when_more_is_sold() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("seller.db"));
    store.attach_channel(channel(1)).await.unwrap();
    assert_eq!(store.sales(SalesQuery::default()).await, Ok(Page { items: vec![], last: None, more: false }));
    store.commit_sale(nth_sale(1, 1)).await.unwrap();
    let first = store.sales(SalesQuery::default()).await.unwrap();
    assert_eq!((first.items.as_slice(), first.next()), (&[nth_sale(1, 1)][..], None));
    store.commit_sale(nth_sale(1, 2)).await.unwrap();
    let second = store.sales(SalesQuery { after: first.last, ..SalesQuery::default() }).await.unwrap();
    assert_eq!(second.items, [nth_sale(1, 2)]);
    for text in ["", "1", "-", "1-x", "x-1", "99999999999999999999-1"] {
        assert!(text.parse::<xbr_store::SalesCursor>().is_err(), "{text:?}");
    }
}

async fn keys_of(store: &SqliteStore, query: KeyQuery) -> Vec<KeyEntry> {
    let (mut all, mut query) = (Vec::new(), KeyQuery { limit: 2, ..query });
    loop {
        let page = store.key_list(query).await.unwrap();
        let next = page.next();
        all.extend(page.items);
        let Some(cursor) = next else { return all };
        query.after = Some(cursor.to_string().parse().unwrap());
    }
}

#[tokio::test]
async fn keys_are_listed_by_state_with_what_they_were_sold_for() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("seller.db"));
    store.attach_channel(channel(1)).await.unwrap();
    let made = |n: u8| key(n).created_ns;
    for n in 1..=9 {
        let api_id = api(1 + n % 2);
        store.insert_key(xbr_store::KeyRecord { api_id, ..key(n) }).await.unwrap();
    }
    for n in [1, 2, 3, 4] {
        store.mark_offered(key_id(n), made(n)).await.unwrap();
    }
    for n in [4, 5] {
        store.retire_key(key_id(n)).await.unwrap();
    }
    for (i, key_id) in [(1, key_id(2)), (2, key_id(2)), (3, key_id(4))] {
        store.commit_sale(SaleRecord { key_id, ..nth_sale(1, i) }).await.unwrap();
    }
    // The odd ones expire.
    let (early, late) = (made(1), 1_700_000_300_000_000_000);
    let table: [(u64, Option<KeyState>, &[u8]); 8] = [
        (early, None, &[1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (early, Some(KeyState::Offered), &[1, 2, 3]),
        (early, Some(KeyState::Unoffered), &[6, 7, 8, 9]),
        (early, Some(KeyState::Expired), &[]),
        (early, Some(KeyState::Retired), &[4, 5]),
        (late, Some(KeyState::Offered), &[2]),
        (late, Some(KeyState::Unoffered), &[6, 8]),
        (late, Some(KeyState::Expired), &[1, 3, 7, 9]),
    ];
    for (now_ns, state, ids) in table {
        for (api_id, newest_first) in
            [(None, false), (None, true), (Some(api(1)), false), (Some(api(2)), true)]
        {
            let query = KeyQuery { api_id, state, newest_first, ..KeyQuery::at(now_ns) };
            let found = keys_of(&store, query).await;
            let mut wanted: Vec<KeyId> = ids
                .iter()
                .filter(|n| api_id.is_none_or(|api_id| api(1 + **n % 2) == api_id))
                .map(|n| key_id(*n))
                .collect();
            if newest_first {
                wanted.reverse();
            }
            assert_eq!(found.iter().map(|entry| entry.key_id).collect::<Vec<_>>(), wanted, "{query:?}");
            assert!(found.iter().all(|entry| state.is_none_or(|state| entry.state == state)));
        }
    }
    let sold: Vec<_> = keys_of(&store, KeyQuery::at(early)).await;
    let sold: Vec<_> =
        sold.iter().filter(|key| key.sales > 0).map(|key| (key.key_id, key.sales, key.earned)).collect();
    assert_eq!(sold, [(key_id(2), 2, units(10)), (key_id(4), 1, units(5))]);
}

#[tokio::test]
async fn earnings_add_up_to_the_last_unit() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("seller.db"));
    let numbers: Vec<u8> = (0..60).map(|i: u8| i.wrapping_mul(37)).collect();
    let sales = fill(&store, &numbers).await;
    let all = EarningsQuery { api_id: None, from_ns: 0, to_ns: 100, step_ns: NonZeroU64::new(3).unwrap() };
    let mut sums: BTreeMap<(u64, Option<ApiId>), (u64, u128)> = BTreeMap::new();
    for sale in &sales {
        let sum = sums.entry((sale.sold_ns / 3 * 3, sale.api_id)).or_default();
        *sum = (sum.0 + 1, sum.1 + sale.amount.units().parse::<u128>().unwrap());
    }
    let wanted: Vec<_> = sums
        .into_iter()
        .map(|((start_ns, api_id), (sales, amount))| Earnings {
            start_ns,
            api_id,
            sales,
            amount: units(amount),
        })
        .collect();
    assert_eq!(store.earnings(all).await, Ok(wanted.clone()));
    let one: Vec<_> = wanted.into_iter().filter(|earned| earned.api_id == Some(api(1))).collect();
    assert_eq!(store.earnings(EarningsQuery { api_id: Some(api(1)), ..all }).await, Ok(one));
    let none = EarningsQuery { from_ns: 100, to_ns: 200, ..all };
    assert_eq!(store.earnings(none).await, Ok(vec![]));
    let hours = EarningsQuery { from_ns: HOUR.get(), to_ns: u64::MAX, step_ns: HOUR, ..all };
    assert!(matches!(store.earnings(hours).await, Err(StoreError::Refused { .. })), "no such time");
}

#[tokio::test]
async fn a_sale_that_was_changed_is_not_listed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seller.db");
    let store = open(&path);
    store.attach_channel(channel(1)).await.unwrap();
    for i in 1..=3 {
        store.commit_sale(nth_sale(1, i)).await.unwrap();
    }
    let raw = Connection::open(&path).unwrap();
    raw.execute("UPDATE sale SET sold_ns = sold_ns + 1000 WHERE seq = 3", []).unwrap();
    let page = store.sales(SalesQuery { limit: 1, ..SalesQuery::default() }).await;
    assert_eq!(page.map(|page| page.items), Ok(vec![nth_sale(1, 1)]), "what is not shown is not looked at");
    let damaged = |error: StoreError| matches!(error, StoreError::Corrupt { .. });
    assert!(store.sales(SalesQuery::default()).await.is_err_and(damaged));
    let sold = store.sale(channel_id(1), ChannelSeq::new(3)).await;
    assert!(sold.is_err_and(damaged));
    let year = EarningsQuery { api_id: None, from_ns: 0, to_ns: 1 << 62, step_ns: HOUR };
    assert!(store.earnings(year).await.is_err_and(damaged));
}

/// Rows that make a table long. They have no code, so a query that looks at them fails.
fn lengthen(path: &Path, rows: u64) {
    let raw = Connection::open(path).unwrap();
    raw.execute_batch(&format!(
        "PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF;
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         INSERT INTO sale (channel_id, seq, balance, before_seq, before_balance, key_id, buyer_key, amount, surplus,
             sealed_key, market_maker_signature, signature, sold_ns, api_id)
         SELECT CAST(format('%016d', i % 7) AS BLOB), i, zeroblob(32), 0, zeroblob(32), CAST(format('%016d', i % 5000) AS BLOB),
             zeroblob(32), zeroblob(32), zeroblob(32), zeroblob(80), zeroblob(65), zeroblob(65),
             iif(i % 2, 5, 2000000000000000000 + i), iif(i % 3, api_id, NULL)
         FROM n, (SELECT api_id FROM sale LIMIT 1);"
    ))
    .unwrap();
}

/// What a page costs beside a great many other sales; the figures are for people, no timing is a failure. With
/// LIST_ROWS=1000000 it tells of a million.
#[tokio::test]
async fn a_page_costs_what_it_shows() {
    let rows = std::env::var("LIST_ROWS").map_or(50_000, |rows| rows.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seller.db");
    let store = open(&path);
    store.attach_channel(channel(1)).await.unwrap();
    for i in 1..=250 {
        store.commit_sale(nth_sale(1, i)).await.unwrap();
    }
    store.close().await.unwrap();
    lengthen(&path, rows);
    let store = open(&path);
    let first = nth_sale(1, 1);
    let middle = SalesQuery { from_ns: first.sold_ns, ..SalesQuery::default() };
    let queries = [
        ("by time", middle),
        ("of a channel", SalesQuery { channel_id: Some(channel_id(1)), ..SalesQuery::default() }),
        ("of an API", SalesQuery { api_id: first.api_id, ..middle }),
        ("of a key", SalesQuery { key_id: Some(first.key_id), ..SalesQuery::default() }),
        ("backwards", SalesQuery { to_ns: Some(1_800_000_000_000_000_000), newest_first: true, ..middle }),
    ];
    for (name, query) in queries {
        let begun = Instant::now();
        let page = store.sales(query).await.unwrap();
        let took = begun.elapsed();
        assert!(!page.items.is_empty(), "{name}");
        println!("{} of {rows} sales {name}: {took:?}", page.items.len());
        let Some(after) = page.next() else { continue };
        let begun = Instant::now();
        let page = store.sales(SalesQuery { after: Some(after), ..query }).await.unwrap();
        println!("the {} behind them: {:?}", page.items.len(), begun.elapsed());
    }
    assert!(MAX_EARNINGS > 24 * 366 && Amount::MAX > units(1));
}
