"""The HTTP interface: the example sells to the reference's own buyer, and schemathesis finds nothing to object to."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from payloads import LINES, check_equal
from processes import ROOT, free_ports
from provider import API_ID, Provider
from schemathesis import GenerationMode, checks

# What the description cannot say: which URIs are below a prefix, which rotations fit which expiry, and which requests
# the state of the seller forbids.
EXCLUDED = [checks.positive_data_acceptance]


@pytest.fixture
def provider(new_provider) -> Provider:
    """A provider with an HTTP interface."""
    provider = new_provider(count=3)
    provider.config["http"] = {"listen": f"127.0.0.1:{free_ports(1)[0]}", "rate": 0}
    provider.start()
    return provider


def url(provider: Provider) -> str:
    return f"http://{provider.config['http']['listen']}"


def test_ten_lines_of_python_sell_through_it(provider):
    buyer = provider.buyer()
    example = subprocess.run(
        [sys.executable, ROOT / "examples" / "sell.py"],
        env=os.environ | {"XBR_SELLER_URL": url(provider), "XBR_API_ID": API_ID},
        input="\n".join(LINES) + "\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert len(example.stdout.split()) == len(LINES)
    check_equal([each["payload"] for each in buyer.unwrapped(len(LINES))], LINES)
    sales = requests.get(f"{url(provider)}/v1/sales", timeout=10).json()["sales"]
    assert {sale["key_id"] for sale in sales} == set(example.stdout.split())


def test_schemathesis_finds_nothing(provider):
    schema = schemathesis.openapi.from_url(f"{url(provider)}/v1/openapi.json")
    # A stream without end has no end to be checked.
    schema = schema.exclude(path="/v1/events")
    operations = [operation.ok() for operation in schema.get_all_operations()]
    assert len(operations) >= 17
    for operation in operations:

        @settings(
            max_examples=20,
            deadline=None,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
            database=None,
            derandomize=True,
        )
        def check(case):
            case.call_and_validate(base_url=url(provider), excluded_checks=EXCLUDED, timeout=10)

        given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))(check)()
        # Where there is nothing to ask for there is nothing to ask for wrongly.
        with contextlib.suppress(Unsatisfiable):
            given(case=operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))(check)()
