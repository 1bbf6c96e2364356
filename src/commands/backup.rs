//! `xbr-seller backup` and `restore`: copies of the store, each looked through to its last row.

use std::io::{self, Write};

use xbr_store::{Holdings, ReadOnlyStore, RestoreOptions};

use super::Failure;
use crate::cli::{BackupArgs, RestoreArgs};
use crate::config::{Config, Environment};

pub(super) fn back_up(args: &BackupArgs) -> Result<(), Failure> {
    let (config, secrets) = Config::load(&args.config, &Environment::of_process())?;
    super::require_store(&config.store.path)?;
    let master_key = config.store.master_key(secrets.master_key)?;
    let store = ReadOnlyStore::open(&config.store.path, master_key.clone())?;
    store.back_up(&args.out)?;
    let verified = ReadOnlyStore::open(&args.out, master_key).and_then(|backup| backup.verify());
    let holdings = verified.inspect_err(|_| {
        // What cannot be read back is no backup.
        let _ = std::fs::remove_file(&args.out);
    })?;
    let mut out = io::stdout().lock();
    writeln!(out, "backup:      {} (mode 0600; looked through, and sound)", args.out.display())?;
    tell(&mut out, &holdings)?;
    writeln!(
        out,
        "not in it:   the master key; keep a copy of it elsewhere, without it the backup opens no key"
    )?;
    Ok(())
}

pub(super) fn restore(args: &RestoreArgs) -> Result<(), Failure> {
    let (config, secrets) = Config::load(&args.config, &Environment::of_process())?;
    let path = &config.store.path;
    // One that is made now could open nothing.
    let master_key = match secrets.master_key {
        Some(key) => key,
        None => xbr_store::MasterKey::load(&config.store.master_key_file)?,
    };
    let was_there = xbr_store::SqliteStore::exists(path);
    let options = RestoreOptions { replace: args.force, newest: args.newest };
    let holdings = xbr_store::restore(&args.file, path, &master_key, options)?;
    let mut out = io::stdout().lock();
    writeln!(out, "restored:    {} from {}", path.display(), args.file.display())?;
    if was_there {
        writeln!(out, "before it:   {}.old", path.display())?;
    }
    tell(&mut out, &holdings)?;
    let next = if args.newest {
        "start the service; it takes your word that nothing was sold after the backup"
    } else {
        "start the service; where the market maker has gone on since, it says so and sells nothing on that channel"
    };
    Ok(writeln!(out, "next:        {next}")?)
}

fn tell(out: &mut impl Write, holdings: &Holdings) -> io::Result<()> {
    let Holdings { channels, sales, earned, closes, keys, retired, evidence } = holdings;
    writeln!(out, "channels:    {channels}, with {closes} closes")?;
    writeln!(out, "sales:       {sales} for {earned} XBR")?;
    writeln!(out, "keys:        {keys}, and {retired} that have left the archive")?;
    writeln!(out, "proofs:      {evidence}")
}
