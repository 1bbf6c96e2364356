//! Feeds: in which order lines leave, what slows their source down, and what happens to them while there is
//! no session.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers fail a test by panicking")]

use std::fs::{self, File, OpenOptions};
use std::future::pending;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;
use xbr_actors::messages::MarketError;
use xbr_actors::{SystemClock, WrapError, Wrapped};
use xbr_core::cbor::{Limits, encode};
use xbr_core::{ApiId, KeyId, Value};
use xbr_seller::config::{FeedConfig, FeedSource};
use xbr_seller::feed::lines::LineError;
use xbr_seller::feed::{self, BadItem, Content, FeedMeter, FeedReport, FeedState, Item, Outlet, Source};
use xbr_wamp::Auth;

/// A market in memory: its ciphertexts are the payloads' CBOR.
#[derive(Clone)]
struct Market {
    published: mpsc::UnboundedSender<Wrapped>,
    /// How many publications are acknowledged; the others wait.
    acknowledged: Arc<Semaphore>,
    /// Whether there is a session.
    session: watch::Receiver<bool>,
    /// Whether the session ends at the payload `"poison"`.
    unanswered: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
}

struct Controls {
    published: mpsc::UnboundedReceiver<Wrapped>,
    acknowledged: Arc<Semaphore>,
    session: watch::Sender<bool>,
    unanswered: Arc<AtomicUsize>,
}

fn market(acknowledged: usize) -> (Market, Controls) {
    let (published, receiver) = mpsc::unbounded_channel();
    let (sender, session) = watch::channel(true);
    let acknowledged = Arc::new(Semaphore::new(acknowledged));
    let unanswered = Arc::new(AtomicUsize::new(0));
    let market = Market {
        published,
        acknowledged: acknowledged.clone(),
        session,
        unanswered: unanswered.clone(),
        stopped: Arc::default(),
    };
    (market, Controls { published: receiver, acknowledged, session: sender, unanswered })
}

impl Outlet for Market {
    async fn wrap(&self, _: &str, payload: &Value) -> Result<Wrapped, WrapError> {
        if self.stopped.swap(false, Ordering::Relaxed) {
            return Err(WrapError::Stopped);
        }
        Ok(Wrapped { key_id: KeyId::new([1; 16]), ciphertext: encode(payload) })
    }

    async fn publish(&self, _: &str, event: Wrapped) -> Result<(), MarketError> {
        let procedure = "topic".to_owned();
        if event.ciphertext == encode(&"refused".into()) {
            let (uri, text) = ("wamp.error.not_authorized".to_owned(), String::new());
            return Err(MarketError::Refused { procedure, uri, text });
        }
        if event.ciphertext == encode(&"poison".into()) {
            self.unanswered.fetch_add(1, Ordering::Relaxed);
            return Err(MarketError::Unanswered { procedure, reason: "session lost".to_owned() });
        }
        if !*self.session.borrow() {
            return Err(MarketError::NotJoined);
        }
        let mut session = self.session.clone();
        tokio::select! {
            biased;
            _ = session.wait_for(|joined| !joined) => {
                return Err(MarketError::Unanswered { procedure, reason: "session lost".to_owned() });
            }
            permit = self.acknowledged.acquire() => permit.unwrap().forget(),
        }
        self.published.send(event).map_err(|_| MarketError::NotJoined)
    }

    async fn joined(&self) {
        if self.session.clone().wait_for(|joined| *joined).await.is_err() {
            pending::<()>().await;
        }
    }
}

fn config(in_flight: usize) -> FeedConfig {
    FeedConfig {
        source: FeedSource::Stdin,
        api_id: ApiId::new([7; 16]),
        uri: "topic".to_owned(),
        max_line_bytes: 1000,
        in_flight,
        limits: Limits::default(),
    }
}

fn meter() -> Arc<FeedMeter> {
    Arc::new(FeedMeter::new(&config(1), Arc::new(SystemClock)))
}

fn line(number: u64, text: &str) -> io::Result<Item> {
    Ok(Item::line(number, Ok(text.to_owned())))
}

/// Feeds all lines at once, and ends.
async fn run(market: Market, in_flight: usize, texts: &[&str]) -> FeedReport {
    let (sender, receiver) = mpsc::channel(texts.len().max(1));
    for (number, text) in (1..).zip(texts) {
        sender.try_send(line(number, text)).unwrap();
    }
    drop(sender);
    let (_stop, stopped) = watch::channel(None);
    feed::run(&config(in_flight), Source::new(receiver), market, &meter(), stopped).await
}

async fn take(controls: &mut Controls, count: usize) -> Vec<Vec<u8>> {
    let mut events = Vec::new();
    for _ in 0..count {
        events.push(controls.published.recv().await.unwrap().ciphertext);
    }
    events
}

fn numbers(range: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    range.map(|number| encode(&number.into())).collect()
}

#[tokio::test(start_paused = true)]
async fn lines_are_published_in_order_and_exactly() {
    let (market, mut controls) = market(1000);
    let big = "115792089237316195423570985008687907853269984665640564039457584007913129639935";
    let report = run(market, 4, &["1", " [1,  2] ", "", "  ", big, "\"\\u0000AQI=\"", "{\"a\": null}"]).await;
    assert_eq!(report, FeedReport { lines: 5, published: 5, ..FeedReport::default() });
    let max = Value::BigInt { negative: false, magnitude: vec![0xff; 32] };
    let expected = [
        1u64.into(),
        Value::List(vec![1u64.into(), 2u64.into()]),
        max,
        // A text that looks like binary in WAMP's JSON is a text all the same.
        "\0AQI=".into(),
        [("a", Value::Null)].into_iter().collect(),
    ];
    assert_eq!(take(&mut controls, 5).await, expected.map(|value: Value| encode(&value)));
}

#[tokio::test(start_paused = true)]
async fn bad_lines_are_skipped_and_the_others_are_not() {
    let (market, mut controls) = market(1000);
    let deep = "[".repeat(1000);
    let report =
        run(market, 4, &["1", "{\"a\":", "[1] [2]", "nope", "{\"a\":1,\"a\":2}", &deep, "NaN", "2"]).await;
    assert_eq!(report, FeedReport { lines: 8, published: 2, skipped: 6, ..FeedReport::default() });
    assert_eq!(take(&mut controls, 2).await, numbers(1..3));
}

#[tokio::test(start_paused = true)]
async fn no_more_is_in_flight_than_configured_and_the_source_waits() {
    let (market, mut controls) = market(0);
    let (sender, receiver) = mpsc::channel(1);
    let (_stop, stopped) = watch::channel(None);
    let meter = meter();
    let metered = meter.clone();
    let running =
        tokio::spawn(
            async move { feed::run(&config(3), Source::new(receiver), market, &metered, stopped).await },
        );
    let writing = tokio::spawn(async move {
        for number in 1..=20 {
            sender.send(line(number, &number.to_string())).await.unwrap();
        }
    });
    // Three in flight, and one in the channel: the fifth cannot be written before something is acknowledged.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!writing.is_finished());
    assert!(controls.published.try_recv().is_err());
    controls.acknowledged.add_permits(2);
    assert_eq!(take(&mut controls, 2).await, numbers(1..3));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!writing.is_finished() && controls.published.try_recv().is_err());
    controls.acknowledged.add_permits(100);
    assert_eq!(take(&mut controls, 18).await, numbers(3..21));
    assert_eq!(running.await.unwrap().published, 20);
}

#[tokio::test(start_paused = true)]
async fn events_wait_for_the_session_in_their_order() {
    let (market, mut controls) = market(2);
    let texts: Vec<_> = (1..=50u64).map(|number| number.to_string()).collect();
    let running = tokio::spawn(async move {
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        run(market, 8, &texts).await
    });
    assert_eq!(take(&mut controls, 2).await, numbers(1..3));
    for outage in 0..3 {
        controls.session.send_replace(false);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert!(controls.published.try_recv().is_err());
        controls.session.send_replace(true);
        controls.acknowledged.add_permits(3);
        assert_eq!(take(&mut controls, 3).await, numbers(3 + outage * 3..6 + outage * 3));
    }
    controls.acknowledged.add_permits(100);
    assert_eq!(take(&mut controls, 39).await, numbers(12..51));
    assert_eq!(running.await.unwrap(), FeedReport { lines: 50, published: 50, ..FeedReport::default() });
}

#[tokio::test(start_paused = true)]
async fn what_can_never_be_published_does_not_hold_the_others_up() {
    let (market, mut controls) = market(1000);
    let report = run(market, 4, &["1", "\"refused\"", "2", "\"poison\"", "3"]).await;
    assert_eq!(report, FeedReport { lines: 5, published: 3, skipped: 0, refused: 1, given_up: 1 });
    let mut events = take(&mut controls, 3).await;
    events.sort();
    assert_eq!(events, numbers(1..4));
    assert_eq!(controls.unanswered.load(Ordering::Relaxed), 5);
}

#[tokio::test(start_paused = true)]
async fn a_seller_that_starts_again_gets_the_line() {
    let (market, mut controls) = market(1000);
    market.stopped.store(true, Ordering::Relaxed);
    assert_eq!(run(market, 4, &["1"]).await.published, 1);
    assert_eq!(take(&mut controls, 1).await, numbers(1..2));
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_acknowledgements_until_its_deadline_and_counts_the_rest() {
    let (market, controls) = market(0);
    let (sender, receiver) = mpsc::channel(10);
    for number in 1..=5 {
        sender.try_send(line(number, "1")).unwrap();
    }
    let (stop, stopped) = watch::channel(None);
    let meter = meter();
    let metered = meter.clone();
    let running =
        tokio::spawn(
            async move { feed::run(&config(3), Source::new(receiver), market, &metered, stopped).await },
        );
    tokio::time::sleep(Duration::from_secs(1)).await;
    controls.acknowledged.add_permits(2);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    stop.send_replace(Some(begun + Duration::from_secs(5)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let status = meter.status();
    assert_eq!((status.read, status.published, status.pending), (5, 2, 3));
    assert_eq!(status.bytes, 2, "two encrypted payloads of one byte");
    controls.acknowledged.add_permits(1);
    let report = running.await.unwrap();
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
    assert_eq!((meter.status().state, meter.status().pending), (FeedState::Ended, 2));
    assert_eq!((report.lines, report.published, report.unpublished()), (5, 3, 2));
    assert!(sender.is_closed(), "the source is read no further");
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_the_session_is_away_does_not_wait_for_it() {
    let (market, controls) = market(0);
    let (_sender, receiver) = mpsc::channel(10);
    _sender.try_send(line(1, "1")).unwrap();
    let (stop, stopped) = watch::channel(None);
    let meter = meter();
    let metered = meter.clone();
    let running =
        tokio::spawn(
            async move { feed::run(&config(3), Source::new(receiver), market, &metered, stopped).await },
        );
    controls.session.send_replace(false);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let begun = Instant::now();
    stop.send_replace(Some(begun + Duration::from_secs(5)));
    assert_eq!(running.await.unwrap().unpublished(), 1);
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

/// A file or a FIFO, being read.
fn open(path: impl Into<PathBuf>, max_line_bytes: usize) -> mpsc::Receiver<io::Result<Item>> {
    let source = FeedSource::Path(path.into());
    feed::open(&FeedConfig { source, max_line_bytes, ..config(1) }, Auth::Anonymous, &meter()).unwrap().items
}

/// Its number and text, or what is wrong with it.
fn read(item: io::Result<Item>) -> (u64, Result<String, BadItem>) {
    let Item { number, content, .. } = item.unwrap();
    let text = content.map(|content| match content {
        Content::Line(text) => text,
        Content::Value(value) => panic!("{value:?} is no line"),
    });
    (number, text)
}

async fn collect(mut items: mpsc::Receiver<io::Result<Item>>) -> Vec<(u64, Result<String, BadItem>)> {
    let mut lines = Vec::new();
    while let Some(item) = items.recv().await {
        lines.push(read(item));
    }
    lines
}

#[tokio::test]
async fn a_file_is_read_to_its_end_with_every_line_numbered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("payloads.jsonl");
    fs::write(&path, [b"1\n".as_slice(), &[b'x'; 5000], b"\n\"\xff\"\n2"].concat()).unwrap();
    let lines = collect(open(path, 1000)).await;
    let text = |number, text: &str| (number, Ok(text.to_owned()));
    let bad = |number, error| (number, Err(BadItem::Unreadable(error)));
    assert_eq!(
        lines,
        [
            text(1, "1"),
            bad(2, LineError::TooLong { max: 1000 }),
            bad(3, LineError::NotUtf8 { column: 2 }),
            text(4, "2")
        ]
    );
}

#[tokio::test]
async fn a_file_that_is_not_there_is_told() {
    let mut lines = open("/nonexistent/feed", 10);
    assert!(lines.recv().await.unwrap().is_err());
    assert!(lines.recv().await.is_none());
}

#[tokio::test]
async fn a_fifo_is_read_from_one_writer_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let mut lines = open(&path, 1000);
    for number in 1..=20u64 {
        let path = path.clone();
        let writing = tokio::task::spawn_blocking(move || {
            let mut file: File = OpenOptions::new().write(true).open(path).unwrap();
            writeln!(file, "{number}").unwrap();
        });
        assert_eq!(read(lines.recv().await.unwrap()), (number, Ok(number.to_string())));
        writing.await.unwrap();
    }
}

#[tokio::test]
async fn a_source_is_not_read_far_ahead() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let lines = open(&path, 1 << 20);
    let written = Arc::new(AtomicUsize::new(0));
    let count = written.clone();
    let writing = std::thread::spawn(move || {
        let mut file = OpenOptions::new().write(true).open(path).unwrap();
        let line = format!("\"{}\"\n", "x".repeat(100_000));
        for _ in 0..100 {
            file.write_all(line.as_bytes()).unwrap();
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    // The writer is held up as soon as the reader's queue is full; until then it makes progress.
    let mut before = usize::MAX;
    while written.load(Ordering::SeqCst) != before || before < 8 {
        before = written.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(before < 16, "{before} lines were taken without a reader");
    assert_eq!(collect_first(lines, 100).await, 100);
    writing.join().unwrap();
}

async fn collect_first(mut lines: mpsc::Receiver<io::Result<Item>>, count: usize) -> usize {
    let mut got = 0;
    while got < count {
        read(lines.recv().await.unwrap()).1.unwrap();
        got += 1;
    }
    got
}
