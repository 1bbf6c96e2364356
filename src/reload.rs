//! Reading the configuration again while the service runs (SIGHUP): what changed in the file is applied, all of it or
//! nothing. What was changed over the HTTP interface and not in the file stays as it is.
//!
//! APIs come and go, and prices, limits and the token of the HTTP interface change. Everything else is what the
//! service began with: to change it, the service has to be restarted, and a reload that asks for it is refused with
//! the names of the keys.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};
use thiserror::Error;
use xbr_actors::{ApiError, ApiOptions, SellerHandle, SellerLimits};
use xbr_core::{Amount, ApiId, Signer as _};
use xbr_wamp::Auth;

use crate::config::{Config, ConfigError, Environment, Secrets};
use crate::http::Control;

/// Where the configuration came from.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// What is laid over it, as it was when the process began.
    pub environment: Environment,
}

/// Why a reload was refused. The service goes on as before.
#[derive(Debug, Error)]
pub enum ReloadError {
    /// The configuration is bad.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It could not be read to the end.
    #[error("reading the configuration failed")]
    Read,
    /// Something changed that cannot change now.
    #[error("cannot change while the service runs: {}; change it back, or restart", keys.join(", "))]
    Fixed {
        /// The keys.
        keys: Vec<String>,
    },
    /// An API cannot be sold.
    #[error("cannot sell the API {api_id}: {error}")]
    Api {
        /// The API.
        api_id: ApiId,
        /// Why.
        error: ApiError,
    },
}

/// What is to be done.
#[derive(Debug, Default)]
struct Changes {
    added: Vec<ApiOptions>,
    removed: Vec<ApiId>,
    prices: Vec<(ApiId, Amount)>,
    limits: Option<SellerLimits>,
    /// What clients of the HTTP interface have to send from now on.
    token: Option<SecretString>,
    /// Something that only this service itself goes by.
    grace: bool,
}

impl Changes {
    fn is_nothing(&self) -> bool {
        let Self { added, removed, prices, limits, token, grace } = self;
        let no_api = added.is_empty() && removed.is_empty() && prices.is_empty();
        no_api && limits.is_none() && token.is_none() && !grace
    }
}

/// What a service has that can change, or has to be told of it.
#[derive(Debug)]
pub struct Running<'a> {
    /// Its configuration.
    pub config: &'a mut Config,
    /// What it joined the market's realm with.
    pub auth: &'a Auth,
    /// Who sells.
    pub seller: &'a SellerHandle,
    /// Its HTTP interface, if there is one.
    pub http: Option<&'a Control>,
}

/// Reads the configuration again and applies what changed since that of `running`, which is the new one then. What was
/// applied is in the log, and what became of APIs among the events of the HTTP interface.
///
/// # Errors
/// [`ReloadError`]; nothing has changed.
pub async fn reload(source: &Source, running: Running<'_>) -> Result<(), ReloadError> {
    let Source { path, environment } = source.clone();
    let reading = tokio::task::spawn_blocking(move || Config::load(&path, &environment));
    let (new, secrets) = reading.await.map_err(|_| ReloadError::Read)??;
    let changes = changes(&running, &new, secrets)?;
    if changes.is_nothing() {
        tracing::info!("nothing in the configuration has changed");
        return Ok(());
    }
    apply(&changes, &running).await?;
    let ids =
        |ids: &mut dyn Iterator<Item = ApiId>| ids.map(|id| id.to_string()).collect::<Vec<_>>().join(",");
    let prices: Vec<_> = changes.prices.iter().map(|(api_id, price)| format!("{api_id}={price}")).collect();
    tracing::info!(
        added = ids(&mut changes.added.iter().map(|api| api.terms.api_id)),
        removed = ids(&mut changes.removed.iter().copied()),
        prices = prices.join(","),
        limits = changes.limits.is_some(),
        token = changes.token.is_some(),
        "configuration reloaded"
    );
    *running.config = new;
    Ok(())
}

/// What changed, if all of it can change now.
fn changes(running: &Running<'_>, new: &Config, secrets: Secrets) -> Result<Changes, ReloadError> {
    let Running { config: old, auth, seller, http } = running;
    let mut fixed = old.settings.differences(&new.settings, &CHANGEABLE);
    if secrets.delegate.address() != seller.address() {
        fixed.push("seller.key_file".to_owned());
    }
    if !is_same(&secrets.auth, auth) {
        fixed.push("market.auth".to_owned());
    }
    let mut changes = Changes::default();
    let before: BTreeMap<_, _> = old.apis.iter().map(|api| (api.terms.api_id, api)).collect();
    for (index, api) in new.apis.iter().enumerate() {
        match before.get(&api.terms.api_id) {
            None => changes.added.push(api.clone()),
            Some(before) => {
                fixed.extend(
                    fixed_of(before, api).map(|key| format!("api[{index}].{key} of {}", api.terms.api_id)),
                );
                if before.terms.price != api.terms.price {
                    changes.prices.push((api.terms.api_id, api.terms.price));
                }
            }
        }
    }
    let kept = |api_id| new.apis.iter().any(|api| api.terms.api_id == api_id);
    changes.removed = before.into_keys().filter(|api_id| !kept(*api_id)).collect();
    changes.limits = Some(new.seller.limits()).filter(|limits| *limits != old.seller.limits());
    changes.token = secrets.http_token.filter(|token| http.is_some_and(|http| !http.has_token(token)));
    changes.grace = old.seller.grace != new.seller.grace;
    fixed.sort();
    fixed.dedup();
    if fixed.is_empty() { Ok(changes) } else { Err(ReloadError::Fixed { keys: fixed }) }
}

/// What can change beside the APIs.
const CHANGEABLE: [&str; 6] = [
    "seller.grace",
    "seller.low_balance",
    "seller.channel_poll",
    "seller.offline_keys",
    "retention.max_age",
    "retention.max_keys",
];

/// What differs between two versions of an API, beside its price.
fn fixed_of(old: &ApiOptions, new: &ApiOptions) -> impl Iterator<Item = &'static str> {
    let (before, after) = (&old.terms, &new.terms);
    let differs = [
        ("prefix", before.prefix != after.prefix),
        ("interval", old.rotation.interval != new.rotation.interval),
        ("count", old.rotation.count != new.rotation.count),
        ("categories", before.categories != after.categories),
        ("expires_after", before.expires_after != after.expires_after),
        ("copies", before.copies != after.copies),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key)
}

fn is_same(one: &Auth, other: &Auth) -> bool {
    match (one, other) {
        (Auth::Anonymous, Auth::Anonymous) => true,
        (Auth::Ticket { authid, ticket }, Auth::Ticket { authid: other, ticket: other_ticket }) => {
            authid == other && ticket.expose_secret() == other_ticket.expose_secret()
        }
        (Auth::Cryptosign { authid, key }, Auth::Cryptosign { authid: other, key: other_key }) => {
            authid == other && key.public_key() == other_key.public_key()
        }
        _ => false,
    }
}

/// What can fail comes first, and is taken back when it does.
async fn apply(changes: &Changes, running: &Running<'_>) -> Result<(), ReloadError> {
    let seller = running.seller;
    let mut added = Vec::new();
    for api in &changes.added {
        let api_id = api.terms.api_id;
        if let Err(error) = seller.add_api(api.clone()).await {
            // One whose first key is late is there already.
            let is_ours = matches!(error, ApiError::NoKey { .. });
            for api_id in added.into_iter().chain(is_ours.then_some(api_id)) {
                seller.remove_api(api_id).await;
            }
            return Err(ReloadError::Api { api_id, error });
        }
        added.push(api_id);
    }
    for api_id in added {
        tell(running, api_id, "added").await;
    }
    for (api_id, price) in &changes.prices {
        // One that was removed over the HTTP interface has no price.
        if seller.set_price(*api_id, *price).await {
            tell(running, *api_id, "price").await;
        }
    }
    for api_id in &changes.removed {
        if seller.remove_api(*api_id).await {
            tell(running, *api_id, "removed").await;
        }
    }
    if let Some(limits) = changes.limits {
        seller.set_limits(limits).await;
    }
    if let Some((http, token)) = running.http.zip(changes.token.clone()) {
        http.set_token(token);
    }
    Ok(())
}

async fn tell(running: &Running<'_>, api_id: ApiId, change: &str) {
    if let Some(http) = running.http {
        http.api_changed(api_id, change).await;
    }
}
