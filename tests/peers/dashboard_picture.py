"""Takes the picture of the dashboard; scripts/dashboard-picture runs it, and says how."""

import argparse
import os
import tempfile
import time
from pathlib import Path

from browser import Browser
from processes import ROOT, Program

WIDTH, HEIGHT = 1280, 1180


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--scheme", choices=("light", "dark"), default="light")
    parser.add_argument("out", nargs="?", type=Path, default=ROOT / "docs" / "figures" / "dashboard.png")
    args = parser.parse_args()
    binary = os.environ.get("XBR_SELLER_BIN", ROOT / "target" / "release" / "xbr-seller")
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        demo = Program("demo", [binary, "demo", "--http", "127.0.0.1:0"], directory)
        try:
            url = demo.wait_for("it tells where", lambda: demo.err.read_text().partition(" is at ")[2].strip())
            with Browser(directory / "browser") as browser:
                browser.look_as(WIDTH, HEIGHT, args.scheme)
                browser.open(url)
                browser.wait_for("#sales", "Receipt")
                time.sleep(args.minutes * 60)
                browser.picture(args.out, WIDTH, HEIGHT)
        finally:
            demo.stop()


if __name__ == "__main__":
    main()
