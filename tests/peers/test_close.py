"""Closing a channel: `close_channel` as the market maker calls it, and `xbr-seller close` from the seller's side."""

import pytest
from conftest import SERIALIZERS
from payloads import LINES, check_equal
from till import Till

from channel import CLOSING, OPEN, signer_of_state
from common import xbr


def books(till: Till) -> tuple[bytes, int]:
    """What the market maker's books have to say after sales that were made past them: remaining, and seq."""
    return xbr.pack_uint256(till.balance), till.seq



@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_a_final_close_is_signed_by_the_seller_and_ends_the_sales(new_provider, events, serializer):
    provider = new_provider(serializer=serializer, count=10)
    seller = provider.start()
    seller.feed(LINES[0])
    till = provider.till(events.wait(1)[0][0])
    till.sell(till.next_sale())

    request = till.final_state()
    answer = till.call("close", request.close())
    assert "ok" in answer, answer
    receipt = answer["ok"]
    signature = receipt["signature"]
    assert receipt == {
        "delegate": provider.address,
        "seq": till.seq,
        "balance": xbr.pack_uint256(till.balance),
        "is_final": True,
        "signature": signature,
    }
    assert signer_of_state(signature, till.oid, till.seq, till.balance, True) == provider.address

    assert till.call("close", request.close()) == answer, "an identical request gets the identical answer"
    assert till.call("sell", till.next_sale().sell())["error"] == "xbr.error.channel_closed"
    assert till.call("close", request.close()) == answer
    assert seller.stop() == 0


def test_the_close_survives_a_restart(new_provider, events):
    provider = new_provider(count=10)
    seller = provider.start()
    seller.feed(LINES[0])
    till = provider.till(events.wait(1)[0][0])
    till.sell(till.next_sale())
    request = till.final_state()
    answer = till.call("close", request.close())
    assert "ok" in answer, answer
    assert seller.stop() == 0

    # The real market maker would offer a fresh channel, since the old one is closed.
    provider.market.realm.call("test.mm.set_channel", "paying", provider.address, fresh=True)
    provider.start()
    assert till.call("close", request.close()) == answer
    assert till.call("sell", till.next_sale().sell())["error"] == "xbr.error.channel_closed"


def test_a_channel_that_runs_dry_is_closed_and_the_next_one_sells(new_provider, market, events):
    provider = new_provider(count=1)
    two_sales = xbr.pack_uint256(2 * provider.price + 1)
    market.realm.call("test.mm.set_channel", "paying", provider.address, two_sales, fresh=True)
    market.realm.call("test.mm.set_fix_close", True)
    try:
        seller, buyer = provider.start(), provider.buyer()
        seller.feed(*LINES[:4])
        unwrapped = buyer.unwrapped(4)
    finally:
        market.realm.call("test.mm.set_fix_close", False)
    check_equal([each["payload"] for each in unwrapped], LINES[:4])
    first, second = market.realm.call("test.mm.channels", "paying", provider.address)
    assert (first["seq"], first["remaining"]) == (3, xbr.pack_uint256(1))
    assert second["seq"] == 3
    assert seller.stop() == 0


def test_the_market_makers_unfinished_close_does_not_stop_the_seller(new_provider, market, events):
    """Upstream asks for the close, fails in its own code, leaves the channel open, and asks again."""
    provider = new_provider(count=1)
    one_sale = xbr.pack_uint256(provider.price + 1)
    market.realm.call("test.mm.set_channel", "paying", provider.address, one_sale, fresh=True)
    seller, buyer = provider.start(), provider.buyer()
    sessions = provider.sessions("sell")
    seller.feed(*LINES[:3])
    failed = buyer.wait_for(
        "two events cannot be bought", lambda: len(buyer.events("failed")) == 2 and buyer.events("failed")
    )
    assert [each["error"] for each in failed] == ["wamp.error.runtime_error"] * 2
    assert len(buyer.events("unwrapped")) == 1
    assert provider.sessions("sell") == sessions
    assert seller.stop() == 0


def test_the_seller_closes_its_channel_once_it_is_stopped(new_provider, events):
    provider = new_provider(count=10)
    seller = provider.start()
    seller.feed(LINES[0])
    till = provider.till(events.wait(1)[0][0])
    till.sell(till.next_sale())
    provider.market.realm.call("test.mm.set_channel", "paying", provider.address, *books(till))

    (channel,) = provider.ledger()
    assert (channel["seq"], channel["earned"], channel["sales"]) == (2, "35", 1), "told while the service runs"
    refused = provider.command("close", "--yes")
    assert refused.returncode == 3 and "open already" in refused.stderr, "the service has to be stopped first"
    assert seller.stop() == 0

    checked = provider.command("close", "--dry-run")
    assert checked.returncode == 0 and "earned:       35 XBR" in checked.stdout, checked
    assert provider.command("close").returncode == 1, "nobody confirmed"
    assert provider.channel()["state"] == OPEN

    closed = provider.command("close", "--yes")
    assert closed.returncode == 0 and "transaction:  0x" in closed.stdout, closed
    record = provider.market.realm.call("xbr.marketmaker.get_paying_channel", till.oid)
    assert (record["state"], record["close_channel_seq"], record["close_is_final"]) == (CLOSING, 2, True)
    assert record["close_balance"] == xbr.pack_uint256(till.balance)
    assert provider.ledger()[0]["own_close"] == {"block": "1"}
    again = provider.command("close", "--yes", "--channel", provider.ledger()[0]["channel"])
    assert again.returncode == 0 and "sent before" in again.stdout, "the one try is not wasted on a repeat"

    # The real market maker opens no channel by itself; this one does, so that the seller can start.
    provider.start()
    assert till.call("sell", till.next_sale().sell())["error"] == "xbr.error.channel_closed"


@pytest.mark.parametrize("after", (False, True), ids=("before", "after"))
def test_a_close_whose_answer_got_lost_is_sent_again(new_provider, market, events, after):
    provider = new_provider(count=10)
    assert provider.start().stop() == 0
    market.realm.call("test.mm.fail_next", "close_channel", "wamp.error.runtime_error", 1, after)
    first = provider.command("close", "--yes")
    # A close that was taken shows in the channel's state, whatever the answer.
    assert first.returncode == (0 if after else 1), first
    assert provider.command("close", "--yes").returncode == 0
    assert provider.channel()["state"] == CLOSING
