"""One consumer of data: its key, its configuration, and the processes that buy for it in turn."""

import os
from contextlib import AbstractContextManager
from pathlib import Path

from channel import address, eth_key  # first: it chooses Twisted
from common import KEYS

from processes import Program
from provider import BINARY, PRICE, TOPIC, Market, write_config, write_secret


class BuyProcess(Program):
    """`xbr-seller buy`, subscribed when the constructor returns."""

    def __init__(self, name: str, command: list, directory: Path, delegate: bytes) -> None:
        super().__init__(name, command, directory, RUST_LOG="info,xbr_seller=debug,xbr_market=debug")
        self.address = delegate
        self.wait_for("it has subscribed", lambda: self.logged("subscribed"))

    def logged(self, message: str) -> list[dict]:
        """The log lines with this message."""
        return [line for line in self.records(self.err) if line.get("message") == message]

    def printed(self, count: int) -> list[dict]:
        """Wait for so many lines, and return all."""
        return self.wait_for(
            f"{count} events are printed",
            lambda: (lines := self.records(self.out)) and len(lines) >= count and lines,
        )


class Consumer(AbstractContextManager):
    """A consumer with a fresh Ethereum key, so with channels of its own at the market maker."""

    def __init__(self, market: Market, directory: Path, max_price: str = PRICE) -> None:
        self.directory = directory
        self.key = os.urandom(32)
        self.address = address(self.key)
        self.processes: list[BuyProcess] = []
        self.config = directory / "buyer.toml"
        write_secret(directory / "buyer.key", self.key.hex())
        config = {
            "buyer": {
                "key_file": "buyer.key",
                "market_maker": "0x" + address(eth_key("marketmaker")).hex(),
                "max_price": max_price,
            },
            "market": {"url": market.router.url, "realm": KEYS["market"]["realm"]},
            "store": {"path": "buyer.db"},
            "subscribe": [{"uri": TOPIC, "match": "prefix"}],
        }
        self.config.write_text(write_config(config))

    def start(self, *args: str, shell: str = "{}") -> BuyProcess:
        """Start buying; the arguments follow those of `buy`."""
        command = shell.format(f"{BINARY} buy --config {self.config} {' '.join(args)}")
        name = f"consumer-{len(self.processes) + 1}"
        shell_command = ["bash", "-o", "pipefail", "-c", f"exec {command}"]
        process = BuyProcess(name, shell_command, self.directory, self.address)
        self.processes.append(process)
        return process

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
