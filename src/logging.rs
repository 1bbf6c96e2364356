//! Logs: coloured text on a terminal, one JSON object a line otherwise, both on standard error. Amounts are
//! exact decimal texts, and secrets have no text at all.

use std::io::{self, IsTerminal};

use thiserror::Error;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};
use xbr_actors::spans;

use crate::config::{LogConfig, LogFormat};
use crate::telemetry::SpanLayer;

/// Why nothing can be logged.
#[derive(Debug, Error)]
pub enum LogError {
    /// The filter is none.
    #[error("is no filter such as info, or info,xbr_wamp=debug: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// There is a log already.
    #[error("cannot begin the log: {0}")]
    Begun(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Whether a text is a filter of log events.
///
/// # Errors
/// [`LogError::Filter`].
pub fn check_filter(filter: &str) -> Result<(), LogError> {
    Ok(EnvFilter::try_new(filter).map(drop)?)
}

/// Modules that log whole frames at their finest levels, tickets and all: no filter brings those out.
const TALKATIVE: [&str; 5] = [
    "tungstenite",
    "tungstenite::protocol",
    "tungstenite::protocol::frame",
    "tungstenite::protocol::frame::frame",
    "tungstenite::handshake",
];

fn filter(text: &str) -> Result<EnvFilter, LogError> {
    let mut filter = EnvFilter::try_new(text)?;
    for module in TALKATIVE {
        filter = filter.add_directive(format!("{module}=info").parse()?);
    }
    // The spans of sales are for a collector of traces: a log has no use for them.
    Ok(filter.add_directive(format!("{}=off", spans::TARGET).parse()?))
}

/// Begins the log of this process. From here on a panic is a line of it.
///
/// # Errors
/// [`LogError`].
pub fn begin(config: &LogConfig) -> Result<(), LogError> {
    begin_traced(config, None)
}

/// [`begin`] for a process that traces its sales as well.
///
/// # Errors
/// [`LogError`].
pub fn begin_traced(config: &LogConfig, traced: Option<SpanLayer>) -> Result<(), LogError> {
    let pretty = match config.format {
        LogFormat::Pretty => true,
        LogFormat::Json => false,
        LogFormat::Auto => io::stderr().is_terminal(),
    };
    let log = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        // A log that nobody reads any more must not end the service.
        .log_internal_errors(false);
    let log = if pretty {
        log.with_ansi(io::stderr().is_terminal()).boxed()
    } else {
        log.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    };
    let spans = Targets::new().with_target(spans::TARGET, LevelFilter::TRACE);
    tracing_subscriber::registry()
        .with(log.with_filter(filter(&config.filter)?))
        .with(traced.map(|traced| traced.with_filter(spans)))
        .try_init()
        .map_err(|error| LogError::Begun(error.into()))?;
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        tracing::error!(thread, location = panic.location().map(tracing::field::display), "{panic}");
    }));
    Ok(())
}
