//! The channels that sales are being booked on, as the last sale has left them: read once, and written once at the
//! end of a transaction, however many sales of a channel it has.
//!
//! They belong to the connection that writes. Whatever else than a sale concerns channels finds them written, and
//! they are forgotten then, as they are when a transaction is rolled back: the tables have the last word.

use std::cell::RefCell;
use std::collections::HashMap;

use xbr_core::ChannelId;
use xbr_core::channel::{Channel, SaleRecord};

use super::columns;
use super::database::Database;
use crate::StoreError;
use crate::operation::takes_sale;

/// So many channels are kept at most, about 1 KiB each.
const MOST: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Books {
    pages: RefCell<HashMap<ChannelId, Page>>,
}

#[derive(Debug, Clone)]
struct Page {
    channel: Channel,
    /// Whether the table has it as it is here.
    is_written: bool,
}

impl Books {
    fn get(&self, channel_id: ChannelId) -> Option<Channel> {
        self.pages.borrow().get(&channel_id).map(|page| page.channel.clone())
    }

    fn put(&self, channel: Channel, is_written: bool) {
        self.pages.borrow_mut().insert(channel.terms.channel_id, Page { channel, is_written });
    }

    fn is_full(&self) -> bool {
        self.pages.borrow().len() >= MOST
    }

    pub(super) fn forget(&self) {
        self.pages.borrow_mut().clear();
    }
}

impl Database {
    /// Books a sale. What it does to the channel is in the table only after [`write_books`](Self::write_books). It
    /// writes nothing when it fails.
    pub(super) fn commit_sale(&self, record: &SaleRecord) -> Result<(), StoreError> {
        let channel = match self.books.get(record.channel_id) {
            Some(channel) => Some(channel),
            None => self.channel(record.channel_id)?,
        };
        let mut channel = takes_sale(channel, record)?;
        if self.books.is_full() {
            self.close_books()?;
        }
        self.insert("sale", columns::sale(record)?, "")?;
        channel.apply_sale(record);
        self.books.put(channel, false);
        Ok(())
    }

    /// Brings the table of channels up to date.
    pub(super) fn write_books(&self) -> Result<(), StoreError> {
        for page in self.books.pages.borrow_mut().values_mut().filter(|page| !page.is_written) {
            self.update_channel(&page.channel)?;
            page.is_written = true;
        }
        Ok(())
    }

    /// Brings the table of channels up to date, for somebody who may change it.
    pub(super) fn close_books(&self) -> Result<(), StoreError> {
        self.write_books()?;
        self.books.forget();
        Ok(())
    }
}
