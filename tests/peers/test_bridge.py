"""The bridge: plain events of a Crossbar router, republished encrypted."""

from common import KEYS
from payloads import check_equal
from provider import API_ID, TOPIC, write_secret


def test_events_of_a_crossbar_router_are_republished_encrypted(new_provider, market):
    provider, realm = new_provider(count=10), market.realm
    ticket = KEYS["seller"]["ticket"]
    write_secret(provider.directory / "bridge.ticket", ticket["ticket"])
    auth = {"method": "ticket", "authid": ticket["authid"], "ticket_file": "bridge.ticket"}
    provider.config["feed"] = [
        {
            "source": "wamp",
            "api": API_ID,
            "uri": TOPIC,
            "router": {"url": market.router.url, "realm": KEYS["market"]["realm"], "auth": auth},
            "topics": [
                {"uri": "plant.exact"},
                {"uri": "plant.prefix", "match": "prefix"},
                {"uri": "plant..wildcard", "match": "wildcard", "from": "plant", "to": TOPIC},
            ],
        }
    ]
    seller, buyer = provider.start(), provider.buyer()
    seller.wait_for("the bridge is joined", lambda: seller.logged("the bridge is joined"))
    realm.publish("plant.exact", {"celsius": 21})
    realm.publish("plant.exact", 1, unit="C")
    realm.publish("plant.other", "nobody subscribes to this")
    realm.publish("plant.prefix.a.b", "below")
    realm.publish("plant.7.wildcard", "below")
    check_equal(
        [each["payload"] for each in buyer.unwrapped(4)],
        ['{"celsius": 21}', '{"args": [1], "kwargs": {"unit": "C"}}', '"below"', '"below"'],
    )
    assert seller.stop() == 0
