"""Cross-play: the reference's seller and buyer and ours, in a market of ours, and over a router of others."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest
from conftest import SERIALIZERS
from consumer import Consumer
from processes import KIT, Buyer, Program, Router, Seller, free_ports
from provider import BINARY, TOPIC, Market, Provider, to_wei, write_config, write_secret
from realm import Realm

from channel import address, eth_key  # first: it chooses Twisted
from common import KEYS, XBR

PRICE = "1"  # XBR
AMOUNT = 10 * XBR  # in each channel: MessagePack has no integer for what the reference answers above 2^64
EVERYTHING = {"match": "prefix", "call": True, "register": True, "publish": True, "subscribe": True}


class OurMarket(AbstractContextManager):
    """`xbr-seller market`, with its own router, or as a client of another one."""

    def __init__(self, directory: Path, router: Router | None = None) -> None:
        self.directory, self.config = directory, directory / "market.toml"
        self.processes: list[Program] = []
        market = KEYS["market"]
        config = {
            "maker": {
                "key_file": "market.key",
                "market_id": market["market_oid"],
                "chain_id": market["chain_id"],
                "verifying_contract": market["verifying_contract"],
                "offers": "any",
            },
            "store": {"path": "market.db"},
        }
        if router:
            self.url = router.url
            config |= {"market": {"url": router.url, "realm": market["realm"]}}
        else:
            [port] = free_ports(1)
            self.url = f"ws://127.0.0.1:{port}/"
            listen = [f"127.0.0.1:{port}"]
            people = [KEYS[who]["cryptosign"] for who in ("seller", "buyer")]
            config |= {
                "router": {"listen": listen, "realm": market["realm"], "anonymous": "member"},
                "role": [
                    {
                        "name": "member",
                        "disclose": True,
                        "rules": [{"uri": uri} | EVERYTHING for uri in ("xbr.", TOPIC)],
                    }
                ],
                "principal": [
                    {"authid": each["authid"], "role": "member", "public_key": each["pubkey"]}
                    for each in people
                ],
            }
        directory.mkdir()
        write_secret(directory / "market.key", eth_key("marketmaker").hex())
        self.config.write_text(write_config(config))
        self.start()
        self.realm = Realm(self.url)

    def start(self) -> None:
        """Open the market, and wait until it is open."""
        name = f"market-{len(self.processes) + 1}"
        command = [BINARY, "market", "--config", self.config]
        process = Program(name, command, self.directory, RUST_LOG="info,xbr_seller=debug,xbr_market=debug")
        self.processes.append(process)

        def started() -> bool:
            return any(record.get("message") == "started" for record in process.records(process.err))

        process.wait_for("it has started", started)

    def open_channel(self, kind: str, delegate: bytes) -> None:
        """Let the operator open a channel for a buyer or seller."""
        command = [BINARY, "market", "channel", "open", "--config", self.config]
        command += [f"--{kind}", "0x" + delegate.hex(), "--amount", str(AMOUNT // XBR)]
        subprocess.run(command, check=True, timeout=60)

    def channel(self, kind: str, delegate: bytes) -> dict[str, int]:
        """Where the newest channel of a buyer or seller stands, with integers for amounts."""
        name, number = {"buyer": ("payment", 1), "seller": ("paying", 2)}[kind]
        oids = self.realm.call("xbr.marketmaker.get_channels_by_delegate", delegate, number, False)
        balance = self.realm.call(f"xbr.marketmaker.get_{name}_channel_balance", oids[-1])
        return {key: int.from_bytes(it) if isinstance(it, bytes) else it for key, it in balance.items()}

    def as_market(self) -> Market:
        """What runs already when a seller or buyer starts."""
        return Market(self, None, self.realm)

    def crash(self) -> None:
        """Kill it, and open it again."""
        self.processes[-1].kill()
        self.start()

    def __exit__(self, *_: object) -> None:
        self.realm.leave()
        try:
            assert self.processes[-1].stop() == 0
        finally:
            for process in self.processes:
                process.kill()


class ReferenceSeller(Program):
    """The reference's SimpleSeller: it publishes so many events, with a new key for every two."""

    def __init__(self, url: str, directory: Path, key: bytes, events: int, serializer: str = "cbor") -> None:
        command = [sys.executable, KIT / "seller.py", "--url", url, "--serializer", serializer]
        command += ["--key", key.hex(), "--price", to_wei(PRICE), "--events", events]
        super().__init__("reference-seller", command, directory)

    def sold(self) -> tuple[int, int]:
        """Sequence number and balance after the last sale, by its own account."""
        last = [record for record in self.records(self.out) if record["event"] == "sold"][-1]
        return last["seq"], int(last["balance"])


@pytest.fixture
def our_market(tmp_path: Path) -> Iterator[OurMarket]:
    """A market of ours with its own router."""
    with OurMarket(tmp_path / "market") as market:
        yield market


@pytest.fixture
def crossbar(tmp_path: Path) -> Iterator[Router]:
    """A router of others without a market maker."""
    with ExitStack() as stack:
        router = Router(tmp_path / "router")
        stack.callback(router.stop)
        yield router


def check_accounts(
    market: OurMarket, seller: bytes, buyer: bytes, keys: int, sold: tuple[int, int], remaining: int
) -> None:
    """All three say that so many keys were sold at the price, and nothing else has moved."""
    left = AMOUNT - keys * to_wei(PRICE)
    stands = {"remaining": left, "inflight": 0, "seq": 1 + keys}
    assert (market.channel("seller", seller), market.channel("buyer", buyer)) == (stands, stands)
    assert (sold, remaining) == ((1 + keys, left), left)


def our_seller_sold(seller: Seller) -> tuple[int, int]:
    """Sequence number and balance after the last sale, by the log of our seller."""
    last = seller.logged("sold")[-1]
    return last["seq"], to_wei(last["balance"])


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_the_references_seller_and_buyer_trade_in_our_market(our_market, tmp_path, serializer):
    seller_key, buyer_key = os.urandom(32), os.urandom(32)
    our_market.open_channel("seller", address(seller_key))
    our_market.open_channel("buyer", address(buyer_key))
    with ExitStack() as stack:
        buyer = Buyer(our_market.url, tmp_path / "buyer", buyer_key, to_wei(PRICE))
        stack.callback(buyer.kill)
        seller = ReferenceSeller(our_market.url, tmp_path / "seller", seller_key, 5, serializer)
        stack.callback(seller.kill)
        done = buyer.unwrapped(5)
        assert [each["payload"]["number"] for each in done] == [1, 2, 3, 4, 5]
        accounts = seller.sold(), int(done[-1]["balance"])
        check_accounts(our_market, address(seller_key), address(buyer_key), 3, *accounts)


def test_after_a_failed_sale_the_reference_trades_on_in_our_market(our_market, tmp_path):
    seller_key, buyer_key = os.urandom(32), os.urandom(32)
    our_market.open_channel("seller", address(seller_key))
    our_market.open_channel("buyer", address(buyer_key))
    events = our_market.realm.collect(TOPIC)
    with ExitStack() as stack:
        seller = ReferenceSeller(our_market.url, tmp_path / "seller-1", seller_key, 1)
        stack.callback(seller.kill)
        [event] = events.wait(1)
        seller.kill()
        buyer = Buyer(our_market.url, tmp_path / "buyer", buyer_key, to_wei(PRICE))
        stack.callback(buyer.kill)
        our_market.realm.publish(TOPIC, *event)
        buyer.wait_for("the sale has failed", lambda: buyer.events("failed"))
        seller = ReferenceSeller(our_market.url, tmp_path / "seller-2", seller_key, 3)
        stack.callback(seller.kill)
        done = buyer.wait_for("the next events", lambda: (it := buyer.events("unwrapped"))[2:] and it)
        accounts = seller.sold(), int(done[-1]["balance"])
        check_accounts(our_market, address(seller_key), address(buyer_key), 2, *accounts)


def test_our_seller_sells_to_the_references_buyer_in_our_market(our_market, tmp_path):
    buyer_key = os.urandom(32)
    with Provider(our_market.as_market(), tmp_path, price=PRICE, count=2) as provider:
        our_market.open_channel("seller", provider.address)
        our_market.open_channel("buyer", address(buyer_key))
        buyer = Buyer(our_market.url, tmp_path / "buyer", buyer_key, provider.price)
        provider.buyers.append(buyer)
        seller = provider.start()
        seller.feed("1", "2", "3")
        done = buyer.unwrapped(3)
        assert [each["payload"] for each in done] == [1, 2, 3]
        accounts = our_seller_sold(seller), int(done[-1]["balance"])
        check_accounts(our_market, provider.address, address(buyer_key), 2, *accounts)
        assert seller.stop() == 0


def test_the_references_seller_sells_to_our_buyer_in_our_market(our_market, tmp_path):
    seller_key = os.urandom(32)
    our_market.open_channel("seller", address(seller_key))
    with Consumer(our_market.as_market(), tmp_path, PRICE) as consumer, ExitStack() as stack:
        our_market.open_channel("buyer", consumer.address)
        buyer = consumer.start()
        seller = ReferenceSeller(our_market.url, tmp_path / "seller", seller_key, 5)
        stack.callback(seller.kill)
        assert [line["payload"]["number"] for line in buyer.printed(5)] == [1, 2, 3, 4, 5]
        assert buyer.stop() == 0
        [summary] = buyer.logged("stopped")
        accounts = seller.sold(), to_wei(summary["remaining"])
        check_accounts(our_market, address(seller_key), consumer.address, 3, *accounts)


def test_ours_trade_over_a_router_of_others_also_after_a_crash_of_the_market(crossbar, tmp_path):
    with OurMarket(tmp_path / "market", crossbar) as our_market, ExitStack() as stack:
        provider = stack.enter_context(Provider(our_market.as_market(), tmp_path, price=PRICE, count=1))
        consumer = stack.enter_context(Consumer(our_market.as_market(), tmp_path, PRICE))
        our_market.open_channel("seller", provider.address)
        our_market.open_channel("buyer", consumer.address)
        seller, buyer = provider.start(), consumer.start()
        seller.feed("1", "2")
        assert [line["payload"] for line in buyer.printed(2)] == [1, 2]
        our_market.crash()
        seller.feed("3")
        assert [line["payload"] for line in buyer.printed(3)] == [1, 2, 3]
        assert buyer.stop() == 0
        [summary] = buyer.logged("stopped")
        accounts = our_seller_sold(seller), to_wei(summary["remaining"])
        check_accounts(our_market, provider.address, consumer.address, 3, *accounts)
        assert seller.stop() == 0
