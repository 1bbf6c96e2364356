//! What the service tells about itself: that the documentation, the dashboard and the alerts name what there is, how
//! readiness is judged, and that nobody vouches for actors that are stuck.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failure is a panic here")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::time::Duration;

use sd_notify::NotifyState;
use support::{API, CHANNEL, StoppedClock, api, every, seller_options};
use xbr_actors::messages::MarketError;
use xbr_actors::{Event, Observer, Observers, SaleEvent, SaleOutcome, SellerHandle, SellerState};
use xbr_core::channel::Reconciliation;
use xbr_core::reject::{Reject, SaleReject};
use xbr_core::{Amount, BuyerKey, ChannelSeq, KeyId};
use xbr_seller::systemd;
use xbr_seller::telemetry::{FeedFigures, Readiness, ReasonCode, SALE_OUTCOMES, Telemetry, names};
use xbr_store::{MemoryStore, Transaction};

const DOCS: &str = include_str!("../docs/telemetry.md");
const DASHBOARD: &str = include_str!("../config/grafana.json");
const ALERTS: &str = include_str!("../config/alerts.yml");

/// The names of metrics in a text, without the endings of histograms.
fn names_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names = words.filter(|word| word.starts_with("xbr_seller_"));
    names.map(|name| family(name).to_owned()).collect()
}

fn family(name: &str) -> &str {
    let endings = ["_bucket", "_sum", "_count"];
    let histogram = endings.iter().find_map(|ending| name.strip_suffix(ending));
    histogram.filter(|name| names::ALL.iter().any(|family| family.name == *name)).unwrap_or(name)
}

#[test]
fn the_documentation_has_every_metric_as_it_is() {
    let rows = names::ALL.iter().map(|family| {
        let labels: Vec<_> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{}` | {} | {} | {} |", family.name, family.kind.name(), labels.join(", "), family.help)
    });
    for row in rows {
        assert!(DOCS.contains(&row), "docs/telemetry.md lacks the row\n{row}");
    }
    let known: BTreeSet<_> = names::ALL.iter().map(|family| family.name.to_owned()).collect();
    assert_eq!(known.len(), names::ALL.len(), "two have the same name");
    assert_eq!(names_in(DOCS), known);
}

#[test]
fn the_dashboard_and_the_alerts_name_metrics_and_labels_that_exist() {
    let labels: BTreeSet<_> = names::ALL.iter().flat_map(|family| family.labels).copied().collect();
    for (what, text) in [("grafana.json", DASHBOARD), ("alerts.yml", ALERTS)] {
        let known: BTreeSet<_> = names::ALL.iter().map(|family| family.name.to_owned()).collect();
        let unknown: Vec<_> = names_in(text).difference(&known).cloned().collect();
        assert!(unknown.is_empty(), "{what} names {unknown:?}");
        // What stands in braces before a comparison is a label.
        for part in
            text.split("xbr_seller_").skip(1).filter_map(|part| part.split_once('{')?.1.split_once('}'))
        {
            for label in part.0.split(',').filter_map(|matcher| matcher.split_once(['=', '!'])) {
                let label = label.0.trim();
                assert!(label == "instance" || labels.contains(label), "{what}: {label}");
            }
        }
    }
    serde_json::from_str::<serde_json::Value>(DASHBOARD).unwrap();
}

fn sale(outcome: SaleOutcome) -> Event {
    Event::Sale(SaleEvent {
        at_ns: 0,
        channel_id: CHANNEL,
        seq: ChannelSeq::new(2),
        key_id: KeyId::new([1; 16]),
        api_id: Some(API),
        buyer_key: BuyerKey::new([2; 32]),
        amount: Amount::from_xbr(35),
        outcome,
        duration: Duration::from_millis(3),
    })
}

/// One of each kind.
fn events() -> Vec<Event> {
    let (api_id, key_id, price) = (API, KeyId::new([1; 16]), Amount::from_xbr(35));
    vec![
        sale(SaleOutcome::Sold),
        sale(SaleOutcome::Repeated),
        sale(SaleOutcome::Refused(SaleReject::NoSuchKey)),
        Event::TurnedAway { error: "wamp.error.unavailable" },
        Event::Close { channel_id: CHANNEL, error: None },
        Event::Rotated {
            api_id,
            key_id,
            previous: None,
            price,
            created_ns: 0,
            rotates_ns: None,
            offered: true,
            late: Some(Duration::ZERO),
        },
        Event::Offer { api_id, key_id, price, error: Some(MarketError::NotJoined) },
        Event::State(SellerState::Started),
        Event::SessionLost { reason: "a test".to_owned() },
        Event::NotBack { reason: "a test".to_owned() },
        Event::Reconciled { channel_id: CHANNEL, is_new: true, reconciliation: Reconciliation::Equal },
        Event::RolledBack { channel_id: CHANNEL, ours: support::state(2, 1), theirs: support::state(1, 1) },
        Event::Contradiction { channel_id: CHANNEL, error: "xbr.error.unexpected_channel_seq" },
        Event::Low { channel_id: CHANNEL, remaining: Amount::ZERO },
    ]
}

fn seller(observers: Observers) -> SellerHandle {
    let mut options = seller_options(Arc::new(MemoryStore::new()));
    options.observers = observers;
    // Nobody dials: it is never started.
    let client = xbr_wamp::ClientOptions::new("ws://127.0.0.1:1/ws", "realm1");
    SellerHandle::spawn(options, xbr_actors::MarketOptions::new(client)).unwrap()
}

#[tokio::test]
async fn what_is_exported_is_what_is_named_and_nothing_else() {
    let telemetry = Telemetry::new(&StoppedClock).unwrap();
    telemetry.metrics.label([API]);
    events().iter().for_each(|event| telemetry.told(event));
    let transaction = Transaction { writes: 3, duration: Duration::from_millis(1), is_durable: true };
    telemetry.metrics.transaction(&transaction);
    telemetry.metrics.spans("exported", 1);
    let seller = seller(Observers::default());
    seller.add_api(api(every(3600))).await.unwrap();
    let feeds = [FeedFigures {
        feed: "prices.jsonl".to_owned(),
        published: 7,
        skipped: 1,
        refused: 0,
        given_up: 0,
        pending: 2,
        lag: Duration::from_millis(1500),
    }];
    let text = telemetry.scrape(&seller, &feeds).await;
    let exported: BTreeSet<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let named: BTreeSet<_> = names::ALL.iter().map(|family| family.name).collect();
    assert_eq!(exported, named);
    for line in [
        "xbr_seller_sale_requests_total{outcome=\"sold\"} 1",
        "xbr_seller_sale_requests_total{outcome=\"crossbar.error.no_such_object\"} 1",
        "xbr_seller_sale_requests_total{outcome=\"xbr.error.key_retired\"} 0",
        &format!("xbr_seller_sales_total{{api_id=\"{API}\"}} 1"),
        &format!("xbr_seller_earned_xbr{{api_id=\"{API}\"}} 35"),
        &format!("xbr_seller_offers_total{{api_id=\"{API}\",outcome=\"not_joined\"}} 1"),
        "xbr_seller_store_writes_total 3",
        "xbr_seller_sale_duration_seconds_bucket{le=\"0.005\"} 1",
        "xbr_seller_feed_lines_total{feed=\"prices.jsonl\",outcome=\"published\"} 7",
        "xbr_seller_feed_lag_seconds{feed=\"prices.jsonl\"} 1.5",
        "xbr_seller_up 1",
        "xbr_seller_state 0",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} in\n{text}");
    }

    // An API that is configured no more has no figures of its own, and is not told apart.
    telemetry.metrics.label([]);
    seller.remove_api(API).await;
    telemetry.told(&sale(SaleOutcome::Sold));
    let text = telemetry.scrape(&seller, &feeds).await;
    for line in [
        "xbr_seller_sales_total{api_id=\"other\"} 1",
        &format!("xbr_seller_key_offered{{api_id=\"{API}\"}} NaN"),
    ] {
        assert!(text.lines().any(|it| it == line), "{line} in\n{text}");
    }
}

#[test]
fn every_answer_to_a_sale_is_counted_under_its_name() {
    let argument = xbr_core::reject::ArgumentError::Missing { name: "key_id" };
    let (expected, actual) = (Amount::ZERO, Amount::ZERO);
    let rejects = [
        SaleReject::InvalidArgument(argument),
        SaleReject::UnexpectedMarketMaker,
        SaleReject::NoSuchKey,
        SaleReject::KeyRetired,
        SaleReject::UnexpectedChannel,
        SaleReject::InvalidBuyerKey,
        SaleReject::ChannelClosed,
        SaleReject::ChannelHalted,
        SaleReject::UnprovenSeq,
        SaleReject::UnexpectedSeq { expected: 2, actual: ChannelSeq::new(1) },
        SaleReject::UnprovenBalance,
        SaleReject::UnexpectedBalance { expected, actual },
        SaleReject::InvalidSignature,
        SaleReject::InsufficientAmount { expected, actual },
        SaleReject::Unavailable { reason: "a test" },
    ];
    let mut codes: BTreeSet<_> = rejects.into_iter().map(|reject| Reject::from(reject).uri()).collect();
    codes.extend([SaleOutcome::Sold.code(), SaleOutcome::Repeated.code()]);
    assert_eq!(codes, SALE_OUTCOMES.into_iter().collect());
}

#[tokio::test]
async fn a_seller_that_does_not_sell_says_why() {
    let telemetry = Telemetry::new(&StoppedClock).unwrap();
    let seller = seller(Observers::default());
    let codes = |readiness: Readiness| -> Vec<_> {
        assert_eq!(readiness.ready, readiness.reasons.is_empty());
        readiness.reasons.into_iter().map(|reason| reason.code).collect()
    };
    assert_eq!(codes(telemetry.readiness(&seller).await), [ReasonCode::Starting]);
    seller.add_api(api(every(3600))).await.unwrap();
    let both = [ReasonCode::Starting, ReasonCode::KeyNotOffered];
    assert_eq!(codes(telemetry.readiness(&seller).await), both);
    telemetry.told(&Event::State(SellerState::Started));
    telemetry.told(&Event::SessionLost { reason: "the router has gone".to_owned() });
    let away = telemetry.readiness(&seller).await;
    assert!(away.reasons[0].detail.contains("the router has gone"), "{away:?}");
    assert_eq!(away.reasons[0].code, ReasonCode::NotJoined);
    seller.stop(Duration::from_secs(1)).await;
    assert_eq!(codes(telemetry.readiness(&seller).await)[0], ReasonCode::Stopping);
    assert_eq!(codes(Readiness::of(None, true, None)), [ReasonCode::Stuck]);
}

/// Holds the actors up for as long as the test wants.
struct Holding(std::sync::mpsc::SyncSender<()>, tokio::sync::watch::Sender<bool>);

impl Observer for Holding {
    fn told(&self, _: &Event) {
        self.1.send_replace(true);
        // A channel without room: it waits until the test takes it.
        let _ = self.0.send(());
    }
}

#[tokio::test]
async fn the_watchdog_hears_nothing_while_the_actors_are_stuck() {
    let (hold, release) = sync_channel(0);
    let (is_held, mut held) = tokio::sync::watch::channel(false);
    let seller = seller(Observers::new([Arc::new(Holding(hold, is_held)) as _]));
    let (pinged, pings) = channel();
    let watchdog = Duration::from_millis(40);
    let telemetry = Telemetry::new(&StoppedClock).unwrap();
    let watching = systemd::watch(telemetry, seller.clone(), Some(watchdog), move |states| {
        if states.iter().any(|state| matches!(state, NotifyState::Watchdog)) {
            // A test that is over hears no more.
            let _ = pinged.send(());
        }
    });
    let watching = tokio::spawn(watching);
    let ping = async |pings: &Receiver<()>| {
        while pings.try_recv().is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    ping(&pings).await;
    ping(&pings).await;

    // Stopping is an event, and so holds them up.
    let stopping = tokio::spawn({
        let seller = seller.clone();
        async move { seller.stop(Duration::from_secs(1)).await }
    });
    held.wait_for(|held| *held).await.unwrap();
    tokio::time::sleep(watchdog).await;
    pings.try_iter().for_each(drop);
    tokio::time::sleep(watchdog * 5).await;
    assert!(pings.try_recv().is_err(), "somebody vouches for actors that are stuck");

    drop(release);
    stopping.await.unwrap();
    ping(&pings).await;
    watching.abort();
}
