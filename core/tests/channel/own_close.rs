//! Closing from the seller's side, and what shows that the market maker went back.

use xbr_core::channel::{
    CloseClaim, CloseDecision, OwnClose, OwnCloseDecision, Reconcile, Reconciliation, SaleRecord,
};
use xbr_core::reject::{CloseReject, OwnCloseReject, SaleReject};
use xbr_core::{Amount, Eip712, Signature};

use crate::{channel, claim, close_record, closed, halted, record, state, units};

fn own(seq: u32, balance: u8, block: u128) -> OwnClose {
    let signature = Signature::new([12; 65]);
    OwnClose {
        channel_id: channel().terms.channel_id,
        state: state(seq, balance),
        close_at: units(block),
        signature,
    }
}

#[test]
fn a_close_is_refused_for_the_first_reason_that_applies_and_else_signed() {
    let ours = state(5, 100u8);
    let mut again = channel();
    again.apply_own_close(&own(5, 100, 7));
    let moved = |actual| Err(OwnCloseReject::MovedOn { expected: ours, actual });
    let back = |actual| Err(OwnCloseReject::RolledBack { expected: ours, actual });
    for (name, channel, close, theirs, expected) in [
        ("moved on", channel(), own(4, 110, 7), state(4, 110u8), moved(state(4, 110u8))),
        ("another balance", channel(), own(5, 99, 7), state(5, 101u8), moved(state(5, 99u8))),
        ("rolled back", channel(), own(5, 100, 7), state(4, 110u8), back(state(4, 110u8))),
        ("more remains", again.clone(), own(5, 100, 7), state(5, 101u8), back(state(5, 101u8))),
        ("equal", channel(), own(5, 100, 7), ours, Ok(OwnCloseDecision::Commit)),
        ("ahead", channel(), own(5, 100, 7), state(8, 70u8), Ok(OwnCloseDecision::Commit)),
        (
            "halted, but it agrees by now",
            halted(channel()),
            own(5, 100, 7),
            ours,
            Ok(OwnCloseDecision::Commit),
        ),
        (
            "asked for by the market maker as well",
            closed(),
            own(5, 100, 7),
            ours,
            Ok(OwnCloseDecision::Commit),
        ),
        ("again", again.clone(), own(5, 100, 7), ours, Ok(OwnCloseDecision::Replay)),
        ("for another block", again.clone(), own(5, 100, 8), ours, Ok(OwnCloseDecision::Commit)),
    ] {
        assert_eq!(channel.decide_own_close(&close, theirs), expected, "{name}");
    }
}

#[test]
fn after_an_own_close_nothing_is_sold_and_only_the_same_end_is_signed() {
    let mut channel = channel();
    channel.apply_own_close(&own(5, 100, 7));
    assert!(channel.is_closed());
    let sale = claim(state(6, 90u8), units(10));
    let sold = channel.decide_sale(&sale, units(10), None, Reconcile::Surplus);
    assert_eq!(sold, Err(SaleReject::ChannelClosed));
    let asked = |state, is_final, signed| CloseClaim { state, is_final, signed };
    for mode in [Reconcile::Surplus, Reconcile::Strict] {
        let same = asked(state(5, 100u8), true, true);
        let commit = CloseDecision::Commit { surplus: Amount::ZERO };
        assert_eq!(channel.decide_close(&same, mode), Ok(commit));
        for other in [
            asked(state(5, 100u8), false, true),
            asked(state(5, 100u8), true, false),
            asked(state(6, 90u8), true, true),
            asked(state(5, 99u8), true, true),
        ] {
            assert_eq!(channel.decide_close(&other, mode), Err(CloseReject::ChannelClosed), "{other:?}");
        }
    }
    let same = asked(state(5, 100u8), true, true);
    channel.apply_close(&close_record(&channel, &same, Amount::ZERO));
    assert_eq!(channel.decide_close(&same, Reconcile::Surplus), Ok(CloseDecision::Replay));
    assert_eq!(channel.own_close, Some(own(5, 100, 7)));
}

#[test]
fn the_block_is_all_that_tells_a_final_state_for_the_chain_from_one_off_it() {
    let terms = channel().terms;
    let on_chain = terms.final_state(state(5, 100u8), units(7));
    assert_eq!((on_chain.close_at, on_chain.is_final), (units(7), true));
    let off_chain = terms.final_state(state(5, 100u8), terms.close_at);
    assert_eq!(off_chain.digest(), terms.state(state(5, 100u8).seq, units(100), true).digest());
}

#[test]
fn more_remaining_after_what_was_signed_is_a_rollback_and_a_late_state_in_between_is_none() {
    let mut channel = channel();
    let first = claim(state(6, 90u8), units(10));
    let sold: SaleRecord = record(&channel, &first, Amount::ZERO);
    channel.apply_sale(&sold);
    for (name, seq, balance, prior, signed, expected) in [
        ("later, more remains", 7, 91u8, false, true, true),
        ("much later", 900, 255, false, true, true),
        ("the same seq again, more remains", 6, 91, true, true, true),
        ("unsigned", 7, 91, false, false, false),
        ("underpaid, but less remains", 7, 89, false, true, false),
        ("as much remains", 7, 90, false, true, false),
        ("a state in between that came late", 5, 95, false, true, false),
    ] {
        let mut theirs = claim(state(seq, balance), units(10));
        theirs.signed = signed;
        let prior = prior.then_some(&sold);
        assert_eq!(channel.is_rolled_back_by(&theirs, prior), expected, "{name}");
    }
    channel.halt(state(7, 91u8));
    let next = claim(state(7, 80u8), units(10));
    let halted = channel.decide_sale(&next, units(10), None, Reconcile::Surplus);
    assert_eq!(halted, Err(SaleReject::ChannelHalted));
    channel.reconcile(state(6, 90u8));
    assert_eq!(channel.reconciliation, Reconciliation::Equal, "agreement ends it");
}
