//! The decoders against any bytes: none panics, what is read stays within its bounds, and what can be written
//! is read back as it was.

use std::time::{Duration, Instant};

use xbr_core::Value;
use xbr_core::cbor::{self, Limits};
use xbr_core::wire::{
    ByChannel, ByDelegate, ByKey, ChannelBalance, ChannelIds, ChannelInfo, CloseReceipt, CloseRequest,
    GetConfig, MarketConfig, MarketStatus, OfferInfo, OnChannelClosed, OnStatus, PlaceOffer, SellReceipt,
    SellRequest,
};
use xbr_wamp::message::{Message, salvage};
use xbr_wamp::session::{Engine, Inbound, SessionConfig};
use xbr_wamp::{Auth, Serializer};

const LIMITS: Limits = Limits { max_depth: 16, max_items: 1000 };

/// CBOR of payloads.
pub fn cbor(input: &[u8]) {
    let Ok(value) = cbor::decode(input, &LIMITS) else { return };
    assert!(count(&value) <= LIMITS.max_items, "more values than are allowed");
    let bytes = cbor::encode(&value);
    // Bytes are compared, since one value is not equal to itself: not a number.
    let again = cbor::decode(&bytes, &LIMITS).map(|value| cbor::encode(&value));
    assert_eq!(again.as_ref(), Ok(&bytes));
}

/// MessagePack envelopes.
pub fn msgpack(input: &[u8]) {
    envelope(Serializer::Msgpack, input);
}

/// JSON envelopes.
pub fn json(input: &[u8]) {
    envelope(Serializer::Json, input);
}

fn envelope(serializer: Serializer, input: &[u8]) {
    let mut elements = Vec::new();
    let read = serializer.decode(input, &LIMITS, None, &mut elements);
    assert!(elements.iter().map(count).sum::<usize>() <= LIMITS.max_items, "more values than are allowed");
    // What came before a malformed element is still good for an answer.
    let _ = salvage(&elements);
    if read.is_err() {
        return;
    }
    let Ok(message) = Message::parse(&mut elements) else { return };
    let Ok(bytes) = serializer.encode(message.into_elements()) else { return };
    let mut again = Vec::new();
    serializer.decode(&bytes, &LIMITS, None, &mut again).expect("what was written can be read");
    let message = Message::parse(&mut again).expect("a message stays one");
    assert_eq!(serializer.encode(message.into_elements()).as_ref(), Ok(&bytes));
}

/// Requests and results as typed values.
pub fn requests(input: &[u8]) {
    let Ok(Value::List(args)) = cbor::decode(input, &LIMITS) else { return };
    // With and without keywords.
    let kwargs = vec![("price".to_owned(), args.first().cloned().unwrap_or(Value::Null))];
    if let Ok(request) = SellRequest::parse(&args, &[]) {
        assert_eq!(SellRequest::parse(&request.to_args(), &[]), Ok(request));
    }
    if let Ok(request) = CloseRequest::parse(&args, &[]) {
        assert_eq!(CloseRequest::parse(&request.to_args(), &[]), Ok(request));
    }
    if let Ok(receipt) = SellReceipt::parse(&args) {
        assert_eq!(SellReceipt::parse(&[receipt.to_value()]), Ok(receipt));
    }
    if let Ok(receipt) = CloseReceipt::parse(&args) {
        assert_eq!(CloseReceipt::parse(&[receipt.to_value()]), Ok(receipt));
    }
    if let Ok(channel) = ChannelInfo::parse(&args) {
        assert_eq!(ChannelInfo::parse(&[channel.to_value()]), Ok(channel));
    }
    for kwargs in [&[][..], &kwargs] {
        let _ =
            (ByChannel::parse(&args, kwargs), ByDelegate::parse(&args, kwargs), ByKey::parse(&args, kwargs));
        let _ = (GetConfig::parse(&args, kwargs), PlaceOffer::parse(&args, kwargs));
        let _ = (OnStatus::parse(&args, kwargs), OnChannelClosed::parse(&args, kwargs));
    }
    let _ = (ChannelBalance::parse(&args), ChannelIds::parse(&args), MarketConfig::parse(&args));
    let _ = (MarketStatus::parse(&args), OfferInfo::parse(&args));
}

/// Frames at a session: the first byte of the input chooses the serializer, and each frame has its length in
/// front.
pub fn frames(input: &[u8]) {
    let Some((first, mut rest)) = input.split_first() else { return };
    let serializer = [Serializer::Cbor, Serializer::Msgpack, Serializer::Json][usize::from(first % 3)];
    let mut now = Instant::now();
    let mut engine: Engine<u32> = Engine::new(config(serializer), now);
    let mut token = 0;
    while let Some((len, bytes)) = rest.split_first() {
        let (frame, next) = bytes.split_at(bytes.len().min(usize::from(*len)));
        rest = next;
        if engine.details().is_some() {
            token += 1;
            engine.subscribe(now, "com.example", xbr_wamp::Match::default(), token);
        }
        engine.handle_frame(now, frame);
        while engine.poll_transmit().is_some() || engine.poll_completion().is_some() {}
        while let Some(inbound) = engine.poll_inbound() {
            if let Inbound::Invocation { payload, .. } = inbound {
                let _ = SellRequest::parse(&payload.args, &payload.kwargs);
            }
        }
        if let Some(deadline) = engine.poll_timeout().filter(|_| *len == 0) {
            now = deadline;
            engine.handle_timeout(now);
        }
    }
    engine.leave(now);
    while engine.poll_transmit().is_some() {}
}

fn config(serializer: Serializer) -> SessionConfig {
    let second = Duration::from_secs(1);
    SessionConfig {
        realm: "realm1".to_owned(),
        agent: "fuzz/1".to_owned(),
        serializer,
        auth: Auth::Anonymous,
        limits: LIMITS,
        max_message_bytes: 10_000,
        max_outgoing_bytes: 10_000,
        join_timeout: 5 * second,
        call_timeout: 10 * second,
        leave_timeout: 2 * second,
        ping_interval: Some(20 * second),
        ping_timeout: 5 * second,
        max_backlog: 4,
        max_backlog_bytes: 1 << 20,
    }
}

/// How many values there are in one.
fn count(value: &Value) -> usize {
    let list = value.as_list().into_iter().flatten().map(count);
    let map = value.as_map().into_iter().flatten().map(|(key, value)| count(key) + count(value));
    1 + list.sum::<usize>() + map.sum::<usize>()
}
