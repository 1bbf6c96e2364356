"""The load generator over a router of others: it buys from our seller, and from the reference's."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from processes import KIT, Program, Router
from provider import BINARY, PRICE, Market, Provider, to_wei, write_secret

from channel import eth_key  # first: it chooses Twisted
from common import KEYS, XBR

LEVELS = ["--in-flight", "1,8", "--sales", "40", "--warm-up", "4"]


class Bench(Program):
    """`xbr-seller bench` with the market maker's key of the kit, once it waits for an offer."""

    def __init__(self, url: str, directory: Path, *options: str) -> None:
        directory.mkdir()
        key_file = write_secret(directory / "market.key", eth_key("marketmaker").hex())
        where = ["--url", url, "--realm", KEYS["market"]["realm"], "--key-file", key_file]
        super().__init__("bench", [BINARY, "bench", "--json", *where, *LEVELS, *options], directory, RUST_LOG="info")

        def waits() -> bool:
            return any(record.get("message") == "waiting for an offer" for record in self.records(self.err))

        self.wait_for("it waits for an offer", waits)

    def check(self, price: str) -> None:
        """It ends well: every sale of every measurement was made, for that price."""
        assert self.exit_code(60) == 0
        report = json.loads(self.out.read_bytes())
        assert report["price"] == price
        assert [(level["in_flight"], level["sales"]) for level in report["levels"]] == [(1, 40), (8, 40)]
        for level in report["levels"]:
            assert not level["errors"]
            latencies = list(level["latency_us"].values())
            assert latencies == sorted(latencies) and level["sales_per_second"] > 0


@pytest.fixture
def crossbar(tmp_path: Path) -> Iterator[Router]:
    """A router of others without a market maker."""
    with ExitStack() as stack:
        router = Router(tmp_path / "router")
        stack.callback(router.stop)
        yield router


def test_our_seller_and_the_references_are_measured_over_a_router_of_others(crossbar, tmp_path):
    with Provider(Market(crossbar, None, None), tmp_path, interval="1h") as provider:
        bench = Bench(crossbar.url, tmp_path / "ours")
        seller = provider.start()
        bench.check(PRICE)
        [channel] = provider.ledger()
        assert (channel["sales"], to_wei(channel["earned"])) == (88, 88 * to_wei(PRICE))
        assert seller.stop() == 0

    # The reference asks for the channel, and answers, in its own way.
    bench = Bench(crossbar.url, tmp_path / "reference", "--amount", "1000")
    command = [sys.executable, KIT / "seller.py", "--url", crossbar.url, "--key", os.urandom(32).hex()]
    reference = Program("reference", [*command, "--price", str(XBR), "--events", "1"], tmp_path)
    try:
        bench.check("1")
    finally:
        reference.kill()
