"""The process: how it starts, what it refuses, how it ends."""

import signal

import pytest
from payloads import LINES, check_equal
from processes import Seller, free_ports, wait_until
from provider import BINARY, PRICE, write_config, write_secret


@pytest.mark.parametrize("how", (signal.SIGTERM, signal.SIGINT))
def test_a_signal_stops_it_cleanly(new_provider, events, how):
    provider = new_provider(count=10)
    seller = provider.start()
    seller.feed(LINES[0])
    events.wait(1)
    assert seller.stop(how) == 0
    assert not provider.sessions("sell") and not provider.sessions("close_channel")


def test_the_log_tells_who_sells(new_provider):
    provider = new_provider(count=10)
    started = provider.start().wait_started()
    assert started["provider_id"] == provider.provider_id
    assert started["address"].lower() == "0x" + provider.address.hex()
    assert started["public_key"].removeprefix("0x").lower().endswith(provider.provider_id[2:])
    assert "balance" in started and "timestamp" in started and started["level"] == "INFO"
    for process in provider.processes:
        assert provider.key.hex().encode() not in process.err.read_bytes()


def test_it_goes_on_selling_when_its_feed_has_ended(new_provider, events):
    provider = new_provider(count=10)
    seller, buyer = provider.start(), provider.buyer()
    seller.feed(*LINES[:2])
    seller.stdin.close()
    check_equal([each["payload"] for each in buyer.unwrapped(2)], LINES[:2])
    till = provider.till(events.wait(2)[0][0])
    till.sell(till.next_sale())
    assert seller.stop() == 0


def test_it_feeds_from_a_file(new_provider, events, market):
    provider = new_provider(count=10)
    (provider.directory / "payloads.jsonl").write_text("\n".join(LINES[:3]) + "\n")
    provider.config["feed"][0]["source"] = "payloads.jsonl"
    seller = provider.start()
    key_id, _, ciphertext = events.wait(3)[0]
    till = provider.till(key_id)
    assert till.open(till.sell(till.next_sale()), ciphertext) == {
        "number": 1,
        "nested": {"list": [1, [2, [3, {"deep": [[[[]]]]}]]]},
    }
    assert seller.stop() == 0


@pytest.mark.parametrize(
    "bad", (b'{"broken": ', b'"\xff\xfe"', b"[1] [2]"), ids=("cut off", "not utf-8", "two")
)
def test_a_bad_feed_line_is_reported_by_its_number_and_skipped(new_provider, bad):
    provider = new_provider(count=10)
    seller, buyer = provider.start(), provider.buyer()
    seller.feed(LINES[0], bad, LINES[3])
    check_equal([each["payload"] for each in buyer.unwrapped(2)], [LINES[0], LINES[3]])

    def reported() -> bool:
        troubles = [line for line in seller.lines() if line.get("level") in ("WARN", "ERROR")]
        return any(line.get("line") == 2 or "line 2" in str(line.get("message")) for line in troubles)

    wait_until("the report of line 2", reported)
    assert seller.stop() == 0


# --- configuration ---


def refused(provider, text: str | None = None) -> str:
    """The configuration is refused with exit code 2; return what the seller said."""
    seller = provider.spawn(text)
    assert seller.exit_code() == 2
    return seller.err.read_text()


def test_a_misspelt_key_is_refused_with_a_suggestion(new_provider):
    provider = new_provider(count=10)
    text = write_config(provider.config).replace('price = "', 'prise = "')
    said = refused(provider, text)
    assert "prise" in said and "price" in said.replace("prise", "")


@pytest.mark.parametrize(
    ("section", "key", "value"),
    (
        ("seller", "market_maker", "0x1234"),
        ("seller", "key_file", "missing.key"),
        ("market", "url", "http://127.0.0.1/"),
        ("market", "serializers", ["ubjson"]),
        ("api", "price", "1.0000000000000000001"),
        ("api", "price", "-1"),
        ("api", "id", "not a uuid"),
        ("api", "interval", "10 parsecs"),
        ("feed", "uri", "io.elsewhere"),
    ),
)
def test_a_bad_value_is_refused(new_provider, section, key, value):
    provider = new_provider(count=10)
    table = provider.config[section]
    (table[0] if isinstance(table, list) else table)[key] = value
    assert refused(provider)


def test_a_broken_file_is_refused(new_provider):
    assert "seller.toml" in refused(new_provider(count=10), "[seller\n")


def test_a_file_without_a_needed_key_is_refused(new_provider):
    provider = new_provider(count=10)
    provider.config["seller"].pop("market_maker")
    assert "market_maker" in refused(provider)


def test_a_missing_file_is_refused(tmp_path):
    seller = Seller("seller", BINARY, tmp_path / "missing.toml", tmp_path)
    try:
        assert seller.exit_code() == 2
        assert "missing.toml" in seller.err.read_text()
    finally:
        seller.kill()


@pytest.mark.parametrize("mode", (0o644, 0o640, 0o604))
def test_a_key_file_that_others_can_read_is_refused(new_provider, mode):
    provider = new_provider(count=10)
    write_secret(provider.directory / "seller.key", provider.key.hex(), mode)
    said = refused(provider)
    assert "seller.key" in said and provider.key.hex() not in said


def test_its_secrets_are_readable_by_their_owner_only(new_provider):
    provider = new_provider(count=10)
    seller = provider.start()
    master = provider.directory / "seller.db.master"
    assert master.stat().st_mode & 0o777 == 0o600
    assert seller.stop() == 0


def test_the_environment_overrides_the_file(new_provider, market, events):
    provider = new_provider(count=10)
    provider.config["market"]["url"] = "ws://127.0.0.1:1/"
    seller = provider.start(XBR_SELLER__MARKET__URL=market.router.url)
    seller.feed(LINES[0])
    events.wait(1)
    assert seller.stop() == 0


def test_no_router_is_a_failed_start(new_provider):
    provider = new_provider(count=10)
    provider.config["market"]["url"] = f"ws://127.0.0.1:{free_ports(1)[0]}/ws"
    assert provider.spawn().exit_code() == 3


def test_a_market_maker_with_another_address_is_a_failed_start(new_provider):
    provider = new_provider(count=10, price=PRICE)
    provider.config["seller"]["market_maker"] = "0x" + "11" * 20
    assert provider.spawn().exit_code() == 3
