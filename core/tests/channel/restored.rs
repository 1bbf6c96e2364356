//! A ledger that comes from a backup sells nothing before it is known to be the newest.

use xbr_core::Signature;
use xbr_core::channel::{Channel, CloseClaim, CloseDecision, OwnClose, Reconcile, Reconciliation};
use xbr_core::reject::{CloseReject, OwnCloseReject, SaleReject};

use crate::{channel, claim, close_record, record, state, units};

fn restored() -> Channel {
    Channel { restored: true, ..channel() }
}

fn sells(channel: &Channel) -> bool {
    let decided = channel.decide_sale(&claim(state(9, 60u8), units(10)), units(10), None, Reconcile::Surplus);
    assert!(decided.is_ok() || decided == Err(SaleReject::ChannelHalted), "{decided:?}");
    decided.is_ok()
}

#[test]
fn it_sells_when_the_figures_agree_and_not_before() {
    let ours = state(5, 100u8);
    let outdated = |theirs| Reconciliation::Outdated { ours, theirs };
    for (name, theirs, expected) in [
        ("equal", ours, Reconciliation::Equal),
        ("sold since", state(8, 70u8), outdated(state(8, 70u8))),
        ("seq ahead only", state(8, 100u8), outdated(state(8, 100u8))),
        ("behind", state(4, 110u8), Reconciliation::Behind { ours, theirs: state(4, 110u8) }),
    ] {
        let mut channel = restored();
        assert!(!sells(&channel), "{name}: not compared yet");
        assert_eq!(channel.reconcile(theirs), expected, "{name}");
        assert_eq!(sells(&channel), expected == Reconciliation::Equal, "{name}");
        channel.reconcile(ours);
        assert!(sells(&channel), "{name}: agreement ends it");
        let ahead = channel.reconcile(state(6, 90u8));
        assert!(matches!(ahead, Reconciliation::Ahead { .. }), "{name}: from then on as always");
    }
}

#[test]
fn a_receipt_that_it_has_is_answered_with_again() {
    let mut channel = channel();
    let first = claim(state(6, 90u8), units(10));
    let sold = record(&channel, &first, units(0));
    channel.apply_sale(&sold);
    channel.restored = true;
    let again = channel.decide_sale(&first, units(10), Some(&sold), Reconcile::Surplus);
    assert_eq!(again, Ok(xbr_core::channel::SaleDecision::Replay));
}

#[test]
fn a_close_is_signed_at_what_was_shown_or_less() {
    let mut channel = restored();
    channel.reconcile(state(8, 70u8));
    let close = |balance: u8| CloseClaim { state: state(8, balance), is_final: true, signed: true };
    let expected = CloseReject::UnexpectedBalance { expected: units(70), actual: units(71) };
    assert_eq!(channel.decide_close(&close(71), Reconcile::Surplus), Err(expected));
    let decided = channel.decide_close(&close(70), Reconcile::Surplus);
    assert_eq!(decided, Ok(CloseDecision::Commit { surplus: units(30) }));
    channel.apply_close(&close_record(&channel, &close(70), units(30)));
    assert!(!channel.restored, "both have signed the end");
}

#[test]
fn it_is_not_closed_from_this_side_where_the_market_maker_is_ahead() {
    let channel = restored();
    let own = OwnClose {
        channel_id: channel.terms.channel_id,
        state: channel.state,
        close_at: units(7),
        signature: Signature::new([1; 65]),
    };
    let theirs = state(8, 70u8);
    let expected = OwnCloseReject::Outdated { expected: theirs, actual: channel.state };
    assert_eq!(channel.decide_own_close(&own, theirs), Err(expected));
    assert!(channel.decide_own_close(&own, channel.state).is_ok());
}
