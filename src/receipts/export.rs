//! Writing receipts, row by row: a store of any size is exported in constant memory, all of it as it was at one
//! moment.

use std::io::{self, Write};

use thiserror::Error;
use xbr_core::channel::{Channel, CloseRecord, SaleRecord};
use xbr_core::{Amount, ChannelId};
use xbr_store::{MAX_PAGE, ReadOnlyStore, StoreError};

use super::{BEGINNING, Row};

/// The form of a file of receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// A header and a row a line
    #[default]
    Csv,
    /// One object a line
    Json,
}

/// What was exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exported {
    /// How many channels.
    pub channels: u64,
    /// How many sales.
    pub sales: u64,
    /// How many closes.
    pub closes: u64,
    /// The sum of the amounts of the sales.
    pub amount: Amount,
    /// The sum of what signed states gave beyond them.
    pub surplus: Amount,
}

/// Why nothing, or not all, was exported.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store has no such channel.
    #[error("the store has no channel {0}; xbr-seller channels lists those that it has")]
    NoChannel(ChannelId),
    /// It cannot be written.
    #[error("cannot write the receipts: {0}")]
    Write(#[from] io::Error),
}

/// Exports the receipts of all channels, or of one.
///
/// # Errors
/// [`ExportError`]; what was written by then has no last row.
pub fn export(
    store: &ReadOnlyStore,
    channel_id: Option<ChannelId>,
    format: Format,
    out: impl Write,
) -> Result<Exported, ExportError> {
    store.at_one_moment(|store| {
        let mut channels = store.inspect()?.channels;
        if let Some(channel_id) = channel_id {
            channels.retain(|channel| channel.terms.channel_id == channel_id);
            if channels.is_empty() {
                return Err(ExportError::NoChannel(channel_id));
            }
        }
        let mut sink = Sink::new(format, out);
        for channel in &channels {
            export_channel(store, channel, &mut sink)?;
        }
        let Exported { amount, surplus, .. } = sink.exported;
        sink.write(Row::of_end(amount, surplus))?;
        sink.finish()
    })
}

/// Sales and closes in the order of their states: at the same one, the sale came first.
fn export_channel(
    store: &ReadOnlyStore,
    channel: &Channel,
    sink: &mut Sink<impl Write>,
) -> Result<(), ExportError> {
    let channel_id = channel.terms.channel_id;
    sink.channel(channel)?;
    let mut closes = store.closes(channel_id)?.into_iter().peekable();
    let mut after = None;
    loop {
        let sales = store.sales_of(channel_id, after, MAX_PAGE)?;
        let Some(last) = sales.last() else { break };
        after = Some(last.state.seq);
        for sale in &sales {
            while let Some(close) = closes.next_if(|close| close.state.seq < sale.state.seq) {
                sink.close(&close)?;
            }
            sink.sale(sale)?;
        }
    }
    closes.try_for_each(|close| sink.close(&close))
}

/// Where rows go, each with its digest.
struct Sink<W: Write> {
    writer: Writer<W>,
    digest: String,
    exported: Exported,
}

enum Writer<W: Write> {
    Csv(Box<csv::Writer<W>>),
    Json(io::BufWriter<W>),
}

impl<W: Write> Sink<W> {
    fn new(format: Format, out: W) -> Self {
        let writer = match format {
            Format::Csv => Writer::Csv(Box::new(csv::Writer::from_writer(out))),
            Format::Json => Writer::Json(io::BufWriter::new(out)),
        };
        Self { writer, digest: BEGINNING.to_owned(), exported: Exported::default() }
    }

    fn channel(&mut self, channel: &Channel) -> Result<(), ExportError> {
        self.exported.channels += 1;
        self.write(Row::of_channel(channel))
    }

    fn sale(&mut self, record: &SaleRecord) -> Result<(), ExportError> {
        self.exported.sales += 1;
        self.add(record.amount, record.surplus);
        self.write(Row::of_sale(record))
    }

    fn close(&mut self, record: &CloseRecord) -> Result<(), ExportError> {
        self.exported.closes += 1;
        self.add(Amount::ZERO, record.surplus);
        self.write(Row::of_close(record))
    }

    fn add(&mut self, amount: Amount, surplus: Amount) {
        let plus = |sum: Amount, amount| sum.checked_add(amount).unwrap_or(Amount::MAX);
        self.exported.amount = plus(self.exported.amount, amount);
        self.exported.surplus = plus(self.exported.surplus, surplus);
    }

    fn write(&mut self, mut row: Row) -> Result<(), ExportError> {
        row.digest = row.digest_behind(&self.digest).map_err(io::Error::from)?;
        match &mut self.writer {
            Writer::Csv(csv) => csv.serialize(&row).map_err(io_error)?,
            Writer::Json(out) => {
                serde_json::to_writer(&mut *out, &row).map_err(io::Error::from)?;
                out.write_all(b"\n")?;
            }
        }
        self.digest = row.digest;
        Ok(())
    }

    fn finish(mut self) -> Result<Exported, ExportError> {
        match &mut self.writer {
            Writer::Csv(csv) => csv.flush()?,
            Writer::Json(out) => out.flush()?,
        }
        Ok(self.exported)
    }
}

fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}
