//! The state machine of a paying channel: each refusal in its order, replays, reconciliation, and the rules
//! of the ledger over random sequences of claims.
#![allow(clippy::indexing_slicing, clippy::panic)]

mod own_close;
mod restored;
mod rules;

use xbr_core::channel::{
    Channel, ChannelState, ChannelTerms, CloseClaim, CloseDecision, CloseRecord, Reconcile, Reconciliation,
    SaleClaim, SaleDecision, SaleRecord,
};
use xbr_core::reject::{CloseReject, SaleReject};
use xbr_core::{Address, Amount, BuyerKey, ChannelId, ChannelSeq, KeyId, MarketId, Signature};

fn units(units: u128) -> Amount {
    Amount::from_units(units)
}

fn state(seq: u32, balance: impl Into<u128>) -> ChannelState {
    ChannelState { seq: ChannelSeq::new(seq), balance: units(balance.into()) }
}

fn channel_at(state: ChannelState) -> Channel {
    let terms = ChannelTerms {
        channel_id: ChannelId::new([1; 16]),
        market_id: MarketId::new([2; 16]),
        market_maker: Address::new([3; 20]),
        delegate: Address::new([4; 20]),
        amount: units(1000),
        chain_id: units(1),
        verifying_contract: Address::new([5; 20]),
        close_at: units(1),
    };
    Channel::adopt(terms, state)
}

/// A signed claim of key 7 by buyer 8.
fn claim(state: ChannelState, amount: Amount) -> SaleClaim {
    SaleClaim { key_id: KeyId::new([7; 16]), buyer_key: BuyerKey::new([8; 32]), state, amount, signed: true }
}

fn record(channel: &Channel, claim: &SaleClaim, surplus: Amount) -> SaleRecord {
    SaleRecord {
        channel_id: channel.terms.channel_id,
        key_id: claim.key_id,
        buyer_key: claim.buyer_key,
        before: channel.state,
        state: claim.state,
        amount: claim.amount,
        surplus,
        sealed_key: vec![9; 80],
        market_maker_signature: Signature::new([10; 65]),
        signature: Signature::new([11; 65]),
        sold_ns: 12,
        api_id: None,
    }
}

fn close_record(channel: &Channel, claim: &CloseClaim, surplus: Amount) -> CloseRecord {
    CloseRecord {
        channel_id: channel.terms.channel_id,
        before: channel.state,
        state: claim.state,
        surplus,
        is_final: claim.is_final,
        market_maker_signature: Signature::new([10; 65]),
        signature: Signature::new([11; 65]),
    }
}

fn close(channel: &mut Channel, claim: &CloseClaim) {
    let Ok(CloseDecision::Commit { surplus }) = channel.decide_close(claim, Reconcile::Surplus) else {
        panic!("{claim:?} is to be taken");
    };
    channel.apply_close(&close_record(channel, claim, surplus));
}

/// At seq 5 with 100 remaining.
fn channel() -> Channel {
    channel_at(state(5, 100u8))
}

fn closed() -> Channel {
    let mut channel = channel();
    close(&mut channel, &CloseClaim { state: state(5, 100u8), is_final: true, signed: true });
    channel
}

fn halted(mut channel: Channel) -> Channel {
    let theirs = state(4, 110u8);
    assert_eq!(channel.reconcile(theirs), Reconciliation::Behind { ours: channel.state, theirs });
    channel
}

#[test]
fn a_sale_is_refused_for_the_first_reason_that_applies() {
    let price = units(10);
    let low = units(9);
    let unsigned = |seq, balance: u8| SaleClaim { signed: false, ..claim(state(seq, balance), low) };
    let balance =
        |expected, actual| SaleReject::UnexpectedBalance { expected: units(expected), actual: units(actual) };
    // Each row breaks its rule and every later one.
    for (name, channel, claim, reject) in [
        ("closed", halted(closed()), unsigned(5, 101), SaleReject::ChannelClosed),
        ("halted", halted(channel()), unsigned(5, 101), SaleReject::ChannelHalted),
        // Without a signature no figures are told.
        ("seq, unsigned", channel(), unsigned(5, 101), SaleReject::UnprovenSeq),
        ("balance, unsigned", channel(), unsigned(6, 92), SaleReject::UnprovenBalance),
        (
            "seq",
            channel(),
            claim(state(5, 101u8), low),
            SaleReject::UnexpectedSeq { expected: 6, actual: ChannelSeq::new(5) },
        ),
        ("balance", channel(), claim(state(6, 92u8), low), balance(91, 92)),
        ("signature", channel(), unsigned(6, 91), SaleReject::InvalidSignature),
        (
            "amount",
            channel(),
            claim(state(6, 91u8), low),
            SaleReject::InsufficientAmount { expected: price, actual: low },
        ),
    ] {
        let before = channel.clone();
        assert_eq!(channel.decide_sale(&claim, price, None, Reconcile::Surplus), Err(reject), "{name}");
        assert_eq!(channel, before, "{name}");
    }
    // A closed channel names its closing even when nothing else is wrong.
    let fair = claim(state(6, 90u8), price);
    assert_eq!(closed().decide_sale(&fair, price, None, Reconcile::Surplus), Err(SaleReject::ChannelClosed));
}

#[test]
fn a_close_is_refused_for_the_first_reason_that_applies() {
    let unsigned =
        |seq, balance: u8| CloseClaim { state: state(seq, balance), is_final: true, signed: false };
    let seq =
        |actual| CloseReject::UnexpectedSeq { expected: ChannelSeq::new(5), actual: ChannelSeq::new(actual) };
    let balance = |actual| CloseReject::UnexpectedBalance { expected: units(100), actual: units(actual) };
    let taken = |surplus| Ok(CloseDecision::Commit { surplus: units(surplus) });
    let signed = |seq, balance: u8| CloseClaim { signed: true, ..unsigned(seq, balance) };
    let (surplus, strict) = (Reconcile::Surplus, Reconcile::Strict);
    for (name, channel, claim, mode, expected) in [
        ("closed", closed(), unsigned(4, 101), surplus, Err(CloseReject::ChannelClosed)),
        ("seq behind, unsigned", channel(), unsigned(4, 101), surplus, Err(CloseReject::UnprovenSeq)),
        ("balance above, unsigned", channel(), unsigned(5, 101), surplus, Err(CloseReject::UnprovenBalance)),
        ("seq behind", channel(), signed(4, 101), surplus, Err(seq(4))),
        ("balance above", channel(), signed(5, 101), surplus, Err(balance(101))),
        ("balance above, ahead", channel(), signed(6, 101), surplus, Err(balance(101))),
        ("balance contradicts the seq", channel(), signed(5, 99), surplus, Err(balance(99))),
        ("signature", channel(), unsigned(5, 100), surplus, Err(CloseReject::InvalidSignature)),
        ("signature, ahead", channel(), unsigned(6, 90), surplus, Err(CloseReject::InvalidSignature)),
        ("equal", channel(), signed(5, 100), surplus, taken(0)),
        ("ahead", channel(), signed(9, 60), surplus, taken(40)),
        ("halted, but the state is signed", halted(channel()), signed(5, 100), surplus, taken(0)),
        ("strict: seq ahead", channel(), signed(6, 100), strict, Err(seq(6))),
        ("strict: seq behind", channel(), signed(4, 100), strict, Err(seq(4))),
        ("strict: balance below", channel(), signed(5, 99), strict, Err(balance(99))),
        ("strict: equal", channel(), signed(5, 100), strict, taken(0)),
    ] {
        assert_eq!(channel.decide_close(&claim, mode), expected, "{name}");
    }
}

#[test]
fn what_deviates_is_taken_with_its_surplus_and_refused_when_strict() {
    let balance =
        |expected, actual| SaleReject::UnexpectedBalance { expected: units(expected), actual: units(actual) };
    let seq = |actual| SaleReject::UnexpectedSeq { expected: 6, actual: ChannelSeq::new(actual) };
    for (name, seq_after, balance_after, amount, surplus, strict) in [
        ("next", 6, 90u8, 10, Some(0), None),
        ("gap", 9, 90, 10, Some(0), Some(seq(9))),
        ("surplus", 6, 70, 10, Some(20), Some(balance(90, 70))),
        ("gap and surplus", 9, 70, 10, Some(20), Some(seq(9))),
        ("everything", 6, 0, 100, Some(0), None),
        ("nothing", 6, 100, 0, Some(0), None),
        ("more than there is", 6, 0, 101, None, Some(balance(0, 0))),
        ("one too much remains", 6, 91, 10, None, Some(balance(90, 91))),
    ] {
        let claim = claim(state(seq_after, balance_after), units(amount));
        let decide = |mode| channel().decide_sale(&claim, Amount::ZERO, None, mode);
        let expected = surplus.map(|surplus| SaleDecision::Commit { surplus: units(surplus) });
        assert_eq!(decide(Reconcile::Surplus).ok(), expected, "{name}");
        let exact = SaleDecision::Commit { surplus: Amount::ZERO };
        assert_eq!(decide(Reconcile::Strict), strict.map_or(Ok(exact), Err), "{name}");
    }
}

#[test]
fn extreme_figures_neither_wrap_nor_panic() {
    let max = Amount::MAX;
    let at = |seq, balance| ChannelState { seq: ChannelSeq::new(seq), balance };
    let decide = |from: ChannelState, to: ChannelState, amount| {
        channel_at(from).decide_sale(&claim(to, amount), Amount::ZERO, None, Reconcile::Surplus)
    };
    let commit = |surplus| Ok(SaleDecision::Commit { surplus });
    assert_eq!(decide(at(0, max), at(1, Amount::ZERO), max), commit(Amount::ZERO));
    assert_eq!(decide(at(0, max), at(u32::MAX, Amount::ZERO), Amount::ZERO), commit(max));
    assert_eq!(decide(at(u32::MAX - 1, max), at(u32::MAX, max), Amount::ZERO), commit(Amount::ZERO));
    assert!(decide(at(0, Amount::ZERO), at(1, max), max).is_err());
    assert!(decide(at(0, max), at(1, max), max).is_err());
    let last = SaleReject::UnexpectedSeq { expected: 1 << 32, actual: ChannelSeq::new(u32::MAX) };
    assert_eq!(decide(at(u32::MAX, max), at(u32::MAX, max), Amount::ZERO), Err(last));
    assert!(decide(at(u32::MAX, max), at(0, max), Amount::ZERO).is_err());
}

#[test]
fn only_the_identical_sale_is_replayed() {
    let mut channel = channel();
    let first = claim(state(6, 90u8), units(10));
    let stored = record(&channel, &first, Amount::ZERO);
    channel.apply_sale(&stored);
    let seq = Err(SaleReject::UnexpectedSeq { expected: 7, actual: ChannelSeq::new(6) });
    let rows: [(&str, SaleClaim); 6] = [
        ("key", SaleClaim { key_id: KeyId::new([0; 16]), ..first.clone() }),
        ("buyer", SaleClaim { buyer_key: BuyerKey::new([0; 32]), ..first.clone() }),
        ("amount", SaleClaim { amount: units(11), ..first.clone() }),
        ("balance", SaleClaim { state: state(6, 89u8), ..first.clone() }),
        ("unsigned", SaleClaim { signed: false, ..first.clone() }),
        ("seq of an earlier state", SaleClaim { state: state(5, 90u8), ..first.clone() }),
    ];
    for mode in [Reconcile::Surplus, Reconcile::Strict] {
        let decide = |channel: &Channel, claim: &SaleClaim| {
            channel.decide_sale(claim, Amount::MAX, Some(&stored), mode)
        };
        // A price raised since, a halt and a close do not stop a replay: the sale was made.
        assert_eq!(decide(&channel, &first), Ok(SaleDecision::Replay));
        assert_eq!(decide(&halted(channel.clone()), &first), Ok(SaleDecision::Replay));
        let mut closed = channel.clone();
        close(&mut closed, &CloseClaim { state: channel.state, is_final: true, signed: true });
        assert_eq!(decide(&closed, &first), Ok(SaleDecision::Replay));
        for (name, claim) in &rows[..4] {
            assert_eq!(decide(&channel, claim), seq, "{name}");
        }
        assert_eq!(decide(&channel, &rows[4].1), Err(SaleReject::UnprovenSeq));
        assert!(decide(&channel, &rows[5].1).is_err());
    }
}

#[test]
fn only_the_identical_final_close_is_replayed() {
    let final_close = CloseClaim { state: state(5, 100u8), is_final: true, signed: true };
    assert_eq!(closed().decide_close(&final_close, Reconcile::Surplus), Ok(CloseDecision::Replay));
    for other in [
        CloseClaim { is_final: false, ..final_close.clone() },
        CloseClaim { signed: false, ..final_close.clone() },
        CloseClaim { state: state(6, 100u8), ..final_close.clone() },
        CloseClaim { state: state(5, 99u8), ..final_close.clone() },
    ] {
        assert_eq!(
            closed().decide_close(&other, Reconcile::Surplus),
            Err(CloseReject::ChannelClosed),
            "{other:?}"
        );
    }
    // One that is not final leaves the channel open, and gets the same answer again.
    let mut channel = channel();
    let interim = CloseClaim { is_final: false, ..final_close };
    close(&mut channel, &interim);
    assert_eq!(channel.closed, None);
    let again = CloseDecision::Commit { surplus: Amount::ZERO };
    assert_eq!(channel.decide_close(&interim, Reconcile::Surplus), Ok(again));
}

#[test]
fn the_market_makers_figures_are_ahead_behind_or_equal() {
    let ours = state(5, 100u8);
    let ahead = |gap, unconfirmed| Reconciliation::Ahead { gap, unconfirmed: units(unconfirmed) };
    let behind = |theirs| Reconciliation::Behind { ours, theirs };
    for (name, theirs, expected) in [
        ("equal", state(5, 100u8), Reconciliation::Equal),
        ("seq ahead, balance below", state(8, 70u8), ahead(3, 30)),
        ("seq ahead, balance equal", state(8, 100u8), ahead(3, 0)),
        ("seq equal, balance below", state(5, 99u8), ahead(0, 1)),
        ("seq at its end", state(u32::MAX, 0u8), ahead(u64::from(u32::MAX) - 5, 100)),
        ("seq behind, balance above", state(4, 110u8), behind(state(4, 110u8))),
        ("seq behind, balance equal", state(4, 100u8), behind(state(4, 100u8))),
        ("seq behind, balance below", state(4, 90u8), behind(state(4, 90u8))),
        ("seq equal, balance above", state(5, 101u8), behind(state(5, 101u8))),
        ("seq ahead, balance above", state(6, 101u8), behind(state(6, 101u8))),
    ] {
        let mut channel = channel();
        assert_eq!(channel.reconcile(theirs), expected, "{name}");
        let sells = channel
            .decide_sale(&claim(state(6, 90u8), units(10)), units(10), None, Reconcile::Surplus)
            .is_ok();
        assert_eq!(sells, !matches!(expected, Reconciliation::Behind { .. }), "{name}");
        assert_eq!(channel.reconcile(ours), Reconciliation::Equal, "{name}: agreement ends a halt");
        assert_eq!(channel.state, ours, "{name}: figures that nobody signed move nothing");
    }
}
