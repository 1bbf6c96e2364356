//! Checking a file of receipts with nothing but itself: no store, no network, no key.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead};

use serde::de::DeserializeOwned;
use thiserror::Error;
use xbr_core::channel::{ChannelState, ChannelTerms, CloseRecord, SaleRecord};
use xbr_core::crypto::RecoverError;
use xbr_core::payload::SEALED_KEY_LEN;
use xbr_core::{Address, Amount, ChannelId, Eip712, Signature};

use super::export::Exported;
use super::{BEGINNING, FieldError, Kind, Row};

/// So many findings are kept; the others are counted.
const MAX_FINDINGS: usize = 100;

/// Who is to have signed; `None`: whoever the file names, which is then told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parties {
    /// The market maker of all channels.
    pub market_maker: Option<Address>,
    /// The seller of all channels.
    pub seller: Option<Address>,
}

/// What was found out about a file that could be read to its end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// What it holds.
    pub held: Exported,
    /// The market makers that it names.
    pub market_makers: BTreeSet<Address>,
    /// The sellers that it names.
    pub sellers: BTreeSet<Address>,
    /// What is wrong, the first ones.
    pub findings: Vec<Finding>,
    /// How much is wrong.
    pub wrong: u64,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {problem}")]
pub struct Finding {
    /// The line of the file, from 1.
    pub line: u64,
    /// What is wrong with its row.
    pub problem: RowProblem,
}

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RowProblem {
    /// It is none.
    #[error("it is no row: {reason}")]
    Unreadable {
        /// Why.
        reason: String,
    },
    /// It was changed, or the row before it was; or one in between is missing.
    #[error("the digest is not that of this row behind the row before it: something was changed")]
    Digest,
    /// A field is not what it must be.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The terms of its channel have not come before it.
    #[error("it is of the channel {0}, whose terms have not come before it")]
    UnknownChannel(ChannelId),
    /// The terms of the channel have come before.
    #[error("the channel {0} has come before")]
    ChannelAgain(ChannelId),
    /// The channel is another party's.
    #[error("the {role} is {actual}, not {expected}")]
    OtherParty {
        /// Which one.
        role: &'static str,
        /// Who it should be.
        expected: Address,
        /// Who it is.
        actual: Address,
    },
    /// It does not follow the row of the channel before it.
    #[error(
        "it begins at seq {} with {} XBR, the row before it ends at seq {} with {} XBR",
        actual.seq, actual.balance, expected.seq, expected.balance
    )]
    NotContiguous {
        /// Where the channel stood.
        expected: ChannelState,
        /// Where it begins.
        actual: ChannelState,
    },
    /// A final close has come before it.
    #[error("the channel was finally closed before it")]
    AfterClose,
    /// The sequence number does not rise.
    #[error("the sequence number does not rise")]
    Sequence,
    /// Balance, amount and surplus contradict each other.
    #[error("amount and surplus are not what the balance fell by")]
    Sum,
    /// The sealed key has another length.
    #[error("the sealed key has {actual} bytes instead of {SEALED_KEY_LEN}")]
    SealedKey {
        /// How many.
        actual: usize,
    },
    /// A signature is not one of that state by that party.
    #[error("the signature of the {role} is not one of this state by {expected}")]
    Signature {
        /// Whose it should be.
        role: &'static str,
        /// Whose address that is.
        expected: Address,
    },
    /// There is something behind the last row.
    #[error("it is behind the last row of the file")]
    AfterEnd,
    /// The last row says other sums.
    #[error("the sums are {amount} XBR and {surplus} XBR surplus, not what the last row says")]
    Totals {
        /// Of the amounts.
        amount: Amount,
        /// Of the surplus.
        surplus: Amount,
    },
    /// The last row is missing.
    #[error("the last row is missing: the file was cut off")]
    CutOff,
}

/// Why a file cannot be checked.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// It cannot be read.
    #[error("cannot read the receipts: {0}")]
    Read(#[from] io::Error),
    /// Its header is that of another CSV.
    #[error("it is no file of receipts: {reason}; xbr-seller sales export makes one")]
    Header {
        /// What is wrong with it.
        reason: String,
    },
}

/// Checks a file of receipts, CSV or JSON, to its end.
///
/// # Errors
/// [`VerifyError`] when it cannot be read. What is wrong with its rows is in the [`Verdict`].
pub fn verify(mut file: impl BufRead, parties: Parties) -> Result<Verdict, VerifyError> {
    let mut checker = Checker::new(parties);
    if file.fill_buf()?.first() == Some(&b'{') {
        for (line, text) in (1..).zip(file.lines()) {
            let row = serde_json::from_str(&text?);
            checker.take(line, row.map_err(|error| error.to_string()));
        }
    } else {
        verify_csv(file, &mut checker)?;
    }
    Ok(checker.conclude())
}

fn verify_csv(file: impl BufRead, checker: &mut Checker) -> Result<(), VerifyError> {
    let mut csv = csv::Reader::from_reader(file);
    check_header(csv.headers().map_err(csv_error)?)?;
    let headers = csv.headers().map_err(csv_error)?.clone();
    let mut record = csv::StringRecord::new();
    loop {
        match csv.read_record(&mut record) {
            Ok(false) => return Ok(()),
            Ok(true) => {
                let line = record.position().map_or(0, csv::Position::line);
                checker.take(line, deserialize(&record, &headers));
            }
            Err(error) if error.is_io_error() => return Err(csv_error(error)),
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                checker.take(line, Err(error.to_string()));
            }
        }
    }
}

fn deserialize<T: DeserializeOwned>(
    record: &csv::StringRecord,
    headers: &csv::StringRecord,
) -> Result<T, String> {
    record.deserialize(Some(headers)).map_err(|error| error.to_string())
}

/// The columns must be those of a row, in any order: else each row would say the same.
fn check_header(headers: &csv::StringRecord) -> Result<(), VerifyError> {
    let row = serde_json::to_value(Row::empty(Kind::End)).unwrap_or_default();
    let known: BTreeSet<_> =
        row.as_object().into_iter().flat_map(|row| row.keys().map(String::as_str)).collect();
    let found: BTreeSet<_> = headers.iter().collect();
    let reason = match (known.difference(&found).next(), found.difference(&known).next()) {
        (Some(missing), _) => format!("it has no column {missing}"),
        (None, Some(unknown)) => format!("it has a column {unknown:?}"),
        (None, None) if headers.len() != known.len() => "it has a column twice".to_owned(),
        (None, None) => return Ok(()),
    };
    Err(VerifyError::Header { reason })
}

fn csv_error(error: csv::Error) -> VerifyError {
    let reason = error.to_string();
    match error.into_kind() {
        csv::ErrorKind::Io(error) => VerifyError::Read(error),
        _ => VerifyError::Header { reason },
    }
}

/// A channel, and where its rows have come to.
struct Account {
    terms: ChannelTerms,
    state: ChannelState,
    is_closed: bool,
}

struct Checker {
    parties: Parties,
    channels: BTreeMap<ChannelId, Account>,
    digest: String,
    has_ended: bool,
    line: u64,
    verdict: Verdict,
}

impl Checker {
    fn new(parties: Parties) -> Self {
        Self {
            parties,
            channels: BTreeMap::new(),
            digest: BEGINNING.to_owned(),
            has_ended: false,
            line: 0,
            verdict: Verdict::default(),
        }
    }

    /// Takes a row. All that is wrong with it is noted, and what it says is gone on from: so one that is wrong makes
    /// no others wrong.
    fn take(&mut self, line: u64, row: Result<Row, String>) {
        self.line = line;
        let row = match row {
            Ok(row) => row,
            Err(reason) => return self.note(RowProblem::Unreadable { reason }),
        };
        if self.has_ended {
            self.note(RowProblem::AfterEnd);
        }
        if row.digest_behind(&self.digest).ok().as_ref() != Some(&row.digest) {
            self.note(RowProblem::Digest);
        }
        self.digest.clone_from(&row.digest);
        let taken = match row.kind {
            Kind::Channel => self.channel(&row),
            Kind::Sale => row.sale().map(|sale| self.sale(&sale)),
            Kind::Close => row.close().map(|close| self.close(&close)),
            Kind::End => self.end(&row),
        };
        if let Err(error) = taken {
            self.note(error.into());
        }
    }

    fn note(&mut self, problem: RowProblem) {
        self.verdict.wrong += 1;
        if self.verdict.findings.len() < MAX_FINDINGS {
            self.verdict.findings.push(Finding { line: self.line, problem });
        }
    }

    fn channel(&mut self, row: &Row) -> Result<(), FieldError> {
        let (terms, state) = row.terms()?;
        self.verdict.held.channels += 1;
        let parties = [
            ("market maker", self.parties.market_maker, terms.market_maker),
            ("seller", self.parties.seller, terms.delegate),
        ];
        for (role, expected, actual) in parties {
            if let Some(expected) = expected.filter(|expected| *expected != actual) {
                self.note(RowProblem::OtherParty { role, expected, actual });
            }
        }
        self.verdict.market_makers.insert(terms.market_maker);
        self.verdict.sellers.insert(terms.delegate);
        let channel_id = terms.channel_id;
        if self.channels.insert(channel_id, Account { terms, state, is_closed: false }).is_some() {
            self.note(RowProblem::ChannelAgain(channel_id));
        }
        Ok(())
    }

    fn sale(&mut self, sale: &SaleRecord) {
        self.verdict.held.sales += 1;
        self.add(sale.amount, sale.surplus);
        if sale.state.seq <= sale.before.seq {
            self.note(RowProblem::Sequence);
        }
        if sale.sealed_key.len() != SEALED_KEY_LEN {
            self.note(RowProblem::SealedKey { actual: sale.sealed_key.len() });
        }
        let parts = [sale.state.balance, sale.amount, sale.surplus];
        let signatures = [sale.market_maker_signature, sale.signature];
        self.advance(sale.channel_id, sale.before, sale.state, &parts, false, signatures);
    }

    fn close(&mut self, close: &CloseRecord) {
        self.verdict.held.closes += 1;
        self.add(Amount::ZERO, close.surplus);
        if close.state.seq < close.before.seq {
            self.note(RowProblem::Sequence);
        }
        let parts = [close.state.balance, close.surplus];
        let signatures = [close.market_maker_signature, close.signature];
        self.advance(close.channel_id, close.before, close.state, &parts, close.is_final, signatures);
    }

    fn add(&mut self, amount: Amount, surplus: Amount) {
        let plus = |sum: Amount, amount| sum.checked_add(amount).unwrap_or(Amount::MAX);
        let held = &mut self.verdict.held;
        (held.amount, held.surplus) = (plus(held.amount, amount), plus(held.surplus, surplus));
    }

    /// What sales and closes have in common: they move a channel from one state to another, and both sides sign the
    /// latter.
    fn advance(
        &mut self,
        channel_id: ChannelId,
        before: ChannelState,
        state: ChannelState,
        parts: &[Amount],
        is_final: bool,
        [market_maker, seller]: [Signature; 2],
    ) {
        let sum = parts.iter().try_fold(Amount::ZERO, |sum, part| sum.checked_add(*part));
        if sum != Some(before.balance) {
            self.note(RowProblem::Sum);
        }
        let Some(account) = self.channels.get_mut(&channel_id) else {
            return self.note(RowProblem::UnknownChannel(channel_id));
        };
        let mut problems = Vec::new();
        if account.is_closed {
            problems.push(RowProblem::AfterClose);
        }
        if account.state != before {
            problems.push(RowProblem::NotContiguous { expected: account.state, actual: before });
        }
        (account.state, account.is_closed) = (state, account.is_closed || is_final);
        let message = account.terms.state(state.seq, state.balance, is_final);
        let signers = [
            ("market maker", account.terms.market_maker, message.recover(&market_maker)),
            ("seller", account.terms.delegate, message.recover(&seller)),
        ];
        for (role, expected, signer) in signers {
            if !is_by(signer, expected) {
                problems.push(RowProblem::Signature { role, expected });
            }
        }
        problems.into_iter().for_each(|problem| self.note(problem));
    }

    fn end(&mut self, row: &Row) -> Result<(), FieldError> {
        self.has_ended = true;
        let said: (Amount, Amount) =
            (super::parsed("amount", &row.amount)?, super::parsed("surplus", &row.surplus)?);
        let Exported { amount, surplus, .. } = self.verdict.held;
        if said != (amount, surplus) {
            self.note(RowProblem::Totals { amount, surplus });
        }
        Ok(())
    }

    fn conclude(mut self) -> Verdict {
        if !self.has_ended {
            self.line += 1;
            self.note(RowProblem::CutOff);
        }
        self.verdict
    }
}

fn is_by(signer: Result<Address, RecoverError>, expected: Address) -> bool {
    signer.is_ok_and(|signer| signer == expected)
}
