"""Who the seller says it is, and over which transport."""

import pytest
from payloads import LINES, check_equal
from provider import write_secret

from common import KEYS


def sells(provider) -> None:
    """A buyer gets what the seller publishes."""
    seller, buyer = provider.start(), provider.buyer()
    seller.feed(*LINES[:2])
    check_equal([each["payload"] for each in buyer.unwrapped(2)], LINES[:2])
    assert seller.stop() == 0


def ticket(provider, secret: str = KEYS["seller"]["ticket"]["ticket"]) -> dict:
    write_secret(provider.directory / "ticket", secret)
    return {"method": "ticket", "authid": KEYS["seller"]["ticket"]["authid"], "ticket_file": "ticket"}


def cryptosign(provider, secret: str = KEYS["seller"]["cryptosign"]["privkey"]) -> dict:
    write_secret(provider.directory / "cryptosign.key", secret)
    authid = KEYS["seller"]["cryptosign"]["authid"]
    return {"method": "cryptosign", "authid": authid, "key_file": "cryptosign.key"}


@pytest.mark.parametrize("method", (ticket, cryptosign))
def test_sells_with_the_role_of(new_provider, market, method):
    provider = new_provider(count=10)
    provider.config["market"]["auth"] = method(provider)
    seller = provider.start()
    (session,) = provider.sessions("sell")
    details = market.realm.call("wamp.session.get", session)
    assert (details["authmethod"], details["authrole"]) == (method.__name__, KEYS["seller"]["role"])
    assert seller.stop() == 0
    sells(provider)


def test_no_log_level_brings_secrets_out(new_provider):
    provider = new_provider(count=10)
    provider.config["market"]["auth"] = ticket(provider)
    seller = provider.start(RUST_LOG="trace")
    assert seller.stop() == 0
    log = seller.err.read_bytes()
    assert b"TRACE" in log
    secret = KEYS["seller"]["ticket"]["ticket"].encode()
    assert secret not in log and secret.hex().encode() not in log
    assert ", ".join(map(str, secret)).encode() not in log, "as a list of bytes"


@pytest.mark.parametrize(("method", "secret"), ((ticket, "wrong"), (cryptosign, "5a" * 32)))
def test_a_refused_identity_is_a_failed_start(new_provider, method, secret):
    provider = new_provider(count=10)
    provider.config["market"]["auth"] = method(provider, secret)
    seller = provider.spawn()
    assert seller.exit_code() == 3
    assert secret.encode() not in seller.err.read_bytes()


def test_sells_over_tls_to_a_router_with_the_given_root(new_provider, market):
    provider = new_provider(count=10)
    provider.config["market"] |= {"url": market.router.tls_url, "cafile": str(market.router.cafile)}
    sells(provider)


def test_an_unknown_certificate_is_a_failed_start(new_provider, market):
    provider = new_provider(count=10)
    provider.config["market"]["url"] = market.router.tls_url
    assert provider.spawn().exit_code() == 3
