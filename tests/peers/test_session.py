"""A session that ends, or seems to live on, in any way: the seller comes back, and sells what it published before."""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from payloads import LINES, check_equal
from processes import MarketMaker, Proxy, Router, Seller, wait_until
from provider import TOPIC, Market, Provider
from realm import Events, Realm, in_reactor

from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import RegisterOptions

# Whole markets are started and restarted.
pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def own_market(tmp_path) -> Iterator[Market]:
    """A market of the test's own, whose parts it may end."""
    with ExitStack() as stack:
        router = Router(tmp_path / "router")
        stack.callback(router.stop)
        market = Market(router, MarketMaker(router.url, tmp_path), Realm(router.url))
        # Whichever there are in the end.
        stack.callback(lambda: market.router.stop())
        stack.callback(lambda: market.market_maker.stop())
        stack.callback(lambda: market.realm.leave())
        yield market


@pytest.fixture
def own_provider(own_market, tmp_path) -> Iterator[Callable[..., Provider]]:
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(Provider(own_market, tmp_path, **options))


def sessions_of(provider: Provider) -> list[int]:
    """Who serves `sell`, once somebody does."""
    return wait_until("the seller serves", lambda: provider.sessions("sell"))


def sells(provider: Provider, seller: Seller, events: Events) -> None:
    """It publishes and sells as if nothing had been, and ends cleanly."""
    seller.feed(LINES[0])
    till = provider.till(events.wait(1)[0][0])
    till.sell(till.next_sale())
    assert seller.stop() == 0


def test_a_restart_of_router_and_market_maker_costs_no_payload(own_market, own_provider, tmp_path):
    provider = own_provider(count=2)
    seller = provider.start()
    own_market.realm.leave()
    own_market.market_maker.stop(signal.SIGKILL)
    ports = [own_market.router.port, own_market.router.tls_port]
    own_market.router.stop()
    seller.wait_for("it notices", lambda: seller.logged("session lost, coming back"))
    seller.feed(*LINES[:3])

    own_market.router = Router(tmp_path / "router-2", ports)
    own_market.realm = Realm(own_market.router.url)
    # The seller is back when there is a market maker, so the events come after this.
    events = own_market.realm.collect(TOPIC)
    own_market.market_maker = MarketMaker(own_market.router.url, tmp_path / "market_maker-2")
    published = events.wait(3, timeout=90)
    buyer = provider.buyer()
    for event in published:
        own_market.realm.publish(TOPIC, *event)
    check_equal([each["payload"] for each in buyer.unwrapped(3)], LINES[:3])
    assert seller.stop() == 0


def test_a_market_maker_that_forgot_everything_is_offered_what_is_live(own_market, own_provider, tmp_path):
    provider = own_provider(interval="1h")
    seller = provider.start()
    sessions = sessions_of(provider)
    own_market.market_maker.stop(signal.SIGKILL)
    own_market.market_maker = MarketMaker(own_market.router.url, tmp_path / "market_maker-2")
    wait_until("the key is offered again", lambda: provider.offers())
    buyer = provider.buyer()
    seller.feed(LINES[0])
    check_equal([each["payload"] for each in buyer.unwrapped(1)], LINES[:1])
    assert provider.sessions("sell") == sessions, "it is the session of before"
    assert len(provider.ledger()) == 2, "its new channel was found by the first sale, or by looking"
    assert seller.stop() == 0


def test_a_silent_network_is_noticed_and_the_seller_comes_back(new_provider, market, events, tmp_path):
    proxy = Proxy(market.router.port, tmp_path / "proxy")
    provider = new_provider(count=10)
    provider.config["market"] |= {"url": proxy.url, "ping_interval": "1s", "ping_timeout": "1s"}
    seller = provider.start()
    before = sessions_of(provider)
    proxy.process.send_signal(signal.SIGSTOP)
    lost = seller.wait_for("it notices", lambda: seller.logged("session lost, coming back"))
    assert "ping" in lost[0]["reason"]
    seller.feed(LINES[0])
    proxy.kill()
    proxy = Proxy(market.router.port, tmp_path / "proxy-2", proxy.port)
    try:
        till = provider.till(events.wait(1, timeout=60)[0][0])
        wait_until("it serves again", lambda: provider.sessions("sell") not in ([], before))
        till.sell(till.next_sale())
        assert seller.stop() == 0
    finally:
        proxy.kill()


def test_a_slow_market_maker_stops_neither_the_start_nor_the_data(new_provider, market, events):
    """Its answers to offers take longer than a key waits for its offer; what is published meanwhile is sold afterwards."""
    provider = new_provider(count=2)
    market.realm.call("test.mm.delay_next", "get_paying_channel_balance", 2)
    seller = provider.start()
    market.realm.call("test.mm.delay_next", "place_offer", 8, 2)
    seller.feed(*LINES[:6])
    published = events.wait(6, timeout=60)
    used = {key_id for key_id, _, _ in published}
    assert len(used) == 3
    wait_until("all keys are offered", lambda: used <= {offer["key"] for offer in provider.offers()}, 60)
    buyer = provider.buyer()
    for event in published:
        market.realm.publish(TOPIC, *event)
    check_equal([each["payload"] for each in buyer.unwrapped(6)], LINES[:6])
    assert seller.stop() == 0


def test_a_session_that_the_router_kills_is_replaced(new_provider, market, events):
    provider = new_provider(count=10)
    seller = provider.start()
    (before,) = sessions_of(provider)
    market.realm.call("wamp.session.kill", before)
    wait_until("another session serves", lambda: provider.sessions("sell") not in ([], [before]))
    sells(provider, seller, events)


def test_a_registration_that_was_taken_over_is_taken_up_again_when_it_is_free(new_provider, market, events):
    provider = new_provider(count=10)
    seller = provider.start()
    sessions_of(provider)
    session = market.realm.session
    uri = f"xbr.provider.{provider.provider_id}.sell"
    options = RegisterOptions(force_reregister=True)
    taken = in_reactor(lambda: session.register(lambda *_: None, uri, options=options))
    seller.wait_for("it notices", lambda: seller.logged("session lost, coming back"))
    in_reactor(taken.unregister)
    seller.wait_for("it is back", lambda: seller.logged("back, and selling"), timeout=60)
    sells(provider, seller, events)


def test_an_interrupted_sale_is_made_once_and_its_receipt_is_there_for_the_repeat(new_provider, market, events):
    provider = new_provider(count=10)
    seller = provider.start()
    seller.feed(LINES[0])
    till = provider.till(events.wait(1)[0][0])
    request = till.next_sale()

    def cancel_at_once():
        call = market.realm.session.call(f"xbr.provider.{provider.provider_id}.sell", *request.sell())
        call.cancel()
        return call.addErrback(lambda failure: failure.trap(ApplicationError, Exception))

    in_reactor(cancel_at_once)
    first = till.sell(request)
    assert till.call("sell", request.sell())["ok"] == first
    till.sell(till.next_sale())
    (channel,) = provider.ledger()
    assert (channel["sales"], channel["seq"], channel["evidence"]) == (2, 3, [])
    assert seller.stop() == 0
