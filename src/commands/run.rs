//! `xbr-seller run`: the seller's service as a process.

use super::Failure;
use crate::cli::RunArgs;
use crate::config::{Config, Environment};
use crate::reload::Source;
use crate::telemetry::SpanLayer;
use crate::{logging, process, service};

pub(super) fn execute(args: &RunArgs) -> Result<(), Failure> {
    let environment = Environment::of_process();
    let (config, secrets) = Config::load(&args.config, &environment)?;
    let (layer, spans) = config.traces.as_ref().map(|traces| SpanLayer::new(traces.permille)).unzip();
    logging::begin_traced(&config.log, layer)?;
    let source = Source { path: args.config.clone(), environment };
    Ok(process::run(|stop| service::run(config, secrets, source, spans, stop))??)
}
