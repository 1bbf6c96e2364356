"""What the peers share: fixes for upstream bugs, the keys, and how to join the realm.

Import this module before xbr or autobahn: it has to choose Twisted first.
"""

import argparse
import contextlib
import json
import sys
import traceback
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

warnings.filterwarnings("ignore")

import txaio  # noqa: E402

txaio.use_twisted()  # xbr copies functions out of txaio when it is imported, so this has to come first

sys.modules["bjdata"] = None  # an optional serializer whose wheel complains loudly about NumPy 2

import web3  # noqa: E402

# xbr still calls the names that web3 had up to version 5.
web3.Web3.toBytes = staticmethod(web3.Web3.to_bytes)
web3.Web3.toInt = staticmethod(web3.Web3.to_int)

import xbr  # noqa: E402
from autobahn.twisted.component import Component  # noqa: E402
from twisted.internet.error import ReactorNotRunning  # noqa: E402
from twisted.python.failure import Failure  # noqa: E402

__all__ = ["KEYS", "XBR", "add_connection_options", "component", "emit", "run", "xbr"]

KEYS = json.loads((Path(__file__).resolve().parent / "keys.json").read_text())
XBR = 10**18  # one XBR token in its smallest unit


def component(
    url: str,
    who: str | None = None,
    serializer: str = "cbor",
    realm: str = "realm1",
    retries: int = 0,
    method: str = "cryptosign",
) -> Component:
    """An Autobahn component that joins the realm as `who` of keys.json, by cryptosign or ticket, or anonymously."""
    secret = {"cryptosign": "privkey", "ticket": "ticket"}[method]
    fields = {field: KEYS[who][method][field] for field in ("authid", secret)} if who else {}
    transport = {"type": "websocket", "url": url, "serializers": [serializer], "max_retries": retries}
    transport |= {"initial_retry_delay": 0.3, "max_retry_delay": 1.0}
    authentication = {method: fields} if who else {"anonymous": {}}
    return Component(transports=[transport], realm=realm, authentication=authentication)


def add_connection_options(parser: argparse.ArgumentParser) -> None:
    """Options that say where to connect to."""
    group = parser.add_argument_group("connection")
    group.add_argument(
        "--url", default="ws://127.0.0.1:8080/ws", help="ws://HOST:PORT/ (default %(default)s)"
    )
    group.add_argument("--serializer", choices=("cbor", "msgpack", "json"), default="cbor")
    group.add_argument("--realm", default=KEYS["market"]["realm"])


def emit(**fields: Any) -> None:
    """Print one JSON line; bytes become hex. (Twisted takes sys.stdout for its log.)"""
    text = json.dumps(fields, default=lambda value: value.hex() if isinstance(value, bytes) else str(value))
    sys.__stdout__.write(text + "\n")
    sys.__stdout__.flush()


def run(args: argparse.Namespace, who: str, main: Callable[[Any], Awaitable[int]]) -> NoReturn:
    """Join the realm as `who`, await main(session), leave, and exit with the status it returned.

    The status is 0 when a signal ends the program, and 1 when the connection fails or is lost.
    """
    from twisted.internet import reactor

    txaio.start_logging(out=sys.stderr, level="critical")
    status = 0
    peer = component(
        args.url, who, args.serializer, args.realm, retries=30
    )  # the router may still be starting

    @peer.on_join
    async def joined(session: Any, _details: Any) -> None:
        nonlocal status
        try:
            status = await main(session)
        except Exception:
            status = 1
            traceback.print_exc(file=sys.__stderr__)
        if session.is_attached():
            session.leave()

    def ended(result: Any) -> None:
        nonlocal status
        if isinstance(result, Failure):
            status = 1
            print(f"connection to {args.url}: {result.getErrorMessage()}", file=sys.__stderr__)
        with contextlib.suppress(ReactorNotRunning):
            reactor.stop()

    reactor.callWhenRunning(lambda: peer.start(reactor).addBoth(ended))
    reactor.run()
    sys.exit(status)
