//! Requests and positional events.

use std::fmt::Debug;

use xbr_core::eip712::Eip712;
use xbr_core::ids::OfferId;
use xbr_core::reject::ArgumentError;
use xbr_core::wire::*;
use xbr_core::{Address, Amount, DelegateKey, KeyId, ProviderId, Signer, Value};

use crate::samples::*;

type Parsed<T> = Result<T, ArgumentError>;

/// What an argument has to be.
#[derive(Clone, Copy)]
enum Kind {
    Bytes(usize),
    Seq,
    U64,
    Bool,
    Lenient,
}

const INTEGER: &str = "an integer";
const LENIENT: &str = "32 bytes or a non-negative integer";

fn big() -> Value {
    Value::BigInt { negative: false, magnitude: vec![1; 9] }
}

/// Malformed values of a kind, with the exact error of each.
fn malformed(name: &'static str, kind: Kind) -> Vec<(Value, ArgumentError)> {
    let range = |expected| ArgumentError::Range { name, expected };
    let (expected, mut rows) = match kind {
        Kind::Bytes(expected) => {
            let length =
                |actual| (Value::Bytes(vec![0; actual]), ArgumentError::Length { name, expected, actual });
            ("a byte string", vec![length(0), length(expected - 1), length(expected + 1), length(4096)])
        }
        Kind::Seq => {
            let range = range("an integer from 0 to 2^32 - 1");
            (INTEGER, vec![(Value::Int(-1), range.clone()), (Value::Int(1 << 32), range)])
        }
        Kind::U64 => {
            let range = range("an integer from 0 to 2^64 - 1");
            (INTEGER, vec![(Value::Int(-1), range.clone()), (Value::Int(1 << 64), range)])
        }
        Kind::Bool => ("a boolean", Vec::new()),
        Kind::Lenient => {
            let negative = Value::BigInt { negative: true, magnitude: vec![1; 9] };
            let great = Value::BigInt { negative: false, magnitude: vec![1; 33] };
            let mut rows = [Value::Int(-1), negative, great].map(|value| (value, range(LENIENT))).to_vec();
            rows.push((Value::Bytes(vec![0; 31]), ArgumentError::Length { name, expected: 32, actual: 31 }));
            (LENIENT, rows)
        }
    };
    let others = [
        Value::Null,
        Value::Undefined,
        Value::Bool(true),
        Value::Int(1),
        big(),
        Value::Float(1.0),
        Value::Simple(1),
        Value::from("1"),
        Value::Bytes(vec![0; 3]),
        Value::List(vec![Value::Bytes(vec![0; 16])]),
        Value::Map(Vec::new()),
        Value::Tag(37, Box::new(Value::Bytes(vec![0; 16]))),
    ];
    let own = |value: &Value| match kind {
        Kind::Bytes(_) => matches!(value, Value::Bytes(_)),
        Kind::Seq | Kind::U64 => matches!(value, Value::Int(_)),
        Kind::Bool => matches!(value, Value::Bool(_)),
        Kind::Lenient => matches!(value, Value::Bytes(_) | Value::Int(_) | Value::BigInt { .. }),
    };
    let wrong = others.into_iter().filter(|value| !own(value));
    rows.extend(wrong.map(|value| {
        let actual = value.kind();
        (value, ArgumentError::Type { name, expected, actual })
    }));
    rows
}

/// A round trip, and each argument malformed in each way.
fn check_arguments<T: PartialEq + Debug>(
    good: &T,
    args: &[Value],
    parse: impl Fn(&[Value], &[(String, Value)]) -> Parsed<T>,
    kinds: &[(&'static str, Kind)],
) {
    assert_eq!(args.len(), kinds.len());
    assert_eq!(parse(args, &[]).as_ref(), Ok(good));
    for (index, (name, kind)) in kinds.iter().enumerate() {
        for (value, error) in malformed(name, *kind) {
            let mut args = args.to_vec();
            args[index] = value.clone();
            assert_eq!(parse(&args, &[]), Err(error), "{name} as {value:?}");
        }
    }
    let expected = kinds.len();
    let mut more = args.to_vec();
    more.push(Value::Null);
    assert_eq!(parse(&more, &[]), Err(ArgumentError::Arity { expected, actual: expected + 1 }));
    let keywords = [("details".to_owned(), Value::Null), ("x".to_owned(), Value::Null)];
    assert_eq!(parse(args, &keywords), Err(ArgumentError::Keywords { actual: 2 }));
}

/// The seller's procedures: exactly these arguments, none by keyword.
fn check_strict<T: PartialEq + Debug>(
    good: &T,
    args: &[Value],
    parse: impl Fn(&[Value], &[(String, Value)]) -> Parsed<T>,
    kinds: &[(&'static str, Kind)],
) {
    check_arguments(good, args, &parse, kinds);
    for actual in 0..kinds.len() {
        assert_eq!(parse(&args[..actual], &[]), Err(ArgumentError::Arity { expected: kinds.len(), actual }));
    }
    let (last, rest) = args.split_last().unwrap();
    let keyword = [(kinds.last().unwrap().0.to_owned(), last.clone())];
    assert_eq!(
        parse(rest, &keyword),
        Err(ArgumentError::Arity { expected: kinds.len(), actual: rest.len() })
    );
    assert_eq!(parse(args, &keyword), Err(ArgumentError::Keywords { actual: 1 }));
}

/// The market maker's procedures: each argument by position or by keyword, like those of a Python function.
fn check_bound<T: PartialEq + Debug>(
    good: &T,
    args: &[Value],
    parse: impl Fn(&[Value], &[(String, Value)]) -> Parsed<T>,
    kinds: &[(&'static str, Kind)],
) {
    check_arguments(good, args, &parse, kinds);
    let keywords: Kwargs =
        kinds.iter().zip(args).map(|((name, _), value)| ((*name).to_owned(), value.clone())).rev().collect();
    assert_eq!(parse(&[], &keywords).as_ref(), Ok(good), "all by keyword, in any order");
    for (index, (name, _)) in kinds.iter().enumerate() {
        assert_eq!(parse(&args[..index], &[]), Err(ArgumentError::Missing { name }));
    }
    let repeated = &keywords[..1];
    assert_eq!(parse(args, repeated), Err(ArgumentError::Keywords { actual: 1 }), "given twice");
}

const SELL: [(&str, Kind); 8] = [
    ("market_maker_adr", Kind::Bytes(20)),
    ("buyer_pubkey", Kind::Bytes(32)),
    ("key_id", Kind::Bytes(16)),
    ("channel_oid", Kind::Bytes(16)),
    ("channel_seq", Kind::Seq),
    ("amount", Kind::Bytes(32)),
    ("balance", Kind::Bytes(32)),
    ("signature", Kind::Bytes(65)),
];

#[test]
fn sell_takes_exactly_its_eight_arguments() {
    let request = sell_request();
    check_strict(&request, &request.to_args(), SellRequest::parse, &SELL);
    let claim = request.claim(true);
    assert_eq!(
        (claim.state.seq, claim.state.balance, claim.amount),
        (SEQ, Amount::MAX, Amount::from_xbr(35))
    );
    assert!(claim.signed && !request.claim(false).signed);
}

#[test]
fn a_providers_close_takes_exactly_its_six_arguments() {
    let request = close_request();
    let kinds = [
        ("market_maker_adr", Kind::Bytes(20)),
        ("channel_oid", Kind::Bytes(16)),
        ("channel_seq", Kind::Seq),
        ("channel_balance", Kind::Bytes(32)),
        ("channel_is_final", Kind::Bool),
        ("signature", Kind::Bytes(65)),
    ];
    check_strict(&request, &request.to_args(), CloseRequest::parse, &kinds);
    assert!(request.claim(true).is_final);
}

#[test]
fn buy_key_takes_its_eight_arguments() {
    let request = buy_request();
    let mut kinds = SELL;
    kinds[0].0 = "delegate_adr";
    check_bound(&request, &request.to_args(), BuyRequest::parse, &kinds);
    assert_eq!(request.state().seq, SEQ);
}

#[test]
fn the_market_makers_close_takes_its_eight_arguments_and_signs_the_same() {
    let request = market_close_request();
    let kinds = [
        ("channel_oid", Kind::Bytes(16)),
        ("verifying_chain_id", Kind::U64),
        ("block_number", Kind::U64),
        ("verifying_contract_adr", Kind::Bytes(20)),
        ("closing_balance", Kind::Bytes(32)),
        ("closing_seq", Kind::Seq),
        ("is_final", Kind::Bool),
        ("delegate_signature", Kind::Bytes(65)),
    ];
    check_bound(&request, &request.to_args(), MarketCloseRequest::parse, &kinds);
    let message = request.message(MARKET);
    assert_eq!(message.close_at, Amount::from_units(u64::MAX.into()));
    assert_eq!((message.market_id, message.channel_id, message.channel_seq), (MARKET, CHANNEL, SEQ));
    assert!(message.is_final);
}

#[test]
fn an_opening_takes_its_twelve_arguments_and_signs_the_same() {
    let request = OpenChannel {
        actor: ADDRESS,
        market_id: MARKET,
        channel_id: CHANNEL,
        chain_id: 1,
        block_number: 2,
        verifying_contract: ADDRESS,
        channel_type: ChannelType::Paying,
        delegate: Address::new([7; 20]),
        market_maker: Address::new([8; 20]),
        recipient: Address::new([9; 20]),
        amount: Amount::MAX,
        signature: SIGNATURE,
    };
    let args = request.to_args();
    assert_eq!(args.len(), 12);
    assert_eq!(OpenChannel::parse(&args, &[]), Ok(request.clone()));
    let message = request.message();
    assert_eq!((message.ctype, message.opened_at), (2, Amount::from_units(2)));
    assert_eq!((message.delegate, message.marketmaker), (request.delegate, request.market_maker));
    assert_eq!((message.recipient, message.amount), (request.recipient, Amount::MAX));
}

#[test]
fn look_ups_take_one_argument() {
    let delegate = ByDelegate { delegate: ADDRESS };
    check_bound(&delegate, &delegate.to_args(), ByDelegate::parse, &[("delegate_adr", Kind::Bytes(20))]);
    let channel = ByChannel { channel_id: CHANNEL };
    check_bound(&channel, &channel.to_args(), ByChannel::parse, &[("channel_oid", Kind::Bytes(16))]);
    let key = ByKey { key_id: KEY };
    check_bound(&key, &key.to_args(), ByKey::parse, &[("key_id", Kind::Bytes(16))]);
    let offer = ByOffer { offer_id: OfferId::new([9; 16]) };
    check_bound(&offer, &offer.to_args(), ByOffer::parse, &[("offer_id", Kind::Bytes(16))]);
}

#[test]
fn channels_are_filtered_unless_said_otherwise() {
    let request = channels_by_delegate();
    let args = request.to_args();
    assert_eq!(ChannelsByDelegate::parse(&args, &[]), Ok(request.clone()));
    let keyword = [("filter_open".to_owned(), Value::Bool(false))];
    assert_eq!(ChannelsByDelegate::parse(&args[..2], &keyword), Ok(request.clone()));
    let filtered = ChannelsByDelegate { filter_open: true, ..request };
    assert_eq!(ChannelsByDelegate::parse(&args[..2], &[]), Ok(filtered));
    let name = "channel_type";
    for (value, error) in [
        (Value::Int(3), ArgumentError::Range { name, expected: "1 (payment) or 2 (paying)" }),
        (Value::Int(0), ArgumentError::Range { name, expected: "1 (payment) or 2 (paying)" }),
        (Value::from("2"), ArgumentError::Type { name, expected: INTEGER, actual: "a string" }),
    ] {
        assert_eq!(ChannelsByDelegate::parse(&[args[0].clone(), value], &[]), Err(error));
    }
    let error = ArgumentError::Type { name: "filter_open", expected: "a boolean", actual: INTEGER };
    let args = [args[0].clone(), args[1].clone(), Value::Int(1)];
    assert_eq!(ChannelsByDelegate::parse(&args, &[]), Err(error));
}

#[test]
fn configuration_and_status_need_no_argument() {
    for include_eula_text in [false, true] {
        let request = GetConfig { include_eula_text };
        assert_eq!(GetConfig::parse(&request.to_args(), &[]), Ok(request));
    }
    let error = ArgumentError::Type { name: "include_eula_text", expected: "a boolean", actual: INTEGER };
    assert_eq!(GetConfig::parse(&[Value::Int(1)], &[]), Err(error));
    assert_eq!(GetStatus::parse(&GetStatus.to_args(), &[]), Ok(GetStatus));
    assert_eq!(GetStatus::parse(&[Value::Null], &[]), Err(ArgumentError::Arity { expected: 0, actual: 1 }));
}

#[test]
fn an_offer_leaves_out_what_is_unset_but_never_price_and_provider() {
    let mut offer = place_offer();
    assert_eq!(PlaceOffer::parse(&offer.to_args(), &offer.to_kwargs()), Ok(offer.clone()));
    assert_eq!(offer.to_args().len(), 6);
    let names = |offer: &PlaceOffer| offer.to_kwargs().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names(&offer), ["price", "categories", "expires", "copies", "provider_id"]);
    let terms = &mut offer.unsigned.offer;
    (terms.price, terms.expires_ns, terms.copies) = (Amount::ZERO, None, None);
    terms.categories.clear();
    assert_eq!(names(&offer), ["price", "provider_id"]);
    assert_eq!(offer.to_kwargs()[0].1, Value::Bytes(vec![0; 32]), "free is 32 zero bytes, never null");
    assert_eq!(PlaceOffer::parse(&offer.to_args(), &offer.to_kwargs()), Ok(offer));
}

/// The reference seller sends every keyword, null where it is unset.
#[test]
fn an_offer_of_the_reference_is_read() {
    let mut expected = place_offer();
    let terms = &mut expected.unsigned.offer;
    (terms.expires_ns, terms.copies) = (None, None);
    terms.categories.clear();
    let mut kwargs = expected.to_kwargs();
    for name in ["privkey", "categories", "expires", "copies"] {
        kwargs.push((name.to_owned(), Value::Null));
    }
    assert_eq!(PlaceOffer::parse(&expected.to_args(), &kwargs), Ok(expected.clone()));
    let copies = kwargs.iter_mut().find(|(name, _)| name == "copies").unwrap();
    copies.1 = Value::Int(0);
    assert_eq!(PlaceOffer::parse(&expected.to_args(), &kwargs), Ok(expected), "0 copies: without limit");
}

#[test]
fn a_malformed_offer_is_refused_for_what_is_wrong_with_it() {
    let offer = place_offer();
    let with = |name: &str, value: Value| {
        let (mut args, mut kwargs) = (offer.to_args(), offer.to_kwargs());
        let names = ["key_id", "api_id", "uri", "valid_from", "delegate_adr", "delegate_signature"];
        match names.iter().position(|n| *n == name) {
            Some(index) => args[index] = value,
            None => {
                kwargs.retain(|(n, _)| n != name);
                kwargs.push((name.to_owned(), value));
            }
        }
        PlaceOffer::parse(&args, &kwargs)
    };
    for (name, kind) in [
        ("key_id", Kind::Bytes(16)),
        ("api_id", Kind::Bytes(16)),
        ("valid_from", Kind::U64),
        ("delegate_adr", Kind::Bytes(20)),
        ("delegate_signature", Kind::Bytes(65)),
        ("privkey", Kind::Bytes(32)),
        ("price", Kind::Bytes(32)),
        ("expires", Kind::U64),
        ("copies", Kind::U64),
    ] {
        let optional = matches!(name, "privkey" | "price" | "expires" | "copies");
        for (value, error) in malformed(name, kind) {
            if !(optional && value == Value::Null) {
                assert_eq!(with(name, value.clone()), Err(error), "{name} as {value:?}");
            }
        }
    }
    let uri = "a URI, or a prefix of URIs, of a to z, 0 to 9 and _";
    let provider = "one URI part of a to z, 0 to 9 and _";
    let (text, dictionary) = ("a string", "a dictionary");
    let labels = |key: Value, value: Value| Value::Map(vec![(key, value)]);
    for (name, value, error) in [
        ("uri", Value::from("A"), ArgumentError::Range { name: "uri", expected: uri }),
        ("uri", Value::Null, ArgumentError::Type { name: "uri", expected: text, actual: "null" }),
        ("provider_id", Value::from("a.b"), ArgumentError::Range { name: "provider_id", expected: provider }),
        ("provider_id", Value::Null, ArgumentError::Missing { name: "provider_id" }),
        (
            "categories",
            Value::List(vec![]),
            ArgumentError::Type { name: "categories", expected: dictionary, actual: "a list" },
        ),
        (
            "categories",
            labels(Value::Int(1), Value::from("b")),
            ArgumentError::Type { name: "categories", expected: text, actual: INTEGER },
        ),
        (
            "categories",
            labels(Value::from("a"), Value::Null),
            ArgumentError::Type { name: "categories", expected: text, actual: "null" },
        ),
        ("unknown", Value::Null, ArgumentError::Keywords { actual: 1 }),
    ] {
        assert_eq!(with(name, value.clone()), Err(error), "{name} as {value:?}");
    }
}

#[test]
fn an_offer_expires_from_five_minutes_to_a_day_ahead() {
    let (minute, day) = (60_000_000_000, 86_400_000_000_000);
    let now = 1_000 * day;
    for (valid_from, expires, good) in [
        (now, None, true),
        (now, Some(now + 5 * minute), true),
        (now, Some(now + 5 * minute - 1), false),
        (now, Some(now + day), true),
        (now, Some(now + day + 1), false),
        (now, Some(now - 1), false),
        (now, Some(0), false),
        (0, Some(u64::MAX), false),
        (now - 6 * minute, Some(now - minute), true),
    ] {
        let mut offer = place_offer();
        (offer.unsigned.offer.valid_from_ns, offer.unsigned.offer.expires_ns) = (valid_from, expires);
        assert_eq!(offer.check_expiry(now).is_ok(), good, "{valid_from} {expires:?}");
    }
}

#[test]
fn the_signed_offer_says_what_the_call_says() {
    let key: DelegateKey = "11".repeat(32).parse().unwrap();
    let domain = config().domain();
    let mut unsigned = place_offer().unsigned;
    unsigned.delegate = key.address();
    let offer = unsigned.clone().sign(&domain, &key).unwrap();
    let received = PlaceOffer::parse(&offer.to_args(), &offer.to_kwargs()).unwrap();
    let message = received.unsigned.message(&domain);
    assert_eq!(message.recover(&received.signature), Ok(key.address()));
    assert_eq!(
        (message.expires, message.copies, message.chain_id),
        (600_000_000_010, 3, Amount::from_units(1337))
    );
    (unsigned.offer.expires_ns, unsigned.offer.copies) = (None, None);
    let message = unsigned.message(&domain);
    assert_eq!((message.expires, message.copies), (0, 0));
    unsigned.offer.key_id = KeyId::new([0; 16]);
    assert_ne!(unsigned.message(&domain).recover(&received.signature), Ok(key.address()));
}

#[test]
fn events_of_the_market_maker_are_read() {
    let closed = on_channel_closed();
    let kinds = [
        ("channel_oid", Kind::Bytes(16)),
        ("channel_seq", Kind::Seq),
        ("channel_balance", Kind::Lenient),
        ("channel_is_final", Kind::Bool),
    ];
    check_bound(&closed, &closed.to_args(), OnChannelClosed::parse, &kinds);
    let running = MarketMakerStatus::Running;
    for (id, market_id) in [
        (MARKET.encode(), Some(MARKET)),
        (Value::from(MARKET.to_string()), Some(MARKET)),
        (Value::from("marketmaker1"), None),
        (Value::Null, None),
    ] {
        assert_eq!(OnStatus::parse(&[id, Value::Int(1)], &[]), Ok(OnStatus { market_id, status: running }));
    }
    let event = OnStatus { market_id: Some(MARKET), status: MarketMakerStatus::Stopping };
    assert_eq!(OnStatus::parse(&event.to_args(), &[]), Ok(event));
    let error = ArgumentError::Range { name: "status", expected: "an integer from 0 to 3" };
    assert_eq!(OnStatus::parse(&[Value::Null, Value::Int(4)], &[]), Err(error));
    assert_eq!(OnStatus::parse(&[Value::Null], &[]), Err(ArgumentError::Missing { name: "status" }));
}

#[test]
fn a_providers_uris_carry_its_name() {
    let provider = ProviderId::new("p_1").unwrap();
    assert_eq!(uri::sell(&provider), "xbr.provider.p_1.sell");
    assert_eq!(uri::close_channel(&provider), "xbr.provider.p_1.close_channel");
    assert_eq!(uri::on_channel_closed(&provider), "xbr.provider.p_1.on_channel_closed");
}
