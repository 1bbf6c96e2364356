//! The files that a configuration names: secrets are read here, once, and refused when others than their
//! owner have access to them; of the others it is checked that they are there.

use std::fs;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use xbr_core::DelegateKey;
use xbr_core::crypto::UserspaceEntropy;
use xbr_store::{MasterKey, MasterKeyError, SqliteStore};
use xbr_wamp::{Auth, CryptosignKey};
use zeroize::Zeroizing;

use super::problem::{Place, ProblemKind};
use super::section::{Located, Report};
use super::{BenchSecrets, HostSecrets, MASTER_KEY_VARIABLE};
use crate::private_file::{self, SecretFileError};

/// The shortest bearer token.
const MIN_TOKEN_LEN: usize = 16;

/// What the configuration names but does not hold.
#[derive(Debug)]
pub struct Secrets {
    /// The seller's delegate.
    pub delegate: DelegateKey,
    /// Who we are towards the router.
    pub auth: Auth,
    /// Who we are towards the router that a feed is read from, one for each feed; anonymous for the others.
    pub feeds: Vec<Auth>,
    /// The master key of the store; `None`: it is made together with the store.
    pub master_key: Option<MasterKey>,
    /// What the clients of the HTTP interface have to know; `None`: nothing.
    pub http_token: Option<SecretString>,
}

/// The files that were named, as far as reading got.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) delegate: Option<Located<PathBuf>>,
    pub(super) auth: AuthFile,
    pub(super) store: Option<Located<PathBuf>>,
    pub(super) master_key: Option<Located<PathBuf>>,
    /// Of each feed, towards the router that it is read from.
    pub(super) feeds: Vec<AuthFile>,
    pub(super) http_token: Option<Located<PathBuf>>,
    /// What is to be read and is no secret.
    pub(super) others: Vec<Located<PathBuf>>,
    /// What may be made by others while we run.
    pub(super) awaited: Vec<Located<PathBuf>>,
    /// Of those who may join a router.
    pub(super) tickets: Vec<Located<PathBuf>>,
}

/// The proof of who we are.
#[derive(Debug, Default)]
pub(super) enum AuthFile {
    #[default]
    None,
    Ticket {
        authid: String,
        file: Located<PathBuf>,
    },
    Cryptosign {
        authid: Option<String>,
        file: Located<PathBuf>,
    },
}

impl Files {
    /// Reads and checks all, and notes what is wrong.
    pub(super) fn load(self, master_key: Option<&str>, report: &Report) -> Option<Secrets> {
        let delegate = load_key(self.delegate, report);
        let auth = self.auth.load(report);
        let http_token = load_http_token(self.http_token, report);
        let store_exists = self.store.as_ref().is_some_and(|file| SqliteStore::exists(&file.value));
        let master_key = match (master_key, self.master_key) {
            (Some(hex), _) => MasterKey::from_hex(MASTER_KEY_VARIABLE, hex).map(Some).map_err(|error| {
                let place = Place::Variable(MASTER_KEY_VARIABLE.to_owned());
                report.note(place, "seller.master_key_file", ProblemKind::value(error));
            }),
            (None, Some(file)) => load_master_key(&file, store_exists, report),
            (None, None) => Ok(None),
        };
        if let Some(file) = &self.store {
            check_store(file, report);
        }
        self.others.iter().for_each(|file| check_file(file, report));
        self.awaited.iter().for_each(|file| check_awaited(file, report));
        let feeds: Vec<_> = self.feeds.into_iter().map(|auth| auth.load(report)).collect();
        let feeds = feeds.into_iter().collect::<Option<_>>()?;
        let (delegate, auth, master_key, http_token) = (delegate?, auth?, master_key.ok()?, http_token?);
        Some(Secrets { delegate, auth, feeds, master_key, http_token })
    }

    /// [`load`](Self::load), without the token of the HTTP interface.
    pub(super) fn load_but_http_token(
        mut self,
        master_key: Option<&str>,
        report: &Report,
    ) -> Option<Secrets> {
        self.http_token = None;
        self.load(master_key, report)
    }

    /// Only the token of the HTTP interface, if there is to be one.
    pub(super) fn load_http_token(self, report: &Report) -> Option<Option<SecretString>> {
        load_http_token(self.http_token, report)
    }

    /// [`load`](Self::load), for a market.
    pub(super) fn load_host(self, report: &Report) -> Option<HostSecrets> {
        let key = load_key(self.delegate, report);
        let tickets: Vec<_> = self.tickets.iter().map(|file| load_ticket(file, report)).collect();
        let auth = self.auth.load(report);
        if let Some(file) = &self.store {
            check_store(file, report);
        }
        self.others.iter().for_each(|file| check_file(file, report));
        Some(HostSecrets { key: key?, tickets: tickets.into_iter().collect::<Option<_>>()?, auth: auth? })
    }

    /// [`load`](Self::load), for a load generator; without a file its key is made here.
    pub(super) fn load_bench(self, report: &Report) -> Option<BenchSecrets> {
        let key = match self.delegate {
            Some(file) => load_key(Some(file), report),
            None => Some(DelegateKey::generate(&UserspaceEntropy).0),
        };
        let auth = self.auth.load(report);
        self.others.iter().for_each(|file| check_file(file, report));
        Some(BenchSecrets { key: key?, auth: auth? })
    }
}

impl AuthFile {
    fn load(self, report: &Report) -> Option<Auth> {
        match self {
            Self::None => Some(Auth::Anonymous),
            Self::Ticket { authid, file } => {
                Some(Auth::Ticket { authid, ticket: load_ticket(&file, report)? })
            }
            Self::Cryptosign { authid, file } => {
                let key = secret(&file, report, |text| {
                    let mut seed = Zeroizing::new([0; 32]);
                    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), seed.as_mut())
                        .map_err(|_| "an ed25519 seed must be 64 hex digits".to_owned())?;
                    CryptosignKey::from_seed(&seed).map_err(|error| error.to_string())
                })?;
                Some(Auth::Cryptosign { authid, key })
            }
        }
    }
}

fn load_key(file: Option<Located<PathBuf>>, report: &Report) -> Option<DelegateKey> {
    secret(&file?, report, |text| text.parse::<DelegateKey>())
}

fn load_ticket(file: &Located<PathBuf>, report: &Report) -> Option<SecretString> {
    secret(file, report, |text| match text {
        "" => Err("the file is empty"),
        text => Ok(SecretString::from(text)),
    })
}

fn load_http_token(file: Option<Located<PathBuf>>, report: &Report) -> Option<Option<SecretString>> {
    match file {
        Some(file) => load_token(&file, report).map(Some),
        None => Some(None),
    }
}

/// One that travels in a header, and cannot be guessed.
fn load_token(file: &Located<PathBuf>, report: &Report) -> Option<SecretString> {
    secret(file, report, |text| {
        if text.len() < MIN_TOKEN_LEN || !text.bytes().all(|c| c.is_ascii_graphic()) {
            return Err(
                "a token must be at least 16 visible ASCII characters; `openssl rand -hex 32` makes one",
            );
        }
        Ok(SecretString::from(text))
    })
}

fn load_master_key(
    file: &Located<PathBuf>,
    store_exists: bool,
    report: &Report,
) -> Result<Option<MasterKey>, ()> {
    match MasterKey::load(&file.value) {
        Ok(key) => Ok(Some(key)),
        Err(MasterKeyError::Missing { .. }) if !store_exists => {
            check_folder(file, report);
            Ok(None)
        }
        Err(MasterKeyError::Missing { path }) => {
            file.complain(report, ProblemKind::value(MasterKeyError::Lost { path }));
            Err(())
        }
        Err(error) => {
            file.complain(report, ProblemKind::value(error));
            Err(())
        }
    }
}

fn check_store(file: &Located<PathBuf>, report: &Report) {
    if file.value.is_dir() {
        file.complain(report, unusable(&file.value, "it is a folder"));
    } else {
        check_folder(file, report);
    }
}

/// What is to be read has to be there.
fn check_file(file: &Located<PathBuf>, report: &Report) {
    match fs::metadata(&file.value) {
        Ok(metadata) if metadata.is_dir() => file.complain(report, unusable(&file.value, "it is a folder")),
        Ok(_) => {}
        Err(error) => file.complain(report, unusable(&file.value, error)),
    }
}

/// What is to be read once it is there.
fn check_awaited(file: &Located<PathBuf>, report: &Report) {
    if file.value.exists() { check_file(file, report) } else { check_folder(file, report) }
}

/// What is to be made needs a folder to be made in.
fn check_folder(file: &Located<PathBuf>, report: &Report) {
    let folder = file.value.parent().filter(|folder| !folder.as_os_str().is_empty());
    if folder.is_some_and(|folder| !folder.is_dir()) {
        file.complain(report, unusable(&file.value, "its folder does not exist; make it first"));
    }
}

fn secret<T, E: std::fmt::Display>(
    file: &Located<PathBuf>,
    report: &Report,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Option<T> {
    let path = &file.value;
    let kind = match private_file::read(path) {
        Ok(text) => match parse(text.trim()) {
            Ok(value) => return Some(value),
            Err(error) => unusable(path, error),
        },
        Err(SecretFileError::Exposed { path, mode }) => ProblemKind::Exposed { path, mode },
        Err(SecretFileError::Io { reason, .. }) => unusable(path, reason),
    };
    file.complain(report, kind);
    None
}

fn unusable(path: &Path, reason: impl std::fmt::Display) -> ProblemKind {
    ProblemKind::File { path: path.display().to_string(), reason: reason.to_string() }
}
