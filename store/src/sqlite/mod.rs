//! The store in a file: SQLite with a write-ahead log that is synced at every commit.
//!
//! Four threads own a connection each: the [`writer`] executes writes in groups, one [`reader`] answers
//! look-ups that no write under way concerns and another one [`lists`], and [`check`] looks once for damage that no
//! single row shows.
//! Handles share nothing but channels to them and the counters of [`pending`].

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;
use tracing::warn;
use xbr_core::channel::{Channel, ChannelState, CloseRecord, OwnClose, SaleRecord};
use xbr_core::{ApiId, ChannelId, ChannelSeq, KeyId};

use self::check::Verdict;
use self::database::Database;
use self::gathering::Gathering;
use self::job::{Job, Reach, job};
use self::pending::Pending;
use self::vault::Vault;
use self::writer::{Command, Watch, Writer};
use crate::{
    Earnings, EarningsQuery, Evidence, KeyFilter, KeyInfo, KeyLookup, KeyPage, KeyQuery, KeyRecord,
    MasterKey, Read, SalesPage, SalesQuery, Store, StoreError, StoreFuture, Transaction, Write, private_file,
};

mod audit;
mod backup;
mod books;
mod check;
mod columns;
mod database;
mod gathering;
mod job;
mod keys;
mod lists;
mod log;
mod pending;
mod read_only;
mod reader;
mod rows;
mod schema;
mod vault;
mod writer;

#[cfg(test)]
mod tests;

pub use backup::{Holdings, RestoreOptions, restore};
pub use read_only::{Inspection, ReadOnlyStore, inspect};

/// How long keys wait for others that come with them, where many come; up to four times as long where very many do.
/// Short beside the time that they are made ahead, unless their interval is a few hundredths of a second.
const GATHER: Duration = Duration::from_millis(4);

/// Bytes of the header of a SQLite database.
const HEADER_LENGTH: u64 = 100;

/// A store in a SQLite file. A cheap handle: clones are the same store, which closes itself in the background
/// once the last of them is dropped and everything called is done.
#[derive(Clone)]
pub struct SqliteStore {
    path: Arc<Path>,
    writer: mpsc::Sender<Command>,
    reader: mpsc::Sender<reader::Request>,
    lister: mpsc::Sender<reader::Request>,
    pending: Arc<Pending>,
    gathering: Arc<Gathering>,
}

impl SqliteStore {
    /// Whether there is a store at a path, as opposed to no file or an empty one.
    pub fn exists(path: impl AsRef<Path>) -> bool {
        length(path.as_ref()) > 0 || length(&with_suffix(path.as_ref(), "-wal")) > 0
    }

    /// Opens a store, or makes it where there is none, with mode 0600. Blocks while it reads from disk: well
    /// under a second, whatever its size. Files with the same name and `-wal`, `-shm` and `-lock` behind it
    /// belong to it.
    ///
    /// # Errors
    /// [`StoreError::Open`] when the file cannot be used, is another program's, or is open in another
    /// process; [`StoreError::Schema`], [`StoreError::WrongMasterKey`] or [`StoreError::Corrupt`].
    pub fn open(path: impl AsRef<Path>, master_key: MasterKey) -> Result<Self, StoreError> {
        Self::open_watched(path, master_key, |_| ())
    }

    /// [`open`](Self::open) for somebody who wants to hear of each transaction, after it has ended and before anybody
    /// is answered: `watch` runs on the writing thread, and must return at once.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_watched(
        path: impl AsRef<Path>,
        master_key: MasterKey,
        watch: impl Fn(&Transaction) + Send + 'static,
    ) -> Result<Self, StoreError> {
        let path = path.as_ref();
        open(path, Vault::new(master_key), Box::new(watch)).map_err(|error| not_opened(path, error))
    }

    /// Closes the store for all handles. When it resolves, everything called before is done and the files are
    /// released; everything called later is answered with [`StoreError::Closed`].
    pub fn close(&self) -> StoreFuture<()> {
        let (done, closed) = oneshot::channel();
        let closing = self.gathering.hurry(|| self.writer.send(Command::Close(done)));
        Box::pin(async move {
            if closing.is_ok() {
                // An error says that another `close` came first, and has closed it.
                let _closed = closed.await;
            }
            Ok(())
        })
    }

    /// A page of the sales that a query picks, of those that are durable by now. Holds up nothing but other lists.
    ///
    /// Fails with [`StoreError::Refused`] when a time of the query is above 2^63 - 1.
    pub fn sales(&self, query: SalesQuery) -> StoreFuture<SalesPage> {
        self.list(move |database| database.sales(&query))
    }

    /// A page of the keys that a query picks. Their sales are counted for it, about 3 µs each. Otherwise as
    /// [`sales`](Self::sales).
    pub fn key_list(&self, query: KeyQuery) -> StoreFuture<KeyPage> {
        self.list(move |database| database.key_list(&query))
    }

    /// What was earned, by steps of time and API. All sales of that time are added up for it, about 3 µs each. More
    /// rows than [`MAX_EARNINGS`](crate::MAX_EARNINGS) are [`StoreError::Refused`]. Otherwise as
    /// [`sales`](Self::sales).
    pub fn earnings(&self, query: EarningsQuery) -> StoreFuture<Vec<Earnings>> {
        self.list(move |database| database.earnings(&query))
    }

    fn list<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<T> {
        let (job, answer) = job(None, Reach::Any, StoreError::Closed, work);
        ask(&self.lister, job);
        answer
    }

    fn write(&self, write: Write) -> StoreFuture<()> {
        let ticket = write.subject().map(|subject| self.pending.enter(subject));
        let lost = StoreError::Unknown { reason: "the thread of the store ended".to_owned() };
        let is_patient = write.is_patient();
        let (job, answer) = job(ticket, write.reach(), lost, move |database| database.apply(&write));
        if is_patient {
            self.command(Command::Patient(job));
        } else {
            self.queue(job);
        }
        answer
    }

    /// A read that waits for the writes that concern it: a look-up for those of its row, any other for all.
    fn read<T: Send + 'static>(
        &self,
        read: Read,
        work: impl FnOnce(&Database) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<T> {
        let (job, answer) = job(None, read.reach(), StoreError::Closed, work);
        if read.subject().is_some_and(|subject| self.pending.is_clear(subject)) {
            ask(&self.reader, job);
        } else {
            self.queue(job);
        }
        answer
    }

    fn queue(&self, job: Box<dyn Job>) {
        self.gathering.hurry(|| self.command(Command::Job(job)));
    }

    fn command(&self, command: Command) {
        if let Err(mpsc::SendError(Command::Job(job) | Command::Patient(job))) = self.writer.send(command) {
            job.answer(Some(StoreError::Closed));
        }
    }
}

fn ask(reader: &mpsc::Sender<reader::Request>, job: Box<dyn Job>) {
    if let Err(mpsc::SendError(reader::Request::Job(job))) = reader.send(reader::Request::Job(job)) {
        job.answer(Some(StoreError::Closed));
    }
}

impl Store for SqliteStore {
    fn channels(&self) -> StoreFuture<Vec<Channel>> {
        self.read(Read::Channels, Database::channels)
    }

    fn attach_channel(&self, channel: Channel) -> StoreFuture<()> {
        self.write(Write::AttachChannel(Box::new(channel)))
    }

    fn commit_sale(&self, record: SaleRecord) -> StoreFuture<()> {
        self.write(Write::CommitSale(record))
    }

    fn commit_close(&self, record: CloseRecord) -> StoreFuture<()> {
        self.write(Write::CommitClose(record))
    }

    fn commit_own_close(&self, close: OwnClose) -> StoreFuture<()> {
        self.write(Write::CommitOwnClose(close))
    }

    fn note_comparison(
        &self,
        channel_id: ChannelId,
        ours: ChannelState,
        theirs: ChannelState,
    ) -> StoreFuture<()> {
        self.write(Write::NoteComparison { channel_id, ours, theirs })
    }

    fn sale(&self, channel_id: ChannelId, seq: ChannelSeq) -> StoreFuture<Option<SaleRecord>> {
        self.read(Read::Sale(channel_id, seq), move |database| database.sale(channel_id, seq))
    }

    fn keep_evidence(&self, evidence: Evidence) -> StoreFuture<()> {
        self.write(Write::KeepEvidence(evidence))
    }

    fn evidence(&self) -> StoreFuture<Vec<Evidence>> {
        self.read(Read::Evidence, Database::evidence)
    }

    fn insert_key(&self, record: KeyRecord) -> StoreFuture<()> {
        self.write(Write::InsertKey(record))
    }

    fn mark_offered(&self, key_id: KeyId, offered_ns: u64) -> StoreFuture<()> {
        self.write(Write::MarkOffered { key_id, offered_ns })
    }

    fn retire_key(&self, key_id: KeyId) -> StoreFuture<()> {
        self.write(Write::RetireKey(key_id))
    }

    fn key(&self, key_id: KeyId) -> StoreFuture<KeyLookup> {
        self.read(Read::Key(key_id), move |database| database.key(key_id))
    }

    fn keys(&self, api_id: ApiId, filter: KeyFilter, limit: usize) -> StoreFuture<Vec<KeyInfo>> {
        self.read(Read::Keys(api_id, filter), move |database| database.keys(api_id, filter, limit))
    }

    fn flush(&self) -> StoreFuture<()> {
        let writes = self.read(Read::Flush, |_| Ok(()));
        let (job, look_ups) = job(None, Reach::Any, StoreError::Closed, |_| Ok(()));
        ask(&self.reader, job);
        Box::pin(async move {
            writes.await?;
            look_ups.await
        })
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What is refused on the way to an open store.
fn not_opened(path: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Refused { reason } => StoreError::Open { path: path.display().to_string(), reason },
        other => other,
    }
}

fn open(path: &Path, vault: Vault, watch: Watch) -> Result<SqliteStore, StoreError> {
    // Absolute, so that SQLite takes no name such as `:memory:` for something else than a file.
    let path = std::path::absolute(path).map_err(io_refused)?;
    let lock = lock(&path)?;
    let connection = open_alone(&path, &vault)?;
    start(path, lock, connection, vault, watch, Gathering::new(GATHER))
}

/// The writing connection to a store that nobody else uses, which is made where there is none, and brought up to date.
fn open_alone(path: &Path, vault: &Vault) -> Result<Connection, StoreError> {
    let log_path = with_suffix(path, "-wal");
    let (database, log) = (length(path), length(&log_path));
    check_header_is_there(database, log)?;
    log::check(&log_path)?;
    create(path).map_err(io_refused)?;
    let mut connection = connect(path)?;
    check_pages_are_whole(&connection, database, log)?;
    schema::configure(&connection)?;
    schema::prepare(&mut connection, vault)?;
    Ok(connection)
}

fn start(
    path: PathBuf,
    lock: File,
    writing: Connection,
    vault: Vault,
    watch: Watch,
    gathering: Gathering,
) -> Result<SqliteStore, StoreError> {
    let gathering = Arc::new(gathering);
    let (reader, requests) = mpsc::channel();
    let (lister, list_requests) = mpsc::channel();
    let (writer, commands) = mpsc::channel();
    let (pending, verdict) = (Arc::new(Pending::new()), Verdict::default());
    let [reading, listing, checking] =
        [connect_reader(&path)?, connect_reader(&path)?, connect_reader(&path)?];
    let [listing_ends, checking_ends] = [listing.get_interrupt_handle(), checking.get_interrupt_handle()];
    let writing = Database::new(writing, vault.clone(), verdict.clone());
    let reading = Database::new(reading, vault.clone(), verdict.clone());
    let listing = Database::new(listing, vault, verdict.clone());
    let check_thread = spawn("xbr-store-check", move || check::run(checking, &verdict))?;
    let reader_thread = spawn("xbr-store-read", move || reader::run(reading, requests))?;
    let list_thread = spawn("xbr-store-list", move || reader::run(listing, list_requests))?;
    let work = Writer {
        database: writing,
        commands,
        pending: Arc::clone(&pending),
        gathering: Arc::clone(&gathering),
        reader: reader.clone(),
        reader_thread,
        lister: lister.clone(),
        helpers: vec![(checking_ends, check_thread), (listing_ends, list_thread)],
        watch,
        lock,
    };
    spawn("xbr-store-write", move || work.run())?;
    Ok(SqliteStore { path: path.into(), writer, reader, lister, pending, gathering })
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map_err(io_refused)
}

/// An advisory lock on a file of its own: closing any descriptor of the database itself would release
/// SQLite's locks. It ends with the process, however that ends. The file stays: removing it would let two
/// processes lock two files.
fn lock(path: &Path) -> Result<File, StoreError> {
    let file = private_file::open_or_create(&with_suffix(path, "-lock")).map_err(io_refused)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(crate::operation::refused(
            "it is open already, in this or another process; stop that one, or choose another path",
        )),
        Err(TryLockError::Error(error)) => Err(io_refused(error)),
    }
}

/// SQLite takes a file that is too short for a header as a new one, and throws its log away. That is refused
/// here.
fn check_header_is_there(database: u64, log: u64) -> Result<(), StoreError> {
    if database < HEADER_LENGTH && log > 0 {
        return Err(rows::corrupt("the database is missing or cut off, but its write-ahead log is there"));
    }
    Ok(())
}

/// SQLite reads what is missing of the last page as zeros. Only a crash while the log is being emptied may
/// leave half a page, and the log is there then.
fn check_pages_are_whole(connection: &Connection, database: u64, log: u64) -> Result<(), StoreError> {
    let page: u64 = connection
        .query_row("PRAGMA page_size", [], |row| row.get::<_, i64>(0))
        .map(|size| u64::try_from(size).unwrap_or(1).max(1))
        .map_err(rows::database_error)?;
    if log == 0 && !database.is_multiple_of(page) {
        return Err(rows::corrupt("the database is cut off within a page"));
    }
    Ok(())
}

/// 0 when there is no such file.
fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Makes the file when there is none; SQLite gives its companions the same mode.
fn create(path: &Path) -> io::Result<()> {
    match private_file::create(path) {
        Ok(file) => {
            file.sync_all()?;
            private_file::sync_directory_of(path)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            for suffix in ["", "-wal", "-shm"] {
                let path = with_suffix(path, suffix);
                if private_file::tighten(&path)? {
                    warn!(path = %path.display(), "others had access to a file of the store, no longer");
                }
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    connect_to(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
}

fn connect_to(path: &Path, access: OpenFlags) -> Result<Connection, StoreError> {
    Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(rows::database_error)
}

/// A connection that cannot write, even by mistake.
fn connect_reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = connect(path)?;
    schema::configure_reader(&connection)?;
    Ok(connection)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn io_refused(error: io::Error) -> StoreError {
    crate::operation::refused(error.to_string())
}
