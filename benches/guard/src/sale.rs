//! A sale, step by step: from the frame that asks for it to the frame that answers.

use std::hint::black_box;

use xbr_core::cbor::Limits;
use xbr_core::channel::{Channel, ChannelState, ChannelTerms, Reconcile, SaleRecord};
use xbr_core::crypto::sealed_box_public_key;
use xbr_core::payload::DataKey;
use xbr_core::wire::{SellReceipt, SellRequest};
use xbr_core::{
    Address, Amount, ApiId, BuyerKey, ChannelId, ChannelSeq, DelegateKey, Eip712 as _, KeyId, MarketId,
    Signer as _,
};
use xbr_wamp::Serializer;
use xbr_wamp::message::{Dict, Message, Payload};
use xbr_wamp::reading::Reader;

use crate::{Fixed, Path};

const CHANNEL: ChannelId = ChannelId::new([0xc1; 16]);
const KEY: KeyId = KeyId::new([0x77; 16]);

pub(crate) fn paths() -> Vec<Path> {
    let (maker, seller) = (market_maker(), seller());
    let record = sale(&channel());
    let request = request_of(&record);
    let state = channel().terms.state(record.state.seq, record.state.balance, false);
    let signature = state.sign(&maker).unwrap();
    vec![
        decode(&request),
        Path::new("digest of a state", 2000, move || {
            black_box(black_box(&state).digest());
        }),
        Path::new("recover the signer", 100, move || {
            black_box(black_box(&state).recover(&signature).unwrap());
        }),
        Path::new("seal the key", 100, || {
            black_box(DataKey::from_bytes([7; 32]).seal_to_with(&Fixed, &buyer_key()).unwrap());
        }),
        Path::new("sign the state", 100, move || {
            black_box(black_box(&state).sign(&seller).unwrap());
        }),
        decide(),
        reply(record),
    ]
}

/// From the bytes of an INVOCATION to a typed request.
fn decode(request: &SellRequest) -> Path {
    let payload = Payload { args: request.to_args(), kwargs: Dict::new() };
    let message = Message::Invocation { request: 17, registration: 23, details: Dict::new(), payload };
    let frame = Serializer::Cbor.encode(message.into_elements()).unwrap();
    let reader = reader();
    Path::new("decode the request", 1000, move || {
        let message = reader.read(black_box(&frame), |_| ()).unwrap();
        let Message::Invocation { payload, .. } = message else { panic!("another message") };
        black_box(SellRequest::parse(&payload.args, &payload.kwargs).unwrap());
    })
}

/// The rules of the ledger, and booking the sale.
fn decide() -> Path {
    let mut channel = channel();
    Path::new("decide and apply", 2000, move || {
        let record = sale(&channel);
        let claim = request_of(&record).claim(true);
        channel.decide_sale(&claim, record.amount, None, Reconcile::Strict).unwrap();
        channel.apply_sale(black_box(&record));
    })
}

/// From a stored sale to the bytes of a YIELD.
fn reply(record: SaleRecord) -> Path {
    let seller = seller().address();
    Path::new("encode the receipt", 1000, move || {
        let receipt = SellReceipt::of(black_box(&record), seller).to_value();
        let payload = Payload { args: vec![receipt], kwargs: Dict::new() };
        let message = Message::Yield { request: 17, options: Dict::new(), payload };
        black_box(Serializer::Cbor.encode(message.into_elements()).unwrap());
    })
}

pub(crate) fn market_maker() -> DelegateKey {
    DelegateKey::from_bytes(&[0x11; 32]).unwrap()
}

pub(crate) fn seller() -> DelegateKey {
    DelegateKey::from_bytes(&[0x22; 32]).unwrap()
}

pub(crate) fn reader() -> Reader {
    Reader { serializer: Serializer::Cbor, limits: Limits::default(), max_message_bytes: 1 << 20 }
}

/// A fresh channel with more in it than is ever spent.
pub(crate) fn channel() -> Channel {
    let terms = ChannelTerms {
        channel_id: CHANNEL,
        market_id: MarketId::new([0x31; 16]),
        market_maker: market_maker().address(),
        delegate: seller().address(),
        amount: Amount::from_xbr(1_000_000),
        chain_id: Amount::from_units(1),
        verifying_contract: Address::new([0x44; 20]),
        close_at: Amount::from_units(1),
    };
    let state = ChannelState { seq: ChannelSeq::new(1), balance: terms.amount };
    Channel::adopt(terms, state)
}

/// The next sale over a channel. Its signatures are of the right length, and of nobody.
pub(crate) fn sale(channel: &Channel) -> SaleRecord {
    let (before, amount) = (channel.state, Amount::from_xbr(1));
    let signature = xbr_core::Signature::new([0x1b; 65]);
    SaleRecord {
        channel_id: CHANNEL,
        key_id: KEY,
        buyer_key: BuyerKey::new([0x33; 32]),
        before,
        state: ChannelState {
            seq: ChannelSeq::new(before.seq.value() + 1),
            balance: before.balance.checked_sub(amount).unwrap(),
        },
        amount,
        surplus: Amount::ZERO,
        sealed_key: vec![0x99; 80],
        market_maker_signature: signature,
        signature,
        sold_ns: 1_700_000_000_000_000_000 + u64::from(before.seq.value()),
        api_id: Some(ApiId::new([0x77; 16])),
    }
}

pub(crate) fn request_of(record: &SaleRecord) -> SellRequest {
    SellRequest {
        market_maker: Address::new([0x66; 20]),
        buyer_key: record.buyer_key,
        key_id: record.key_id,
        channel_id: record.channel_id,
        channel_seq: record.state.seq,
        amount: record.amount,
        balance: record.state.balance,
        signature: record.market_maker_signature,
    }
}

fn buyer_key() -> BuyerKey {
    sealed_box_public_key(&[0x33; 32])
}
