//! Who takes part: the keys and the stores of the market maker, the seller and the buyers. In a folder they
//! survive a restart; otherwise they go with the demo.

use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use xbr_core::crypto::{KeyError, UserspaceEntropy};
use xbr_core::{Address, wire::MarketDomain};
use xbr_core::{Amount, DelegateKey, MarketId, Signer};
use xbr_market::buyer::SqliteBuyerStore;
use xbr_market::maker::store::SqliteMakerStore;
use xbr_store::{MasterKey, MasterKeyError, SqliteStore, StoreError};

use crate::private_file::{self, SecretFileError};

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
    pub maker: Party<SqliteMakerStore>,
    /// Who sells.
    pub seller: Party<SqliteStore>,
    /// Who buy.
    pub buyers: Vec<Party<SqliteBuyerStore>>,
    /// Removed with everything in it when the demo ends.
    _folder: Option<TempDir>,
}

/// Why somebody cannot take part.
#[derive(Debug, thiserror::Error)]
pub enum PartyError {
    /// A folder cannot be made.
    #[error("cannot make the folder: {0}")]
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
        let maker = Party { key: key("maker")?, store: SqliteMakerStore::open(at("maker", "db"))? };
        let store = SqliteStore::open(at("seller", "db"), master_key("seller")?)?;
        let seller = Party { key: key("seller")?, store };
        let buyer = |number: usize| {
            let name = format!("buyer-{number:03}");
            let store = SqliteBuyerStore::open(at(&name, "db"), master_key(&name)?)?;
            Ok::<_, PartyError>(Party { key: key(&name)?, store })
        };
        // Whoever bought before has accounts that must agree as well.
        let known = (1..).take_while(|number| at(&format!("buyer-{number:03}"), "key").exists()).count();
        let buyers = (1..=buyers.max(known)).map(buyer).collect::<Result<_, _>>()?;
        Ok(Self { maker, seller, buyers, _folder: None })
    }

    fn passing(buyers: usize) -> Result<Self, PartyError> {
        let key = || Arc::new(DelegateKey::generate(&UserspaceEntropy).0);
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("seller.db");
        let master_key = MasterKey::create(folder.path().join("seller.db.master"))?;
        let buyer = |_| Ok::<_, PartyError>(Party { key: key(), store: SqliteBuyerStore::in_memory()? });
        Ok(Self {
            maker: Party { key: key(), store: SqliteMakerStore::in_memory()? },
            seller: Party { key: key(), store: SqliteStore::open(path, master_key)? },
            buyers: (0..buyers).map(buyer).collect::<Result<_, _>>()?,
            _folder: Some(folder),
        })
    }

    /// What signatures are bound to: no chain, and a market that the market maker's key names.
    pub fn domain(&self) -> MarketDomain {
        domain_of(self.maker.key.address())
    }
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
