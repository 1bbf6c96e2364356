//! Results, and events that carry one dictionary.

use std::fmt::Debug;

use xbr_core::reject::ArgumentError;
use xbr_core::wire::*;
use xbr_core::{Address, Amount, Value};

use crate::samples::*;

const LENIENT: &str = "32 bytes or a non-negative integer";

fn set(dict: &Value, name: &str, value: Option<Value>) -> Value {
    let Value::Map(pairs) = dict else { panic!("a dictionary") };
    let mut pairs = pairs.clone();
    pairs.retain(|(key, _)| key.as_str() != Some(name));
    pairs.extend(value.map(|value| (Value::from(name), value)));
    Value::Map(pairs)
}

/// There and back; with an unknown field; each required field missing and of a wrong type; each amount in
/// every form; each optional field missing and null.
fn check<T: PartialEq + Debug>(
    good: &T,
    dict: &Value,
    parse: impl Fn(&[Value]) -> Result<T, ArgumentError>,
    required: &[(&'static str, &'static str)],
    lenient: &[&'static str],
) {
    let parse = |dict: Value| parse(&[dict]);
    assert_eq!(parse(dict.clone()).as_ref(), Ok(good));
    let unknown = set(dict, "details", Some(Value::Float(f64::NAN)));
    assert_eq!(parse(unknown).as_ref(), Ok(good), "unknown fields are passed over");
    for (name, expected) in required {
        assert_eq!(parse(set(dict, name, None)), Err(ArgumentError::Missing { name }));
        let error = ArgumentError::Type { name, expected, actual: "a float" };
        assert_eq!(parse(set(dict, name, Some(Value::Float(1.0)))), Err(error));
    }
    for name in lenient {
        assert_eq!(parse(set(dict, name, None)), Err(ArgumentError::Missing { name }));
        let range = ArgumentError::Range { name, expected: LENIENT };
        let great = Value::BigInt { negative: false, magnitude: vec![1; 33] };
        for (value, error) in [
            (Value::Int(-1), range.clone()),
            (great, range),
            (Value::Bytes(vec![0; 31]), ArgumentError::Length { name, expected: 32, actual: 31 }),
            (Value::from("1"), ArgumentError::Type { name, expected: LENIENT, actual: "a string" }),
            (Value::Null, ArgumentError::Type { name, expected: LENIENT, actual: "null" }),
        ] {
            assert_eq!(parse(set(dict, name, Some(value))), Err(error));
        }
        let read = |value| parse(set(dict, name, Some(value)));
        let wide = Value::BigInt { negative: false, magnitude: vec![1, 0, 0, 0, 0, 0, 0, 0, 0] };
        for (integer, units) in [(Value::Int(0), 0), (Value::Int(5), 5), (wide, 1 << 64)] {
            let parsed = read(integer);
            assert!(parsed.is_ok());
            assert_eq!(parsed, read(Amount::from_units(units).to_value()), "{name}");
        }
    }
    for (key, _) in dict.as_map().unwrap() {
        let name = key.as_str().unwrap();
        if !required.iter().any(|(required, _)| *required == name) && !lenient.contains(&name) {
            let missing = parse(set(dict, name, None));
            assert!(missing.is_ok(), "{name} is optional");
            assert_eq!(
                missing,
                parse(set(dict, name, Some(Value::Null))),
                "{name}: null is as good as missing"
            );
            assert!(parse(set(dict, name, Some(Value::Simple(1)))).is_err(), "{name} of a wrong type");
        }
    }
}

/// As [`check`], for the parser of an argument list that has another number of values.
fn check_single<T: PartialEq + Debug>(parse: impl Fn(&[Value]) -> Result<T, ArgumentError>) {
    for actual in [0, 2] {
        let error = ArgumentError::Arity { expected: 1, actual };
        assert_eq!(parse(&vec![Value::Null; actual]), Err(error));
    }
    let error = ArgumentError::Type { name: "result", expected: "a dictionary", actual: "a list" };
    assert_eq!(parse(&[Value::List(vec![])]), Err(error));
}

const BYTES: &str = "a byte string";
const INTEGER: &str = "an integer";

#[test]
fn results_of_the_market_maker_are_read_leniently() {
    let it = config();
    let required =
        [("verifying_chain_id", INTEGER), ("verifying_contract_adr", BYTES), ("marketmaker", BYTES)];
    check(&it, &it.to_value(), MarketConfig::parse, &[&required[..], &[("market", BYTES)]].concat(), &[]);
    check_single(MarketConfig::parse);

    let it = status();
    let required = [("now", INTEGER), ("chain", INTEGER), ("block", "a dictionary"), ("status", INTEGER)];
    check(&it, &it.to_value(), MarketStatus::parse, &required, &[]);
    check(&it.block, &it.block.to_value(), Block::parse, &[("number", INTEGER)], &[]);
    check_single(MarketStatus::parse);

    let it = channel_info();
    let required = [
        ("channel_oid", BYTES),
        ("market_oid", BYTES),
        ("channel_type", INTEGER),
        ("marketmaker", BYTES),
        ("delegate", BYTES),
        ("state", INTEGER),
    ];
    check(&it, &it.to_value(), ChannelInfo::parse, &required, &["amount"]);
    check_single(ChannelInfo::parse);

    let it = channel_balance();
    check(&it, &it.to_value(), ChannelBalance::parse, &[("seq", INTEGER)], &["remaining", "inflight"]);
    assert_eq!((it.state().seq, it.state().balance), (SEQ, it.remaining));
    check_single(ChannelBalance::parse);

    let it = channel_closing();
    let required = [
        ("market_oid", BYTES),
        ("channel_oid", BYTES),
        ("state", INTEGER),
        ("seq", INTEGER),
        ("is_final", "a boolean"),
    ];
    check(&it, &it.to_value(), ChannelClosing::parse, &required, &["balance"]);
    check_single(ChannelClosing::parse);
}

#[test]
fn offers_and_purchases_are_read_leniently() {
    let it = offer_info();
    let required = [("offer", BYTES), ("seller", BYTES), ("key", BYTES), ("api", BYTES), ("uri", "a string")];
    check(&it, &it.to_value(), OfferInfo::parse, &required, &["price"]);
    check_single(OfferInfo::parse);
    let unlimited = set(&set(&it.to_value(), "copies", Some(Value::Int(0))), "expires", Some(Value::Int(0)));
    let offer = OfferInfo::parse(&[unlimited]).unwrap();
    assert_eq!((offer.copies, offer.expires_ns), (None, None), "0 is none");

    let it = quote();
    check(&it, &it.to_value(), Quote::parse, &[("key", BYTES), ("timestamp", INTEGER)], &["price"]);
    let never = set(&it.to_value(), "expires", Some(Value::Int(0)));
    assert_eq!(Quote::parse(&[never]), Ok(Quote { expires_ns: None, ..it }));
    check_single(Quote::parse);

    let it = buy_receipt();
    let required = [
        ("key_id", BYTES),
        ("delegate", BYTES),
        ("buyer_pubkey", BYTES),
        ("sealed_key", BYTES),
        ("payment_channel", BYTES),
        ("channel_seq", INTEGER),
        ("signature", BYTES),
    ];
    let lenient = ["amount", "amount_paid", "remaining", "inflight"];
    check(&it, &it.to_value(), BuyReceipt::parse, &required, &lenient);
    assert_eq!((it.state().seq, it.state().balance), (SEQ, Amount::MAX));
    check_single(BuyReceipt::parse);
}

#[test]
fn receipts_of_a_seller_have_every_field() {
    let it = sell_receipt();
    let required = [
        ("key_id", BYTES),
        ("delegate", BYTES),
        ("buyer_pubkey", BYTES),
        ("sealed_key", BYTES),
        ("channel_seq", INTEGER),
        ("signature", BYTES),
    ];
    check(&it, &it.to_value(), SellReceipt::parse, &required, &["amount", "balance"]);
    check_single(SellReceipt::parse);
    let amount = it.to_value().field("amount").cloned();
    assert_eq!(amount, Some(Value::Bytes(it.amount.to_be_bytes().to_vec())), "never an integer");

    let it = close_receipt();
    let required = [("delegate", BYTES), ("seq", INTEGER), ("is_final", "a boolean"), ("signature", BYTES)];
    check(&it, &it.to_value(), CloseReceipt::parse, &required, &["balance"]);
    check_single(CloseReceipt::parse);
}

#[test]
fn no_active_channel_is_null() {
    for none in [&[][..], &[Value::Null]] {
        assert_eq!(active_channel(none), Ok(None));
    }
    let it = channel_info();
    assert_eq!(active_channel(&[it.to_value()]), Ok(Some(it)));
    assert!(active_channel(&[Value::Bool(false)]).is_err());
}

#[test]
fn a_list_of_channels_is_read() {
    for it in [ChannelIds(vec![]), ChannelIds(vec![CHANNEL, CHANNEL])] {
        assert_eq!(ChannelIds::parse(&[it.to_value()]), Ok(it));
    }
    let error = ArgumentError::Type { name: "result", expected: "a list", actual: "null" };
    assert_eq!(ChannelIds::parse(&[Value::Null]), Err(error));
    let short = Value::List(vec![Value::Bytes(vec![0; 15])]);
    let error = ArgumentError::Length { name: "channel_oid", expected: 16, actual: 15 };
    assert_eq!(ChannelIds::parse(&[short]), Err(error));
}

/// The texts of a configuration, with the mixed case of a checksum.
#[test]
fn the_configuration_of_the_reference_is_read() {
    let address = "0x254dffcd3277C0b1660F6d42EFbB754edaBAbC2B";
    let config = MarketConfig::parse(&[Value::from_iter([
        ("now", Value::Int(1)),
        ("chain", Value::Int(5777)),
        ("verifying_chain_id", Value::Int(1)),
        ("verifying_contract_adr", Value::from(address)),
        ("contracts", Value::from_iter([("xbrtoken", Value::from(address))])),
        (
            "eula",
            Value::from_iter([("url", Value::from("")), ("hash", Value::from("")), ("text", Value::Null)]),
        ),
        ("coin", Value::Null),
        ("owner", Value::from(address)),
        ("market", Value::from("1388ddf6-fe36-4201-b1aa-cb7e36b4cfb3")),
        ("marketmaker", Value::from(address)),
    ])])
    .unwrap();
    let address: Address = address.parse().unwrap();
    assert_eq!(
        (config.verifying_contract, config.market_maker, config.owner),
        (address, address, Some(address))
    );
    assert_eq!(config.market_id.to_string(), "1388ddf6-fe36-4201-b1aa-cb7e36b4cfb3");
    let domain = config.domain();
    assert_eq!((domain.chain_id, domain.market_id), (Amount::from_units(1), config.market_id));
    assert_eq!(
        config.to_value().field("market").and_then(Value::as_str),
        Some(&*config.market_id.to_string())
    );
}

#[test]
fn texts_that_are_no_address_or_market_are_refused() {
    let good = config().to_value();
    let address = "0x and 40 hex digits";
    for (name, text, expected) in [
        ("verifying_contract_adr", "0x254d", address),
        ("marketmaker", "", address),
        ("owner", "None", address),
        ("market", "None", "a UUID"),
    ] {
        let error = ArgumentError::Range { name, expected };
        assert_eq!(MarketConfig::parse(&[set(&good, name, Some(Value::from(text)))]), Err(error));
    }
    let bytes = set(&good, "marketmaker", Some(Value::Bytes(vec![4; 20])));
    assert_eq!(MarketConfig::parse(&[bytes]), Ok(config()));
}

#[test]
fn a_state_that_there_is_not_is_refused() {
    for (state, expected) in [
        (1, Ok(ChannelStatus::Open)),
        (2, Ok(ChannelStatus::Closing)),
        (3, Ok(ChannelStatus::Closed)),
        (4, Ok(ChannelStatus::Failed)),
        (0, Err(())),
        (5, Err(())),
    ] {
        let dict = set(&channel_info().to_value(), "state", Some(Value::Int(state)));
        let range = ArgumentError::Range { name: "state", expected: "an integer from 1 to 4" };
        assert_eq!(ChannelInfo::parse(&[dict]).map(|info| info.state), expected.map_err(|()| range));
    }
}
