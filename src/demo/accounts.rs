//! Where the money went, by the books of everybody, once nothing is in flight any more: they agree to the last unit,
//! or it is said in what they differ. Pure.

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
