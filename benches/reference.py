#!/usr/bin/env python3
"""How fast the reference is inside one process: KeySeries.encrypt and SimpleSeller.sell.

It wraps the payloads and sells for the requests that xbr-figures does: the same bytes, the same keys, the same channel.
Payloads are wrapped by one caller; the reference has no batches, and one thread. The requests are signed beforehand, and
only sell is timed: it checks the market maker's signature, seals the key and signs the new state. Prints one JSON line.
"""

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

if "--without-coincurve" in sys.argv:
    sys.modules["coincurve"] = None  # as after `pip install xbr`, which does not bring it
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/peers/kit"))

from common import XBR, emit, txaio, xbr  # noqa: E402

import eth_keys  # noqa: E402
import nacl.public  # noqa: E402
from autobahn.wamp.protocol import ApplicationSession  # noqa: E402
from autobahn.wamp.request import Registration  # noqa: E402
from autobahn.wamp.types import CallDetails  # noqa: E402
from twisted.internet.defer import Deferred, succeed  # noqa: E402


SIZES = (64, 1024, 64 * 1024, 1024 * 1024)
SLICE = 0.04  # seconds; a round takes one of each size
PRICE = XBR // 1000
AMOUNT = 1000 * XBR
MARKET, CHANNEL, API, CONTRACT = b"\x31" * 16, b"\xc1" * 16, b"\xa1" * 16, b"\x44" * 20
MAKER_KEY, SELLER_KEY, BUYER_KEY = b"\x11" * 32, b"\x22" * 32, b"\x33" * 32


class KeySeries(xbr.KeySeries):
    """Keys that are replaced after so many events: xbr leaves starting and stopping to its user."""

    log = txaio.make_logger()

    async def start(self) -> None:
        await self._rotate()

    def stop(self) -> Deferred:
        return succeed(None)


class SimpleSeller(xbr.SimpleSeller):
    KeySeries = KeySeries


def address(key: bytes) -> bytes:
    return eth_keys.keys.PrivateKey(key).public_key.to_canonical_address()


class LocalMarket(ApplicationSession):
    """Answers the calls of a starting seller without a router."""

    def __init__(self) -> None:
        super().__init__()
        seller = address(SELLER_KEY)
        channel = {
            "market_oid": MARKET, "member_oid": None, "channel_oid": CHANNEL, "timestamp": time.time_ns(), "open_at": None,
            "seq": 1, "channel_type": 2, "marketmaker": address(MAKER_KEY), "actor": seller, "delegate": seller,
            "recipient": seller, "amount": xbr.pack_uint256(AMOUNT), "timeout": 0, "state": 1, "closing_at": None,
            "closed_at": None, "close_mm_sig": None, "close_del_sig": None, "close_channel_seq": None,
            "close_balance": None, "close_is_final": None,
        }
        self.answers = {
            "get_active_paying_channel": channel,
            "get_paying_channel_balance": {"remaining": xbr.pack_uint256(AMOUNT), "inflight": 0, "seq": 1},
            "get_config": {"verifying_chain_id": 1, "verifying_contract_adr": "0x" + CONTRACT.hex()},
            "place_offer": {},
        }

    async def call(self, procedure: str, *args: Any, **kwargs: Any) -> dict:
        return dict(self.answers[procedure.rpartition(".")[2]])

    async def register(self, endpoint: Any, procedure: str, options: Any) -> Registration:
        return Registration(self, 1, procedure, endpoint)


def finish(coroutine: Coroutine) -> Any:
    """Run a coroutine that never has to wait."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise RuntimeError("the coroutine waits for something")


async def encrypt(size: int, rounds: int) -> float:
    """Nanoseconds per payload, the median of the rounds."""
    series = KeySeries(API, PRICE, count=10**9)
    await series.start()
    payload = bytes(index * 31 % 251 for index in range(size))
    batch = max(1, 2**16 // size)
    figures = []
    for _ in range(rounds):
        calls, start = 0, time.perf_counter()
        while time.perf_counter() - start < SLICE:
            for _ in range(batch):
                await series.encrypt(payload)
            calls += batch
        figures.append((time.perf_counter() - start) / calls * 1e9)
    return statistics.median(figures)


async def sell(count: int, rounds: int) -> dict:
    seller = SimpleSeller(address(MAKER_KEY), SELLER_KEY)
    series = seller.add(API, "io.crossbar.example", PRICE, count=10**9)
    market = LocalMarket()
    await seller.start(market)
    buyer = bytes(nacl.public.PrivateKey(BUYER_KEY).public_key)
    registration = await market.register(seller.sell, "sell", None)
    details = CallDetails(registration, caller=1, caller_authid="marketmaker", caller_authrole="marketmaker")
    seq, balance, rates, times = 1, AMOUNT, [], []
    for _ in range(rounds):
        requests = []
        for _ in range(count):
            seq, balance = seq + 1, balance - PRICE
            signature = xbr.sign_eip712_channel_close(MAKER_KEY, 1, CONTRACT, 1, MARKET, CHANNEL, seq, balance, False)
            requests.append((address(MAKER_KEY), buyer, series.key_id, CHANNEL, seq, xbr.pack_uint256(PRICE),
                             xbr.pack_uint256(balance), signature))
        times = []
        for request in requests:
            start = time.perf_counter()
            seller.sell(*request, details=details)
            times.append(time.perf_counter() - start)
        rates.append(count / sum(times))
    times.sort()
    return {
        "per_s": statistics.median(rates),
        "latency": {"p50_ms": times[count // 2] * 1e3, "p99_ms": times[count * 99 // 100] * 1e3},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="that the medians are of (default %(default)s)")
    parser.add_argument("--sells", type=int, default=200, help="in a round (default %(default)s)")
    parser.add_argument("--without-coincurve", action="store_true", help="with signatures in Python, as installed")
    args = parser.parse_args()
    txaio.start_logging(out=sys.stderr, level="critical")
    emit(
        python=platform.python_version(),
        coincurve="coincurve" in sys.modules and sys.modules["coincurve"] is not None,
        wrap=[] if args.without_coincurve else [
            {"size": size, "one_caller_ns": finish(encrypt(size, args.rounds))} for size in SIZES
        ],
        sell=finish(sell(args.sells, args.rounds)),
    )


if __name__ == "__main__":
    main()
