//! What the actions on a channel and their checks are made of.

use xbr_core::channel::{
    Channel, ChannelState, ChannelTerms, Reconcile, Reconciliation, SaleClaim, SaleRecord,
};
use xbr_core::{Address, Amount, ChannelId, MarketId, Signature};

pub(crate) const CHANNEL: ChannelId = ChannelId::new([0xc1; 16]);
pub(crate) const DEPOSIT: u128 = 1_000_000_000;
pub(crate) const PRICE: u128 = 10;

/// What a sale that is taken must be.
pub(crate) fn check_sale(before: &Channel, claim: &SaleClaim, surplus: Amount, reconcile: Reconcile) {
    assert!(claim.signed, "rule 1");
    assert!(claim.state.seq > before.state.seq && claim.state.balance <= before.state.balance, "rule 2");
    let paid = claim.amount.checked_add(surplus).unwrap();
    assert_eq!(before.state.balance.checked_sub(paid), Some(claim.state.balance), "rule 2");
    let exact = surplus.is_zero() && claim.state.seq.value() == before.state.seq.value() + 1;
    assert!(exact || reconcile == Reconcile::Surplus, "rule 2, strict");
    assert!(claim.amount >= Amount::from_units(PRICE), "rule 3");
    assert!(!matches!(before.reconciliation, Reconciliation::Behind { .. }), "rule 6");
    assert!(before.closed.is_none(), "rule 7");
}

pub(crate) fn same(record: &SaleRecord, claim: &SaleClaim) -> bool {
    (record.key_id, record.buyer_key, record.state, record.amount)
        == (claim.key_id, claim.buyer_key, claim.state, claim.amount)
}

/// One of the last, counted from the end.
pub(crate) fn pick<T>(items: &[T], back: usize) -> Option<&T> {
    items.iter().rev().nth(back)
}

pub(crate) fn higher(balance: Amount) -> Amount {
    balance.checked_add(Amount::from_units(25)).unwrap_or(balance)
}

/// The seller's signature of a state: another for each, and the same for the same.
pub(crate) fn signature(state: ChannelState, is_final: bool) -> Signature {
    let mut bytes = [0; 65];
    let (head, tail) = bytes.split_at_mut(32);
    head.copy_from_slice(&state.balance.to_be_bytes());
    for (to, from) in
        tail.iter_mut().zip(state.seq.value().to_be_bytes().into_iter().chain([is_final.into()]))
    {
        *to = from;
    }
    Signature::new(bytes)
}

pub(crate) fn terms() -> ChannelTerms {
    ChannelTerms {
        channel_id: CHANNEL,
        market_id: MarketId::new([2; 16]),
        market_maker: Address::new([3; 20]),
        delegate: Address::new([4; 20]),
        amount: Amount::from_units(DEPOSIT),
        chain_id: Amount::from_units(1),
        verifying_contract: Address::new([5; 20]),
        close_at: Amount::from_units(1),
    }
}
