//! The accounts of the three parties, compared.

use std::collections::BTreeMap;
use std::fmt;

use xbr_core::Amount;
use xbr_core::wire::ChannelType;
use xbr_market::buyer::{BuyerHandle, BuyerStore};
use xbr_market::maker::ChannelReport;
use xbr_market::maker::purchase::{Purchase, Stage};
use xbr_store::{KeyLookup, Store};

use crate::audit::{Tally, sum};
use crate::stores::now;
use crate::world::{Wanted, World};

/// More purchases than any seed makes.
const ALL: u32 = 10_000;

/// What came of a seed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outcome {
    /// Tells what happened from what else could have happened.
    pub(crate) trace: u64,
    pub(crate) sold: u64,
    pub(crate) free: u64,
    pub(crate) refused: u64,
    pub(crate) failed: u64,
    pub(crate) conceded: u64,
    pub(crate) tally: Tally,
}

/// Compares the accounts; the first thing that is wrong is the error.
pub(crate) async fn compare(world: &World, wanted: &[Wanted]) -> Result<Outcome, String> {
    let problem = world.network.audit.borrow().problems.first().cloned();
    if let Some(problem) = problem {
        return Err(problem);
    }
    let channels = world.maker.handle.observe().await.unwrap().channels;
    let purchases = world.maker.handle.purchases(0, ALL).await.unwrap();
    let is_settled = |purchase: &&Purchase| matches!(purchase.stage, Stage::Settled(_));
    let settled: Vec<_> = purchases.iter().filter(is_settled).collect();
    for channel in &channels {
        let parts = sum([channel.remaining, channel.inflight, channel.settled, channel.conceded]);
        equal("the parts of a channel, and its amount", parts, channel.amount)?;
        equal("what is in flight, and nothing", channel.inflight, Amount::ZERO)?;
    }
    let payment = channels.iter().filter(|channel| channel.kind == ChannelType::Payment);
    let received = sum(payment.map(|channel| channel.settled));
    let prices = sum(settled.iter().map(|purchase| purchase.price));
    equal("what was received from buyers, and the prices of what was bought", received, prices)?;
    compare_seller(world, &channels, received)?;
    compare_buyers(world, &channels)?;
    compare_keys(world, &settled, wanted)?;
    let count = |count: usize| u64::try_from(count).unwrap();
    Ok(Outcome {
        trace: world.network.trace(),
        sold: count(settled.len()),
        free: count(settled.iter().filter(|purchase| purchase.price.is_zero()).count()),
        refused: count(purchases.len() - settled.len()),
        failed: count(wanted.iter().filter(|(.., key)| key.is_err()).count()),
        conceded: count(channels.iter().filter(|channel| !channel.conceded.is_zero()).count()),
        tally: world.network.audit.borrow().tally,
    })
}

fn equal<T: PartialEq + fmt::Debug>(what: &str, ours: T, theirs: T) -> Result<(), String> {
    if ours == theirs { Ok(()) } else { Err(format!("{what}: {ours:?} and {theirs:?}")) }
}

/// What the seller has is what the market maker paid or conceded.
fn compare_seller(world: &World, channels: &[ChannelReport], received: Amount) -> Result<(), String> {
    let ledger = now(world.seller.store.channels()).unwrap();
    let known: BTreeMap<_, _> = ledger.iter().map(|channel| (channel.terms.channel_id, channel)).collect();
    let (mut paid, mut conceded) = (Amount::ZERO, Amount::ZERO);
    for channel in channels.iter().filter(|channel| channel.kind == ChannelType::Paying) {
        paid = sum([paid, channel.settled]);
        conceded = sum([conceded, channel.conceded]);
        let Some(seller) = known.get(&channel.channel_id) else {
            equal("a channel that the seller never saw, and its amount", channel.remaining, channel.amount)?;
            continue;
        };
        let state = (seller.state.seq, seller.state.balance);
        equal("a paying channel, by both sides", (channel.seq, channel.remaining), state)?;
        // The market maker learns of a close whose answer was lost when it uses the channel again.
        equal(
            "closed by the market maker alone, and not",
            !channel.is_open && seller.closed.is_none(),
            false,
        )?;
        // A ledger that adopted a channel after a sale that it had failed to make counts it as one of before.
        let before = channel.amount.checked_sub(seller.adopted.balance).unwrap();
        let earned = sum([before, seller.earned, seller.surplus]);
        equal("paid or conceded, and earned", sum([channel.settled, channel.conceded]), earned)?;
    }
    equal("paid to the seller, and received from buyers", paid, received)?;
    // What the seller countersigned and the market maker had to concede was delivered to nobody.
    let earned = sum(ledger.iter().map(|channel| channel.earned));
    let lost = earned.checked_sub(received).ok_or("less was earned than received")?;
    if lost <= conceded { Ok(()) } else { Err(format!("{lost} earned for nothing, {conceded} conceded")) }
}

/// What buyers have spent is what the market maker has received.
fn compare_buyers(world: &World, channels: &[ChannelReport]) -> Result<(), String> {
    for channel in channels.iter().filter(|channel| channel.kind == ChannelType::Payment) {
        let buyer = world.buyers.iter().find(|buyer| buyer.handle.address() == channel.delegate).unwrap();
        let Some(wallet) = now(buyer.store.wallet(channel.channel_id)).unwrap() else {
            equal("a channel that the buyer never saw, and its amount", channel.remaining, channel.amount)?;
            continue;
        };
        equal("a payment that is not settled, and none", &wallet.pending, &None)?;
        let state = (wallet.state.seq, wallet.state.balance);
        equal("a payment channel, by both sides", (channel.seq, channel.remaining), state)?;
        equal("settled, and spent", channel.settled, wallet.spent)?;
        equal("lost, and nothing", wallet.lost, Amount::ZERO)?;
    }
    Ok(())
}

/// What was paid for was delivered, once, and nothing else was.
fn compare_keys(world: &World, settled: &[&Purchase], wanted: &[Wanted]) -> Result<(), String> {
    let mut bought = BTreeMap::new();
    for purchase in settled {
        let is_buyer = |buyer: &BuyerHandle| buyer.address() == purchase.buyer;
        let index = world.buyers.iter().position(|buyer| is_buyer(&buyer.handle)).unwrap();
        let before = bought.insert((index, purchase.key_id), purchase.id);
        equal("a key that the same buyer bought before, and none", before, None)?;
        let stored = now(world.buyers[index].store.key(purchase.key_id)).unwrap();
        let stored = stored.key.ok_or_else(|| format!("paid, but not delivered: {purchase:?}"))?;
        let Ok(KeyLookup::Found(record)) = now(world.seller.store.key(purchase.key_id)) else {
            return Err(format!("bought from nobody: {purchase:?}"));
        };
        equal("a key, by both sides", stored.expose_secret(), record.key.expose_secret())?;
        equal("its price, by both sides", purchase.price, record.price)?;
    }
    for (index, key_id, key) in wanted {
        if key.is_ok() && !bought.contains_key(&(*index, *key_id)) {
            return Err(format!("delivered, but not paid: {key_id} to buyer {index}"));
        }
    }
    Ok(())
}
