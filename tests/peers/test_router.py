"""The project's own router: with the clients of others, and in a market of which nothing else is the project's."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from conftest import SERIALIZERS
from payloads import LINES, check_equal
from processes import HERE, KIT, ROOT, MarketMaker, Program
from provider import BINARY, Market, Provider
from realm import Realm

from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import CallResult

BINARY_DATA = bytes(range(256))


class OwnRouter(Program):
    """The example of the router, with the principals of keys.json."""

    def __init__(self, log_dir: Path) -> None:
        command = [BINARY.parent / "examples" / "router", "127.0.0.1:0", KIT / "keys.json"]
        super().__init__("own_router", command, log_dir)
        self.wait_for("it accepts connections", lambda: b"READY" in self.out.read_bytes())
        self.url = self.out.read_text().split()[1]


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRouter]:
    router = OwnRouter(tmp_path_factory.mktemp("own_router"))
    yield router
    router.stop()


@pytest.fixture
def sessions(router, request) -> Iterator[tuple[Realm, Realm]]:
    """Two sessions of the Python client, one by ticket and one by cryptosign."""
    realms = Realm(router.url, request.param, "seller", "ticket"), Realm(router.url, request.param, "buyer")
    yield realms
    for realm in realms:
        realm.leave()


@pytest.mark.parametrize("sessions", SERIALIZERS, indirect=True)
def test_python_calls_with_binary_data_errors_and_results_in_parts(sessions):
    callee, caller = sessions

    def count(until: int, details) -> str:
        for number in range(until):
            details.progress(number, BINARY_DATA)
        return details.caller_authid

    def fail() -> None:
        raise ApplicationError("py.error.own", "because")

    callee.register("py.echo", lambda *args, **kwargs: CallResult(*args, **kwargs))
    callee.register("py.count", count, details_arg="details")
    callee.register("py.fail", fail)
    result = caller.call("py.echo", BINARY_DATA, 2**40, "\u00fc", key=[None, -1])
    assert (list(result.results), result.kwresults) == ([BINARY_DATA, 2**40, "\u00fc"], {"key": [None, -1]})

    parts = []
    assert caller.call("py.count", 3, on_progress=lambda *part: parts.append(part)) == "buyer"
    assert parts == [(number, BINARY_DATA) for number in range(3)]

    for procedure, error in (("py.fail", "py.error.own"), ("py.unknown", "wamp.error.no_such_procedure")):
        with pytest.raises(ApplicationError) as raised:
            caller.call(procedure)
        assert raised.value.error == error


@pytest.mark.parametrize("sessions", SERIALIZERS, indirect=True)
def test_python_subscribes_and_publishes(sessions):
    subscriber, publisher = sessions
    events = subscriber.collect("py.topic")
    for number in range(20):
        publisher.publish("py.topic.below", number, BINARY_DATA)
    assert events.wait(20) == [(number, BINARY_DATA) for number in range(20)]
    events.end()


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_javascript_calls_publishes_and_authenticates(router, serializer):
    script = ["node", "--experimental-websocket", HERE / "js" / "client.js"]
    modules = ROOT / ".peers" / "node" / "node_modules"
    done = subprocess.run([*script, router.url, serializer, modules], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok ") == 7


def test_a_market_of_the_reference_sells_through_it(router, tmp_path):
    with ExitStack() as stack:
        market_maker = MarketMaker(router.url, tmp_path / "market_maker")
        stack.callback(market_maker.stop)
        realm = Realm(router.url)
        stack.callback(realm.leave)
        market = Market(router, market_maker, realm)
        provider = stack.enter_context(Provider(market, tmp_path, serializer="msgpack", count=3))
        seller, buyer = provider.start(), provider.buyer()
        seller.feed(*LINES[:10])
        check_equal([each["payload"] for each in buyer.unwrapped(10)], LINES[:10])
        assert seller.stop() == 0
