#!/usr/bin/env python3
"""The reference seller: xbr's SimpleSeller, publishing encrypted events on a topic.

Prints JSON lines: started, published for every event, and sold for every
key that it sold. When all are published it goes on selling their keys until
SIGINT or SIGTERM.
"""

import argparse
import uuid
from typing import Any

from channel import address, eth_key
from common import KEYS, XBR, add_connection_options, emit, run, xbr

import txaio
from autobahn.wamp.types import PublishOptions
from twisted.internet.defer import Deferred, succeed


class KeySeries(xbr.KeySeries):
    """Keys that are replaced after so many events: xbr leaves starting and stopping to its user."""

    log = txaio.make_logger()

    async def start(self) -> None:
        await self._rotate()

    def stop(self) -> Deferred:
        return succeed(None)


class SimpleSeller(xbr.SimpleSeller):
    KeySeries = KeySeries
    quiet = False

    def sell(self, *args: Any, **kwargs: Any) -> dict:
        receipt = super().sell(*args, **kwargs)
        if not self.quiet:
            emit(event="sold", key_id=receipt["key_id"], seq=self._seq, balance=str(self._balance))
        return receipt


def payload(number: int) -> dict:
    """What JSON and MessagePack alone could not carry is in it."""
    return {"origin": "reference", "number": number, "raw": b"\x00\xff", "big": -(2**100) - number}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--topic", default=KEYS["market"]["topic"])
    parser.add_argument("--events", type=int, default=5, help="how many events to publish (default 5)")
    parser.add_argument("--count", type=int, default=2, help="a new key every so many events (default 2)")
    parser.add_argument(
        "--price", type=int, default=XBR, help="of a key, in units of 10^-18 XBR (default 1 XBR)"
    )
    parser.add_argument(
        "--key",
        type=bytes.fromhex,
        default=eth_key("seller"),
        metavar="HEX",
        help="the seller's Ethereum private key (default: from keys.json)",
    )
    parser.add_argument("--quiet", action="store_true", help="print no line for a sale")
    add_connection_options(parser)
    args = parser.parse_args()
    SimpleSeller.quiet = args.quiet
    api_id = uuid.UUID(KEYS["market"]["api_id"]).bytes

    async def joined(session: Any) -> int:
        seller = SimpleSeller(address(eth_key("marketmaker")), args.key)
        seller.add(api_id, args.topic, args.price, count=args.count, categories={"origin": "reference"})
        balance = await seller.start(session)
        emit(event="started", balance=str(balance), provider_id=seller._provider_id)
        for number in range(1, args.events + 1):
            wrapped = await seller.wrap(api_id, args.topic, payload(number))
            await session.publish(args.topic, *wrapped, options=PublishOptions(acknowledge=True))
            emit(event="published", number=number, key_id=wrapped[0])
        await Deferred()  # until a signal ends the program
        return 0

    run(args, "seller", joined)


if __name__ == "__main__":
    main()
