"""The dashboard in a real browser: what is sold shows as it is sold, for whoever looks or listens, and nobody else."""

import json
import signal
from collections.abc import Iterator

import pytest
import requests
from browser import Browser
from processes import Program, free_ports, wait_until
from provider import BINARY, PRICE, Provider, to_wei, write_secret
from selenium.webdriver.common.keys import Keys

TOKEN = "0123456789abcdef0123456789abcdef"
NEXT_TOKEN = "fedcba9876543210fedcba9876543210"
# What the service's going away, and its asking for a token, is called by the browser itself.
EXPECTED = ("net::ERR_CONNECTION_REFUSED", "net::ERR_INCOMPLETE_CHUNKED_ENCODING", "status of 401")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all of them: starting it takes longer than most of them."""
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def seen(browser: Browser) -> Iterator[Browser]:
    """The browser, with a look at the end at what it has asked for and complained about."""
    browser.look_as()
    yield browser
    host = browser.js("return location.host")
    foreign = [url for url in browser.requests() if not url.startswith((f"http://{host}/", "blob:", "about:"))]
    assert not foreign
    complaints = browser.messages()
    assert not [it for it in complaints if not any(expected in it for expected in EXPECTED)]
    browser.driver.get("about:blank")


def served(provider: Provider, **http: str) -> str:
    """Give a provider an HTTP interface; its address."""
    listen = f"127.0.0.1:{free_ports(1)[0]}"
    provider.config["http"] = {"listen": listen, "rate": 0} | http
    return f"http://{listen}"


def test_what_is_sold_is_seen_at_once_and_each_sale_has_its_receipt(new_provider, seen, tmp_path):
    provider = new_provider(count=1)
    url = served(provider)
    # One sale leaves enough, two do not.
    provider.config["seller"]["low_balance"] = str(10**9 - 2 * int(PRICE) + 1)
    seller = provider.start()
    provider.buyer()
    seen.open(f"{url}/")
    seen.wait_for("#connection", "Live")
    seen.wait_for("#seller-state", "Selling")
    seen.wait_for("#total-sales", "0 keys sold")
    assert "No sale yet" in seen.text("#sales")
    assert not seen.text("#alarms")
    seen.js("window.unloaded = false")

    seller.feed("1")
    seen.wait_for("#total-earned", f"{PRICE}XBR")
    seen.wait_for("#hour-sales", "1 key sold")
    assert not seen.text("#alarms")
    seller.feed("2")
    seen.wait_for("#total-earned", "70XBR")
    for tile in ("#hour", "#day"):
        seen.wait_for(f"{tile}-earned", "70XBR")
        seen.wait_for(f"{tile}-sales", "2 keys sold")
    charts = "return [...document.querySelectorAll('.chart svg')].map((svg) => svg.getAttribute('aria-label'))"
    wait_until("the charts", lambda: "70 XBR in all" in seen.js(charts)[0] and "2 keys in all" in seen.js(charts)[1])
    assert seen.js("return document.querySelectorAll('.chart rect:not([height=\"0\"])').length") >= 2
    seen.wait_for("#latency-more", "2 sales")

    # What shows is what the ledger and the interface say, to the last digit.
    [channel] = provider.ledger()
    assert (channel["sales"], to_wei(channel["earned"])) == (2, 2 * to_wei(PRICE))
    assert seen.wait_for("#channels", "999,999,930 of 1,000,000,000 XBR")
    sales = requests.get(f"{url}/v1/sales", timeout=10).json()["sales"]
    wait_until("two sales", lambda: len(seen.texts("#sales tbody tr")) == 2)
    for row, sale in zip(seen.texts("#sales tbody tr"), sales, strict=True):
        assert sale["key_id"][:8] in row and PRICE in row
    assert "Low balance" in seen.wait_for("#alarms[role=alert]", "Low balance on channel")
    assert "Low balance" in seen.text("#channels .pill")

    # A receipt, by keyboard alone.
    focus_on(seen, "#sales tbody button")
    seen.press(Keys.ENTER)
    wait_until("the receipt", lambda: seen.js("return document.querySelector('#receipt').open"))
    receipt = seen.text("#receipt")
    for field in ("key_id", "channel_id", "buyer_key", "market_maker_signature", "signature", "remaining"):
        assert sales[0][field] in receipt, field
    seen.save_into(tmp_path)
    focus_on(seen, "#receipt .buttons button")
    assert seen.js("return document.activeElement.textContent") == "Save as JSON"
    seen.press(Keys.ENTER)
    # The browser takes the name with an empty file before it has written the other one.
    [saved] = wait_until(
        "the receipt as a file", lambda: [it for it in tmp_path.glob("receipt-*.json") if it.stat().st_size]
    )
    assert json.loads(saved.read_bytes()) == sales[0]
    seen.press(Keys.ESCAPE)
    assert not seen.js("return document.querySelector('#receipt').open")
    assert seen.js("return document.activeElement === document.querySelector('#sales tbody button')")
    assert seen.js("return window.unloaded") is False, "it was loaded again"


def focus_on(seen: Browser, selector: str) -> None:
    """Go there with the tabulator, as somebody without a mouse does."""
    for _ in range(60):
        if seen.js("return document.activeElement === document.querySelector(arguments[0])", selector):
            return
        seen.press(Keys.TAB)
    raise AssertionError(f"the keyboard does not get to {selector}")


def test_the_countdown_runs_and_a_rotation_shows_the_next_key(new_provider, seen):
    provider = new_provider(interval="10m", count=100)
    url = served(provider)
    provider.start()

    def current() -> str:
        return requests.get(f"{url}/v1/apis", timeout=10).json()["apis"][0]["key"]["key_id"]

    seen.open(f"{url}/")
    seen.wait_for(".card .pill", "Offered")
    first = current()
    seen.wait_for(".card .key .id", first[:8])
    assert "100 of 100" in seen.text(".card")
    countdown = seen.wait_for(".card .count", "in 9:")
    wait_until("the countdown", lambda: seen.text(".card .count") != countdown)

    focus_on(seen, ".card .buttons button")
    seen.press(Keys.ENTER)
    assert "Rotate the key of" in seen.text("#confirm")
    focus_on(seen, "#confirm-yes")
    seen.press(Keys.ENTER)
    second = wait_until("another key", lambda: current() if current() != first else None)
    seen.wait_for(".card .key .id", second[:8])
    seen.wait_for("#offers", second[:8])
    # Rotated elsewhere, it shows as well.
    requests.post(f"{url}/v1/apis/{provider.config['api'][0]['id']}/rotate", timeout=10).raise_for_status()
    seen.wait_for(".card .key .id", current()[:8])
    requests.post(f"{url}/v1/apis/{provider.config['api'][0]['id']}/pause", timeout=10).raise_for_status()
    seen.wait_for(".card .pill", "Paused")


def test_a_service_that_goes_away_is_missed_and_its_return_noticed(new_provider, seen):
    provider = new_provider(count=1)
    url = served(provider)
    seller = provider.start()
    provider.buyer()
    seen.open(f"{url}/")
    seen.wait_for("#connection", "Live")
    seller.feed("1")
    seen.wait_for("#total-earned", f"{PRICE}XBR")
    assert seller.stop() == 0
    seen.wait_for("#connection", "Not connected, shown as of ")
    assert f"{PRICE}XBR" in seen.text("#total-earned"), "what was known is still shown"
    seller = provider.start()
    seen.wait_for("#connection", "Live")
    seller.feed("2")
    seen.wait_for("#total-earned", "70XBR")
    seen.wait_for("#sales", "Receipt")
    assert seller.stop() == 0


def test_whoever_has_the_token_sees_the_figures(new_provider, seen, tmp_path):
    provider = new_provider(count=1)
    url = served(provider, token_file="http.token")
    write_secret(tmp_path / "http.token", TOKEN)
    seller = provider.start()
    seen.open(f"{url}/")
    seen.wait_for("#token h2", "wants a token")
    wait_until("the question", lambda: seen.texts("#token h2"))
    assert not seen.texts("#figures h2")
    # The focus is in the field.
    seen.press("wrong-token-wrong-token", Keys.ENTER)
    seen.wait_for("#token-error", "does not know this token")
    seen.press(TOKEN, Keys.ENTER)
    seen.wait_for("#connection", "Live")
    wait_until("the figures", lambda: seen.texts("#figures h2") and not seen.texts("#token h2"))
    seen.wait_for(".card .pill", "Offered")
    kept = "return [Object.values(sessionStorage), Object.keys(localStorage), document.cookie]"
    assert seen.js(kept) == [[TOKEN], [], ""]
    assert not [each for each in seen.requests() if TOKEN in each], "the token is in a URL"

    # Once another one is read in, the page asks for it, with what it has shown so far out of sight.
    (tmp_path / "http.token").write_text(NEXT_TOKEN)
    seller.process.send_signal(signal.SIGHUP)
    authorized = {"Authorization": f"Bearer {NEXT_TOKEN}"}
    rotate = f"{url}/v1/apis/{provider.config['api'][0]['id']}/rotate"
    wait_until("the other token", lambda: requests.post(rotate, headers=authorized, timeout=10).ok)
    wait_until("the question", lambda: seen.texts("#token h2") and not seen.texts("#figures h2"))
    seen.press(NEXT_TOKEN, Keys.ENTER)
    wait_until("the figures", lambda: seen.texts("#figures h2") and not seen.texts("#token h2"))
    seen.wait_for("#connection", "Live")
    seen.js("sessionStorage.clear()")


def test_it_can_be_read_on_a_phone_by_a_reader_and_in_the_dark(new_provider, seen):
    provider = new_provider(interval="10m", price="0.000000000000000001")
    url = served(provider)
    seller = provider.start()
    provider.buyer()
    seen.open(f"{url}/")
    seller.feed("1")
    seen.wait_for("#sales", "Receipt")
    seen.wait_for("#total-earned", "0.000000000000000001")
    for width, scheme in ((1280, "light"), (1280, "dark"), (320, "light"), (390, "dark")):
        seen.look_as(width, 800, scheme)
        assert seen.violations() == [], (width, scheme)
        assert seen.js("return document.documentElement.scrollWidth") <= width
    for button, dialog in (("#sales tbody button", "#receipt"), (".card .buttons button", "#confirm")):
        seen.js("document.querySelector(arguments[0]).click()", button)
        assert seen.violations() == [], dialog
        seen.js("document.querySelector(arguments[0]).close()", dialog)
    seen.js("document.querySelector('.chart summary').click()")
    wait_until("the table of the chart", lambda: "0.000000000000000001 XBR" in seen.text(".chart table"))


def test_a_newcomer_sees_the_sales_of_the_demo(seen, tmp_path):
    demo = Program("demo", [BINARY, "demo", "--http", "127.0.0.1:0"], tmp_path)
    try:
        told = demo.wait_for("it tells where", lambda: demo.err.read_text().partition(" is at ")[2].strip())
        seen.open(told)
        seen.wait_for("#apis", "demo.weather")
        seen.wait_for("#apis", "demo.wind")
        seen.wait_for("#feeds", "sensor weather")
        seen.wait_for("#sales", "Receipt")
        earned = seen.text("#total-earned")
        wait_until("more sales", lambda: seen.text("#total-earned") != earned)
    finally:
        assert demo.stop() == 0
