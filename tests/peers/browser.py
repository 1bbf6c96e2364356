"""A headless Chromium that looks at a page, and keeps what it asked for and complained about."""

import base64
import json
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from processes import ROOT, wait_until
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

AXE = ROOT / ".peers" / "node" / "node_modules" / "axe-core" / "axe.min.js"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# As root Chromium has no sandbox; it is to talk to nobody but the page's own service.
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)


class Browser(AbstractContextManager):
    """One tab; `directory` must be empty and becomes the browser's."""

    def __init__(self, directory: Path) -> None:
        program = next(filter(None, map(shutil.which, PROGRAMS)), None)
        driver = shutil.which("chromedriver")
        if not program or not driver:
            raise RuntimeError("there is no chromium or no chromedriver; run scripts/peers-setup")
        options = webdriver.ChromeOptions()
        options.binary_location = program
        for flag in (*FLAGS, f"--user-data-dir={directory}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(driver))

    def __exit__(self, *_: object) -> None:
        self.driver.quit()

    def look_as(self, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
        """How large the window is, and whether its user likes it light or dark."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        # What moves would be looked at in the middle of a change of colours.
        features = [("prefers-color-scheme", scheme), ("prefers-reduced-motion", "reduce")]
        media = {"features": [{"name": name, "value": value} for name, value in features]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)

    def save_into(self, directory: Path) -> None:
        """Where files go that a page saves."""
        where = {"behavior": "allow", "downloadPath": str(directory)}
        self.driver.execute_cdp_cmd("Browser.setDownloadBehavior", where)

    def open(self, url: str) -> None:
        """Load a page in a tab that nothing is known of yet."""
        self.driver.get("about:blank")
        self.messages()
        self.requests()
        self.driver.get(url)

    def js(self, script: str, *arguments: Any) -> Any:
        """What a script returns."""
        return self.driver.execute_script(script, *arguments)

    def text(self, selector: str) -> str:
        """The text of the first such element, all white space as single spaces; empty if there is none."""
        text = self.js("return document.querySelector(arguments[0])?.textContent ?? ''", selector)
        return " ".join(text.split())

    def texts(self, selector: str) -> list[str]:
        """The texts of all such elements that show."""
        script = (
            "return [...document.querySelectorAll(arguments[0])]"
            ".filter((it) => it.checkVisibility()).map((it) => it.textContent)"
        )
        return [" ".join(text.split()) for text in self.js(script, selector)]

    def wait_for(self, selector: str, text: str, timeout: float = 20) -> str:
        """Wait until the first such element has this in its text; return all of it."""

        def found() -> str | None:
            seen = self.text(selector)
            return seen if text in seen else None

        try:
            return wait_until(f"{text!r} in {selector}", found, timeout, 0.05)
        except TimeoutError as error:
            error.add_note(f"there is {self.text(selector)!r}; messages: {self.messages()}")
            raise

    def press(self, *keys: str) -> None:
        """Type where the focus is."""
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def messages(self) -> list[str]:
        """What the page and the browser complained about since the last call."""
        return [each["message"] for each in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """What was asked for since the last call, wherever it is."""
        events = [json.loads(each["message"])["message"] for each in self.driver.get_log("performance")]
        sent = [each["params"] for each in events if each["method"] == "Network.requestWillBeSent"]
        return [each["request"]["url"] for each in sent]

    def violations(self) -> list[str]:
        """What axe finds that somebody could not see, reach or understand."""
        if not self.js("return 'axe' in window"):
            self.js(AXE.read_text())
        script = "const [done] = arguments; axe.run(document, {resultTypes: ['violations']}).then(done)"
        found = self.driver.execute_async_script(script)["violations"]
        return [f"{each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]

    def picture(self, path: Path, width: int, height: int) -> None:
        """Write what is to be seen as a PNG."""
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip})
        path.write_bytes(base64.b64decode(shot["data"]))
