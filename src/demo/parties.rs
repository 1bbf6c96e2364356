//! Who takes part: the keys and the stores of the market maker, the seller and the buyers. In a folder they
//! survive a restart; otherwise they go with the demo.

use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use xbr_core::crypto::{KeyError, UserspaceEntropy};
use xbr_core::{Address, wire::MarketDomain};
use xbr_core::{Amount, DelegateKey, MarketId, Signer};
use xbr_market::buyer::{BuyerStore, MemoryBuyerStore, SqliteBuyerStore};
use xbr_market::maker::store::{MakerStore, MemoryMakerStore, SqliteMakerStore};
use xbr_store::{MasterKey, MasterKeyError, SqliteStore, StoreError};

use super::thread::ActorThread;
use crate::private_file::{self, SecretFileError};

/// The name of the thread of the router and the market maker.
const MARKET: &str = "xbr-market";
/// The name of the thread of the buyers.
const BUYERS: &str = "xbr-buyers";

/// Somebody who takes part.
#[derive(Debug, Clone)]
pub struct Party<S> {
    /// Its key.
    pub key: Arc<DelegateKey>,
    /// What it remembers.
    pub store: S,
}

/// All who take part.
#[derive(Debug)]
pub struct Parties {
    /// Between the others.
    pub maker: Party<Arc<dyn MakerStore>>,
    /// Who sells.
    pub seller: Party<SqliteStore>,
    /// Who buy.
    pub buyers: Vec<Party<Arc<dyn BuyerStore>>>,
    /// Where the router and the market maker run.
    pub market_thread: ActorThread,
    /// Where the buyers run, in turn.
    buyers_threads: Vec<ActorThread>,
    /// Removed with everything in it when the demo ends.
    _folder: Option<TempDir>,
}

/// Why somebody cannot take part.
#[derive(Debug, thiserror::Error)]
pub enum PartyError {
    /// A folder cannot be made, or a thread not be started.
    #[error("cannot make the folder, or a thread: {0}")]
    Folder(#[from] std::io::Error),
    /// A key cannot be read or made.
    #[error(transparent)]
    KeyFile(#[from] SecretFileError),
    /// A file holds no key.
    #[error("{path} holds no key: {error}")]
    Key {
        /// The file.
        path: String,
        /// Why.
        error: KeyError,
    },
    /// A store has no master key.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// A store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Parties {
    /// Those of that folder and at least so many buyers, or new ones. Blocks while it reads from disk.
    ///
    /// # Errors
    /// [`PartyError`].
    pub fn gather(folder: Option<&Path>, buyers: usize) -> Result<Self, PartyError> {
        let Some(folder) = folder else { return Self::passing(buyers) };
        std::fs::create_dir_all(folder)?;
        let at = |name: &str, ending: &str| folder.join(format!("{name}.{ending}"));
        let key = |name: &str| kept_key(&at(name, "key"));
        let master_key = |name: &str| {
            MasterKey::load_or_create(at(name, "db.master"), SqliteStore::exists(at(name, "db")))
        };
        let maker = Party::<Arc<dyn MakerStore>> {
            key: key("maker")?,
            store: Arc::new(SqliteMakerStore::open(at("maker", "db"))?),
        };
        let store = SqliteStore::open(at("seller", "db"), master_key("seller")?)?;
        let seller = Party { key: key("seller")?, store };
        let buyer = |number: usize| {
            let name = format!("buyer-{number:03}");
            let store = SqliteBuyerStore::open(at(&name, "db"), master_key(&name)?)?;
            Ok::<_, PartyError>(Party::<Arc<dyn BuyerStore>> { key: key(&name)?, store: Arc::new(store) })
        };
        // Whoever bought before has accounts that must agree as well.
        let known = (1..).take_while(|number| at(&format!("buyer-{number:03}"), "key").exists()).count();
        let buyers = (1..=buyers.max(known)).map(buyer).collect::<Result<_, _>>()?;
        let (market_thread, buyers_threads) = threads()?;
        Ok(Self { maker, seller, buyers, market_thread, buyers_threads, _folder: None })
    }

    fn passing(buyers: usize) -> Result<Self, PartyError> {
        let key = || Arc::new(DelegateKey::generate(&UserspaceEntropy).0);
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("seller.db");
        let master_key = MasterKey::create(folder.path().join("seller.db.master"))?;
        let (market_thread, buyers_threads) = threads()?;
        let stores: Vec<_> =
            buyers_threads.iter().map(|thread| MemoryBuyerStore::on(thread.runtime())).collect();
        let buyer = |store: &MemoryBuyerStore| Party::<Arc<dyn BuyerStore>> {
            key: key(),
            store: Arc::new(store.beside()),
        };
        Ok(Self {
            maker: Party { key: key(), store: Arc::new(MemoryMakerStore::on(market_thread.runtime())) },
            seller: Party { key: key(), store: SqliteStore::open(path, master_key)? },
            buyers: stores.iter().cycle().take(buyers).map(buyer).collect(),
            market_thread,
            buyers_threads,
            _folder: Some(folder),
        })
    }

    /// The buyers, each with the thread that it runs on.
    pub fn buyers(&self) -> impl Iterator<Item = (&Party<Arc<dyn BuyerStore>>, &ActorThread)> {
        self.buyers.iter().zip(self.buyers_threads.iter().cycle())
    }

    /// What signatures are bound to: no chain, and a market that the market maker's key names.
    pub fn domain(&self) -> MarketDomain {
        domain_of(self.maker.key.address())
    }
}

/// The thread of the router and the market maker, and those of the buyers: one for each processor.
fn threads() -> std::io::Result<(ActorThread, Vec<ActorThread>)> {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let buyers = (0..processors).map(|_| ActorThread::start(BUYERS)).collect::<Result<_, _>>()?;
    Ok((ActorThread::start(MARKET)?, buyers))
}

/// What signatures are bound to in a market without a chain that its market maker's address names.
pub fn domain_of(market_maker: Address) -> MarketDomain {
    let mut market_id = [0; 16];
    market_id.iter_mut().zip(market_maker.as_ref()).for_each(|(to, from)| *to = *from);
    MarketDomain {
        chain_id: Amount::from_units(1),
        verifying_contract: Address::new([0; 20]),
        market_id: MarketId::new(market_id),
    }
}

fn kept_key(path: &Path) -> Result<Arc<DelegateKey>, PartyError> {
    if !path.exists() {
        let (key, secret) = DelegateKey::generate(&UserspaceEntropy);
        private_file::create(path, &secret)?;
        return Ok(Arc::new(key));
    }
    let wrong = |error| PartyError::Key { path: path.display().to_string(), error };
    Ok(Arc::new(private_file::read(path)?.trim().parse().map_err(wrong)?))
}
