//! Registering the provider's procedures, passing their calls on, and withdrawing.

use xbr_core::{Amount, Signature};
use xbr_wamp::{Invoke, Serializer};

use super::support::{buyer, close, sale, state};
use super::*;

const EXISTS: &str = "wamp.error.procedure_already_exists";
const UNAVAILABLE: &str = "wamp.error.unavailable";
const INVALID_ARGUMENT: &str = "wamp.error.invalid_argument";
const KEY: xbr_core::KeyId = xbr_core::KeyId::new([0x77; 16]);

/// A session that serves, with its registrations of `sell` and `close_channel`.
async fn served_at(router: Stub) -> (Market, u64, u64) {
    let it = market_at(router, |_, _| {});
    it.join().await.unwrap();
    assert_eq!(it.ask(it.serving()).await, Ok(()));
    // The stub numbers what it is asked for, beginning with the session.
    (it, 1002, 1003)
}

async fn served() -> (Market, u64, u64) {
    served_at(Stub::start(Choice::First).await).await
}

fn sell_args(seq: u32) -> Vec<Value> {
    sale(KEY, state(seq, 1000 - u64::from(seq)), 1).to_args()
}

fn close_args(seq: u32) -> Vec<Value> {
    close(state(seq, 900), true).to_args()
}

fn sell_receipt(request: &SellRequest) -> SellReceipt {
    SellReceipt {
        key_id: request.key_id,
        delegate: seller_key().address(),
        buyer_key: request.buyer_key,
        sealed_key: vec![5; 80],
        channel_seq: request.channel_seq,
        amount: request.amount,
        balance: request.balance,
        signature: Signature::new([6; 65]),
    }
}

fn close_receipt(request: &CloseRequest) -> CloseReceipt {
    CloseReceipt {
        delegate: seller_key().address(),
        seq: request.channel_seq,
        balance: request.balance,
        is_final: request.is_final,
        signature: Signature::new([6; 65]),
    }
}

impl Market {
    async fn asked_to_sell(&mut self) -> (SellRequest, oneshot::Sender<Result<SellReceipt, SaleReject>>) {
        match self.asked().await {
            Asked::Sell(request, answer) => (request, answer),
            other => panic!("{other:?}"),
        }
    }

    async fn asked_to_close(&mut self) -> (CloseRequest, oneshot::Sender<Result<CloseReceipt, CloseReject>>) {
        match self.asked().await {
            Asked::Close(request, answer) => (request, answer),
            other => panic!("{other:?}"),
        }
    }

    async fn heard_register(&mut self) -> (String, Dict) {
        self.heard(|message| match message {
            Wamp::Register { procedure, options, .. } => Some((procedure.clone(), options.clone())),
            _ => None,
        })
        .await
    }

    /// How often the router was asked to register this, up to now.
    fn attempts(&mut self, of: &str) -> usize {
        let heard = std::iter::from_fn(|| self.router.heard.try_recv().ok());
        heard.filter(|it| matches!(it, Wamp::Register { procedure, .. } if procedure == of)).count()
    }
}

#[actix_rt::test]
async fn both_procedures_are_registered_as_the_options_say() {
    let option = |name: &str, value: Value| (name.to_owned(), value);
    for (invoke, force, expected) in [
        (Invoke::Single, false, vec![]),
        (Invoke::RoundRobin, false, vec![option("invoke", "roundrobin".into())]),
        (Invoke::Single, true, vec![option("force_reregister", true.into())]),
    ] {
        let mut it = joined_with(|_, options| {
            options.invoke = invoke;
            options.force_reregister = force;
        })
        .await;
        assert_eq!(it.ask(it.serving()).await, Ok(()));
        assert_eq!(it.heard_register().await, (sell_uri(), expected.clone()));
        assert_eq!(it.heard_register().await, (close_uri(), expected));
    }
}

#[actix_rt::test]
async fn a_registration_that_the_router_still_holds_is_tried_again() {
    let mut it = joined().await;
    it.reply(sell_uri(), error(EXISTS));
    it.reply(close_uri(), error(EXISTS));
    let asked = tokio::time::Instant::now();
    assert_eq!(it.ask(it.serving()).await, Ok(()));
    assert!(asked.elapsed() >= Duration::from_millis(200), "the router was not given time");
    let heard: Vec<_> = [it.heard_register().await, it.heard_register().await].map(|it| it.0).into();
    assert_eq!(heard, [sell_uri(), sell_uri()]);
    assert_eq!(it.attempts(&close_uri()), 2);
}

#[actix_rt::test]
async fn a_registration_that_the_router_holds_on_to_is_given_up_after_the_patience() {
    let mut it = joined_with(|_, options| options.register_patience = Duration::from_millis(400)).await;
    for _ in 0..10 {
        it.reply(sell_uri(), error(EXISTS));
    }
    let refused = it.ask(it.serving()).await;
    assert!(matches!(&refused, Err(MarketError::Refused { uri, .. }) if uri == EXISTS), "{refused:?}");
    assert_eq!(it.attempts(&sell_uri()), 3, "after 0, 100 and 300 ms");
    assert_eq!(it.attempts(&close_uri()), 0);
}

#[actix_rt::test]
async fn another_refusal_of_a_registration_is_final() {
    let mut it = joined().await;
    it.reply(close_uri(), error("wamp.error.not_authorized"));
    let refused = it.ask(it.serving()).await;
    assert!(matches!(&refused, Err(MarketError::Refused { procedure, .. }) if *procedure == close_uri()));
    assert_eq!(it.attempts(&close_uri()), 1);
}

#[actix_rt::test]
async fn a_session_that_is_lost_while_registering_fails_it() {
    let mut it = joined().await;
    it.reply(close_uri(), Reply::Silence);
    let serving = it.session.send(it.serving());
    while it.heard_register().await.0 != close_uri() {}
    it.order(Order::Drop);
    let failed = soon(serving).await.unwrap();
    assert!(matches!(&failed, Err(MarketError::Unanswered { .. } | MarketError::NotJoined)), "{failed:?}");
    it.lost().await;
}

#[actix_rt::test]
async fn requests_reach_the_seller_in_the_order_of_the_wire() {
    let (mut it, sell, close_channel) = served().await;
    for number in 2..102 {
        match number % 3 {
            0 => it.say(invocation(number, close_channel, close_args(number as u32))),
            _ => it.say(invocation(number, sell, sell_args(number as u32))),
        }
    }
    for number in 2..102 {
        match number % 3 {
            0 => assert_eq!(it.asked_to_close().await.0, close(state(number as u32, 900), true)),
            _ => assert_eq!(it.asked_to_sell().await.0, sale(KEY, state(number as u32, 1000 - number), 1)),
        }
    }
    it.assert_nothing_asked();
}

#[actix_rt::test]
async fn receipts_are_dictionaries_with_amounts_of_32_bytes_in_every_serializer() {
    for serializer in Serializer::ALL {
        let router = Stub::start(Choice::Name(serializer.subprotocol())).await;
        let (mut it, sell, close_channel) = served_at(router).await;
        it.say(invocation(77, sell, sell_args(2)));
        let (request, answer) = it.asked_to_sell().await;
        answer.send(Ok(sell_receipt(&request))).unwrap();
        let (number, Ok(payload)) = it.answered().await else { panic!("refused") };
        let Payload { args, kwargs } = payload;
        assert_eq!((number, args.len(), kwargs), (77, 1, vec![]));
        let field = |name: &str| args[0].field(name).unwrap();
        let bytes = |name: &str| field(name).as_bytes().unwrap();
        assert_eq!(bytes("amount"), Amount::from_xbr(1).to_be_bytes());
        assert_eq!(bytes("balance"), Amount::from_xbr(998).to_be_bytes());
        assert_eq!((bytes("key_id"), bytes("sealed_key")), (&[0x77; 16][..], &[5; 80][..]));
        assert_eq!((bytes("signature"), field("channel_seq")), (&[6; 65][..], &Value::Int(2)));
        assert_eq!(bytes("delegate"), seller_key().address().as_bytes());
        assert_eq!(bytes("buyer_pubkey"), buyer().1.as_bytes());

        it.say(invocation(78, close_channel, close_args(2)));
        let (request, answer) = it.asked_to_close().await;
        answer.send(Ok(close_receipt(&request))).unwrap();
        let (number, Ok(payload)) = it.answered().await else { panic!("refused") };
        assert_eq!((number, payload.args.len()), (78, 1));
        let dict = &payload.args[0];
        assert_eq!(dict.field("balance").unwrap().as_bytes().unwrap(), Amount::from_xbr(900).to_be_bytes());
        assert_eq!((dict.field("seq"), dict.field("is_final")), (Some(&2u32.into()), Some(&true.into())));
    }
}

#[actix_rt::test]
async fn answers_leave_when_they_are_there_whatever_was_asked_before() {
    let (mut it, sell, _) = served().await;
    it.say(invocation(1, sell, sell_args(2)));
    it.say(invocation(2, sell, sell_args(3)));
    let (_, first) = it.asked_to_sell().await;
    let (_, second) = it.asked_to_sell().await;
    second.send(Err(SaleReject::NoSuchKey)).unwrap();
    assert_eq!(it.answered().await.0, 2);
    first.send(Err(SaleReject::NoSuchKey)).unwrap();
    assert_eq!(it.answered().await.0, 1);
}

#[actix_rt::test]
async fn a_reject_is_answered_with_its_error_and_text() {
    let (mut it, sell, close_channel) = served().await;
    let one = Amount::from_units(1);
    for (reject, uri) in [
        (SaleReject::UnexpectedMarketMaker, "xbr.error.unexpected_marketmaker_adr"),
        (SaleReject::NoSuchKey, "crossbar.error.no_such_object"),
        (SaleReject::KeyRetired, "xbr.error.key_retired"),
        (SaleReject::InvalidBuyerKey, INVALID_ARGUMENT),
        (
            SaleReject::InsufficientAmount { expected: one, actual: Amount::ZERO },
            "xbr.error.insufficient_amount",
        ),
        (SaleReject::Unavailable { reason: "a test" }, UNAVAILABLE),
    ] {
        it.say(invocation(7, sell, sell_args(2)));
        let (_, answer) = it.asked_to_sell().await;
        let text = reject.to_string();
        answer.send(Err(reject)).unwrap();
        let heard = it.heard(|message| match message {
            Wamp::Error { request_type, request, error, payload, .. } => {
                Some((*request_type, *request, error.clone(), payload.clone()))
            }
            _ => None,
        });
        let payload = Payload { args: vec![Value::from(text)], kwargs: vec![] };
        assert_eq!(heard.await, (68, 7, uri.to_owned(), payload));
    }
    it.say(invocation(8, close_channel, close_args(2)));
    it.asked_to_close().await.1.send(Err(CloseReject::UnexpectedDelegate)).unwrap();
    assert_eq!(it.answered().await, (8, Err("xbr.error.unexpected_delegate_adr".to_owned())));
}

#[actix_rt::test]
async fn arguments_out_of_form_are_refused_without_asking_the_seller() {
    let (mut it, sell, close_channel) = served().await;
    let with = |index: usize, value: Value| {
        let mut args = sell_args(2);
        args[index] = value;
        args
    };
    let rows = [
        (sell, sell_args(2)[..7].to_vec()),
        (sell, [sell_args(2), vec![Value::Null]].concat()),
        (sell, with(0, Value::Bytes(vec![1; 19]))),
        (sell, with(1, Value::from("a buyer"))),
        (sell, with(4, Value::Int(-1))),
        (sell, with(5, Value::Int(35))),
        (sell, with(7, Value::Bytes(vec![1; 64]))),
        (close_channel, close_args(2)[..5].to_vec()),
        (close_channel, sell_args(2)),
    ];
    for (number, (registration, args)) in rows.into_iter().enumerate() {
        it.say(invocation(number as u64 + 1, registration, args));
        assert_eq!(it.answered().await, (number as u64 + 1, Err(INVALID_ARGUMENT.to_owned())));
    }
    let payload = Payload { args: sell_args(2), kwargs: vec![("a".to_owned(), Value::Null)] };
    it.say(Wamp::Invocation { request: 50, registration: sell, details: Dict::new(), payload });
    assert_eq!(it.answered().await, (50, Err(INVALID_ARGUMENT.to_owned())));
    it.assert_nothing_asked();
}

#[actix_rt::test]
async fn an_interrupt_does_not_stop_the_answer() {
    let (mut it, sell, close_channel) = served().await;
    it.say(invocation(77, sell, sell_args(2)));
    let (request, answer) = it.asked_to_sell().await;
    it.say(Wamp::Interrupt { request: 77, options: Dict::new() });
    // What comes after the interrupt tells that it was read.
    it.say(invocation(78, close_channel, close_args(2)));
    it.asked_to_close().await.1.send(Err(CloseReject::ChannelClosed)).unwrap();
    assert_eq!(it.answered().await.0, 78);
    let receipt = sell_receipt(&request);
    answer.send(Ok(receipt.clone())).unwrap();
    let payload = Payload { args: vec![receipt.to_value()], kwargs: vec![] };
    assert_eq!(it.answered().await, (77, Ok(payload)));
}

#[actix_rt::test]
async fn what_comes_before_the_registration_is_through_may_be_repeated() {
    let mut it = joined().await;
    it.reply(close_uri(), Reply::Silence);
    let serving = it.session.send(it.serving());
    let request = it.heard(|message| match message {
        Wamp::Register { request, procedure, .. } if *procedure == close_uri() => Some(*request),
        _ => None,
    });
    let request = request.await;
    it.say(invocation(77, 1002, sell_args(2)));
    assert_eq!(it.answered().await, (77, Err(UNAVAILABLE.to_owned())));
    it.say(Wamp::Registered { request, registration: 1003 });
    assert_eq!(soon(serving).await.unwrap(), Ok(()));
    it.say(invocation(78, 1002, sell_args(2)));
    it.asked_to_sell().await;
    it.assert_nothing_asked();
}

#[actix_rt::test]
async fn a_registration_of_somebody_else_is_answered_with_an_error() {
    let (mut it, _, _) = served().await;
    it.say(invocation(77, 5555, sell_args(2)));
    assert_eq!(it.answered().await, (77, Err("wamp.error.no_such_procedure".to_owned())));
    it.assert_nothing_asked();
}

#[actix_rt::test]
async fn a_seller_that_has_gone_is_not_available() {
    let (mut it, sell, close_channel) = served().await;
    soon(it.probe.send(Die)).await.unwrap();
    for (request, registration, args) in [(1, sell, sell_args(2)), (2, close_channel, close_args(2))] {
        it.say(invocation(request, registration, args));
        assert_eq!(it.answered().await, (request, Err(UNAVAILABLE.to_owned())));
    }
}

#[actix_rt::test]
async fn too_many_requests_at_once_are_answered_to_be_repeated() {
    let (mut it, sell, _) = served().await;
    let args = sell_args(2);
    for number in 1..=2049 {
        it.say(invocation(number, sell, args.clone()));
    }
    assert_eq!(it.answered().await, (2049, Err(UNAVAILABLE.to_owned())));
    let (_, answer) = it.asked_to_sell().await;
    answer.send(Err(SaleReject::NoSuchKey)).unwrap();
    assert_eq!(it.answered().await.0, 1);
    it.say(invocation(2050, sell, args));
    let mut waiting = Vec::new();
    for _ in 0..2048 {
        waiting.push(it.asked_to_sell().await);
    }
    it.assert_nothing_asked();
}

#[actix_rt::test]
async fn a_withdrawal_waits_for_what_is_under_way_and_takes_nothing_new() {
    let (mut it, sell, close_channel) = served().await;
    it.say(invocation(77, sell, sell_args(2)));
    let (_, answer) = it.asked_to_sell().await;
    let mut withdrawn = std::pin::pin!(it.session.send(Withdraw));
    it.say(invocation(78, sell, sell_args(3)));
    assert_eq!(it.answered().await, (78, Err(UNAVAILABLE.to_owned())));
    assert!(futures_util::poll!(&mut withdrawn).is_pending());
    answer.send(Err(SaleReject::NoSuchKey)).unwrap();
    assert_eq!(it.answered().await.0, 77, "before anything is unregistered");
    soon(withdrawn).await.unwrap();
    let mut unregistered = Vec::new();
    for _ in 0..2 {
        let unregister = it.heard(|message| match message {
            Wamp::Unregister { registration, .. } => Some(*registration),
            _ => None,
        });
        unregistered.push(unregister.await);
    }
    assert_eq!(unregistered, [sell, close_channel]);
    it.ask(Withdraw).await;
    assert_eq!(it.ask(it.serving()).await, Ok(()), "the session can serve again");
    it.assert_nothing_asked();
}

#[actix_rt::test]
async fn an_answer_for_an_earlier_session_does_not_reach_its_successor() {
    let (mut it, sell, _) = served().await;
    it.say(invocation(77, sell, sell_args(2)));
    let (request, answer) = it.asked_to_sell().await;
    let second = it.router.again();
    let mut first = std::mem::replace(&mut it.router, second);
    it.join().await.unwrap();
    assert_eq!(it.ask(it.serving()).await, Ok(()));
    // Still sent by the router of the first session: it is answered there, or not at all, but never sold.
    let _ = first.orders.send(Order::Say(invocation(78, sell, sell_args(3))));
    answer.send(Ok(sell_receipt(&request))).unwrap();
    // The first session has nothing left to wait for, and ends.
    soon(async { while first.heard.recv().await.is_some() {} }).await;
    it.say(invocation(79, sell, sell_args(4)));
    assert_eq!(it.asked_to_sell().await.0.channel_seq, state(4, 0).seq);
    it.assert_nothing_asked();
}

#[actix_rt::test]
async fn a_registration_that_another_session_took_over_ends_this_one() {
    let (mut it, sell, _) = served().await;
    let details = vec![("registration".to_owned(), Value::from(sell))];
    it.say(Wamp::Unregistered { request: 0, details });
    assert!(it.lost().await.contains("taken a registration over"));
    it.heard_goodbye().await;
}

#[actix_rt::test]
async fn only_the_word_of_this_market_that_it_runs_is_passed_on() {
    let (mut it, sell, _) = served().await;
    it.reply(uri::GET_CONFIG, Reply::Result(vec![super::calls::config()]));
    it.ask(FetchConfig).await.unwrap();
    let status = |subscription, market: &str, status: u64| Wamp::Event {
        subscription,
        publication: 1,
        details: Dict::new(),
        payload: Payload { args: vec![Value::from(market), Value::from(status)], kwargs: Dict::new() },
    };
    let (market, other) = (super::support::MARKET.to_string(), xbr_core::MarketId::new([9; 16]).to_string());
    // The stub numbers what it is asked for: the subscription follows the two registrations.
    it.say(status(1004, &other, 1));
    it.say(status(1004, &market, 3));
    it.say(status(1, &market, 1));
    it.say(status(1004, "nonsense", 9));
    it.say(status(1004, &market, 1));
    assert!(matches!(it.asked().await, Asked::Back));
    it.say(invocation(5, sell, sell_args(2)));
    it.asked_to_sell().await;
    it.assert_nothing_asked();
}
