//! `xbr-seller channels`: what the store holds of every paying channel. It only reads, also while the service runs.

use std::fmt::{self, Display};
use std::io::{self, Write};

use serde_json::{Value, json};
use xbr_core::channel::{Channel, ChannelState, Reconciliation};
use xbr_core::{Amount, ChannelId};
use xbr_store::{Evidence, EvidenceRequest};

use super::{Failure, open_store};
use crate::cli::ChannelsArgs;

pub(super) fn execute(args: &ChannelsArgs) -> Result<(), Failure> {
    let found = open_store(&args.config)?.inspect()?;
    let evidence = |channel_id| found.evidence.iter().filter(move |proof| channel_of(proof) == channel_id);
    let mut out = io::stdout().lock();
    if args.json {
        let channels = found.channels.iter().map(|channel| {
            let proofs = evidence(channel.terms.channel_id).map(proof_as_json).collect();
            as_json(channel, proofs)
        });
        writeln!(out, "{:#}", json!({ "channels": channels.collect::<Vec<_>>() }))?;
        return Ok(());
    }
    if found.channels.is_empty() {
        writeln!(out, "no channel is known yet")?;
    }
    for channel in &found.channels {
        write!(out, "{}", Lines(channel, evidence(channel.terms.channel_id).collect()))?;
    }
    Ok(())
}

fn channel_of(proof: &Evidence) -> ChannelId {
    match &proof.request {
        EvidenceRequest::Sell(request) => request.channel_id,
        EvidenceRequest::Close(request) => request.channel_id,
    }
}

/// What the market maker has deducted beyond what both have signed.
fn unconfirmed(channel: &Channel) -> Amount {
    match channel.reconciliation {
        Reconciliation::Ahead { unconfirmed, .. } => unconfirmed,
        Reconciliation::Equal | Reconciliation::Behind { .. } | Reconciliation::Outdated { .. } => {
            Amount::ZERO
        }
    }
}

fn as_json(channel: &Channel, evidence: Vec<Value>) -> Value {
    let terms = &channel.terms;
    let text = |value: &dyn Display| value.to_string();
    let alarm = |kind, ours: ChannelState, theirs: ChannelState| {
        json!({
            "kind": kind,
            "our_seq": ours.seq.value(),
            "our_remaining": text(&ours.balance),
            "their_seq": theirs.seq.value(),
            "their_remaining": text(&theirs.balance),
        })
    };
    let alarm = match channel.reconciliation {
        Reconciliation::Behind { ours, theirs } => alarm("rollback", ours, theirs),
        Reconciliation::Outdated { ours, theirs } => alarm("outdated", ours, theirs),
        Reconciliation::Equal | Reconciliation::Ahead { .. } => Value::Null,
    };
    let own_close = channel.own_close.map(|own| json!({ "block": own.close_at.units() }));
    json!({
        "channel": text(&terms.channel_id),
        "market": text(&terms.market_id),
        "market_maker": text(&terms.market_maker),
        "delegate": text(&terms.delegate),
        "amount": text(&terms.amount),
        "remaining": text(&channel.state.balance),
        "seq": channel.state.seq.value(),
        "earned": text(&channel.earned),
        "surplus": text(&channel.surplus),
        "unconfirmed": text(&unconfirmed(channel)),
        "sales": channel.sales,
        "closed": channel.is_closed(),
        "own_close": own_close,
        "restored": channel.restored,
        "alarm": alarm,
        "evidence": evidence,
    })
}

fn proof_as_json(proof: &Evidence) -> Value {
    let (procedure, seq, balance, signature) = match &proof.request {
        EvidenceRequest::Sell(it) => ("sell", it.channel_seq, it.balance, it.signature),
        EvidenceRequest::Close(it) => ("close_channel", it.channel_seq, it.balance, it.signature),
    };
    json!({
        "received_ns": proof.received_ns,
        "reject": proof.reject,
        "procedure": procedure,
        "seq": seq.value(),
        "balance": balance.to_string(),
        "signature": format!("0x{}", hex::encode(signature.as_bytes())),
    })
}

/// A channel, a line for each thing.
struct Lines<'a>(&'a Channel, Vec<&'a Evidence>);

impl Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(channel, evidence) = self;
        let state = channel.state;
        writeln!(f, "channel:      {}", channel.terms.channel_id)?;
        writeln!(f, "amount:       {} XBR", channel.terms.amount)?;
        writeln!(f, "remaining:    {} XBR at seq {}", state.balance, state.seq)?;
        writeln!(f, "earned:       {} XBR by {} sales", channel.earned, channel.sales)?;
        writeln!(f, "surplus:      {} XBR", channel.surplus)?;
        match channel.reconciliation {
            Reconciliation::Equal => {}
            Reconciliation::Ahead { gap, unconfirmed } => {
                writeln!(
                    f,
                    "unconfirmed:  {unconfirmed} XBR, {gap} seq ahead, not signed by the market maker"
                )?;
            }
            Reconciliation::Behind { theirs, .. } => writeln!(
                f,
                "ALARM:        the market maker went back to seq {} with {} XBR; nothing is sold",
                theirs.seq, theirs.balance
            )?,
            Reconciliation::Outdated { theirs, .. } => writeln!(
                f,
                "ALARM:        the store comes from a backup, the market maker is at seq {} with {} XBR; nothing is sold",
                theirs.seq, theirs.balance
            )?,
        }
        if channel.restored && channel.reconciliation == Reconciliation::Equal {
            writeln!(
                f,
                "restored:     from a backup; nothing is sold before the market maker's figures agree"
            )?;
        }
        if let Some(last) = evidence.last() {
            writeln!(f, "evidence:     {} signed contradictions, the last: {}", evidence.len(), last.reject)?;
        }
        match channel.own_close {
            Some(own) => {
                writeln!(f, "closed:       from this side, signed for block {}", own.close_at.units())?
            }
            None if channel.is_closed() => writeln!(f, "closed:       as the market maker asked")?,
            None => {}
        }
        writeln!(f)
    }
}
