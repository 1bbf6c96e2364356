"""The reference's buyer gets every payload from its events, and pays for each key once."""

import pytest
from conftest import SERIALIZERS
from payloads import LINES, check_equal
from processes import wait_until
from provider import TOPIC, is_recent_uuid7

from common import KEYS, xbr


def key_ids(events) -> list[bytes]:
    """The keys of the events, each once, in the order of their first use."""
    return list(dict.fromkeys(key_id for key_id, _, _ in events))


def check_offers(provider, used: list[bytes]) -> None:
    """Every key that was used is offered, once, on the terms of the configuration."""
    offers = provider.offers()
    offered = [offer["key"] for offer in offers]
    assert set(used) <= set(offered) and len(set(offered)) == len(offered)
    for offer in offers:
        assert is_recent_uuid7(offer["key"])
        assert xbr.unpack_uint256(offer["price"]) == provider.price
        assert (offer["uri"], offer["categories"]) == (TOPIC, {"kind": "demo"})
        assert (offer["seller"], offer["seller_authid"]) == (provider.address, provider.provider_id)
        assert offer["api"].hex() == KEYS["market"]["api_id"].replace("-", "")
        assert len(offer["signature"]) == 65


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_a_count_of_3_means_3_events_a_key(new_provider, events, serializer):
    provider = new_provider(serializer=serializer, count=3)
    seller, buyer = provider.start(), provider.buyer()
    seller.feed(*LINES[:10])
    unwrapped = buyer.unwrapped(10)
    check_equal([each["payload"] for each in unwrapped], LINES[:10])

    used = [key_id for key_id, _, _ in events.wait(10)]
    assert [used.count(key_id) for key_id in key_ids(events)] == [3, 3, 3, 1]
    assert unwrapped[-1]["bought"] == 4
    check_offers(provider, used)
    assert (
        len(
            wait_until(
                "4 sales are logged", lambda: len(seller.logged("sold")) == 4 and seller.logged("sold")
            )
        )
        == 4
    )
    assert seller.stop() == 0


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_an_interval_brings_new_keys_and_every_kind_of_payload_arrives(
    new_provider, events, market, serializer
):
    placed = market.realm.collect("xbr.marketmaker.on_offer_placed")
    provider = new_provider(serializer=serializer, interval="1s")
    seller, buyer = provider.start(), provider.buyer()
    fed: list[str] = []

    def feed(*lines: str) -> None:
        seller.feed(*lines)
        fed.extend(lines)
        events.wait(len(fed))

    feed(*LINES)
    while len(key_ids(events)) < 3:
        offers = len(placed)
        placed.wait(offers + 1, timeout=10)  # the clock of the rotation
        feed(f'{{"after offer": {offers}}}')
    unwrapped = buyer.unwrapped(len(fed))
    check_equal([each["payload"] for each in unwrapped], fed)
    assert unwrapped[-1]["bought"] == len(key_ids(events))
    check_offers(provider, key_ids(events))
    placed.end()
    assert seller.stop() == 0


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_a_price_is_exact_to_the_last_digit(new_provider, events, serializer):
    provider = new_provider(serializer=serializer, price="1000000.000000000000000001", count=100)
    seller, buyer = provider.start(), provider.buyer()
    seller.feed(*LINES[:1])
    unwrapped = buyer.unwrapped(1)
    check_equal([unwrapped[0]["payload"]], LINES[:1])
    assert int(unwrapped[0]["balance"]) == 10**27 - provider.price == 10**27 - (10**24 + 1)
    check_offers(provider, key_ids(events))
    assert xbr.unpack_uint256(provider.channel()["remaining"]) == 10**27 - provider.price
    sold = wait_until("the sale is logged", lambda: seller.logged("sold"))[0]
    assert "1000000.000000000000000001" in str(sold["amount"]) or str(provider.price) in str(sold["amount"])
    assert seller.stop() == 0


def test_interval_and_count_rotate_together(new_provider, events):
    provider = new_provider(interval="1h", count=2)
    seller, buyer = provider.start(), provider.buyer()
    seller.feed(*LINES[:5])
    check_equal([each["payload"] for each in buyer.unwrapped(5)], LINES[:5])
    used = [key_id for key_id, _, _ in events.wait(5)]
    assert [used.count(key_id) for key_id in key_ids(events)] == [2, 2, 1]
    assert seller.stop() == 0


def test_each_of_two_buyers_pays_for_itself(new_provider, events):
    provider = new_provider(count=5)
    seller, buyers = provider.start(), (provider.buyer(), provider.buyer())
    seller.feed(*LINES[:5])
    for buyer in buyers:
        unwrapped = buyer.unwrapped(5)
        check_equal([each["payload"] for each in unwrapped], LINES[:5])
        assert unwrapped[-1]["bought"] == 1
    assert (
        len(
            wait_until(
                "2 sales are logged", lambda: len(seller.logged("sold")) == 2 and seller.logged("sold")
            )
        )
        == 2
    )
    remaining = xbr.unpack_uint256(provider.channel()["remaining"])
    assert remaining == 10**27 - 2 * provider.price
    assert seller.stop() == 0
