"""The real market maker, and a contract that pays out: its close turns what was earned into tokens."""

import json
import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from payloads import check_equal
from processes import RealMarket, wait_until
from provider import Market, Provider, buy_with_bad_key, to_wei
from realm import Realm

from channel import address, eth_key

from contracts import NETWORK_PERCENT, Chain, Closing
from real_market import AMOUNT, open_channel

pytestmark = pytest.mark.timeout(300)

PRICE = "1.000000000000000007"  # XBR; 2 % of what is earned is no whole number, so that rounding shows
EVENTS = [json.dumps({"number": number}) for number in range(50)]


@pytest.fixture(scope="module", params=(0, 2), ids="fee of {} percent".format)
def market(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    """Instead of the market that all other tests share."""
    with ExitStack() as stack:
        real = RealMarket(tmp_path_factory.mktemp("real_market"), request.param)
        stack.callback(real.stop)
        realm = Realm(real.url)
        stack.callback(realm.leave)
        yield Market(real, real, realm)


@pytest.fixture(scope="module")
def chain(market: Market) -> Chain:
    ready = market.router.ready
    return Chain(ready["chain"], ready["contracts"])


def sell_50_keys(provider: Provider, chain: Chain) -> None:
    """Sell through a failed sale and a crash, which the market maker never makes up for."""
    stranger = os.urandom(32)
    open_channel(chain, provider.market.realm, "payment", address(stranger), provider.price)
    seller, buyer = provider.start(), provider.buyer(eth_key("buyer"))
    seller.feed(*EVENTS[:25])
    last = buyer.unwrapped(25, timeout=120)[-1]
    buy_with_bad_key(provider, bytes.fromhex(last["key_id"]), stranger)
    assert seller.stop(signal.SIGKILL) == -signal.SIGKILL

    seller = provider.start()
    seller.feed(*EVENTS[25:])
    unwrapped = buyer.unwrapped(50, timeout=120)
    check_equal([each["payload"] for each in unwrapped], EVENTS)
    assert unwrapped[-1]["bought"] == 50
    assert seller.stop() == 0


def test_the_contract_accepts_the_close_and_pays_out_exactly_what_was_earned(new_provider, market, chain):
    provider = new_provider(price=PRICE, key=eth_key("seller"), count=1)
    sell_50_keys(provider, chain)
    (known,) = provider.ledger()
    oid, remaining = uuid.UUID(known["channel"]).bytes, to_wei(known["remaining"])
    earned = to_wei(known["earned"]) + to_wei(known["surplus"])
    assert (known["sales"], to_wei(known["earned"])) == (50, 50 * provider.price)
    assert to_wei(known["surplus"]) == provider.price, "the market maker pays for the failed sale as well"
    assert remaining == AMOUNT - earned

    before = chain.owned()
    refused = provider.command("close", "--yes", "--at-block", "1")
    assert refused.returncode == 1 and "block must be" in refused.stderr, refused
    assert chain.closing(oid).state == "open", (
        "a close that the contract would refuse must not use up the one try"
    )
    closed = provider.command("close", "--yes")
    assert closed.returncode == 0, closed
    wait_until("the contract closes the channel", lambda: chain.closing(oid).state == "closed")
    assert chain.closing(oid) == Closing("closed", known["seq"], remaining)

    fee = earned * market.router.fee_percent // 100
    contribution = fee * NETWORK_PERCENT // 100
    after = chain.owned()
    assert {name: after[name] - before[name] for name in before} == {
        "owner": 0,
        "operator": fee - contribution,
        "organization": contribution,
        "seller": earned - fee,
        "buyer": 0,
        "marketmaker": remaining,
    }

    again = provider.command("close", "--yes")
    assert again.returncode == 0 and "sent before" in again.stdout, again
    assert chain.owned() == after
    (ended,) = provider.ledger()
    assert ended["own_close"] and ended == known | {"closed": True, "own_close": ended["own_close"]}
