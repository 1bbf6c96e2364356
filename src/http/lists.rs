//! What the store holds, a page at a time: sales, keys, offers; and what was earned over time. A list of sales is also
//! had as a whole, as a stream of JSON lines or CSV.

use std::num::NonZeroU64;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::stream::{self, Stream};
use serde::{Deserialize, Serialize};
use serde_json::json;
use xbr_core::channel::SaleRecord;
use xbr_core::{Amount, ApiId, BuyerKey, ChannelId, KeyId, Signature};
use xbr_store::{
    EarningsQuery, KeyCursor, KeyEntry, KeyQuery, KeyState, MAX_PAGE, SalesCursor, SalesQuery, SqliteStore,
    StoreError,
};

use super::App;
use super::body::{JSON, Params, accepted, json, typed};
use super::problem::Problem;
use super::query::{Order, Time, duration, optional};
use super::shape::{optional_text, optional_time, rfc3339, text, time};

const NDJSON: &str = "application/x-ndjson";
const CSV: &str = "text/csv";
/// How many rows a page has unless something else is said.
const PAGE: usize = 100;
const HOUR: Duration = Duration::from_secs(60 * 60);
const CSV_HEAD: &str = "sold,channel_id,seq,api_id,key_id,buyer_key,amount,surplus,remaining,\
market_maker_signature,signature\n";

/// Which sales, and in which form.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SalesParams {
    #[serde(default, deserialize_with = "optional")]
    api_id: Option<ApiId>,
    #[serde(default, deserialize_with = "optional")]
    channel_id: Option<ChannelId>,
    #[serde(default, deserialize_with = "optional")]
    key_id: Option<KeyId>,
    #[serde(default, deserialize_with = "optional")]
    from: Option<Time>,
    #[serde(default, deserialize_with = "optional")]
    to: Option<Time>,
    #[serde(default)]
    order: Order,
    #[serde(default, deserialize_with = "optional")]
    cursor: Option<SalesCursor>,
    limit: Option<usize>,
    format: Option<Format>,
}

/// In which form a list comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Json,
    Ndjson,
    Csv,
}

impl SalesParams {
    fn query(&self) -> SalesQuery {
        SalesQuery {
            api_id: self.api_id,
            channel_id: self.channel_id,
            key_id: self.key_id,
            from_ns: self.from.map_or(0, |time| time.0),
            to_ns: self.to.map(|time| time.0),
            newest_first: self.order == Order::Desc,
            after: self.cursor,
            limit: PAGE,
        }
    }

    fn format(&self, headers: &HeaderMap) -> Format {
        self.format.unwrap_or_else(|| match accepted(headers, &[JSON, NDJSON, CSV]) {
            Some(NDJSON) => Format::Ndjson,
            Some(CSV) => Format::Csv,
            _ => Format::Json,
        })
    }
}

/// A sale, with its receipt.
#[derive(Debug, Serialize)]
struct SaleView {
    #[serde(serialize_with = "optional_time")]
    sold: Option<u64>,
    #[serde(serialize_with = "text")]
    channel_id: ChannelId,
    seq: u32,
    #[serde(serialize_with = "optional_text")]
    api_id: Option<ApiId>,
    #[serde(serialize_with = "text")]
    key_id: KeyId,
    #[serde(serialize_with = "text")]
    buyer_key: BuyerKey,
    #[serde(serialize_with = "text")]
    amount: Amount,
    #[serde(serialize_with = "text")]
    surplus: Amount,
    #[serde(serialize_with = "text")]
    remaining: Amount,
    market_maker_signature: String,
    signature: String,
}

impl From<SaleRecord> for SaleView {
    fn from(sale: SaleRecord) -> Self {
        let hex = |signature: Signature| format!("0x{}", hex::encode(signature.as_bytes()));
        Self {
            // Those from before times were kept have none.
            sold: Some(sale.sold_ns).filter(|ns| *ns > 0),
            channel_id: sale.channel_id,
            seq: sale.state.seq.value(),
            api_id: sale.api_id,
            key_id: sale.key_id,
            buyer_key: sale.buyer_key,
            amount: sale.amount,
            surplus: sale.surplus,
            remaining: sale.state.balance,
            market_maker_signature: hex(sale.market_maker_signature),
            signature: hex(sale.signature),
        }
    }
}

impl SaleView {
    /// A line of CSV. No field has anything to be quoted.
    fn csv(&self) -> String {
        let Self { channel_id, seq, key_id, buyer_key, amount, surplus, remaining, .. } = self;
        let sold = self.sold.map(|ns| rfc3339(ns).to_string()).unwrap_or_default();
        let api_id = self.api_id.map(|api_id| api_id.to_string()).unwrap_or_default();
        let (theirs, ours) = (&self.market_maker_signature, &self.signature);
        format!(
            "{sold},{channel_id},{seq},{api_id},{key_id},{buyer_key},{amount},{surplus},{remaining},{theirs},{ours}\n"
        )
    }
}

/// `GET /v1/sales`.
pub(super) async fn sales(
    State(app): State<App>,
    Params(params): Params<SalesParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (query, format) = (params.query(), params.format(&headers));
    let limit = params.limit.map(bounded).transpose()?;
    match format {
        Format::Json => {
            let query = SalesQuery { limit: limit.unwrap_or(PAGE), ..query };
            let page = app.store.sales(query).await.map_err(listed)?;
            let next = page.next().map(|cursor| cursor.to_string());
            let sales: Vec<_> = page.items.into_iter().map(SaleView::from).collect();
            Ok(json(&json!({ "sales": sales, "next": next })))
        }
        Format::Ndjson | Format::Csv => {
            let content_type = if format == Format::Csv { CSV } else { NDJSON };
            let rows = rows(app.store.clone(), query, limit.unwrap_or(usize::MAX), format);
            Ok(typed(content_type, Body::from_stream(rows)))
        }
    }
}

/// All the sales, page by page as the client takes them. A store that fails breaks the stream off, so that nobody takes
/// a part for the whole.
fn rows(
    store: SqliteStore,
    query: SalesQuery,
    limit: usize,
    format: Format,
) -> impl Stream<Item = Result<Bytes, StoreError>> {
    let begin = (Some(query), limit, format == Format::Csv);
    stream::try_unfold(begin, move |(query, left, head)| {
        let store = store.clone();
        async move {
            if head {
                return Ok(Some((Bytes::from_static(CSV_HEAD.as_bytes()), (query, left, false))));
            }
            let Some(query) = query.filter(|_| left > 0) else { return Ok(None) };
            let page = store.sales(SalesQuery { limit: left.min(MAX_PAGE), ..query }).await?;
            let next = page.next().map(|cursor| SalesQuery { after: Some(cursor), ..query });
            let left = left.saturating_sub(page.items.len());
            let lines: String = page.items.into_iter().map(|sale| line(&sale.into(), format)).collect();
            Ok(Some((Bytes::from(lines), (next, left, false))))
        }
    })
}

fn line(sale: &SaleView, format: Format) -> String {
    match format {
        Format::Csv => sale.csv(),
        // It is made of texts and numbers, which have a JSON form.
        Format::Json | Format::Ndjson => json!(sale).to_string() + "\n",
    }
}

/// Which keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyParams {
    #[serde(default, deserialize_with = "optional")]
    api_id: Option<ApiId>,
    #[serde(default, deserialize_with = "optional")]
    state: Option<KeyState>,
    #[serde(default)]
    order: Order,
    #[serde(default, deserialize_with = "optional")]
    cursor: Option<KeyCursor>,
    limit: Option<usize>,
}

/// Which offers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfferParams {
    #[serde(default, deserialize_with = "optional")]
    api_id: Option<ApiId>,
    #[serde(default)]
    order: Order,
    #[serde(default, deserialize_with = "optional")]
    cursor: Option<KeyCursor>,
    limit: Option<usize>,
}

/// A key, never the secret itself.
#[derive(Debug, Serialize)]
struct KeyView {
    #[serde(serialize_with = "text")]
    key_id: KeyId,
    #[serde(serialize_with = "text")]
    api_id: ApiId,
    #[serde(serialize_with = "text")]
    price: Amount,
    state: &'static str,
    #[serde(serialize_with = "time")]
    created: u64,
    #[serde(serialize_with = "optional_time")]
    offered: Option<u64>,
    #[serde(serialize_with = "optional_time")]
    expires: Option<u64>,
    sales: u64,
    #[serde(serialize_with = "text")]
    earned: Amount,
}

impl From<KeyEntry> for KeyView {
    fn from(key: KeyEntry) -> Self {
        Self {
            key_id: key.key_id,
            api_id: key.api_id,
            price: key.price,
            state: key.state.as_str(),
            created: key.created_ns,
            offered: key.offered_ns,
            expires: key.expires_ns,
            sales: key.sales,
            earned: key.earned,
        }
    }
}

/// `GET /v1/keys`.
pub(super) async fn keys(
    State(app): State<App>,
    Params(params): Params<KeyParams>,
) -> Result<Response, Problem> {
    key_page(&app, "keys", params).await
}

/// `GET /v1/offers`: the keys that can be bought.
pub(super) async fn offers(
    State(app): State<App>,
    Params(params): Params<OfferParams>,
) -> Result<Response, Problem> {
    let OfferParams { api_id, order, cursor, limit } = params;
    key_page(&app, "offers", KeyParams { api_id, state: Some(KeyState::Offered), order, cursor, limit }).await
}

async fn key_page(app: &App, name: &str, params: KeyParams) -> Result<Response, Problem> {
    let query = KeyQuery {
        api_id: params.api_id,
        state: params.state,
        now_ns: app.now_ns(),
        newest_first: params.order == Order::Desc,
        after: params.cursor,
        limit: bounded(params.limit.unwrap_or(PAGE))?,
    };
    let page = app.store.key_list(query).await.map_err(listed)?;
    let next = page.next().map(|cursor| cursor.to_string());
    let keys: Vec<_> = page.items.into_iter().map(KeyView::from).collect();
    Ok(json(&json!({ name: keys, "next": next })))
}

/// Which time, in which steps.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EarningsParams {
    #[serde(default, deserialize_with = "optional")]
    api_id: Option<ApiId>,
    #[serde(default, deserialize_with = "optional")]
    from: Option<Time>,
    #[serde(default, deserialize_with = "optional")]
    to: Option<Time>,
    #[serde(default, deserialize_with = "duration")]
    step: Option<Duration>,
}

/// `GET /v1/earnings`: the last day by hours, unless something else is asked for.
pub(super) async fn earnings(
    State(app): State<App>,
    Params(params): Params<EarningsParams>,
) -> Result<Response, Problem> {
    let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let to_ns = params.to.map_or(app.now_ns(), |time| time.0);
    let from_ns = params.from.map_or(to_ns.saturating_sub(ns(HOUR * 24)), |time| time.0);
    let step_ns = NonZeroU64::new(ns(params.step.unwrap_or(HOUR)))
        .ok_or_else(|| Problem::invalid("step must be longer than nothing"))?;
    let query = EarningsQuery { api_id: params.api_id, from_ns, to_ns, step_ns };
    let steps = app.store.earnings(query).await.map_err(listed)?.into_iter().map(|step| {
        json!({
            "start": rfc3339(step.start_ns).to_string(),
            "api_id": step.api_id.map(|api_id| api_id.to_string()),
            "sales": step.sales,
            "amount": step.amount.to_string(),
        })
    });
    Ok(json(&json!({ "earnings": steps.collect::<Vec<_>>() })))
}

fn bounded(limit: usize) -> Result<usize, Problem> {
    if (1..=MAX_PAGE).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::invalid(format!("limit must be from 1 to {MAX_PAGE}")))
}

/// A query that the store refuses is the client's fault.
fn listed(error: StoreError) -> Problem {
    match error {
        StoreError::Refused { reason } => Problem::invalid(reason),
        error => error.into(),
    }
}
