//! The wallet: a table of the market maker's figures, and what holds whatever happens.

use proptest::prelude::*;
use xbr_core::channel::ChannelState;
use xbr_core::{Amount, BuyerKey, Signature};
use xbr_market::buyer::wallet::{Drift, End, Payment, PaymentReject, Settlement, Verdict, Wallet};

use super::support::*;

fn wallet(pending: bool) -> Wallet {
    let mut wallet = Wallet::adopt(terms(CHANNEL), state(5, 1000));
    if pending {
        wallet.begin(payment(&wallet, 35, 100).unwrap());
    }
    wallet
}

fn payment(wallet: &Wallet, price: u128, limit: u128) -> Result<Payment, PaymentReject> {
    Ok(Payment {
        channel_id: CHANNEL,
        key_id: KEY,
        before: wallet.state,
        state: wallet.propose(amount(price), amount(limit))?,
        amount: amount(price),
        signature: Signature::new([1; 65]),
    })
}

#[test]
fn what_is_proposed_is_the_next_state_within_the_limit() {
    let wallet = wallet(false);
    assert_eq!(wallet.propose(amount(35), amount(35)), Ok(state(6, 965)));
    assert_eq!(wallet.propose(amount(0), amount(0)), Ok(state(6, 1000)));
    assert_eq!(
        wallet.propose(amount(36), amount(35)),
        Err(PaymentReject::PriceAboveMax { price: amount(36), limit: amount(35) })
    );
    assert_eq!(
        wallet.propose(amount(1001), amount(2000)),
        Err(PaymentReject::InsufficientBalance { price: amount(1001), remaining: amount(1000) })
    );
    let last = Wallet::adopt(terms(CHANNEL), state(u32::MAX, 1000));
    assert_eq!(last.propose(amount(1), amount(1)), Err(PaymentReject::NoSeqLeft));
}

#[test]
fn a_free_key_is_claimed_once_the_market_maker_counts_its_payment() {
    let mut wallet = wallet(false);
    wallet.begin(payment(&wallet, 0, 100).unwrap());
    assert_eq!(wallet.judge_balance(state(5, 1000), amount(100)), Verdict::Equal);
    assert_eq!(wallet.judge_balance(state(6, 1000), amount(100)), Verdict::Taken);
}

#[test]
fn the_market_makers_figures_decide_without_a_receipt() {
    let follow = |state, end| Verdict::Follow(Settlement { before: self::state(5, 1000), state, end });
    let behind = |actual: u32| {
        let (expected, actual) = (state(5, 0).seq, state(actual, 0).seq);
        Verdict::Halt(Drift::Behind { expected, actual })
    };
    let took = |expected, actual| {
        Verdict::Halt(Drift::TookTooMuch { expected: amount(expected), actual: amount(actual) })
    };
    // Pending, the market maker's figures, the verdict.
    let table = [
        (false, state(5, 1000), Verdict::Equal),
        (true, state(5, 1000), Verdict::Equal),
        (false, state(4, 1000), behind(4)),
        (true, state(4, 1000), behind(4)),
        (false, state(7, 1000), follow(state(7, 1000), End::Moved)),
        (true, state(7, 1000), follow(state(7, 1000), End::GivenUp)),
        (false, state(5, 1001), follow(state(5, 1001), End::Moved)),
        (false, state(6, 999), took(1000, 999)),
        (true, state(6, 965), Verdict::Taken),
        (true, state(7, 935), Verdict::Taken),
        (true, state(7, 934), follow(state(7, 934), End::WrittenOff)),
        (true, state(6, 900), follow(state(6, 900), End::WrittenOff)),
        (true, state(6, 899), took(900, 899)),
        (true, state(5, 965), took(900, 965)),
    ];
    for (pending, remote, verdict) in table {
        assert_eq!(wallet(pending).judge_balance(remote, amount(100)), verdict, "{pending} {remote:?}");
    }
}

/// What happens to a wallet.
#[derive(Debug, Clone)]
enum Step {
    Pay { price: u128, limit: u128 },
    Receipt { seq: u32, balance: u128, repeated: bool, limit: u128, signed: bool },
    Figures { seq: u32, balance: u128, limit: u128 },
    GiveUp,
    WriteOff { seq: u32, balance: u128, limit: u128 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Close to where the channel is, so that many steps are taken.
    let near = (0..4_u32, 0..80_u128);
    let step = prop_oneof![
        (0..60_u128, 0..60_u128).prop_map(|(price, limit)| Step::Pay { price, limit }),
        (near.clone(), any::<bool>(), 0..80_u128, prop::bool::weighted(0.9)).prop_map(
            |((seq, balance), repeated, limit, signed)| Step::Receipt {
                seq,
                balance,
                repeated,
                limit,
                signed
            }
        ),
        (near.clone(), 0..80_u128).prop_map(|((seq, balance), limit)| Step::Figures { seq, balance, limit }),
        Just(Step::GiveUp),
        (near, 0..80_u128).prop_map(|((seq, balance), limit)| Step::WriteOff { seq, balance, limit }),
    ];
    prop::collection::vec(step, 1..60)
}

fn offset(state: ChannelState, seq: u32, taken: u128) -> ChannelState {
    let balance = state.balance.checked_sub(amount(taken)).unwrap_or_default();
    ChannelState { seq: xbr_core::ChannelSeq::new(state.seq.value() + seq), balance }
}

proptest! {
    #[test]
    fn no_coin_is_lost_count_of_and_no_state_gives_too_much(steps in steps()) {
        let buyer_key = BuyerKey::new([3; 32]);
        let mut wallet = Wallet::adopt(terms(CHANNEL), state(1, 1000));
        for step in steps {
            let before = wallet.clone();
            match step {
                Step::Pay { price, limit } => {
                    if wallet.pending.is_none() && let Ok(payment) = payment(&wallet, price, limit) {
                        prop_assert_eq!(payment.state.seq.value(), before.state.seq.value() + 1);
                        let given = before.state.balance.checked_sub(payment.state.balance);
                        prop_assert_eq!(given, Some(amount(price)));
                        prop_assert!(price <= limit);
                        wallet.begin(payment);
                    }
                }
                Step::Receipt { seq, balance, repeated, limit, signed } => {
                    let Some(pending) = wallet.pending.clone() else { continue };
                    let after = offset(wallet.state, seq, balance);
                    let request = pending.request(&wallet.terms, buyer_key);
                    let receipt = receipt_of(&request, after);
                    let judged = wallet.judge_receipt(&receipt, buyer_key, signed, repeated, amount(limit));
                    if let Ok(settlement) = judged {
                        prop_assert!(signed);
                        wallet.apply(&settlement);
                        prop_assert!(wallet.state.seq > before.state.seq);
                        let taken = before.state.balance.checked_sub(wallet.state.balance).unwrap();
                        prop_assert!(taken == pending.amount || repeated && taken <= amount(limit));
                        prop_assert_eq!(before.spent.checked_add(pending.amount), Some(wallet.spent));
                    }
                }
                Step::Figures { seq, balance, limit } => {
                    let remote = offset(wallet.state, seq, balance);
                    if let Verdict::Follow(settlement) = wallet.judge_balance(remote, amount(limit)) {
                        wallet.apply(&settlement);
                        let taken = before.state.balance.checked_sub(wallet.state.balance);
                        let taken = taken.unwrap_or_default();
                        prop_assert!(taken.is_zero() || taken <= amount(limit) && before.pending.is_some());
                        prop_assert_eq!(before.lost.checked_add(taken), Some(wallet.lost));
                    }
                }
                Step::GiveUp if wallet.pending.is_some() => wallet.apply(&before.give_up()),
                Step::WriteOff { seq, balance, limit } if wallet.pending.is_some() => {
                    let remote = offset(wallet.state, seq, balance);
                    if wallet.judge_balance(remote, amount(limit)) == Verdict::Taken {
                        wallet.apply(&before.write_off(remote));
                    }
                }
                Step::GiveUp | Step::WriteOff { .. } => {}
            }
            prop_assert!(wallet.state.seq >= before.state.seq);
            let income = wallet.adopted.balance.checked_add(wallet.regained);
            let outgo = sum([wallet.state.balance, wallet.spent, wallet.lost]);
            prop_assert_eq!(income, Some(outgo));
        }
    }
}

fn sum(amounts: [Amount; 3]) -> Amount {
    amounts.into_iter().fold(Amount::ZERO, |sum, amount| sum.checked_add(amount).unwrap())
}

/// A receipt whose signature nobody looks at.
fn receipt_of(request: &xbr_core::wire::BuyRequest, after: ChannelState) -> xbr_core::wire::BuyReceipt {
    xbr_core::wire::BuyReceipt {
        key_id: request.key_id,
        delegate: request.delegate,
        buyer_key: request.buyer_key,
        sealed_key: vec![0; 80],
        offer_id: None,
        free_rated: None,
        amount: request.amount,
        amount_paid: request.amount,
        channel_id: request.channel_id,
        channel_seq: after.seq,
        remaining: after.balance,
        inflight: Amount::ZERO,
        signature: Signature::new([2; 65]),
    }
}
