//! What a caller sees of a refusal: the error URI, and a text that gives nothing away.

use xbr_core::reject::{ArgumentError, CloseReject, Reject, SaleReject};
use xbr_core::{Amount, ChannelSeq};

fn seq(value: u32) -> ChannelSeq {
    ChannelSeq::new(value)
}

/// Every error URI in the order of the protocol, with each refusal that it answers, and the text.
fn table() -> Vec<(&'static str, Reject, &'static str)> {
    let (more, less) = (Amount::MAX, Amount::ZERO);
    let max = "115792089237316195423570985008687907853269984665640564039457584007913129639935";
    let argument = || ArgumentError::Length { name: "key_id", expected: 16, actual: 15 };
    let text = |text: String| -> &'static str { text.leak() };
    vec![
        (
            "xbr.error.unexpected_marketmaker_adr",
            SaleReject::UnexpectedMarketMaker.into(),
            "sell: unexpected market maker address",
        ),
        (
            "xbr.error.unexpected_delegate_adr",
            CloseReject::UnexpectedDelegate.into(),
            "close_channel: unexpected market maker (delegate) address",
        ),
        ("crossbar.error.no_such_object", SaleReject::NoSuchKey.into(), "sell: no such key"),
        (
            "xbr.error.unexpected_channel_oid",
            SaleReject::UnexpectedChannel.into(),
            "sell: unexpected channel_oid",
        ),
        (
            "xbr.error.unexpected_channel_oid",
            CloseReject::UnexpectedChannel.into(),
            "close_channel: unexpected channel_oid",
        ),
        ("xbr.error.unexpected_channel_seq", SaleReject::UnprovenSeq.into(), "sell: unexpected channel_seq"),
        (
            "xbr.error.unexpected_channel_seq",
            CloseReject::UnprovenSeq.into(),
            "close_channel: unexpected channel_seq",
        ),
        (
            "xbr.error.unexpected_channel_balance",
            SaleReject::UnprovenBalance.into(),
            "sell: unexpected balance",
        ),
        (
            "xbr.error.unexpected_channel_balance",
            CloseReject::UnprovenBalance.into(),
            "close_channel: unexpected balance",
        ),
        (
            "xbr.error.unexpected_channel_seq",
            SaleReject::UnexpectedSeq { expected: 1 << 32, actual: seq(u32::MAX) }.into(),
            "sell: unexpected channel_seq: expected 4294967296, got 4294967295",
        ),
        (
            "xbr.error.unexpected_channel_seq",
            CloseReject::UnexpectedSeq { expected: seq(2), actual: seq(0) }.into(),
            "close_channel: unexpected channel_seq: expected 2, got 0",
        ),
        (
            "xbr.error.unexpected_channel_balance",
            SaleReject::UnexpectedBalance { expected: less, actual: more }.into(),
            text(format!("sell: unexpected balance: expected 0 units, got {max}")),
        ),
        (
            "xbr.error.unexpected_channel_balance",
            SaleReject::ChannelHalted.into(),
            "sell: the channel is halted, the market maker's balance is behind a state that it has signed",
        ),
        (
            "xbr.error.unexpected_channel_balance",
            CloseReject::UnexpectedBalance { expected: less, actual: more }.into(),
            text(format!("close_channel: unexpected balance: expected 0 units, got {max}")),
        ),
        (
            "xbr.error.invalid_signature",
            SaleReject::InvalidSignature.into(),
            "sell: signature is invalid or not the market maker's",
        ),
        (
            "xbr.error.invalid_signature",
            CloseReject::InvalidSignature.into(),
            "close_channel: signature is invalid or not the market maker's",
        ),
        (
            "xbr.error.insufficient_amount",
            SaleReject::InsufficientAmount { expected: more, actual: less }.into(),
            text(format!("sell: insufficient amount: the price is {max} units, got 0")),
        ),
        ("xbr.error.channel_closed", SaleReject::ChannelClosed.into(), "sell: the channel is closed"),
        (
            "xbr.error.channel_closed",
            CloseReject::ChannelClosed.into(),
            "close_channel: the channel is closed",
        ),
        ("xbr.error.key_retired", SaleReject::KeyRetired.into(), "sell: the key is retired"),
        (
            "wamp.error.invalid_argument",
            SaleReject::from(argument()).into(),
            "sell: key_id must be 16 bytes, got 15",
        ),
        (
            "wamp.error.invalid_argument",
            SaleReject::InvalidBuyerKey.into(),
            "sell: buyer_pubkey must be a valid Curve25519 public key",
        ),
        (
            "wamp.error.invalid_argument",
            CloseReject::from(argument()).into(),
            "close_channel: key_id must be 16 bytes, got 15",
        ),
        (
            "wamp.error.unavailable",
            SaleReject::Unavailable { reason: "stopping" }.into(),
            "sell: not available now: stopping; repeat the request",
        ),
        (
            "wamp.error.unavailable",
            CloseReject::Unavailable { reason: "stopping" }.into(),
            "close_channel: not available now: stopping; repeat the request",
        ),
    ]
}

#[test]
fn each_refusal_has_its_uri_and_text() {
    for (uri, reject, text) in table() {
        assert_eq!((reject.uri(), reject.to_string().as_str()), (uri, text), "{reject:?}");
    }
}

#[test]
fn texts_hold_no_address_and_no_path() {
    for (_, reject, _) in table() {
        let text = reject.to_string();
        assert!(!text.contains("0x") && !text.contains('/') && !text.contains("::"), "{text}");
        let longest_hex = text.split(|c: char| !c.is_ascii_hexdigit()).filter(|run| run.len() == 40).count();
        assert_eq!(longest_hex, 0, "{text}");
        assert!(text.starts_with(|c: char| c.is_ascii_lowercase()) && !text.ends_with('.'), "{text}");
    }
}

#[test]
fn argument_texts_name_the_argument_only() {
    let name = "key_id";
    for (error, text) in [
        (ArgumentError::Arity { expected: 8, actual: 7 }, "expected 8 positional arguments, got 7"),
        (ArgumentError::Keywords { actual: 2 }, "got 2 unexpected keyword arguments"),
        (
            ArgumentError::Type { name, expected: "a byte string", actual: "a list" },
            "key_id must be a byte string, got a list",
        ),
        (ArgumentError::Length { name, expected: 16, actual: 0 }, "key_id must be 16 bytes, got 0"),
        (ArgumentError::Range { name, expected: "a UUID" }, "key_id must be a UUID"),
        (ArgumentError::Missing { name }, "key_id is missing"),
    ] {
        assert_eq!(error.to_string(), text);
    }
}
