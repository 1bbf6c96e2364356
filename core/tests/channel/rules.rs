//! The rules of the ledger over random sequences of claims: valid, gapped, with surplus, replayed,
//! contradicted, unsigned, too cheap, and closes in between.

use std::collections::BTreeMap;

use proptest::prelude::*;
use xbr_core::channel::{
    Channel, ChannelState, CloseClaim, CloseDecision, Reconcile, Reconciliation, SaleClaim, SaleDecision,
    SaleRecord,
};
use xbr_core::{Amount, BuyerKey, ChannelSeq, KeyId};

use crate::{channel_at, claim, close_record, record, units};

#[derive(Debug, Clone)]
enum Action {
    /// The state after it is `seq + step`, `balance - amount - less + more`, as far as there is any.
    Sale {
        step: u32,
        amount: Amount,
        less: u64,
        more: u64,
        price: Amount,
        signed: bool,
    },
    /// The sale at the `nth` state again, in which 0 to 4 things differ.
    Repeat {
        nth: prop::sample::Index,
        differs: usize,
    },
    Close {
        step: u32,
        less: u64,
        more: u64,
        is_final: bool,
        signed: bool,
    },
    Reconcile {
        agrees: bool,
    },
}

fn amounts() -> impl Strategy<Value = Amount> {
    prop_oneof![
        8 => (0u128..60).prop_map(Amount::from_units),
        1 => Just(Amount::ZERO),
        1 => Just(Amount::MAX),
        1 => any::<[u8; 32]>().prop_map(Amount::from_be_bytes),
    ]
}

fn actions() -> impl Strategy<Value = Action> {
    let step = prop_oneof![6 => Just(1u32), 1 => Just(0), 2 => 2u32..5, 1 => Just(u32::MAX)];
    let few = || prop_oneof![5 => Just(0u64), 1 => 1u64..30];
    let signed = || prop::bool::weighted(0.9);
    let prices = prop_oneof![3 => Just(Amount::ZERO), 1 => amounts()];
    prop_oneof![
        12 => (step.clone(), amounts(), few(), few(), prices, signed()).prop_map(
            |(step, amount, less, more, price, signed)| {
                Action::Sale { step, amount, less, more, price, signed }
            },
        ),
        4 => (any::<prop::sample::Index>(), 0usize..5)
            .prop_map(|(nth, differs)| Action::Repeat { nth, differs }),
        1 => (step, few(), few(), prop::bool::weighted(0.3), signed()).prop_map(
            |(step, less, more, is_final, signed)| Action::Close { step, less, more, is_final, signed }
        ),
        1 => any::<bool>().prop_map(|agrees| Action::Reconcile { agrees }),
    ]
}

fn starts() -> impl Strategy<Value = ChannelState> {
    let seqs = prop_oneof![4 => Just(1u32), 1 => Just(0), 1 => Just(u32::MAX - 3), 1 => Just(u32::MAX)];
    (seqs, prop_oneof![4 => (0u128..2000).prop_map(Amount::from_units), 1 => amounts()])
        .prop_map(|(seq, balance)| ChannelState { seq: ChannelSeq::new(seq), balance })
}

/// A channel and what it has sold, checked at every step.
struct Model {
    channel: Channel,
    mode: Reconcile,
    sold: BTreeMap<u32, SaleRecord>,
}

impl Model {
    fn after(&self, step: u32, amount: Amount, less: u64, more: u64) -> ChannelState {
        let minus = |a: Amount, b: Amount| a.checked_sub(b).unwrap_or(Amount::ZERO);
        let balance = minus(minus(self.channel.state.balance, amount), units(less.into()));
        ChannelState {
            seq: ChannelSeq::new(self.channel.state.seq.value().saturating_add(step)),
            balance: balance.checked_add(units(more.into())).unwrap_or(Amount::MAX),
        }
    }

    /// The rules for a state that follows by paying `amount`, written once more and differently: sums instead
    /// of differences.
    fn follows(&self, to: ChannelState, amount: Amount) -> bool {
        let (from, sum) = (self.channel.state, to.balance.checked_add(amount));
        match self.mode {
            Reconcile::Strict => {
                from.seq.value().checked_add(1) == Some(to.seq.value()) && sum == Some(from.balance)
            }
            Reconcile::Surplus => from.seq < to.seq && sum.is_some_and(|sum| sum <= from.balance),
        }
    }

    fn sale(&mut self, claim: &SaleClaim, price: Amount) -> Result<(), TestCaseError> {
        let prior = self.sold.get(&claim.state.seq.value());
        let decision = self.channel.decide_sale(claim, price, prior, self.mode);
        let repeated = claim.signed
            && prior.is_some_and(|prior| {
                prior.key_id == claim.key_id
                    && prior.buyer_key == claim.buyer_key
                    && prior.state == claim.state
                    && prior.amount == claim.amount
            });
        let sellable = self.channel.closed.is_none()
            && !matches!(self.channel.reconciliation, Reconciliation::Behind { .. })
            && claim.signed
            && claim.amount >= price
            && self.follows(claim.state, claim.amount);
        prop_assert_eq!(matches!(decision, Ok(SaleDecision::Replay)), repeated, "rule 4");
        prop_assert_eq!(
            matches!(decision, Ok(SaleDecision::Commit { .. })),
            sellable && !repeated,
            "{:?}",
            &decision
        );
        if let Ok(SaleDecision::Commit { surplus }) = decision {
            prop_assert!(prior.is_none(), "one sale a sequence number");
            let record = record(&self.channel, claim, surplus);
            self.channel.apply_sale(&record);
            let again = self.channel.decide_sale(claim, price, Some(&record), self.mode);
            prop_assert_eq!(again, Ok(SaleDecision::Replay));
            self.sold.insert(record.state.seq.value(), record);
        }
        Ok(())
    }

    fn close(&mut self, claim: &CloseClaim) -> Result<(), TestCaseError> {
        let ours = self.channel.state;
        match self.channel.decide_close(claim, self.mode) {
            Ok(CloseDecision::Commit { surplus }) => {
                prop_assert!(claim.signed && self.channel.closed.is_none());
                prop_assert!(claim.state == ours || self.follows(claim.state, Amount::ZERO));
                prop_assert!(self.mode == Reconcile::Surplus || claim.state == ours, "strict");
                self.channel.apply_close(&close_record(&self.channel, claim, surplus));
                let again = self.channel.decide_close(claim, self.mode);
                prop_assert_eq!(matches!(again, Ok(CloseDecision::Replay)), claim.is_final);
                prop_assert!(again.is_ok());
            }
            Ok(CloseDecision::Replay) => {
                let closed = self.channel.closed.as_ref().map(|closed| closed.state);
                prop_assert_eq!(closed, Some(claim.state));
                prop_assert!(claim.signed && claim.is_final);
            }
            Err(_) => {
                let strict = self.mode == Reconcile::Strict;
                let acceptable = claim.state == ours || !strict && self.follows(claim.state, Amount::ZERO);
                prop_assert!(!claim.signed || self.channel.closed.is_some() || !acceptable);
            }
        }
        Ok(())
    }

    fn act(&mut self, action: &Action) -> Result<(), TestCaseError> {
        match action {
            Action::Sale { step, amount, less, more, price, signed } => {
                let state = self.after(*step, *amount, *less, *more);
                self.sale(&SaleClaim { signed: *signed, ..claim(state, *amount) }, *price)
            }
            Action::Repeat { nth, differs } => {
                let sold: Vec<SaleRecord> = self.sold.values().cloned().collect();
                let Some(sold) = (!sold.is_empty()).then(|| nth.get(&sold)) else { return Ok(()) };
                let mut again = claim(sold.state, sold.amount);
                match differs {
                    0 => {}
                    1 => again.key_id = KeyId::new([0; 16]),
                    2 => again.buyer_key = BuyerKey::new([0; 32]),
                    3 => {
                        again.state.balance = again.state.balance.checked_sub(units(1)).unwrap_or(Amount::MAX)
                    }
                    _ => again.signed = false,
                }
                let before = self.channel.clone();
                self.sale(&again, Amount::ZERO)?;
                prop_assert_eq!(&self.channel, &before, "a repeat, the same or not, moves nothing");
                Ok(())
            }
            Action::Close { step, less, more, is_final, signed } => {
                let mut state = self.after(step.saturating_sub(1), Amount::ZERO, *less, *more);
                if *step == 0 {
                    state.seq = ChannelSeq::new(state.seq.value().saturating_sub(1));
                }
                self.close(&CloseClaim { state, is_final: *is_final, signed: *signed })
            }
            Action::Reconcile { agrees } => {
                let mut theirs = self.channel.state;
                if !agrees {
                    theirs.balance = theirs.balance.checked_add(units(1)).unwrap_or(Amount::ZERO);
                }
                self.channel.reconcile(theirs);
                Ok(())
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_rules_hold_over_any_sequence(
        start in starts(),
        strict: bool,
        actions in prop::collection::vec(actions(), 1..60),
    ) {
        let mode = if strict { Reconcile::Strict } else { Reconcile::Surplus };
        let mut model = Model { channel: channel_at(start), mode, sold: BTreeMap::new() };
        for action in &actions {
            let before = model.channel.clone();
            model.act(action)?;
            let now = &model.channel;
            prop_assert!(now.state.seq >= before.state.seq, "rule 2");
            prop_assert!(now.state.balance <= before.state.balance, "rule 2");
            if now.sales > before.sales {
                prop_assert!(now.state.seq > before.state.seq && before.closed.is_none(), "rules 2 and 7");
            }
            prop_assert!(now.earned >= before.earned && now.surplus >= before.surplus);
            let sum = now.state.balance.checked_add(now.earned).and_then(|sum| sum.checked_add(now.surplus));
            prop_assert_eq!(sum, Some(start.balance), "adopted = state + earned + surplus");
            prop_assert_eq!(now.sales, model.sold.len() as u64);
            prop_assert!(mode == Reconcile::Surplus || now.surplus.is_zero());
            if before.closed.is_some() {
                prop_assert_eq!(&now.closed, &before.closed, "the final close stays");
                prop_assert_eq!(now.state, before.state);
            }
        }
    }
}
