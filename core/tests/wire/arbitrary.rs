//! Input that nobody thought of: no parser panics, and what is taken says the same when it is written again.

use proptest::prelude::*;
use xbr_core::Value;
use xbr_core::wire::*;

use crate::samples::*;

fn values() -> impl Strategy<Value = Value> {
    let length = prop::sample::select(vec![0usize, 1, 16, 20, 32, 65, 80]);
    let leaf = prop_oneof![
        Just(Value::Null),
        Just(Value::Undefined),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        (-3i128..5).prop_map(Value::Int),
        (any::<bool>(), prop::collection::vec(any::<u8>(), 9..40))
            .prop_map(|(negative, magnitude)| Value::from_magnitude(negative, &magnitude)),
        any::<f64>().prop_map(Value::Float),
        any::<u8>().prop_map(Value::Simple),
        "[a-z0-9_.]{0,12}|\\PC{0,8}".prop_map(Value::Str),
        (length, any::<u8>()).prop_map(|(length, byte)| Value::Bytes(vec![byte; length])),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            prop::collection::vec((inner.clone(), inner.clone()), 0..6).prop_map(Value::Map),
            (any::<u64>(), inner).prop_map(|(tag, value)| Value::Tag(tag, Box::new(value))),
        ]
    })
}

/// Good arguments and dictionaries to spoil.
fn seeds() -> Vec<(Args, Kwargs)> {
    let offer = place_offer();
    let dict = |value: Value| (vec![value], Kwargs::new());
    vec![
        (sell_request().to_args(), Kwargs::new()),
        (close_request().to_args(), Kwargs::new()),
        (buy_request().to_args(), Kwargs::new()),
        (market_close_request().to_args(), Kwargs::new()),
        (channels_by_delegate().to_args(), Kwargs::new()),
        (on_channel_closed().to_args(), Kwargs::new()),
        (offer.to_args(), offer.to_kwargs()),
        dict(config().to_value()),
        dict(status().to_value()),
        dict(channel_info().to_value()),
        dict(channel_balance().to_value()),
        dict(channel_closing().to_value()),
        dict(offer_info().to_value()),
        dict(quote().to_value()),
        dict(buy_receipt().to_value()),
        dict(sell_receipt().to_value()),
        dict(close_receipt().to_value()),
    ]
}

/// Parses the arguments as everything there is, and writes and reads again what was taken.
fn parse_as_everything(args: &[Value], kwargs: &[(String, Value)]) -> Result<(), TestCaseError> {
    macro_rules! requests {
        ($($name:ident),*) => {$(
            if let Ok(it) = $name::parse(args, kwargs) {
                prop_assert_eq!($name::parse(&it.to_args(), &[]), Ok(it));
            }
        )*};
    }
    macro_rules! results {
        ($($name:ident),*) => {$(
            if let Ok(it) = $name::parse(args) {
                prop_assert_eq!($name::parse(&[it.to_value()]), Ok(it));
            }
        )*};
    }
    requests!(
        SellRequest,
        CloseRequest,
        BuyRequest,
        MarketCloseRequest,
        ChannelsByDelegate,
        GetConfig,
        GetStatus
    );
    requests!(ByDelegate, ByChannel, ByKey, ByOffer, OpenChannel, OnStatus, OnChannelClosed);
    results!(
        MarketConfig,
        Eula,
        MarketStatus,
        Block,
        ChannelInfo,
        ChannelBalance,
        ChannelClosing,
        ChannelIds
    );
    results!(OfferInfo, Quote, BuyReceipt, SellReceipt, CloseReceipt);
    if let Ok(Some(it)) = active_channel(args) {
        prop_assert_eq!(active_channel(&[it.to_value()]), Ok(Some(it)));
    }
    if let Ok(it) = PlaceOffer::parse(args, kwargs) {
        let _ = it.check_expiry(0);
        prop_assert_eq!(PlaceOffer::parse(&it.to_args(), &it.to_kwargs()), Ok(it));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_parser_panics(
        args in prop::collection::vec(values(), 0..14),
        kwargs in prop::collection::vec(("[a-z_]{1,8}", values()), 0..4),
    ) {
        parse_as_everything(&args, &kwargs)?;
    }

    #[test]
    fn no_parser_panics_on_what_is_almost_right(
        seed in prop::sample::select(seeds()),
        at: prop::sample::Index,
        value in values(),
    ) {
        let (mut args, mut kwargs) = seed;
        if let [Value::Map(pairs)] = &mut args[..] {
            let index = at.index(pairs.len());
            pairs[index].1 = value;
        } else {
            let index = at.index(args.len() + kwargs.len());
            match args.len() {
                positional if index < positional => args[index] = value,
                positional => kwargs[index - positional].1 = value,
            }
        }
        parse_as_everything(&args, &kwargs)?;
    }
}
