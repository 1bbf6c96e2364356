//! Copies of a store: made while it is in use, looked through to the last row, and put back into its place.
//!
//! A copy knows nothing of what was signed after it was made. So a store that is put back marks every open channel as
//! restored: nothing is sold on it before the market maker shows the same figures.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::params;
use xbr_core::channel::Channel;
use xbr_core::{Amount, ChannelId};

use super::check::Verdict;
use super::database::Database;
use super::read_only::ReadOnlyStore;
use super::rows::corrupt;
use super::vault::Vault;
use super::{SqliteStore, io_refused, length, lock, not_opened, open_alone, with_suffix};
use crate::operation::refused;
use crate::{MasterKey, StoreError, private_file};

/// What a store holds, counted while it was looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Holdings {
    /// How many channels.
    pub channels: u64,
    /// How many sales.
    pub sales: u64,
    /// The sum of their amounts.
    pub earned: Amount,
    /// How many closes that both sides have signed.
    pub closes: u64,
    /// How many data keys that can be sold.
    pub keys: u64,
    /// How many data keys that have left the archive.
    pub retired: u64,
    /// How many proofs.
    pub evidence: u64,
}

impl ReadOnlyStore {
    /// Looks through everything: the structure of the database, the code of every row, that every data key opens, and
    /// that the sales of each channel add up to what it says. Takes about ten seconds for a million sales.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] with the first thing that is wrong, or [`StoreError::Refused`] when the disk fails.
    pub fn verify(&self) -> Result<Holdings, StoreError> {
        self.at_one_moment(|store| store.database.verify())
    }

    /// Copies the store as it is now into a new file with mode 0600, durably. Whoever uses the store is not held up.
    /// The copy is one file, and complete; the master key is not in it.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when there is such a file already, or it cannot be written; what was made of it is
    /// removed then. [`StoreError::Corrupt`] when the store is damaged.
    pub fn back_up(&self, path: &Path) -> Result<(), StoreError> {
        // Absolute, so that SQLite takes no name such as `:memory:` for something else than a file.
        let path = std::path::absolute(path).map_err(io_refused)?;
        let file = private_file::create(&path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => refused(format!("{} exists already", path.display())),
            _ => refused(format!("cannot make {}: {error}", path.display())),
        })?;
        let copy = || {
            self.database.copy_to(&path)?;
            // SQLite does not sync what it copies.
            file.sync_all().and_then(|()| private_file::sync_directory_of(&path)).map_err(io_refused)
        };
        copy().inspect_err(|_| {
            // Whatever it is by now, it is no backup.
            let _ = fs::remove_file(&path);
        })
    }
}

impl Database {
    /// Into an empty file.
    fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        let name = path.to_str().ok_or_else(|| refused("the path of a backup must be UTF-8"))?;
        // The connection cannot write to the store all the same: it is opened for reading.
        self.control("PRAGMA query_only = OFF")?;
        let copied = self.execute("VACUUM INTO ?1", params![name]);
        self.control("PRAGMA query_only = ON")?;
        copied.map(|_| ())
    }

    fn verify(&self) -> Result<Holdings, StoreError> {
        self.check_structure()?;
        let mut holdings = Holdings::default();
        for channel in self.channels()? {
            holdings.channels += 1;
            let (sales, earned, surplus) = self.sum_of(channel.terms.channel_id, &mut holdings)?;
            if (sales, earned, surplus) != (channel.sales, channel.earned, channel.surplus) {
                return Err(corrupt(format!(
                    "channel {} has {} sales for {} XBR, but its receipts are {sales} for {earned} XBR",
                    channel.terms.channel_id, channel.sales, channel.earned
                )));
            }
        }
        for table in ["sale", "channel_close", "own_close", "comparison"] {
            let lost =
                format!("SELECT 1 FROM {table} WHERE channel_id NOT IN (SELECT channel_id FROM channel)");
            if self.any(&lost, [])? {
                return Err(corrupt(format!("table {table} has a row of no channel")));
            }
        }
        self.each_key(|is_there| {
            let count = if is_there { &mut holdings.keys } else { &mut holdings.retired };
            *count += 1;
        })?;
        holdings.evidence = self.evidence()?.len() as u64;
        Ok(holdings)
    }

    /// What was compared before the backup was made says nothing after it.
    fn mark_restored(&self, restored: bool) -> Result<(), StoreError> {
        self.control("BEGIN IMMEDIATE")?;
        if restored {
            self.control("DELETE FROM comparison")?;
        }
        for channel in self.channels()?.into_iter().filter(|channel| !channel.is_closed()) {
            self.update_channel(&Channel { restored, ..channel })?;
        }
        self.control("COMMIT")
    }

    /// What the receipts of a channel add up to: how many sales, their amounts, and the surplus of all.
    fn sum_of(
        &self,
        channel_id: ChannelId,
        holdings: &mut Holdings,
    ) -> Result<(u64, Amount, Amount), StoreError> {
        let plus = |sum: Amount, amount| sum.checked_add(amount).unwrap_or(Amount::MAX);
        let (mut sales, mut earned, mut surplus) = (0, Amount::ZERO, Amount::ZERO);
        let sql = "SELECT * FROM sale INDEXED BY sqlite_autoindex_sale_1 WHERE channel_id = ?1";
        let id = params![channel_id.as_bytes()];
        self.each(
            sql,
            id,
            "sale",
            |row| row.sale(),
            |sale| {
                (sales, earned, surplus) =
                    (sales + 1, plus(earned, sale.amount), plus(surplus, sale.surplus));
                Ok(())
            },
        )?;
        let closes = self.closes(channel_id)?;
        surplus = closes.iter().fold(surplus, |sum, close| plus(sum, close.surplus));
        holdings.closes += closes.len() as u64;
        (holdings.sales, holdings.earned) = (holdings.sales + sales, plus(holdings.earned, earned));
        Ok((sales, earned, surplus))
    }
}

/// How a backup is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RestoreOptions {
    /// Whether a store that is there is replaced; it is kept with `.old` behind its name.
    pub replace: bool,
    /// Whether somebody answers for it that nothing was sold after the backup was made. Then no channel counts as
    /// restored, and figures of the market maker that are ahead are sales that failed.
    pub newest: bool,
}

/// Puts a backup into the place of a store that is not in use, after looking through all of it. A store that is there
/// is stays as it is unless it is to be replaced. A backup of an older schema version is brought up to date. Blocks
/// while it works.
///
/// # Errors
/// [`StoreError::Open`] when the store is in use, when it is there and not to be replaced, or an `.old` one is there;
/// [`StoreError::Corrupt`], [`StoreError::WrongMasterKey`] or [`StoreError::Schema`] for the backup. The store is as it
/// was then.
pub fn restore(
    backup: &Path,
    path: &Path,
    master_key: &MasterKey,
    options: RestoreOptions,
) -> Result<Holdings, StoreError> {
    place(backup, path, master_key, options).map_err(|error| not_opened(path, error))
}

fn place(
    backup: &Path,
    path: &Path,
    master_key: &MasterKey,
    options: RestoreOptions,
) -> Result<Holdings, StoreError> {
    let path = std::path::absolute(path).map_err(io_refused)?;
    let _lock = lock(&path)?;
    let is_there = SqliteStore::exists(&path);
    let old = with_suffix(&path, ".old");
    if is_there && !options.replace {
        return Err(refused(
            "there is a store already; --force keeps it as .old and puts the backup in its place",
        ));
    }
    if is_there && (old.exists() || with_suffix(&old, "-wal").exists()) {
        return Err(refused(format!("{} is there from an earlier time; move it away first", old.display())));
    }
    // In the same folder, so that it gets into its place by its name alone.
    let beside = private_file::directory_of(&path);
    let folder = tempfile::TempDir::new_in(beside).map_err(io_refused)?;
    let copy = folder.path().join("store.db");
    let holdings = prepare(backup, &copy, master_key, options.newest)?;
    if is_there {
        // The database before its log: between the two, a start is refused rather than made with half a store.
        for suffix in ["", "-wal", "-shm"] {
            move_away(&with_suffix(&path, suffix), &with_suffix(&old, suffix)).map_err(io_refused)?;
        }
    }
    fs::rename(&copy, &path).and_then(|()| private_file::sync_directory_of(&path)).map_err(io_refused)?;
    Ok(holdings)
}

/// Makes a copy of the backup that can be used as a store, in one file.
fn prepare(backup: &Path, copy: &Path, master_key: &MasterKey, newest: bool) -> Result<Holdings, StoreError> {
    if length(backup) == 0 {
        return Err(refused(format!("{} is missing or empty; it is no backup", backup.display())));
    }
    let files: [PathBuf; 2] = ["", "-wal"].map(|suffix| with_suffix(backup, suffix));
    for (from, suffix) in files.iter().zip(["", "-wal"]) {
        if from.exists() {
            let mut to = private_file::create(&with_suffix(copy, suffix)).map_err(io_refused)?;
            fs::File::open(from).and_then(|mut from| io::copy(&mut from, &mut to)).map_err(io_refused)?;
        }
    }
    // Brings it up to date, and its log into it.
    let vault = Vault::new(master_key.clone());
    let database = Database::new(open_alone(copy, &vault)?, vault, Verdict::default());
    database.mark_restored(!newest)?;
    database.close()?;
    let holdings = ReadOnlyStore::open(copy, master_key.clone())?.verify()?;
    private_file::open_or_create(copy).and_then(|file| file.sync_all()).map_err(io_refused)?;
    Ok(holdings)
}

fn move_away(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        moved => moved,
    }
}
