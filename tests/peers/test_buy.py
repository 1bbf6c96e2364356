"""`xbr-seller buy`: it prints what others sell, decrypted and exact, and pays for each key once."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator

import pytest
from consumer import BuyProcess, Consumer
from payloads import LINES, check_equal
from processes import KIT, Program, wait_until
from provider import PRICE, TOPIC, to_wei

from common import XBR


@pytest.fixture
def new_consumer(market, tmp_path) -> Iterator[Callable[..., BuyProcess]]:
    """Start a buyer, always the same one; the arguments follow those of `buy`."""
    with Consumer(market, tmp_path) as consumer:
        yield consumer.start


def check_paid(consumer: BuyProcess, market, keys: int, price: int) -> None:
    """By its own summary and by the market maker's books, it has paid for so many keys."""
    summary = consumer.logged("stopped")[-1]
    assert (summary["keys"], summary["lost"]) == (keys, "0")
    assert to_wei(summary["spent"]) == keys * price
    channel = market.realm.call("test.mm.channels", "payment", consumer.address)[-1]
    assert int.from_bytes(channel["remaining"]) == to_wei(summary["remaining"]) == 10**27 - keys * price


def test_events_of_the_reference_seller_are_printed_exactly(market, new_consumer, tmp_path):
    consumer = new_consumer("--count", "5")
    command = [sys.executable, KIT / "seller.py", "--url", market.router.url, "--key", os.urandom(32).hex()]
    seller = Program("reference", command, tmp_path)
    try:
        assert consumer.exit_code(60) == 0
    finally:
        seller.kill()
    lines = consumer.records(consumer.out)
    assert [line["payload"] for line in lines] == [
        {"origin": "reference", "number": number, "raw": "\0AP8=", "big": -(2**100) - number}
        for number in range(1, 6)
    ]
    published = [record["key_id"] for record in seller.records(seller.out) if record["event"] == "published"]
    assert [line["key_id"].replace("-", "") for line in lines] == published
    assert all(line["topic"] == TOPIC for line in lines)
    received = [line["received_ns"] for line in lines]
    assert received == sorted(received) and received[0] > 10**18
    check_paid(consumer, market, 3, XBR)


@pytest.mark.parametrize("how", (signal.SIGTERM, signal.SIGINT))
def test_every_kind_of_payload_of_our_seller_is_printed(market, new_provider, new_consumer, how):
    provider, consumer = new_provider(count=len(LINES)), new_consumer()
    seller = provider.start()
    seller.feed(*LINES)
    printed = consumer.printed(len(LINES))
    check_equal([line["payload"] for line in printed], LINES)
    assert consumer.stop(how) == 0
    check_paid(consumer, market, 1, to_wei(PRICE))
    assert seller.stop() == 0


def test_a_key_that_was_bought_before_a_restart_is_not_paid_again(market, new_provider, new_consumer):
    provider, consumer = new_provider(count=100), new_consumer()
    seller = provider.start()
    seller.feed("1")
    consumer.printed(1)
    assert consumer.stop() == 0
    consumer = new_consumer()
    seller.feed("2")
    assert [line["payload"] for line in consumer.printed(1)] == [2]
    assert consumer.stop() == 0
    check_paid(consumer, market, 1, to_wei(PRICE))
    assert seller.stop() == 0


def test_too_dear_a_key_is_reported_and_its_events_are_left_out(market, new_provider, new_consumer):
    provider, consumer = new_provider(price="35.000000000000000001", count=100), new_consumer()
    seller = provider.start()
    seller.feed("1")
    consumer.wait_for("the report", lambda: consumer.logged("event not decrypted"))
    assert consumer.stop() == 0 and not consumer.records(consumer.out)
    check_paid(consumer, market, 0, 0)
    assert seller.stop() == 0


def test_it_ends_when_nobody_reads_its_events_any_more(new_provider, new_consumer):
    provider, consumer = new_provider(count=100), new_consumer(shell="{} | head -n 1")
    seller = provider.start()
    seller.feed("1")
    consumer.wait_for("the line is printed", lambda: consumer.out.read_bytes())
    # What is written after the reader has gone finds a closed pipe.
    wait_until("its end", lambda: seller.feed("2") or consumer.process.poll() is not None)
    assert consumer.exit_code() == 0
    assert json.loads(consumer.out.read_bytes())["payload"] == 1
    assert consumer.logged("nobody reads the events any more")
    assert seller.stop() == 0
