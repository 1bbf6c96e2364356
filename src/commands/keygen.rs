//! `xbr-seller keygen`: a new key in a new file.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use xbr_core::crypto::{Entropy, UserspaceEntropy};
use xbr_core::{DelegateKey, ProviderId, Signer};
use xbr_wamp::CryptosignKey;
use zeroize::Zeroizing;

use super::Failure;
use crate::cli::KeygenArgs;
use crate::private_file;

pub(super) fn execute(args: &KeygenArgs) -> Result<(), Failure> {
    let default = if args.cryptosign { "cryptosign.key" } else { "seller.key" };
    let path = args.out.clone().unwrap_or_else(|| PathBuf::from(default));
    if args.cryptosign { cryptosign(&path) } else { delegate(&path) }
}

fn delegate(path: &Path) -> Result<(), Failure> {
    let (key, secret) = DelegateKey::generate(&UserspaceEntropy);
    private_file::create(path, &secret)?;
    let public_key = key.public_key();
    let mut out = io::stdout().lock();
    writeln!(out, "key file:    {} (mode 0600; keep a copy, it is the only one)", path.display())?;
    writeln!(out, "address:     {}", key.address())?;
    writeln!(out, "public key:  0x{}", hex::encode(public_key))?;
    writeln!(out, "provider id: {}", ProviderId::from_public_key(&public_key))?;
    Ok(())
}

fn cryptosign(path: &Path) -> Result<(), Failure> {
    let mut seed = Zeroizing::new([0; 32]);
    UserspaceEntropy.fill(seed.as_mut());
    let key = CryptosignKey::from_seed(&seed)?;
    private_file::create(path, &seed)?;
    let mut out = io::stdout().lock();
    writeln!(out, "key file:    {} (mode 0600)", path.display())?;
    writeln!(out, "public key:  {} (for the router's list of authorized keys)", key.public_key())?;
    Ok(())
}
