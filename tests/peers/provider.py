"""One provider of data: its keys, its configuration, and the seller processes that run for it in turn."""

import copy
import json
import os
import subprocess
import time
import uuid
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from channel import address, eth_key, sign_state, uint  # first: it chooses Twisted
from common import KEYS, XBR, xbr

import eth_keys
import pytest
from autobahn.wamp.exception import ApplicationError

from processes import ROOT, Buyer, MarketMaker, RealMarket, Router, Seller
from realm import Realm
from till import Till

BINARY = Path(os.environ.get("XBR_SELLER_BIN", ROOT / "target" / "debug" / "xbr-seller")).absolute()
TOPIC = KEYS["market"]["topic"]
API_ID = KEYS["market"]["api_id"]
PRICE = "35"  # XBR; in its smallest unit more than 64 bits hold
LOG_FILTER = "info,xbr_seller=debug,xbr_actors=debug,xbr_wamp=debug,xbr_store=debug"


def to_wei(price: str) -> int:
    """A decimal price in XBR as an integer, exactly."""
    whole, _, fraction = price.partition(".")
    return int(whole) * XBR + int(fraction.ljust(18, "0"))


def to_toml(value: Any) -> str:
    """A value of the configuration; JSON's strings, integers, booleans and lists are TOML as well."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {to_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(to_toml, value)) + "]"
    return json.dumps(value)


def write_config(config: dict) -> str:
    """The configuration file: a table for each section, an array of tables for each list of dicts."""
    lines = []
    for name, section in config.items():
        tables = section if isinstance(section, list) else [section]
        for table in tables:
            lines.append(f"[[{name}]]" if isinstance(section, list) else f"[{name}]")
            lines += [f"{key} = {to_toml(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def write_secret(path: Path, text: str, mode: int = 0o600) -> Path:
    """A file that only its owner may read."""
    path.write_text(text + "\n")
    path.chmod(mode)
    return path


@dataclass
class Market:
    """What runs already when a seller starts."""

    router: Router | RealMarket
    market_maker: MarketMaker | RealMarket
    realm: Realm


class Provider(AbstractContextManager):
    """A provider with this Ethereum key, or a fresh one, so with channels of its own at the market maker."""

    def __init__(
        self,
        market: Market,
        directory: Path,
        serializer: str = "cbor",
        price: str = PRICE,
        key: bytes | None = None,
        **rotation: Any,
    ) -> None:
        self.market, self.directory = market, directory
        self.price = to_wei(price)
        self.key = key or os.urandom(32)
        self.address = address(self.key)
        public_key = eth_keys.keys.PrivateKey(self.key).public_key
        self.provider_id = "0x" + public_key.to_bytes().hex()
        self.processes: list[Seller] = []
        self.buyers: list[Buyer] = []
        api = {"id": API_ID, "prefix": TOPIC, "price": price}
        api |= rotation or {"interval": "1h"}
        self.config = {
            "seller": {
                "key_file": "seller.key",
                "market_maker": "0x" + address(eth_key("marketmaker")).hex(),
            },
            "market": {
                "url": market.router.url,
                "realm": KEYS["market"]["realm"],
                "serializers": [serializer],
                "auth": {"method": "anonymous"},
            },
            "store": {"path": "seller.db"},
            "api": [api | {"categories": {"kind": "demo"}}],
            "feed": [{"source": "stdin", "api": API_ID, "uri": TOPIC}],
        }
        write_secret(directory / "seller.key", self.key.hex())

    # --- processes ---

    def spawn(self, text: str | None = None, **env: str) -> Seller:
        """Start the seller with the configuration, or with this text instead, and don't wait for it."""
        path = self.directory / "seller.toml"
        path.write_text(write_config(copy.deepcopy(self.config)) if text is None else text)
        name = f"seller-{len(self.processes) + 1}"
        seller = Seller(name, BINARY, path, self.directory, **{"RUST_LOG": LOG_FILTER, **env})
        self.processes.append(seller)
        return seller

    def start(self, **env: str) -> Seller:
        """Start the seller and wait until it sells."""
        seller = self.spawn(**env)
        seller.wait_started()
        return seller

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run another command of the program with the configuration, to its end."""
        config = self.directory / "seller.toml"
        return subprocess.run(
            [BINARY, *words, "--config", config],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def ledger(self) -> list[dict]:
        """Its channels as `xbr-seller channels` tells them."""
        told = self.command("channels", "--json")
        assert told.returncode == 0, told.stderr
        return json.loads(told.stdout)["channels"]

    def buyer(self, key: bytes | None = None) -> Buyer:
        """A buyer with this key, or a fresh one, so with its own channel. It pays the price and no more."""
        directory = self.directory / f"buyer-{len(self.buyers) + 1}"
        self.buyers.append(Buyer(self.market.router.url, directory, key or os.urandom(32), self.price))
        return self.buyers[-1]

    def __exit__(self, *_: object) -> None:
        for process in (*self.buyers, *self.processes):
            process.kill()

    # --- what the market sees of it ---

    def offers(self) -> list[dict]:
        """Its offers at the market maker, oldest first."""
        return self.market.realm.call("test.mm.offers", self.address)

    def channel(self) -> dict:
        """Its newest paying channel, as the market maker sees it."""
        return self.market.realm.call("test.mm.channels", "paying", self.address)[-1]

    def sessions(self, procedure: str) -> list[int]:
        """The ids of the WAMP sessions that serve this procedure of the provider now."""
        uri = f"xbr.provider.{self.provider_id}.{procedure}"
        registration = self.market.realm.call("wamp.registration.lookup", uri)
        if not registration:
            return []
        try:
            return self.market.realm.call("wamp.registration.list_callees", registration)
        except ApplicationError as error:
            # It has gone between the two calls.
            if error.error != "wamp.error.no_such_registration":
                raise
            return []

    def till(self, key_id: bytes) -> Till:
        """The market maker's side of the paying channel, for requests that a test writes itself."""
        channel = self.channel()
        return Till(
            self.market.realm,
            self.provider_id,
            self.address,
            self.price,
            key_id,
            channel["channel_oid"],
            channel["seq"],
            int.from_bytes(channel["remaining"]),
        )


def buy_with_bad_key(provider: Provider, key_id: bytes, buyer: bytes | None = None) -> None:
    """Ask the market maker, for a buyer's first purchase, in a way that the seller has to refuse."""
    realm, buyer = provider.market.realm, buyer or os.urandom(32)
    channel = realm.call("xbr.marketmaker.get_active_payment_channel", address(buyer))
    oid, balance = channel["channel_oid"], uint(channel["amount"]) - provider.price
    amounts = map(xbr.pack_uint256, (provider.price, balance))
    signature = sign_state(buyer, oid, 2, balance)
    with pytest.raises(ApplicationError) as refused:
        realm.call("xbr.marketmaker.buy_key", address(buyer), bytes(32), key_id, oid, 2, *amounts, signature)
    assert refused.value.error == "wamp.error.invalid_argument"


def is_recent_uuid7(key_id: bytes) -> bool:
    """A UUID of version 7, made within the last ten minutes."""
    made = uuid.UUID(bytes=key_id)
    age = time.time() - int.from_bytes(key_id[:6]) / 1000
    return made.version == 7 and made.variant == uuid.RFC_4122 and -1 < age < 600
