//! `xbr-seller close`: closes a paying channel on the chain. There is one try, so it checks, shows and asks first.

use std::io::{self, BufRead, Write};

use xbr_actors::{CloseAt, CloseOptions, CloseOutcome, CloseReport, SellerHandle};
use xbr_core::channel::Reconciliation;

use super::{Failure, require_store};
use crate::cli::CloseArgs;
use crate::config::{Config, Environment};
use crate::{logging, service};

pub(super) fn execute(args: &CloseArgs) -> Result<(), Failure> {
    let (config, secrets) = Config::load(&args.config, &Environment::of_process())?;
    require_store(&config.store.path)?;
    logging::begin(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let grace = config.seller.grace;
        let (store, seller) = service::open(&config, secrets, None).await?;
        let result = close(&seller, args).await;
        seller.stop(grace).await;
        service::close(&store, grace).await;
        result
    })
}

async fn close(seller: &SellerHandle, args: &CloseArgs) -> Result<(), Failure> {
    let close_at = match args.at_block {
        Some(block) => CloseAt::Block(block),
        None if args.cooperative => CloseAt::Configured,
        None => CloseAt::RecentBlock,
    };
    let options = CloseOptions { channel_id: args.channel, close_at, dry_run: true };
    let planned = seller.close(options).await?;
    show(&planned)?;
    if planned.outcome == CloseOutcome::SentBefore {
        writeln!(io::stdout(), "result:       it was sent before; the market maker says that it is closing")?;
        return Ok(());
    }
    if args.dry_run {
        writeln!(io::stdout(), "result:       every check passed; a dry run signs and sends nothing")?;
        return Ok(());
    }
    if !args.yes && !confirmed()? {
        return Err(Failure::NotConfirmed);
    }
    // The channel that was shown, whatever else there is by now.
    let channel_id = Some(planned.channel.terms.channel_id);
    let closed = seller.close(CloseOptions { channel_id, close_at, dry_run: false }).await?;
    let mut out = io::stdout().lock();
    match closed.outcome {
        CloseOutcome::Sent { transaction: Some(transaction) } => {
            writeln!(out, "transaction:  0x{}", hex::encode(transaction))?;
        }
        CloseOutcome::Sent { transaction: None } | CloseOutcome::Checked => {}
        CloseOutcome::SentBefore => {
            writeln!(out, "transaction:  not told; the market maker says that it is closing")?
        }
    }
    writeln!(
        out,
        "result:       sent for block {}; the chain tells whether it is closed",
        closed.close_at.units()
    )?;
    Ok(())
}

fn show(report: &CloseReport) -> io::Result<()> {
    let CloseReport { channel, reconciliation, close_at, .. } = report;
    let mut out = io::stdout().lock();
    writeln!(out, "channel:      {}", channel.terms.channel_id)?;
    writeln!(
        out,
        "contract:     {} on chain {}",
        channel.terms.verifying_contract,
        channel.terms.chain_id.units()
    )?;
    writeln!(out, "amount:       {} XBR", channel.terms.amount)?;
    writeln!(
        out,
        "remaining:    {} XBR at seq {}, the last state that both signed",
        channel.state.balance, channel.state.seq
    )?;
    writeln!(
        out,
        "earned:       {} XBR by {} sales, surplus {} XBR",
        channel.earned, channel.sales, channel.surplus
    )?;
    if let Reconciliation::Ahead { unconfirmed, .. } = reconciliation {
        writeln!(
            out,
            "given up:     {unconfirmed} XBR that the market maker has deducted, but never signed"
        )?;
    }
    writeln!(out, "signed for:   block {}, final", close_at.units())
}

/// Asks on standard error, since standard output may go to a file.
fn confirmed() -> io::Result<bool> {
    write!(io::stderr(), "Close it for good? Nothing is sold on it afterwards. [y/N] ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
