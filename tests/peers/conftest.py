"""Fixtures: one router and one market maker for all tests, and providers as the tests need them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

pytest.register_assert_rewrite("payloads", "processes", "till")

from processes import MarketMaker, Program, Router
from provider import BINARY, TOPIC, Market, Provider
from realm import Events, Realm

SERIALIZERS = ("cbor", "msgpack", "json")


def pytest_sessionstart() -> None:
    if not BINARY.exists():
        pytest.exit(f"there is no {BINARY}; run `scripts/test peers`, or set XBR_SELLER_BIN", returncode=2)


def pytest_sessionfinish() -> None:
    """Leave nothing running, not even what a failed fixture started."""
    for program in list(Program.live):
        program.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Add the ends of all logs to the report of a failure."""
    report = yield
    if report.failed:
        for program in Program.live:
            report.sections += program.tails()
    return report


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    with ExitStack() as stack:
        router = Router(tmp_path_factory.mktemp("router"))
        stack.callback(router.stop)
        market_maker = MarketMaker(router.url, tmp_path_factory.mktemp("market_maker"))
        stack.callback(market_maker.stop)
        realm = Realm(router.url)
        stack.callback(realm.leave)
        yield Market(router, market_maker, realm)


@pytest.fixture
def new_provider(market: Market, tmp_path: object) -> Iterator[Callable[..., Provider]]:
    """Make the provider of a test; the arguments are those of Provider after the directory."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(Provider(market, tmp_path, **options))


@pytest.fixture
def events(market: Market) -> Iterator[Events]:
    """The encrypted events that are published during the test."""
    collected = market.realm.collect(TOPIC)
    yield collected
    collected.end()
