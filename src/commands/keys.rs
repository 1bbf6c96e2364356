//! `xbr-seller keys`: the data keys, what became of each, and what it was sold for; also while the service runs.

use std::fmt::{self, Display};

use serde::Serialize;
use xbr_store::{KeyEntry, KeyQuery, MAX_PAGE};

use super::rows::{Rows, unless_nobody_reads};
use super::{Failure, open_store};
use crate::cli::KeysArgs;
use crate::when;

pub(super) fn execute(args: &KeysArgs) -> Result<(), Failure> {
    unless_nobody_reads(list(args))
}

fn list(args: &KeysArgs) -> Result<(), Failure> {
    let store = open_store(&args.config)?;
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let mut keys = Vec::new();
    let mut query =
        KeyQuery { api_id: args.api, state: args.state, newest_first: true, ..KeyQuery::at(when::now_ns()) };
    loop {
        query.limit = (limit - keys.len()).min(MAX_PAGE);
        let page = store.key_list(&query)?;
        query.after = page.next();
        keys.extend(page.items);
        if query.after.is_none() || keys.len() == limit {
            break;
        }
    }
    let mut rows = Rows::new(args.form);
    for key in keys.iter().rev() {
        rows.print(&Line::of(key))?;
    }
    if keys.is_empty() {
        rows.remark("no such key")?;
    }
    Ok(rows.flush()?)
}

/// A key as it is listed.
#[derive(Serialize)]
struct Line {
    made_at: String,
    key: String,
    api: String,
    state: &'static str,
    price: String,
    offered_at: Option<String>,
    expires_at: Option<String>,
    sales: u64,
    earned: String,
}

impl Line {
    fn of(key: &KeyEntry) -> Self {
        Self {
            made_at: when::rfc_3339(key.created_ns),
            key: key.key_id.to_string(),
            api: key.api_id.to_string(),
            state: key.state.as_str(),
            price: key.price.to_string(),
            offered_at: key.offered_ns.map(when::rfc_3339),
            expires_at: key.expires_ns.map(when::rfc_3339),
            sales: key.sales,
            earned: key.earned.to_string(),
        }
    }
}

impl Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { made_at, key, api, state, price, sales, earned, .. } = self;
        let made_at = made_at.get(..19).unwrap_or(made_at);
        write!(
            f,
            "{made_at}  {state:<9}  key {key}  api {api}  {price} XBR, sold {sales} times for {earned} XBR"
        )
    }
}
