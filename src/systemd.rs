//! What the service manager hears of us (`sd_notify`): that we sell, that we stop, how we do, and at regular intervals
//! that the actors still answer. Without a service manager nothing is said.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval, timeout};
use xbr_actors::SellerHandle;

use crate::telemetry::{Readiness, Telemetry};

/// How often the status is brought up to date when there is no watchdog.
const PERIOD: Duration = Duration::from_secs(10);
/// A status has one line, and not a long one.
const MAX_STATUS: usize = 500;

/// Says something to the service manager, if there is one.
pub fn tell(states: &[NotifyState<'_>]) {
    // Nothing depends on it, and there is nothing that could be done about it here.
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}

/// The configuration is read again. It wants to know when that was, to tell this time from others.
pub fn tell_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "cannot read the clock for the service manager"),
    }
}

/// Within which time the service manager wants to hear that we live; `None`: it does not.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Keeps the service manager up to date, for as long as this runs: the status, and within the time of the watchdog that
/// the actors answer. While they do not, nothing is said, so that it restarts us.
pub async fn watch(
    telemetry: Telemetry,
    seller: SellerHandle,
    watchdog: Option<Duration>,
    tell: impl Fn(&[NotifyState<'_>]),
) {
    // Twice within the time, so that being late once does no harm.
    let period = watchdog.map_or(PERIOD, |watchdog| watchdog / 2).max(Duration::from_millis(1));
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = String::new();
    loop {
        ticks.tick().await;
        let looked = timeout(period, telemetry.readiness(&seller)).await;
        let Some(readiness) = looked.ok().filter(|readiness| !readiness.is_stuck()) else { continue };
        if watchdog.is_some() {
            tell(&[NotifyState::Watchdog]);
        }
        let status = status(&readiness);
        if status != said {
            tell(&[NotifyState::Status(&status)]);
            said = status;
        }
    }
}

/// How we do, in a line.
fn status(readiness: &Readiness) -> String {
    if readiness.ready {
        return "selling".to_owned();
    }
    let reasons: Vec<_> = readiness.reasons.iter().map(|reason| reason.detail.as_str()).collect();
    let line = format!("not ready: {}", reasons.join("; "));
    line.replace(char::is_control, " ").chars().take(MAX_STATUS).collect()
}
