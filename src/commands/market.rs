//! `xbr-seller market`: a market as a process, and the channels of a running one.

use std::io::{self, Write};
use std::path::Path;

use clap::CommandFactory as _;
use clap::error::ErrorKind;
use xbr_core::DelegateKey;
use xbr_core::wire::{ChannelStatus, ChannelType};

use super::Failure;
use crate::cli::{ChannelCommand, Cli, MarketArgs, MarketCommand};
use crate::config::{Environment, HostConfig, HostSecrets, Member};
use crate::host::operator::{Listed, Operator, OperatorError};
use crate::{host, logging, private_file, process};

pub(super) fn execute(args: &MarketArgs) -> Result<(), Failure> {
    let Some(path) = &args.config else {
        let missing = "a market needs its configuration: --config <FILE>";
        Cli::command().error(ErrorKind::MissingRequiredArgument, missing).exit();
    };
    let (config, secrets) = HostConfig::load(path, &Environment::of_process())?;
    match &args.command {
        Some(MarketCommand::Channel(command)) => channel(&config, &secrets, command),
        None => {
            logging::begin(&config.log)?;
            Ok(process::run(|stop| host::run(config, secrets, stop))??)
        }
    }
}

fn channel(config: &HostConfig, secrets: &HostSecrets, command: &ChannelCommand) -> Result<(), Failure> {
    let told = match command {
        ChannelCommand::Open { member, amount } => {
            // The command line has exactly one.
            let Some(member) = member.member() else { return Ok(()) };
            let opened = operate(config, secrets, async |operator| operator.open(member, *amount).await)?;
            format!("channel {} is open: {amount} XBR for {member}\n", opened.channel_id)
        }
        ChannelCommand::List { member } => {
            let members = member.member().map_or_else(|| members(config), |member| vec![member]);
            operate(config, secrets, async |operator| list(operator, members).await)?
        }
        ChannelCommand::Close { channel, key_file } => {
            let delegate = delegate_key(key_file)?;
            let closed =
                operate(config, secrets, async |operator| operator.close(*channel, &delegate).await)?;
            format!("channel {channel} is closed: {} XBR remain with the payer\n", closed.balance)
        }
    };
    Ok(io::stdout().write_all(told.as_bytes())?)
}

/// Does something as the operator of the running market.
fn operate<T>(
    config: &HostConfig,
    secrets: &HostSecrets,
    work: impl AsyncFnOnce(&Operator<'_>) -> Result<T, OperatorError>,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(async { work(&Operator::join(config, secrets).await?).await })?)
}

async fn list(operator: &Operator<'_>, members: Vec<Member>) -> Result<String, OperatorError> {
    let mut lines = String::new();
    for member in members {
        lines.extend(operator.list(member).await?.iter().map(line));
    }
    Ok(lines)
}

/// Those of the configuration, each once.
fn members(config: &HostConfig) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    for channel in &config.channels {
        if !members.contains(&channel.member) {
            members.push(channel.member);
        }
    }
    members
}

fn line(Listed { channel, balance }: &Listed) -> String {
    let kind = match channel.channel_type {
        ChannelType::Payment => "payment",
        ChannelType::Paying => "paying ",
    };
    let state = if channel.state == ChannelStatus::Open { "open" } else { "closed" };
    let (id, delegate, amount, seq) = (channel.channel_id, channel.delegate, channel.amount, balance.seq);
    let (remaining, inflight) = (balance.remaining, balance.inflight);
    format!(
        "{kind} {id} {delegate} {amount} XBR, {remaining} remain, {inflight} in flight, seq {seq}, {state}\n"
    )
}

fn delegate_key(path: &Path) -> Result<DelegateKey, Failure> {
    let text = private_file::read(path)?;
    text.trim().parse().map_err(|error| Failure::NoKey { path: path.display().to_string(), error })
}
