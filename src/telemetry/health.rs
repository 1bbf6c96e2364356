//! Whether the process lives, and whether it can sell: what probes, the service manager and operators ask.

use std::time::Duration;

use serde::Serialize;
use tokio::time::timeout;
use xbr_actors::{SellerHandle, SellerState, SellerStatus};
use xbr_core::{ApiId, ChannelId};

/// For how long the actors may let a question wait before they count as stuck.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Whether the seller can sell what it is to sell, and if not, what it waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether nothing is missing.
    pub ready: bool,
    /// All that is missing.
    pub reasons: Vec<Reason>,
}

/// Something that is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// What, for programs.
    pub code: ReasonCode,
    /// The API or channel that it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What, for people, and what to do about it.
    pub detail: String,
}

/// What may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasonCode {
    /// The actors do not answer.
    Stuck,
    /// The first start is not through yet: joining, reconciling, registering or offering.
    Starting,
    /// The session is away, and coming back.
    NotJoined,
    /// The service stops, or has stopped.
    Stopping,
    /// No channel can take a sale.
    NoChannel,
    /// A channel is halted: the market maker is behind what it has signed.
    ChannelHalted,
    /// An API has no key yet.
    NoKey,
    /// The market maker has not taken the offer of an API's current key.
    KeyNotOffered,
}

/// How the seller stands; `None` when its actors do not answer in time.
pub(super) async fn observe(seller: &SellerHandle) -> Option<SellerStatus> {
    timeout(PATIENCE, seller.observe()).await.ok().flatten()
}

impl Readiness {
    /// Judges how the seller stands. `trouble` is what was said last about the session.
    pub fn of(status: Option<&SellerStatus>, has_been_started: bool, trouble: Option<&str>) -> Self {
        let reasons = match status {
            None => {
                vec![Reason::new(ReasonCode::Stuck, "the actors do not answer; see the log, and restart")]
            }
            Some(status) => reasons(status, has_been_started, trouble),
        };
        Self { ready: reasons.is_empty(), reasons }
    }

    /// Whether the actors did not answer.
    pub fn is_stuck(&self) -> bool {
        self.reasons.iter().any(|reason| reason.code == ReasonCode::Stuck)
    }
}

impl Reason {
    fn new(code: ReasonCode, detail: impl Into<String>) -> Self {
        Self { code, subject: None, detail: detail.into() }
    }

    fn of_channel(code: ReasonCode, channel_id: ChannelId, detail: &str) -> Self {
        Self { code, subject: Some(channel_id.to_string()), detail: detail.to_owned() }
    }

    fn of_api(code: ReasonCode, api_id: ApiId, detail: impl Into<String>) -> Self {
        Self { code, subject: Some(api_id.to_string()), detail: detail.into() }
    }
}

fn reasons(status: &SellerStatus, has_been_started: bool, trouble: Option<&str>) -> Vec<Reason> {
    let session = match status.state {
        SellerState::Started => None,
        SellerState::None | SellerState::Starting if !has_been_started => {
            Some(Reason::new(ReasonCode::Starting, "joining, reconciling and registering is not through yet"))
        }
        SellerState::None | SellerState::Starting => {
            let trouble = trouble.unwrap_or("the session was lost");
            Some(Reason::new(ReasonCode::NotJoined, format!("coming back to the market's realm: {trouble}")))
        }
        SellerState::Stopping | SellerState::Stopped => {
            Some(Reason::new(ReasonCode::Stopping, "the service stops"))
        }
    };
    session.into_iter().chain(of_channels(status)).chain(of_apis(status)).collect()
}

fn of_channels(status: &SellerStatus) -> Vec<Reason> {
    let open = || status.channels.iter().filter(|channel| !channel.channel.is_closed());
    let halted = open().filter(|channel| channel.alarm.is_some());
    let mut reasons: Vec<_> = halted
        .map(|channel| {
            let detail =
                "the market maker is behind a state that it has signed; settle it with the market's operator";
            Reason::of_channel(ReasonCode::ChannelHalted, channel.channel.terms.channel_id, detail)
        })
        .collect();
    let no_channel = open().count() == reasons.len() && status.state == SellerState::Started;
    if no_channel {
        let detail = "no open channel can take a sale; ask the market's operator to open one";
        reasons.push(Reason::new(ReasonCode::NoChannel, detail));
    }
    reasons
}

fn of_apis(status: &SellerStatus) -> Vec<Reason> {
    // An API that is paused is as it is to be.
    let missing = status.apis.iter().filter(|api| !api.is_paused).filter_map(|api| match api.key_id {
        None => Some(Reason::of_api(ReasonCode::NoKey, api.api_id, "no data key is ready; see the log")),
        Some(_) if !api.is_offered => {
            let why = api.last_error.as_deref().unwrap_or("the market maker has not answered yet");
            let detail = format!("the current key is not offered: {why}");
            Some(Reason::of_api(ReasonCode::KeyNotOffered, api.api_id, detail))
        }
        Some(_) => None,
    });
    missing.collect()
}
