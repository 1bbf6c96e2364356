//! The market maker's independent record: what it asked for, and what was acknowledged. It is compared with
//! what the seller has stored.

use std::collections::BTreeMap;
use std::path::Path;

use xbr_core::cbor;
use xbr_core::channel::{Channel, ChannelState, ChannelTerms, SaleRecord};
use xbr_core::wire::{SellReceipt, SellRequest};
use xbr_core::{Amount, ChannelSeq, Value};
use xbr_store::{MasterKey, SqliteStore, Store};

/// A sale that was asked for.
pub(crate) struct Sale {
    pub(crate) request: SellRequest,
    pub(crate) acknowledged: bool,
    /// The receipt, as it was acknowledged, or as it was found in the store of a killed program.
    pub(crate) receipt: Option<Vec<u8>>,
}

/// All sales, in the order in which they were asked for.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) sales: Vec<Sale>,
}

impl Record {
    pub(crate) fn add(&mut self, request: SellRequest) -> usize {
        self.sales.push(Sale { request, acknowledged: false, receipt: None });
        self.sales.len() - 1
    }

    /// Takes an answer down: the first one for good, the others must be the same. Whether it was the first.
    pub(crate) fn acknowledge(&mut self, sale: usize, args: &[Value]) -> bool {
        let sale = &mut self.sales[sale];
        let bytes = cbor::encode(&args[0]);
        let first = sale.receipt.get_or_insert_with(|| bytes.clone());
        assert_eq!(*first, bytes, "the same request, another answer: {:?}", sale.request);
        !std::mem::replace(&mut sale.acknowledged, true)
    }

    pub(crate) fn unanswered(&self) -> Vec<usize> {
        (0..self.sales.len()).filter(|sale| !self.sales[*sale].acknowledged).collect()
    }

    /// Looks into a store: everything that was acknowledged is there as it was, and what else is there are
    /// the sales that come next, whole, and nothing besides. Gives how many sales without an answer are
    /// there.
    pub(crate) async fn compare(&mut self, terms: &ChannelTerms, path: &Path) -> u64 {
        let Ok(master) = MasterKey::load(format!("{}.master", path.display())) else {
            assert!(self.sales.is_empty(), "the master key is gone");
            return 0;
        };
        let store = SqliteStore::open(path, master).expect("a store that can be opened");
        let channels = store.channels().await.unwrap();
        let mut stored = BTreeMap::new();
        for sale in &self.sales {
            let seq = sale.request.channel_seq;
            let found = store.sale(terms.channel_id, seq).await.unwrap();
            assert!(
                found.is_some() || !sale.acknowledged,
                "an acknowledged sale is missing: {:?}",
                sale.request
            );
            stored.extend(found.map(|found| (seq, found)));
        }
        store.close().await.unwrap();
        match channels.as_slice() {
            [channel] => check_channel(channel, terms, &stored),
            _ => assert!(self.sales.is_empty() && channels.is_empty(), "{channels:?}"),
        }
        self.keep(terms, &stored)
    }

    /// What was found in a store is what a repeat must be answered with.
    fn keep(&mut self, terms: &ChannelTerms, stored: &BTreeMap<ChannelSeq, SaleRecord>) -> u64 {
        let mut unanswered = 0;
        for sale in &mut self.sales {
            let Some(found) = stored.get(&sale.request.channel_seq) else { continue };
            assert_eq!(
                (found.key_id, found.buyer_key, found.state, found.amount),
                (sale.request.key_id, sale.request.buyer_key, sale.request.state(), sale.request.amount),
            );
            let bytes = cbor::encode(&SellReceipt::of(found, terms.delegate).to_value());
            assert_eq!(*sale.receipt.get_or_insert_with(|| bytes.clone()), bytes, "{:?}", sale.request);
            unanswered += u64::from(!sale.acknowledged);
        }
        unanswered
    }
}

/// The channel is where its last sale left it, and has earned what its sales cost, no more and no less.
fn check_channel(channel: &Channel, terms: &ChannelTerms, stored: &BTreeMap<ChannelSeq, SaleRecord>) {
    assert_eq!(channel.terms, *terms);
    let last = stored.values().map(|record| record.state).max_by_key(|state| state.seq);
    let adopted = ChannelState { seq: ChannelSeq::new(1), balance: terms.amount };
    assert_eq!((channel.adopted, channel.state), (adopted, last.unwrap_or(adopted)));
    let sales = u32::try_from(stored.len()).unwrap();
    assert_eq!((channel.sales, channel.state.seq.value()), (u64::from(sales), sales + 1), "a gap");
    let amounts = stored.values().map(|record| record.amount);
    let earned = amounts.fold(Amount::ZERO, |sum, amount| sum.checked_add(amount).unwrap());
    assert_eq!((channel.earned, channel.surplus), (earned, Amount::ZERO));
}
