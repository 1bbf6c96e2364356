//! The JSON forms of what happens.

use serde_json::{Value, json};
use xbr_actors::{Event, SaleEvent, SaleOutcome, SellerState};
use xbr_core::ChannelId;

use super::shape::{StateView, rfc3339, state_name};

/// The name of an event, and what it says.
pub(super) fn view(event: &Event) -> (&'static str, Value) {
    match event {
        Event::Sale(sale) => ("sale", sale_view(sale)),
        Event::TurnedAway { error } => ("turned_away", json!({ "error": error })),
        Event::Close { channel_id, error } => {
            ("close", json!({ "channel_id": channel_id.to_string(), "error": error }))
        }
        Event::Rotated { api_id, key_id, previous, price, created_ns, rotates_ns, offered, .. } => (
            "rotation",
            json!({
                "api_id": api_id.to_string(),
                "key_id": key_id.to_string(),
                "previous": previous.map(|key_id| key_id.to_string()),
                "price": price.to_string(),
                "created": rfc3339(*created_ns).to_string(),
                "rotates": rotates_ns.map(|ns| rfc3339(ns).to_string()),
                "offered": offered,
            }),
        ),
        Event::Offer { api_id, key_id, price, error } => (
            "offer",
            json!({
                "api_id": api_id.to_string(),
                "key_id": key_id.to_string(),
                "price": price.to_string(),
                "error": error.as_ref().map(ToString::to_string),
            }),
        ),
        Event::State(state) => ("state", json!({ "state": state_name(*state), "reason": null })),
        Event::SessionLost { reason } | Event::NotBack { reason } => {
            ("state", json!({ "state": state_name(SellerState::Starting), "reason": reason }))
        }
        Event::Reconciled { channel_id, is_new, .. } => {
            ("channel", json!({ "channel_id": channel_id.to_string(), "new": is_new }))
        }
        Event::RolledBack { channel_id, ours, theirs } => {
            let (ours, theirs) = (StateView::from(*ours), StateView::from(*theirs));
            ("alarm", alarm("rolled_back", *channel_id, json!({ "ours": ours, "theirs": theirs })))
        }
        Event::Contradiction { channel_id, error } => {
            ("alarm", alarm("contradiction", *channel_id, json!({ "error": error })))
        }
        Event::Low { channel_id, remaining } => {
            ("alarm", alarm("low", *channel_id, json!({ "remaining": remaining.to_string() })))
        }
    }
}

fn sale_view(sale: &SaleEvent) -> Value {
    let detail = match &sale.outcome {
        SaleOutcome::Sold | SaleOutcome::Repeated => None,
        SaleOutcome::Refused(reject) => Some(reject.to_string()),
    };
    json!({
        "at": rfc3339(sale.at_ns).to_string(),
        "channel_id": sale.channel_id.to_string(),
        "seq": sale.seq.value(),
        "api_id": sale.api_id.map(|api_id| api_id.to_string()),
        "key_id": sale.key_id.to_string(),
        "buyer_key": sale.buyer_key.to_string(),
        "amount": sale.amount.to_string(),
        "outcome": sale.outcome.code(),
        "detail": detail,
        "duration_us": u64::try_from(sale.duration.as_micros()).unwrap_or(u64::MAX),
    })
}

fn alarm(kind: &str, channel_id: ChannelId, facts: Value) -> Value {
    json!({ "kind": kind, "channel_id": channel_id.to_string(), "facts": facts })
}
