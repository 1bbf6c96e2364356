//! `xbr-seller sales export` and `verify`: receipts that whoever audits can check alone.

use std::fs::File;
use std::io::{self, BufReader, Write};

use xbr_store::private_file;

use super::{Failure, open_store};
use crate::cli::{ExportArgs, VerifyArgs};
use crate::receipts::{self, Exported, Parties};

pub(super) fn export(args: &ExportArgs) -> Result<(), Failure> {
    let store = open_store(&args.config)?;
    let Some(path) = &args.out else {
        receipts::export(&store, args.channel, args.format, io::stdout().lock())?;
        return Ok(());
    };
    let failed = |error: io::Error| Failure::File { path: path.display().to_string(), error };
    let mut file = private_file::create(path).map_err(failed)?;
    let exported = receipts::export(&store, args.channel, args.format, &mut file)?;
    file.sync_all().map_err(failed)?;
    Ok(writeln!(io::stdout(), "{} has {}", path.display(), told(&exported))?)
}

pub(super) fn verify(args: &VerifyArgs) -> Result<(), Failure> {
    let path = &args.file;
    let failed = |error: io::Error| Failure::File { path: path.display().to_string(), error };
    let file = BufReader::new(File::open(path).map_err(failed)?);
    let parties = Parties { market_maker: args.market_maker, seller: args.seller };
    let verdict = receipts::verify(file, parties)?;
    let mut out = io::stdout().lock();
    for finding in &verdict.findings {
        writeln!(out, "{}: {finding}", path.display())?;
    }
    if verdict.wrong > 0 {
        return Err(Failure::WrongReceipts { wrong: verdict.wrong });
    }
    writeln!(out, "{} is right: {}", path.display(), told(&verdict.held))?;
    for market_maker in &verdict.market_makers {
        writeln!(out, "signed by the market maker {market_maker}")?;
    }
    for seller in &verdict.sellers {
        writeln!(out, "signed by the seller {seller}")?;
    }
    Ok(())
}

fn told(held: &Exported) -> String {
    let Exported { channels, sales, closes, amount, surplus } = held;
    format!("{channels} channels, {sales} sales for {amount} XBR, surplus {surplus} XBR, {closes} closes")
}
