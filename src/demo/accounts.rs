//! Where the money went, by the books of everybody, once nothing is in flight any more: they agree to the
//! last unit, or it is said in what they differ. Pure.

use std::fmt;

use xbr_core::channel::{Channel, ChannelState};
use xbr_core::{Amount, ChannelId, Value};
use xbr_market::buyer::wallet::Wallet;
use xbr_market::maker::ChannelReport;

/// Everybody's books.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounts {
    /// The payment channels by the market maker's books.
    pub payment: Vec<ChannelReport>,
    /// The paying channels by the market maker's books.
    pub paying: Vec<ChannelReport>,
    /// The payment channels by those of the buyers.
    pub buyers: Vec<Wallet>,
    /// The paying channels by those of the seller.
    pub seller: Vec<Channel>,
}

/// Sums of the accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// What was put into the payment channels.
    pub deposited: Amount,
    /// What the buyers have paid for keys.
    pub spent: Amount,
    /// What they have paid without a key.
    pub lost: Amount,
    /// What remains in the payment channels.
    pub remaining: Amount,
    /// What the market maker has taken.
    pub received: Amount,
    /// What it has given for keys.
    pub paid: Amount,
    /// What it has given without a key.
    pub conceded: Amount,
    /// What the seller has earned.
    pub earned: Amount,
    /// What it got beyond that.
    pub surplus: Amount,
    /// Keys that were bought, by the buyers.
    pub bought: u64,
    /// Keys that were sold, by the seller.
    pub sold: u64,
}

impl Accounts {
    /// All of them together.
    pub fn totals(&self) -> Totals {
        Totals {
            deposited: sum(self.payment.iter().map(|book| book.amount)),
            spent: sum(self.buyers.iter().map(|wallet| wallet.spent)),
            lost: sum(self.buyers.iter().map(|wallet| wallet.lost)),
            remaining: sum(self.buyers.iter().map(|wallet| wallet.state.balance)),
            received: sum(self.payment.iter().map(|book| book.settled)),
            paid: sum(self.paying.iter().map(|book| book.settled)),
            conceded: sum(self.paying.iter().map(|book| book.conceded)),
            earned: sum(self.seller.iter().map(|channel| channel.earned)),
            surplus: sum(self.seller.iter().map(|channel| channel.surplus)),
            bought: self.buyers.iter().map(|wallet| wallet.purchases).sum(),
            sold: self.seller.iter().map(|channel| channel.sales).sum(),
        }
    }

    /// In what they differ; nothing when they agree.
    pub fn differences(&self) -> Vec<String> {
        let totals = self.totals();
        let mut differences = Vec::new();
        let mut compare = |what: &str, one: &dyn fmt::Display, other: &dyn fmt::Display| {
            let (one, other) = (one.to_string(), other.to_string());
            if one != other {
                differences.push(format!("{what}: {one} and {other}"));
            }
        };
        compare("keys that the buyers bought and the seller sold", &totals.bought, &totals.sold);
        compare("XBR that the buyers spent and the market maker received", &totals.spent, &totals.received);
        compare("XBR that the market maker received and paid", &totals.received, &totals.paid);
        compare("XBR that the market maker paid and the seller earned", &totals.paid, &totals.earned);
        compare(
            "XBR that the market maker conceded and the seller's surplus",
            &totals.conceded,
            &totals.surplus,
        );
        compare("XBR that the buyers lost and none", &totals.lost, &Amount::ZERO);
        for (kind, books, theirs) in [
            ("payment", &self.payment, self.buyers.iter().map(own).collect::<Vec<_>>()),
            ("paying", &self.paying, self.seller.iter().map(|c| (c.terms.channel_id, c.state)).collect()),
        ] {
            for book in books {
                let id = book.channel_id;
                let ours = ChannelState { seq: book.seq, balance: book.remaining };
                let state = |state: ChannelState| format!("{} XBR at seq {}", state.balance, state.seq);
                let theirs = theirs.iter().find(|(channel_id, _)| *channel_id == id);
                let theirs = theirs.map_or_else(|| "unknown".to_owned(), |(_, theirs)| state(*theirs));
                compare(&format!("{kind} channel {id}"), &state(ours), &theirs);
                compare(
                    &format!("XBR in flight over {kind} channel {id} and none"),
                    &book.inflight,
                    &Amount::ZERO,
                );
            }
            compare(&format!("number of {kind} channels"), &books.len(), &theirs.len());
        }
        differences
    }
}

fn own(wallet: &Wallet) -> (ChannelId, ChannelState) {
    (wallet.terms.channel_id, wallet.state)
}

/// No sum can overflow: none is above what there is in all.
fn sum(amounts: impl Iterator<Item = Amount>) -> Amount {
    amounts.fold(Amount::ZERO, |sum, amount| sum.checked_add(amount).unwrap_or(Amount::MAX))
}

impl Totals {
    /// The balances of all three, amounts as decimal texts of XBR.
    pub fn to_values(self) -> [(&'static str, Value); 3] {
        let party = |fields: &[(&str, Amount)]| {
            fields.iter().map(|(name, amount)| (*name, Value::from(amount.to_string()))).collect()
        };
        [
            (
                "buyers",
                party(&[
                    ("deposited", self.deposited),
                    ("spent", self.spent),
                    ("lost", self.lost),
                    ("remaining", self.remaining),
                ]),
            ),
            (
                "market_maker",
                party(&[("received", self.received), ("paid", self.paid), ("conceded", self.conceded)]),
            ),
            ("seller", party(&[("earned", self.earned), ("surplus", self.surplus)])),
        ]
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { spent, remaining, received, paid, earned, surplus, lost, conceded, .. } = self;
        writeln!(f, "buyers        spent {spent} XBR, lost {lost}, {remaining} remain")?;
        writeln!(f, "market maker  received {received} XBR, paid {paid}, conceded {conceded}")?;
        write!(f, "seller        earned {earned} XBR, surplus {surplus}")
    }
}

#[cfg(test)]
mod tests {
    use xbr_core::channel::ChannelTerms;
    use xbr_core::wire::ChannelType;
    use xbr_core::{Address, ChannelSeq, MarketId};

    use super::*;

    const PAYMENT: ChannelId = ChannelId::new([1; 16]);
    const PAYING: ChannelId = ChannelId::new([2; 16]);

    fn terms(channel_id: ChannelId) -> ChannelTerms {
        ChannelTerms {
            channel_id,
            market_id: MarketId::new([3; 16]),
            market_maker: Address::new([4; 20]),
            delegate: Address::new([5; 20]),
            amount: Amount::from_xbr(100),
            chain_id: Amount::from_units(1),
            verifying_contract: Address::new([0; 20]),
            close_at: Amount::from_units(1),
        }
    }

    fn state(seq: u32, balance_xbr: u64) -> ChannelState {
        ChannelState { seq: ChannelSeq::new(seq), balance: Amount::from_xbr(balance_xbr) }
    }

    fn report(kind: ChannelType, channel_id: ChannelId) -> ChannelReport {
        ChannelReport {
            channel_id,
            kind,
            delegate: terms(channel_id).delegate,
            is_open: true,
            amount: Amount::from_xbr(100),
            remaining: Amount::from_xbr(90),
            inflight: Amount::ZERO,
            settled: Amount::from_xbr(10),
            conceded: Amount::ZERO,
            seq: ChannelSeq::new(2),
        }
    }

    /// After one sale for 10 XBR.
    fn agreed() -> Accounts {
        let mut wallet = Wallet::adopt(terms(PAYMENT), state(1, 100));
        (wallet.state, wallet.spent, wallet.purchases) = (state(2, 90), Amount::from_xbr(10), 1);
        let mut channel = Channel::adopt(terms(PAYING), state(1, 100));
        (channel.state, channel.earned, channel.sales) = (state(2, 90), Amount::from_xbr(10), 1);
        Accounts {
            payment: vec![report(ChannelType::Payment, PAYMENT)],
            paying: vec![report(ChannelType::Paying, PAYING)],
            buyers: vec![wallet],
            seller: vec![channel],
        }
    }

    #[test]
    fn a_difference_of_one_unit_is_found_wherever_it_is() {
        assert_eq!(agreed().differences(), [""; 0]);
        let unit = Amount::from_units(1);
        let more = Amount::from_xbr(10).checked_add(unit).unwrap();
        let cases: [(fn(&mut Accounts, Amount, Amount), &str); 9] = [
            (|it, more, _| it.buyers[0].spent = more, "the buyers spent and the market maker received"),
            (|it, more, _| it.payment[0].settled = more, "the market maker received and paid"),
            (|it, more, _| it.paying[0].settled = more, "the market maker paid and the seller earned"),
            (|it, more, _| it.seller[0].earned = more, "the market maker paid and the seller earned"),
            (|it, _, unit| it.seller[0].surplus = unit, "conceded and the seller's surplus"),
            (|it, _, unit| it.buyers[0].lost = unit, "the buyers lost and none: 0.000000000000000001 and 0"),
            (|it, _, unit| it.paying[0].inflight = unit, "in flight over paying channel"),
            (|it, more, _| it.payment[0].remaining = more, "payment channel 01010101"),
            (|it, _, _| it.seller[0].sales = 2, "the buyers bought and the seller sold: 1 and 2"),
        ];
        for (change, told) in cases {
            let mut accounts = agreed();
            change(&mut accounts, more, unit);
            let differences = accounts.differences();
            assert!(differences.iter().any(|text| text.contains(told)), "{told} in {differences:#?}");
        }
        let unknown = Accounts { seller: Vec::new(), ..agreed() }.differences();
        assert!(unknown.iter().any(|text| text.ends_with("90 XBR at seq 2 and unknown")), "{unknown:#?}");
    }
}
