//! What the session calls and publishes, and what it makes of the answers.

use std::collections::BTreeMap;

use xbr_core::eip712::{Eip712, Offer};
use xbr_core::offer::{KeyOffer, UriPrefix};
use xbr_core::reject::ArgumentError;
use xbr_core::wire::{ChannelBalance, ChannelStatus, ChannelType, Field};
use xbr_core::{Address, Amount, ChannelId, ChannelSeq, KeyId, Signature};

use super::support::{API, CHANNEL, MARKET, domain, market_maker, offer_terms, state};
use super::*;

const KEY: KeyId = KeyId::new([0x77; 16]);
const NOW_NS: u64 = 1_700_000_000_000_000_000;

fn bytes(bytes: &[u8]) -> Value {
    Value::Bytes(bytes.to_vec())
}

fn dict(fields: &[(&str, Value)]) -> Value {
    Value::from_iter(fields.iter().cloned())
}

/// As the market maker of the reference answers `get_config`.
pub(super) fn config() -> Value {
    dict(&[
        ("verifying_chain_id", Value::Int(1)),
        ("verifying_contract_adr", Value::from(domain().verifying_contract.to_string())),
        ("marketmaker", Value::from(market_maker().address().to_string())),
        ("market", Value::from(MARKET.to_string())),
        ("owner", Value::Null),
        ("contracts", dict(&[("xbrtoken", Value::from("0x00"))])),
        ("now", Value::Int(5)),
        ("of_the_future", Value::Bool(true)),
    ])
}

fn channel(amount: Value) -> Value {
    dict(&[
        ("market_oid", bytes(MARKET.as_bytes())),
        ("channel_oid", bytes(CHANNEL.as_bytes())),
        ("seq", Value::Int(1)),
        ("channel_type", Value::Int(2)),
        ("marketmaker", bytes(market_maker().address().as_bytes())),
        ("delegate", bytes(seller_key().address().as_bytes())),
        ("amount", amount),
        ("state", Value::Int(1)),
        ("close_channel_seq", Value::Int(0)),
    ])
}

fn balance(remaining: Value) -> Value {
    dict(&[("remaining", remaining), ("inflight", Value::Int(0)), ("seq", Value::Int(7))])
}

/// A session that knows what its offers are signed for.
async fn configured() -> Market {
    let it = joined().await;
    it.reply(uri::GET_CONFIG, Reply::Result(vec![config()]));
    assert!(it.ask(FetchConfig).await.is_ok());
    it
}

#[actix_rt::test]
async fn before_the_join_there_is_no_session() {
    let it = market().await;
    let delegate = seller_key().address();
    let none = MarketError::NotJoined;
    assert_eq!(it.ask(FetchConfig).await.unwrap_err(), none);
    assert_eq!(it.ask(FetchActiveChannel { delegate }).await.unwrap_err(), none);
    assert_eq!(it.ask(FetchChannels { delegate }).await.unwrap_err(), none);
    assert_eq!(it.ask(FetchChannel { channel_id: CHANNEL }).await.unwrap_err(), none);
    assert_eq!(it.ask(FetchBalance { channel_id: CHANNEL }).await.unwrap_err(), none);
    assert_eq!(it.ask(PlaceOffer { offer: offer_terms(35).offer(KEY, NOW_NS) }).await.unwrap_err(), none);
    assert_eq!(it.ask(RevokeOffer { key_id: KEY }).await.unwrap_err(), none);
    assert_eq!(it.ask(Publish { topic: "com.topic".into(), args: vec![] }).await.unwrap_err(), none);
    assert_eq!(it.ask(it.serving()).await.unwrap_err(), none);
    it.ask(Withdraw).await;
    it.ask(Leave).await;
}

#[actix_rt::test]
async fn the_configuration_is_read() {
    let mut it = joined().await;
    it.reply(uri::GET_CONFIG, Reply::Result(vec![config()]));
    let read = it.ask(FetchConfig).await.unwrap();
    assert_eq!(read.domain(), domain());
    assert_eq!((read.market_maker, read.owner), (market_maker().address(), None));
    assert_eq!(it.heard_call(uri::GET_CONFIG).await, Payload::default());
}

#[actix_rt::test]
async fn channels_are_read_with_amounts_as_bytes_and_as_integers() {
    let delegate = seller_key().address();
    for (amount, expected) in [
        (Value::Int(0), Amount::ZERO),
        (Value::Int(35), Amount::from_units(35)),
        (Amount::from_xbr(1000).to_value(), Amount::from_xbr(1000)),
    ] {
        let mut it = joined().await;
        let answer = Reply::Result(vec![channel(amount)]);
        it.reply(uri::GET_ACTIVE_PAYING_CHANNEL, answer.clone());
        it.reply(uri::GET_PAYING_CHANNEL, answer);
        let active = it.ask(FetchActiveChannel { delegate }).await.unwrap().unwrap();
        assert_eq!(
            (active.channel_id, active.market_id, active.amount, active.delegate),
            (CHANNEL, MARKET, expected, delegate)
        );
        assert_eq!((active.channel_type, active.state), (ChannelType::Paying, ChannelStatus::Open));
        assert_eq!(it.ask(FetchChannel { channel_id: CHANNEL }).await, Ok(active));
        let asked = it.heard_call(uri::GET_ACTIVE_PAYING_CHANNEL).await;
        assert_eq!((asked.args, asked.kwargs), (vec![bytes(delegate.as_bytes())], vec![]));
        let asked = it.heard_call(uri::GET_PAYING_CHANNEL).await;
        assert_eq!((asked.args, asked.kwargs), (vec![bytes(CHANNEL.as_bytes())], vec![]));
    }
}

#[actix_rt::test]
async fn that_no_channel_is_active_is_no_error() {
    let it = joined().await;
    let delegate = seller_key().address();
    for answer in [vec![Value::Null], vec![]] {
        it.reply(uri::GET_ACTIVE_PAYING_CHANNEL, Reply::Result(answer));
        assert_eq!(it.ask(FetchActiveChannel { delegate }).await, Ok(None));
    }
}

#[actix_rt::test]
async fn open_paying_channels_are_listed() {
    let mut it = joined().await;
    let delegate = seller_key().address();
    let ids = [CHANNEL, ChannelId::new([9; 16])];
    let list = ids.iter().map(|id| bytes(id.as_bytes())).collect::<Vec<_>>();
    it.reply(uri::GET_CHANNELS_BY_DELEGATE, Reply::Result(vec![list.into()]));
    assert_eq!(it.ask(FetchChannels { delegate }).await, Ok(ids.to_vec()));
    let asked = it.heard_call(uri::GET_CHANNELS_BY_DELEGATE).await;
    assert_eq!(asked.args, [bytes(delegate.as_bytes()), Value::Int(2), Value::Bool(true)]);
    it.reply(uri::GET_CHANNELS_BY_DELEGATE, Reply::Result(vec![Value::List(vec![])]));
    assert_eq!(it.ask(FetchChannels { delegate }).await, Ok(vec![]));
}

#[actix_rt::test]
async fn a_balance_is_read_with_amounts_as_bytes_and_as_integers() {
    let mut it = joined().await;
    for (remaining, expected) in [
        (Value::Int(0), Amount::ZERO),
        (Value::Int(5), Amount::from_units(5)),
        (Amount::from_xbr(965).to_value(), Amount::from_xbr(965)),
    ] {
        it.reply(uri::GET_PAYING_CHANNEL_BALANCE, Reply::Result(vec![balance(remaining)]));
        let expected =
            ChannelBalance { remaining: expected, inflight: Amount::ZERO, seq: ChannelSeq::new(7) };
        assert_eq!(it.ask(FetchBalance { channel_id: CHANNEL }).await, Ok(expected));
        let asked = it.heard_call(uri::GET_PAYING_CHANNEL_BALANCE).await;
        assert_eq!(asked.args, [bytes(CHANNEL.as_bytes())]);
    }
}

#[actix_rt::test]
async fn an_answer_out_of_form_says_what_is_wrong_with_it() {
    let it = joined().await;
    for (answer, wrong) in [
        (vec![], ArgumentError::Arity { expected: 1, actual: 0 }),
        (vec![balance(Value::Int(1)), Value::Null], ArgumentError::Arity { expected: 1, actual: 2 }),
        (vec![dict(&[("remaining", Value::Int(1))])], ArgumentError::Missing { name: "inflight" }),
        (
            vec![balance(bytes(&[1; 31]))],
            ArgumentError::Length { name: "remaining", expected: 32, actual: 31 },
        ),
        (
            vec![balance(Value::Int(-1))],
            ArgumentError::Range { name: "remaining", expected: "32 bytes or a non-negative integer" },
        ),
        (
            vec![Value::from("text")],
            ArgumentError::Type { name: "result", expected: "a dictionary", actual: "a string" },
        ),
    ] {
        it.reply(uri::GET_PAYING_CHANNEL_BALANCE, Reply::Result(answer));
        let procedure = uri::GET_PAYING_CHANNEL_BALANCE.to_owned();
        let expected = MarketError::Malformed { procedure, error: wrong };
        assert_eq!(it.ask(FetchBalance { channel_id: CHANNEL }).await, Err(expected));
    }
    let delegate = seller_key().address();
    for (uri, answer) in [
        (uri::GET_CONFIG, Value::Null),
        (uri::GET_ACTIVE_PAYING_CHANNEL, Value::Int(1)),
        (uri::GET_CHANNELS_BY_DELEGATE, Value::List(vec![bytes(&[1; 15])])),
        (uri::GET_PAYING_CHANNEL, Value::Null),
    ] {
        it.reply(uri, Reply::Result(vec![answer]));
        let error = match uri {
            uri::GET_CONFIG => it.ask(FetchConfig).await.err(),
            uri::GET_ACTIVE_PAYING_CHANNEL => it.ask(FetchActiveChannel { delegate }).await.err(),
            uri::GET_CHANNELS_BY_DELEGATE => it.ask(FetchChannels { delegate }).await.err(),
            _ => it.ask(FetchChannel { channel_id: CHANNEL }).await.err(),
        };
        assert!(
            matches!(&error, Some(MarketError::Malformed { procedure, .. }) if procedure == uri),
            "{uri}: {error:?}"
        );
    }
}

#[actix_rt::test]
async fn an_error_of_the_market_maker_is_told_with_its_uri_and_its_text_cut() {
    let it = joined().await;
    it.reply(uri::GET_PAYING_CHANNEL, Reply::Error("crossbar.error.no_such_object", "no such channel"));
    let refused = MarketError::Refused {
        procedure: uri::GET_PAYING_CHANNEL.into(),
        uri: "crossbar.error.no_such_object".into(),
        text: "no such channel".into(),
    };
    assert_eq!(it.ask(FetchChannel { channel_id: CHANNEL }).await, Err(refused));
    let long: &'static str = "é".repeat(300).leak();
    it.reply(uri::REVOKE_OFFER, Reply::Error("com.long", long));
    let error = it.ask(RevokeOffer { key_id: KEY }).await.unwrap_err();
    assert!(matches!(&error, MarketError::Refused { text, .. } if text.chars().count() == 200), "{error}");
}

#[actix_rt::test]
async fn a_call_without_answer_is_given_up_and_the_session_goes_on() {
    let it = joined_with(|client, _| client.call_timeout = Duration::from_millis(50)).await;
    it.reply(uri::GET_CONFIG, Reply::Silence);
    let error = it.ask(FetchConfig).await.unwrap_err();
    assert!(
        matches!(&error, MarketError::Unanswered { procedure, .. } if procedure == uri::GET_CONFIG),
        "{error}"
    );
    // What waits no longer than a moment may come too late on a busy machine, but the session is the same one.
    it.reply(uri::GET_CONFIG, Reply::Result(vec![config()]));
    assert_ne!(it.ask(FetchConfig).await, Err(MarketError::NotJoined));
}

/// The offer that is signed, written out.
fn message(offer: &KeyOffer) -> Offer {
    Offer {
        chain_id: Amount::from_units(1),
        verifying_contract: Address::new([0x44; 20]),
        market_id: MARKET,
        key_id: KEY,
        api_id: API,
        uri: offer.uri.as_str().to_owned(),
        valid_from: NOW_NS - 10_000_000_000,
        delegate: seller_key().address(),
        price: offer.price,
        expires: offer.expires_ns.unwrap_or(0),
        copies: offer.copies.unwrap_or(0),
        provider_id: provider(),
    }
}

#[actix_rt::test]
async fn an_offer_is_placed_with_these_arguments_and_signed_by_the_delegate() {
    let mut it = configured().await;
    let plain = offer_terms(35);
    let mut full = offer_terms(0);
    full.prefix = UriPrefix::new("io.crossbar.").unwrap();
    full.categories = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    full.expires_after = Some(Duration::from_secs(600));
    full.copies = Some(3);
    let price = |amount: Amount| ("price".to_owned(), amount.to_value());
    let provider_id = ("provider_id".to_owned(), Value::from(provider().as_str()));
    let plain_kwargs = vec![price(Amount::from_xbr(35)), provider_id.clone()];
    let full_kwargs = vec![
        price(Amount::ZERO),
        ("categories".to_owned(), dict(&[("a", Value::from("b"))])),
        ("expires".to_owned(), Value::from(NOW_NS + 600_000_000_000)),
        ("copies".to_owned(), Value::Int(3)),
        provider_id,
    ];
    for (terms, kwargs) in [(plain, plain_kwargs), (full, full_kwargs)] {
        let offer = terms.offer(KEY, NOW_NS);
        it.reply(uri::PLACE_OFFER, Reply::Result(vec![Value::Map(vec![])]));
        assert_eq!(it.ask(PlaceOffer { offer: offer.clone() }).await, Ok(()));
        let mut heard = it.heard_call(uri::PLACE_OFFER).await;
        let signature = heard.args.remove(5);
        let expected = [
            bytes(KEY.as_bytes()),
            bytes(API.as_bytes()),
            Value::from(offer.uri.as_str()),
            Value::from(NOW_NS - 10_000_000_000),
            bytes(seller_key().address().as_bytes()),
        ];
        assert_eq!((&heard.args[..], &heard.kwargs), (&expected[..], &kwargs));
        let signature = Signature::parse("delegate_signature", &signature).unwrap();
        assert_eq!(message(&offer).recover(&signature), Ok(seller_key().address()));
    }
}

#[actix_rt::test]
async fn only_that_the_key_is_offered_already_counts_as_success() {
    let it = configured().await;
    let place = || PlaceOffer { offer: offer_terms(35).offer(KEY, NOW_NS) };
    for (uri, text, succeeds) in [
        ("wamp.error.runtime_error", "key 77777777 already offered (in offer 1)", true),
        ("wamp.error.runtime_error", "database is full", false),
        ("wamp.error.invalid_argument", "already offered", false),
    ] {
        it.reply(uri::PLACE_OFFER, Reply::Error(uri, text));
        let refused =
            MarketError::Refused { procedure: uri::PLACE_OFFER.into(), uri: uri.into(), text: text.into() };
        let expected = if succeeds { Ok(()) } else { Err(refused) };
        assert_eq!(it.ask(place()).await, expected);
    }
}

#[actix_rt::test]
async fn an_offer_needs_the_configuration_of_this_session() {
    let mut it = joined().await;
    let place = || PlaceOffer { offer: offer_terms(35).offer(KEY, NOW_NS) };
    assert_eq!(it.ask(place()).await, Err(MarketError::NotJoined));
    it.reply(uri::GET_CONFIG, Reply::Result(vec![config()]));
    it.ask(FetchConfig).await.unwrap();
    it.reply(uri::PLACE_OFFER, Reply::Result(vec![]));
    assert_eq!(it.ask(place()).await, Ok(()));
    it.ask(Leave).await;
    it.router = it.router.again();
    it.join().await.unwrap();
    assert_eq!(it.ask(place()).await, Err(MarketError::NotJoined), "it may be another market now");
}

#[actix_rt::test]
async fn an_offer_is_revoked_by_its_key() {
    let mut it = joined().await;
    it.reply(uri::REVOKE_OFFER, Reply::Result(vec![Value::Null]));
    assert_eq!(it.ask(RevokeOffer { key_id: KEY }).await, Ok(()));
    let heard = it.heard_call(uri::REVOKE_OFFER).await;
    assert_eq!((heard.args, heard.kwargs), (vec![bytes(KEY.as_bytes())], vec![]));
}

#[actix_rt::test]
async fn an_event_is_published_when_the_router_says_so() {
    let mut it = joined().await;
    let args = vec![bytes(KEY.as_bytes()), Value::from("cbor"), bytes(&[1, 2, 3])];
    let publish = |topic: &str| Publish { topic: topic.into(), args: args.clone() };
    assert_eq!(it.ask(publish("com.topic")).await, Ok(()));
    let heard = it.heard(|message| match message {
        Wamp::Publish { options, topic, payload, .. } => {
            Some((options.clone(), topic.clone(), payload.clone()))
        }
        _ => None,
    });
    let (options, topic, payload) = heard.await;
    assert_eq!(options, [("acknowledge".to_owned(), Value::Bool(true))]);
    assert_eq!((topic.as_str(), payload), ("com.topic", Payload { args: args.clone(), kwargs: vec![] }));
    it.reply("com.topic", error("wamp.error.not_authorized"));
    let refused = it.ask(publish("com.topic")).await;
    assert!(
        matches!(&refused, Err(MarketError::Refused { procedure, uri, .. })
            if procedure == "com.topic" && uri == "wamp.error.not_authorized"),
        "{refused:?}"
    );
    let nowhere = it.ask(publish("no topic")).await;
    assert!(matches!(&nowhere, Err(MarketError::Unsendable { .. })), "{nowhere:?}");
}

#[actix_rt::test]
async fn a_balance_has_the_state_that_the_ledger_compares() {
    let it = joined().await;
    it.reply(uri::GET_PAYING_CHANNEL_BALANCE, Reply::Result(vec![balance(Amount::from_xbr(9).to_value())]));
    assert_eq!(it.ask(FetchBalance { channel_id: CHANNEL }).await.unwrap().state(), state(7, 9));
}
