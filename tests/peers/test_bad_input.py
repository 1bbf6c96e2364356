"""Whatever is wrong with a request, the seller answers with its error, and goes on as if never asked.

Each row goes through the real router. Most are sent by the market maker over
CBOR. A nesting of 1,000 is more than Python's CBOR decoder, so the router's,
takes: it is sent over JSON, and the router passes it on in the serialization
that the seller speaks. MessagePack has no integers above 64 bits, so there the
integer that stands for bytes is a small one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import SERIALIZERS
from payloads import LINES
from provider import TOPIC, Market, Provider
from realm import Realm
from till import Till, random_key

from channel import eth_key

from autobahn.wamp.exception import ApplicationError

INVALID_ARGUMENT = "wamp.error.invalid_argument"
SELL_ARGUMENTS = {
    "market_maker_adr": 20,
    "buyer_pubkey": 32,
    "key_id": 16,
    "channel_oid": 16,
    "channel_seq": None,
    "amount": 32,
    "balance": 32,
    "signature": 65,
}
CLOSE_ARGUMENTS = {
    "market_maker_adr": 20,
    "channel_oid": 16,
    "channel_seq": None,
    "channel_balance": 32,
    "channel_is_final": None,
    "signature": 65,
}
LOW_ORDER_KEYS = (
    bytes(32),
    bytes([1]) + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
)
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

Arguments = list[Any] | tuple[list[Any], dict[str, Any]]


@dataclass
class Row:
    """A request that is wrong in one way."""

    name: str
    procedure: str
    error: str
    build: Callable[[Till], Arguments]

    def __str__(self) -> str:
        return f"{self.procedure}: {self.name}"


def good(till: Till, procedure: str, **changes: Any) -> list[Any]:
    """The arguments of a request that would be right, but for the changes."""
    return till.next_sale(**changes).sell() if procedure == "sell" else till.final_state(**changes).close()


def changed(name: str, procedure: str, error: str, **changes: Any) -> Row:
    """A correctly signed request with another value, which may be a function of the till."""

    def build(till: Till) -> list[Any]:
        values = {key: value(till) if callable(value) else value for key, value in changes.items()}
        return good(till, procedure, **values)

    return Row(name, procedure, error, build)


def argument(procedure: str, name: str, value: Any) -> Callable[[Till], list[Any]]:
    """A request with another argument, which may be a function of the right one."""
    index = list(SELL_ARGUMENTS if procedure == "sell" else CLOSE_ARGUMENTS).index(name)

    def build(till: Till) -> list[Any]:
        args = good(till, procedure)
        args[index] = value(args[index]) if callable(value) else value
        return args

    return build


def high_s(signature: bytes) -> bytes:
    """The other signature of the same signer over the same digest, which Ethereum does not allow."""
    s, v = int.from_bytes(signature[32:64]), signature[64]
    return signature[:32] + (CURVE_ORDER - s).to_bytes(32) + bytes([55 - v])


def shapes(procedure: str, arguments: dict[str, int | None]) -> Iterator[Row]:
    """Wrong number, type or length of arguments."""
    for name, length in arguments.items():
        if length:
            for wrong in (0, length - 1, length + 1):
                yield Row(
                    f"{name} of {wrong} bytes",
                    procedure,
                    INVALID_ARGUMENT,
                    argument(procedure, name, lambda right, n=wrong: (right + right)[:n]),
                )
            yield Row(
                f"{name} as text",
                procedure,
                INVALID_ARGUMENT,
                argument(procedure, name, lambda right: right.hex()[: len(right)]),
            )
        else:
            yield Row(f"{name} as text", procedure, INVALID_ARGUMENT, argument(procedure, name, "2"))
            yield Row(f"{name} as bytes", procedure, INVALID_ARGUMENT, argument(procedure, name, b"\x02"))
        yield Row(f"{name} null", procedure, INVALID_ARGUMENT, argument(procedure, name, None))
        yield Row(
            f"{name} a list", procedure, INVALID_ARGUMENT, argument(procedure, name, lambda right: [right])
        )
    count = len(arguments)
    for wrong in (0, count - 1, count + 1):
        yield Row(
            f"{wrong} arguments",
            procedure,
            INVALID_ARGUMENT,
            lambda till, n=wrong: [*good(till, procedure), 0][:n],
        )
    yield Row(
        "a keyword argument more",
        procedure,
        INVALID_ARGUMENT,
        lambda till: (good(till, procedure), {"extra": 1}),
    )
    yield Row(
        "all as keyword arguments",
        procedure,
        INVALID_ARGUMENT,
        lambda till: ([], dict(zip(arguments, good(till, procedure), strict=True))),
    )
    yield Row("negative seq", procedure, INVALID_ARGUMENT, argument(procedure, "channel_seq", -1))
    yield Row("fractional seq", procedure, INVALID_ARGUMENT, argument(procedure, "channel_seq", 2.5))


def signatures(procedure: str) -> Iterator[Row]:
    """Signatures that are not the market maker's, or not well formed."""
    error = "xbr.error.invalid_signature"
    yield changed("signed by someone else", procedure, error, signer=eth_key("buyer"))
    yield changed("signed by the seller's own test key", procedure, error, signer=eth_key("seller"))
    yield Row("signature all zero", procedure, error, argument(procedure, "signature", bytes(65)))
    for v in (0, 1, 26, 29, 255):
        yield Row(
            f"signature with v = {v}",
            procedure,
            error,
            argument(procedure, "signature", lambda right, v=v: right[:64] + bytes([v])),
        )
    yield Row("signature with high s", procedure, error, argument(procedure, "signature", high_s))
    yield Row(
        "signature over another state",
        procedure,
        error,
        lambda till: [*good(till, procedure)[:-1], good(till, procedure, seq=till.seq + 7)[-1]],
    )


def rows() -> list[Row]:
    found = [
        changed(
            "another market maker", "sell", "xbr.error.unexpected_marketmaker_adr", market_maker=bytes(20)
        ),
        changed("unknown key", "sell", "crossbar.error.no_such_object", key_id=random_key()[:16]),
        changed("unknown channel", "sell", "xbr.error.unexpected_channel_oid", oid=random_key()[:16]),
        changed(
            "seq of the last sale",
            "sell",
            "xbr.error.unexpected_channel_seq",
            seq=lambda till: till.seq,
            balance=lambda till: till.balance,
            buyer_pubkey=random_key(),
        ),
        changed(
            "seq before the last sale",
            "sell",
            "xbr.error.unexpected_channel_seq",
            seq=lambda till: till.seq - 1,
        ),
        changed("seq 0", "sell", "xbr.error.unexpected_channel_seq", seq=0),
        changed(
            "balance too high by 1",
            "sell",
            "xbr.error.unexpected_channel_balance",
            balance=lambda till: till.balance - till.price + 1,
        ),
        changed(
            "balance not lowered",
            "sell",
            "xbr.error.unexpected_channel_balance",
            balance=lambda till: till.balance,
        ),
        changed(
            "amount too small by 1",
            "sell",
            "xbr.error.insufficient_amount",
            amount=lambda till: till.price - 1,
            balance=lambda till: till.balance - till.price + 1,
        ),
        changed(
            "amount 0", "sell", "xbr.error.insufficient_amount", amount=0, balance=lambda till: till.balance
        ),
        changed("another market maker", "close", "xbr.error.unexpected_delegate_adr", market_maker=bytes(20)),
        changed("unknown channel", "close", "xbr.error.unexpected_channel_oid", oid=random_key()[:16]),
        changed(
            "seq before the last sale",
            "close",
            "xbr.error.unexpected_channel_seq",
            seq=lambda till: till.seq - 1,
        ),
        changed(
            "balance too high by 1",
            "close",
            "xbr.error.unexpected_channel_balance",
            balance=lambda till: till.balance + 1,
        ),
    ]
    found += [
        changed(f"buyer key of low order ({key[:2].hex()})", "sell", INVALID_ARGUMENT, buyer_pubkey=key)
        for key in LOW_ORDER_KEYS
    ]
    found += signatures("sell")
    found += signatures("close")
    found += shapes("sell", SELL_ARGUMENTS)
    found += shapes("close", CLOSE_ARGUMENTS)
    return found


class Station:
    """A seller that all requests of one serialization go to, one after the other."""

    def __init__(self, market: Market, directory: Path, serializer: str) -> None:
        self.serializer = serializer
        self.provider = Provider(market, directory, serializer=serializer, count=1000)
        self.events = market.realm.collect(TOPIC)
        self.seller = self.provider.start()
        self.seller.feed(LINES[0])
        key_id, _, self.ciphertext = self.events.wait(1)[0]
        self.till = self.provider.till(key_id)
        self.till.sell(self.till.next_sale())
        self.sessions = self.all_sessions()
        self.sound = True

    def all_sessions(self) -> list[int]:
        """The WAMP sessions of `sell` and of `close_channel`."""
        return [session for name in ("sell", "close_channel") for session in self.provider.sessions(name)]

    def check(self, error: str, procedure: str, args: Arguments) -> None:
        """The market maker's request is answered with the error, and changes nothing."""
        self.sound = False
        args, kwargs = args if isinstance(args, tuple) else (args, None)
        answer = self.till.call(procedure, args, kwargs)
        assert answer.get("error") == error, answer
        self.check_unchanged()

    def check_directly(self, realm: Realm, args: list[Any], kwargs: dict[str, Any]) -> None:
        """The same for an invalid argument that this session of the tests sends to `sell`."""
        self.sound = False
        with pytest.raises(ApplicationError) as refused:
            realm.call(f"xbr.provider.{self.provider.provider_id}.sell", *args, timeout=60, **kwargs)
        assert refused.value.error == INVALID_ARGUMENT
        self.check_unchanged()

    def check_unchanged(self) -> None:
        """The sessions are still those; the next sale works, and its repeat gets the same receipt."""
        assert self.all_sessions() == self.sessions
        sale = self.till.next_sale()
        receipt = self.till.sell(sale)
        repeated = self.till.call("sell", sale.sell())
        assert list(repeated["ok"].items()) == list(receipt.items())
        assert self.till.open(receipt, self.ciphertext)["number"] == 1
        self.sound = True

    def close(self) -> None:
        self.events.end()
        self.provider.__exit__()


class Stations:
    """The station of one serialization; a new one after a failure, so that no row suffers from another."""

    def __init__(self, make: Callable[[], Station]) -> None:
        self.make = make
        self.station: Station | None = None

    def current(self) -> Station:
        if self.station and not self.station.sound:
            self.close()
        self.station = self.station or self.make()
        return self.station

    def close(self) -> None:
        if self.station:
            self.station.close()
            self.station = None


@pytest.fixture(scope="module", params=SERIALIZERS)
def stations(request, market, tmp_path_factory) -> Iterator[Stations]:
    stations = Stations(lambda: Station(market, tmp_path_factory.mktemp("station"), request.param))
    yield stations
    stations.close()


@pytest.fixture
def station(stations) -> Station:
    return stations.current()


@pytest.mark.parametrize("row", rows(), ids=str)
def test_is_refused(station, row):
    station.check(row.error, row.procedure, row.build(station.till))


@pytest.mark.parametrize("name", ("amount", "balance"))
@pytest.mark.parametrize("value", (0, 35, 2**63, 2**64 - 1, 2**64, 35 * 10**18, 2**256, -(2**70)))
def test_an_integer_instead_of_bytes_is_refused(station, name, value):
    if station.serializer == "msgpack" and not 0 <= value < 2**64:
        value = 2**32 - 1  # the router could not write it
    station.check(INVALID_ARGUMENT, "sell", argument("sell", name, value)(station.till))


@pytest.mark.parametrize(
    "value", (2**32, 2**53, 2**64, 2**256), ids=("33 bits", "54 bits", "65 bits", "257 bits")
)
def test_a_seq_beyond_32_bits_is_refused(station, value):
    if station.serializer == "msgpack" and value >= 2**64:
        value = 2**63
    station.check(INVALID_ARGUMENT, "sell", argument("sell", "channel_seq", value)(station.till))


@pytest.mark.parametrize("place", ("argument", "further argument", "keyword argument"))
@pytest.mark.parametrize("kind", ("list", "dict"))
def test_nesting_of_1000_is_refused(station, market, place, kind):
    nested: Any = 0
    for _ in range(1000):
        nested = [nested] if kind == "list" else {"a": nested}
    args, kwargs = good(station.till, "sell"), {}
    if place == "argument":
        args[5] = nested
    elif place == "further argument":
        args.append(nested)
    else:
        kwargs = {"nested": nested}
    realm = Realm(market.router.url, "json")
    try:
        station.check_directly(realm, args, kwargs)
    finally:
        realm.leave()


@pytest.mark.parametrize("place", ("argument", "further argument", "many arguments"))
def test_a_message_of_20_megabytes_is_refused(station, market, place):
    args, large = good(station.till, "sell"), bytes(20_000_000)
    if place == "argument":
        args[1] = large
    elif place == "further argument":
        args.append(large)
    else:
        args += [large[:10_000]] * 2000
    station.check_directly(market.realm, args, {})


def test_many_bad_requests_in_a_row_do_not_tire_it(station):
    station.sound = False
    for _ in range(50):
        answer = station.till.call("sell", good(station.till, "sell")[:-1])
        assert answer.get("error") == INVALID_ARGUMENT
    station.check_unchanged()


def test_after_all_that_it_stops_cleanly(station):
    station.sound = False
    assert len(station.seller.logged("started")) == 1
    assert len(station.seller.logged("sold")) == station.till.seq - 1, "a repeat is not sold again"
    assert station.seller.stop() == 0
