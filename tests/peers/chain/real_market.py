#!/usr/bin/env python3
"""Run Crossbar with its own market maker, on a development chain with the XBR contracts, until interrupted.

Everything is on 127.0.0.1 and new at every start: a chain (ganache), on it the contracts and a market with
the fee that was asked for, a Crossbar node with a router (as router.py runs it) and the market maker, and a
channel of 1000 XBR each for the delegates "seller" and "buyer" of keys.json.

Prints a JSON line, ready, when the market maker knows the channels. Stop it with SIGINT or SIGTERM. The logs
are WORKDIR/chain.log and WORKDIR/node.log.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "kit")]

from channel import CHAIN_ID, address, eth_key  # noqa: E402  # first: it chooses Twisted
from common import KEYS, XBR, emit  # noqa: E402

from autobahn.wamp.exception import ApplicationError  # noqa: E402
from contracts import MEMBER_KEYS, Chain  # noqa: E402
from processes import ROOT, wait_until  # noqa: E402
from realm import Realm  # noqa: E402
from router import accepts, node_config  # noqa: E402

GANACHE = ROOT / ".peers" / "chain" / "node_modules" / "ganache" / "dist" / "node" / "cli.js"
GAS_WEI = 10**21  # for the transactions of each account
AMOUNT = 1000 * XBR


@contextlib.contextmanager
def running(name: str, command: list[Any], workdir: Path, **env: str) -> Iterator[subprocess.Popen]:
    """A process group that logs to NAME.log. It is ended by force: there is nothing to save."""
    with (workdir / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=workdir,
            env=os.environ | env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for_port(port: int, process: subprocess.Popen, timeout: float) -> None:
    """Wait until the process accepts connections at this port."""

    def accepted() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} ended with code {process.returncode}; see its log")
        return accepts(port)

    wait_until(f"a listener at port {port}", accepted, timeout)


def chain_command(port: int) -> list[Any]:
    """How to run ganache with an account for each key that transactions are signed with."""
    keys = [eth_key("marketmaker"), *MEMBER_KEYS.values()]
    accounts = [word for key in keys for word in ("--wallet.accounts", f"0x{key.hex()},{GAS_WEI}")]
    server = ["--server.host", "127.0.0.1", "--server.port", port]
    chain = ["--chain.chainId", CHAIN_ID, "--chain.networkId", CHAIN_ID, "--chain.hardfork", "istanbul"]
    return ["node", GANACHE, "--logging.quiet", *server, *chain, "--miner.blockGasLimit", 10**9, *accounts]


def node_with_market_maker(args: argparse.Namespace, chain: Chain, first_block: int) -> dict:
    """The configuration of the node: that of router.py, and a worker for the market maker."""
    key = args.workdir / "market_maker.key"
    key.write_bytes(eth_key("marketmaker"))
    blockchain = {
        "type": "ethereum",
        "gateway": {"type": "user", "http": chain.url},
        "from_block": first_block,
        "chain_id": CHAIN_ID,
    }
    transport = {
        "type": "websocket",
        "url": args.url,
        "endpoint": {"type": "tcp", "host": "127.0.0.1", "port": args.port},
        "serializers": ["cbor"],
    }
    database = {"type": "cfxdb", "path": str(args.workdir / "maker_db")}
    maker = {
        "id": "maker1",
        "key": str(key),
        "database": database,
        "connection": {"realm": args.realm, "transport": transport},
        "blockchain": blockchain,
    }
    worker = {
        "type": "xbrmm",
        "id": "xbrmm1",
        "options": {
            "env": {"inherit": True},
            "extra": {"database": database, "blockchain": blockchain},
        },
        "makers": [maker],
    }
    config = node_config(args, KEYS)
    config["workers"].append(worker)
    return config


def node_command(args: argparse.Namespace, chain: Chain, first_block: int) -> list[Any]:
    """How to run the node, in a directory of its own without anything from earlier."""
    directory = args.workdir / "node"
    shutil.rmtree(directory, ignore_errors=True)
    shutil.rmtree(args.workdir / "maker_db", ignore_errors=True)
    directory.mkdir()
    config = node_with_market_maker(args, chain, first_block)
    (directory / "config.json").write_text(json.dumps(config, indent=1))
    crossbar = Path(sys.executable).with_name("crossbar")
    return [crossbar, "edge", "start", "--cbdir", directory, "--color", "false", "--loglevel", "warn"]


def node_environment(chain: Chain) -> dict[str, str]:
    """Where the market maker finds what it needs: the repairs in `compat`, and the contracts."""
    contracts = {f"XBR_DEBUG_{name[3:].upper()}_ADDR": each for name, each in chain.addresses.items()}
    return {"PYTHONPATH": str(HERE / "compat"), **contracts}


def wait_for_answer(realm: Realm, procedure: str, *args: Any, timeout: float = 60) -> Any:
    """Ask the market maker until there is an answer: what it does not know yet is an error."""

    def ask() -> Any:
        with contextlib.suppress(ApplicationError):
            return realm.call(f"xbr.marketmaker.{procedure}", *args)

    return wait_until(f"the market maker's answer to {procedure}", ask, timeout, pause=0.2)


def open_channel(chain: Chain, realm: Realm, kind: str, delegate: bytes, amount: int) -> bytes:
    """Open a channel, wait until the market maker has seen it on the chain, and return its id."""
    oid = chain.open_channel(kind, delegate, amount)
    wait_for_answer(realm, f"get_{kind}_channel", oid)
    return oid


def serve(args: argparse.Namespace) -> int:
    """Start everything in its order, and return when the node ends."""
    with running("chain", chain_command(args.chain_port), args.workdir) as ganache:
        wait_for_port(args.chain_port, ganache, args.timeout)
        chain = Chain(f"http://127.0.0.1:{args.chain_port}")
        command = node_command(args, chain, chain.make_market(args.fee_percent))
        with running("node", command, args.workdir, **node_environment(chain)) as node:
            wait_for_port(args.port, node, args.timeout)
            realm = Realm(args.url)
            # Whatever it reads from the chain before it is ready, the market maker overlooks for ever.
            wait_for_answer(realm, "get_status", timeout=args.timeout)
            open_channel(chain, realm, "paying", address(eth_key("seller")), AMOUNT)
            open_channel(chain, realm, "payment", address(eth_key("buyer")), AMOUNT)
            emit(event="ready", url=args.url, chain=chain.url, contracts=chain.addresses)
            return node.wait()


def interrupt(*_: object) -> NoReturn:
    """Stop, once: what ends the processes must not be interrupted as well."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workdir", type=Path, metavar="WORKDIR", help="directory for databases and logs")
    parser.add_argument(
        "port", type=int, metavar="PORT", nargs="?", default=8080, help="WebSocket port (default %(default)s)"
    )
    parser.add_argument("--chain-port", type=int, default=8545, help="the chain's port (default %(default)s)")
    parser.add_argument(
        "--fee-percent", type=int, default=0, help="the market's fee on what is earned (default %(default)s)"
    )
    parser.add_argument(
        "--timeout", type=float, default=120, help="seconds a process may take to start (default %(default)s)"
    )
    args = parser.parse_args()
    args.workdir = args.workdir.resolve()
    args.workdir.mkdir(parents=True, exist_ok=True)
    args.url, args.realm, args.tls_port = f"ws://127.0.0.1:{args.port}/ws", KEYS["market"]["realm"], None
    if not GANACHE.exists():
        sys.exit("real_market.py: there is no chain; run scripts/peers-setup")
    for port in filter(accepts, (args.port, args.chain_port)):
        sys.exit(f"real_market.py: port {port} is already taken")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        return serve(args)
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
