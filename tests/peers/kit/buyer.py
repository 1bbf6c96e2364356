#!/usr/bin/env python3
"""The reference buyer: xbr's SimpleBuyer, buying the keys for the encrypted events on a topic.

Prints JSON lines: started, and unwrapped or failed for every event. It ends
when so many events are unwrapped as --events says, or on SIGINT or SIGTERM.
"""

import argparse
from typing import Any

from channel import address, eth_key
from common import KEYS, XBR, add_connection_options, emit, run, xbr

from autobahn.twisted.util import sleep
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import SubscribeOptions
from twisted.internet.defer import DeferredQueue


async def unwrap(buyer: xbr.SimpleBuyer, events: DeferredQueue, wanted: int) -> None:
    """Unwrap events until enough succeeded; one at a time, as SimpleBuyer cannot buy two keys at once."""
    unwrapped = 0
    while not wanted or unwrapped < wanted:
        event = await events.get()
        key_id = event[0] if event else None
        try:
            payload = await buyer.unwrap(*event)
        except Exception as error:
            # SimpleBuyer would wait for ever for a key that it failed to buy.
            buyer._keys |= {key: error for key, box in buyer._keys.items() if box is False}
            uri = getattr(error, "error", type(error).__name__)
            emit(event="failed", key_id=key_id, error=uri, text=" ".join(map(str, error.args)))
        else:
            unwrapped += 1
            bought = buyer.count_transactions()["complete"]
            emit(
                event="unwrapped", key_id=key_id, payload=payload, bought=bought, balance=str(buyer._balance)
            )


async def start(buyer: Any, session: Any) -> int:
    """Start the buyer, waiting for a market maker that is not there yet."""
    while True:
        try:
            return await buyer.start(session, "reference")
        except ApplicationError as error:
            if error.error != ApplicationError.NO_SUCH_PROCEDURE:
                raise
        await sleep(0.2)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--topic", default=KEYS["market"]["topic"])
    parser.add_argument("--events", type=int, default=0, help="how many events to unwrap (default 0: no end)")
    parser.add_argument(
        "--max-price", type=int, default=100 * XBR, help="in units of 10^-18 XBR (default 100 XBR)"
    )
    parser.add_argument(
        "--key",
        type=bytes.fromhex,
        default=eth_key("buyer"),
        metavar="HEX",
        help="the buyer's Ethereum private key (default: from keys.json)",
    )
    add_connection_options(parser)
    args = parser.parse_args()

    async def joined(session: Any) -> int:
        buyer = xbr.SimpleBuyer(address(eth_key("marketmaker")), args.key, args.max_price)
        balance = await start(buyer, session)
        events = DeferredQueue()
        await session.subscribe(
            lambda *event: events.put(event), args.topic, options=SubscribeOptions(match="prefix")
        )
        emit(event="started", balance=str(balance))
        await unwrap(buyer, events, args.events)
        await buyer.stop()
        return 0

    run(args, "buyer", joined)


if __name__ == "__main__":
    main()
