//! The spans of sales, for a collector of OpenTelemetry: a layer that gathers them as they end, and a task that sends
//! them, in the JSON form of OTLP over HTTP. Off unless the configuration names a collector.
//!
//! Nothing waits for the collector: spans that it does not take fast enough are dropped, and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Subscriber, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;
use xbr_actors::{Clock, SystemClock};

use super::Metrics;
use super::otlp::Collector;

/// How many ended spans may wait to be sent.
const MAX_WAITING: usize = 8192;
/// How many are sent at once.
const MAX_BATCH: usize = 512;
/// For how long the first of a batch waits for others.
const GATHERING: Duration = Duration::from_secs(1);
/// For how long the collector may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A span that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Shared by all spans of a sale.
    pub trace_id: [u8; 16],
    /// Of this span.
    pub span_id: [u8; 8],
    /// Of the span that this one is a step of.
    pub parent_id: Option<[u8; 8]>,
    /// The step.
    pub name: &'static str,
    /// When it began, Unix time in ns.
    pub began_ns: u64,
    /// When it ended, Unix time in ns.
    pub ended_ns: u64,
    /// What was recorded: ids, numbers and codes.
    pub attributes: Vec<(&'static str, Attribute)>,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

/// Gathers the spans of sampled sales; see the module.
#[derive(Debug)]
pub struct SpanLayer {
    /// Of a thousand sales so many are traced.
    permille: u16,
    clock: Arc<dyn Clock>,
    ended: mpsc::Sender<Ended>,
    dropped: Arc<AtomicU64>,
}

/// The other end of a [`SpanLayer`].
#[derive(Debug)]
pub struct Spans {
    ended: mpsc::Receiver<Ended>,
    /// How many did not fit since this was looked at.
    dropped: Arc<AtomicU64>,
}

impl SpanLayer {
    /// A layer that traces so many of a thousand sales, and where their spans come out.
    pub fn new(permille: u16) -> (Self, Spans) {
        let (sender, ended) = mpsc::channel(MAX_WAITING);
        let dropped = Arc::<AtomicU64>::default();
        let layer = Self { permille, clock: Arc::new(SystemClock), ended: sender, dropped: dropped.clone() };
        (layer, Spans { ended, dropped })
    }

    fn is_sampled(&self) -> bool {
        rand::random_range(0..1000) < self.permille
    }
}

impl Spans {
    /// Sends what comes to a collector, and when `stop` resolves what is there by then. A batch that it does not take
    /// is given up.
    pub async fn export(mut self, collector: Collector, metrics: Metrics, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut is_failing = false;
        let mut stopped = false;
        while !stopped {
            let mut batch = Vec::new();
            tokio::select! {
                _ = self.ended.recv_many(&mut batch, MAX_BATCH) => {
                    tokio::select! {
                        () = sleep(GATHERING) => {}
                        () = &mut stop => stopped = true,
                    }
                }
                () = &mut stop => stopped = true,
            }
            while let Ok(ended) = self.ended.try_recv() {
                batch.push(ended);
            }
            for batch in batch.chunks(MAX_BATCH) {
                let sent = timeout(PATIENCE, collector.send(batch)).await;
                let sent = sent.unwrap_or_else(|_| Err("it takes too long".to_owned()));
                let outcome = if sent.is_ok() { "exported" } else { "failed" };
                metrics.spans(outcome, batch.len() as u64);
                // Once, until it takes them again.
                match sent {
                    Err(error) if !std::mem::replace(&mut is_failing, true) => {
                        warn!(
                            error,
                            "the collector of traces takes no spans; is telemetry.otlp_endpoint right?"
                        );
                    }
                    Err(_) => {}
                    Ok(()) => is_failing = false,
                }
            }
            metrics.spans("dropped", self.dropped.swap(0, Ordering::Relaxed));
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for SpanLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        let above = match span.parent() {
            Some(parent) => match parent.extensions().get::<Ended>() {
                Some(parent) => Some((parent.trace_id, parent.span_id)),
                // The sale is not sampled.
                None => return,
            },
            None if self.is_sampled() => None,
            None => return,
        };
        let now_ns = self.clock.now_ns();
        let mut ended = Ended {
            trace_id: above.map_or_else(rand::random, |(trace_id, _)| trace_id),
            span_id: rand::random(),
            parent_id: above.map(|(_, span_id)| span_id),
            name: attributes.metadata().name(),
            began_ns: now_ns,
            ended_ns: now_ns,
            attributes: Vec::new(),
        };
        attributes.record(&mut ended);
        span.extensions_mut().insert(ended);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        if let Some(span) = ctx.span(id)
            && let Some(ended) = span.extensions_mut().get_mut::<Ended>()
        {
            values.record(ended);
        }
    }

    fn on_close(&self, id: Id, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(&id) else { return };
        let Some(mut ended) = span.extensions_mut().remove::<Ended>() else { return };
        ended.ended_ns = self.clock.now_ns();
        if self.ended.try_send(ended).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Visit for Ended {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.attributes.push((field.name(), Attribute::Number(value)));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.record_i64(field, i64::try_from(value).unwrap_or(i64::MAX));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.attributes.push((field.name(), Attribute::Text(value.to_owned())));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.attributes.push((field.name(), Attribute::Text(format!("{value:?}"))));
    }
}
