"""What goes wrong between the seller and the market maker, and that the next sale works all the same."""

import signal

import pytest
from payloads import LINES, check_equal
from provider import PRICE, TOPIC, buy_with_bad_key


def test_a_failed_sale_does_not_stand_in_the_way_of_the_next(new_provider, events):
    provider = new_provider(count=2)
    seller, buyer = provider.start(), provider.buyer()
    seller.feed(*LINES[:2])
    check_equal([each["payload"] for each in buyer.unwrapped(2)], LINES[:2])
    for _ in range(2):
        buy_with_bad_key(provider, events.wait(2)[0][0])
    channel = provider.channel()
    assert channel["seq"] == 4, "the market maker keeps the seq of the failed sales"

    seller.feed(*LINES[2:4])
    unwrapped = buyer.unwrapped(4)
    check_equal([each["payload"] for each in unwrapped], LINES[:4])
    assert unwrapped[-1]["bought"] == 2
    assert provider.channel()["seq"] == 5
    assert seller.stop() == 0


def test_a_failed_sale_while_it_was_away_does_not_keep_the_seller_from_selling_again(new_provider, events):
    """At its start the market maker is ahead of the ledger, which no signed state explains."""
    provider = new_provider(count=2)
    seller, buyer = provider.start(), provider.buyer()
    seller.feed(*LINES[:2])
    buyer.unwrapped(2)
    assert seller.stop() == 0
    late = provider.buyer()
    provider.market.realm.publish(TOPIC, *events.wait(2)[0])
    late.wait_for("the sale fails", lambda: late.events("failed"))
    assert provider.channel()["seq"] == 3

    seller = provider.start()
    seller.feed(*LINES[2:4])
    # The first buyer saw the repeated event, too.
    check_equal([each["payload"] for each in buyer.unwrapped(5)], [*LINES[:2], LINES[0], *LINES[2:4]])
    assert seller.stop() == 0


@pytest.mark.parametrize("how", (signal.SIGTERM, signal.SIGKILL))
def test_a_key_from_before_a_restart_is_still_sold(new_provider, events, how):
    provider = new_provider(count=2)
    seller, before = provider.start(), provider.buyer()
    seller.feed(*LINES[:3])
    check_equal([each["payload"] for each in before.unwrapped(3)], LINES[:3])
    old = events.wait(3)
    before.stop()
    assert seller.stop(how) == (0 if how == signal.SIGTERM else -how)

    seller, after = provider.start(), provider.buyer()
    for event in old:
        provider.market.realm.publish(TOPIC, *event)
    check_equal([each["payload"] for each in after.unwrapped(3)], LINES[:3])
    seller.feed(*LINES[3:5])
    unwrapped = after.unwrapped(5)
    check_equal([each["payload"] for each in unwrapped], LINES[:5])
    keys = {
        key_id for key_id, _, _ in events.wait(5)
    }  # without the repeated ones: a publisher gets no own events
    assert unwrapped[-1]["bought"] == len(keys)
    assert provider.channel()["seq"] == 1 + 2 + len(keys), "the channel went on where it was"
    assert seller.stop() == 0


@pytest.mark.parametrize("after", (False, True), ids=("before", "after"))
def test_a_key_is_sold_though_its_offer_failed_at_first(new_provider, market, events, after):
    """Either nothing came of the offer, or only its reply was lost: then the repeat is "already offered"."""
    provider = new_provider(count=1)
    market.realm.call("test.mm.fail_next", "place_offer", "wamp.error.runtime_error", 1, after)
    seller, buyer = provider.start(), provider.buyer()
    seller.feed(*LINES[:3])
    check_equal([each["payload"] for each in buyer.unwrapped(3)], LINES[:3])
    assert seller.stop() == 0


def test_strictly_reconciled_a_failed_sale_is_in_the_way_of_the_next_as_in_the_reference(new_provider, events):
    provider = new_provider(count=1)
    provider.config["seller"]["reconcile"] = "strict"
    seller, buyer = provider.start(), provider.buyer()
    seller.feed(LINES[0])
    buyer.unwrapped(1)
    buy_with_bad_key(provider, events.wait(1)[0][0])
    seller.feed(LINES[1])
    failed = buyer.wait_for("the next sale fails", lambda: buyer.events("failed"))
    assert failed[0]["error"] == "xbr.error.unexpected_channel_seq"
    assert provider.ledger()[0]["surplus"] == "0"
    assert seller.stop() == 0


def test_the_surplus_of_a_failed_sale_is_booked_and_shown(new_provider, events):
    provider = new_provider(count=1)
    seller, buyer = provider.start(), provider.buyer()
    seller.feed(LINES[0])
    buyer.unwrapped(1)
    buy_with_bad_key(provider, events.wait(1)[0][0])
    seller.feed(LINES[1])
    buyer.unwrapped(2)
    (channel,) = provider.ledger()
    assert (channel["earned"], channel["surplus"], channel["sales"]) == ("70", PRICE, 2)
    assert seller.stop() == 0


def test_a_market_maker_that_went_back_halts_the_channel_and_leaves_its_evidence(new_provider, events):
    provider = new_provider(count=10)
    seller = provider.start()
    seller.feed(LINES[0])
    till = provider.till(events.wait(1)[0][0])
    till.sell(till.next_sale())
    more = till.next_sale(balance=till.balance + 1)
    assert till.call("sell", more.sell())["error"] == "xbr.error.unexpected_channel_balance"
    halted = till.call("sell", till.next_sale().sell())
    assert halted["error"] == "xbr.error.unexpected_channel_balance" and "halted" in halted["args"][0]
    (channel,) = provider.ledger()
    assert channel["alarm"]["kind"] == "rollback" and channel["alarm"]["their_seq"] == 3
    assert [proof["seq"] for proof in channel["evidence"]] == [3]
    assert "ALARM" in provider.command("channels").stdout
    assert any(line["level"] == "ERROR" for line in seller.lines())
    assert seller.stop() == 0
