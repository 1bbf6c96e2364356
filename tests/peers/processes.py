"""Programs that a test starts: wait for what they print, stop them by process id, keep their logs."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
KIT = HERE / "kit"
LOG_TAIL_BYTES = 3000  # of each program, shown when a test fails


def wait_until(what: str, condition: Callable[[], Any], timeout: float = 30, pause: float = 0.02) -> Any:
    """Wait until the condition returns something true, and return that."""
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout} s in vain for {what}")
        time.sleep(pause)
    return result


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Program:
    """A child process whose standard output and standard error go to files.

    `records` are the JSON lines of one of them; other lines are skipped.
    """

    live: list["Program"] = []  # for the report of a failed test

    def __init__(self, name: str, command: list[Any], log_dir: Path, stdin: bool = False, **env: str) -> None:
        self.name = name
        log_dir.mkdir(parents=True, exist_ok=True)
        self.out, self.err = log_dir / f"{name}.out", log_dir / f"{name}.err"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("XBR_SELLER")}
        with self.out.open("ab") as out, self.err.open("ab") as err:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdout=out,
                stderr=err,
                env=environment | env,
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                cwd=log_dir,
            )
        self.logs = [self.out, self.err]
        Program.live.append(self)

    def records(self, log: Path) -> list[dict]:
        """The JSON objects that were printed so far, one a line."""
        found = []
        for line in log.read_bytes().split(b"\n")[:-1]:
            with contextlib.suppress(ValueError):
                record = json.loads(line)
                if isinstance(record, dict):
                    found.append(record)
        return found

    def wait_for(self, what: str, condition: Callable[[], Any], timeout: float = 30) -> Any:
        """Wait for the condition, but no longer than the program lives."""

        def checked() -> Any:
            code = self.process.poll()
            result = condition()
            if not result and code is not None:
                raise RuntimeError(f"{self.name} ended with code {code} before {what}")
            return result

        return wait_until(f"{what} ({self.name})", checked, timeout)

    def exit_code(self, timeout: float = 20) -> int:
        """Wait for the end."""
        return self.process.wait(timeout)

    def stop(self, how: signal.Signals = signal.SIGTERM, timeout: float = 20) -> int:
        """End the program, by force if it takes longer than the time-out; return its exit code."""
        try:
            if self.process.poll() is None:
                self.process.send_signal(how)
            return self.process.wait(timeout)
        finally:
            self.kill()

    def kill(self) -> None:
        """End the program by force, if it is still there."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        if self.process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        if self in Program.live:
            Program.live.remove(self)

    def tails(self) -> list[tuple[str, str]]:
        """Name and end of each log that is not empty."""
        found = []
        for log in self.logs:
            text = log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace") if log.exists() else ""
            if text.strip():
                found.append((f"{self.name}: {log.name}", text))
        return found


class Router(Program):
    """A Crossbar router with a plain and a TLS port, free ones unless they are given."""

    def __init__(self, work_dir: Path, ports: list[int] | None = None) -> None:
        self.port, self.tls_port = ports or free_ports(2)
        command = [sys.executable, KIT / "router.py", work_dir, self.port, "--tls-port", self.tls_port]
        super().__init__("router", command, work_dir)
        self.logs.append(work_dir / "router.log")
        self.url = f"ws://127.0.0.1:{self.port}/ws"
        self.tls_url = f"wss://127.0.0.1:{self.tls_port}/ws"
        self.cafile = work_dir / "cert.pem"
        self.wait_for("the router accepts connections", lambda: b"READY" in self.out.read_bytes(), 60)


class RealMarket(Program):
    """Crossbar with its own market maker, on a chain of its own; `ready` tells where everything is."""

    def __init__(self, work_dir: Path, fee_percent: int) -> None:
        port, chain_port = free_ports(2)
        options = ["--chain-port", chain_port, "--fee-percent", fee_percent]
        command = [sys.executable, HERE / "chain" / "real_market.py", work_dir, port, *options]
        super().__init__("real_market", command, work_dir)
        self.logs += [work_dir / "node.log", work_dir / "chain.log"]
        self.fee_percent = fee_percent
        self.ready = self.wait_for("it is ready", lambda: self.records(self.out), 240)[0]
        self.url = self.ready["url"]


class Proxy(Program):
    """Passes connections on to a port; SIGSTOP makes it a network that has gone silent."""

    def __init__(self, target: int, log_dir: Path, port: int | None = None) -> None:
        self.port = port or free_ports(1)[0]
        super().__init__("proxy", [sys.executable, KIT / "proxy.py", self.port, target], log_dir)
        self.url = f"ws://127.0.0.1:{self.port}/ws"
        self.wait_for("it listens", lambda: b"READY" in self.out.read_bytes())


class MarketMaker(Program):
    """The market maker of the kit. Its channels are large enough for the dearest key of the tests."""

    def __init__(self, url: str, log_dir: Path) -> None:
        amounts = ["--paying", 10**9, "--payment", 10**9]
        super().__init__(
            "market_maker", [sys.executable, KIT / "market_maker.py", "--url", url, *amounts], log_dir
        )
        self.wait_for("it is ready", lambda: b'"ready"' in self.out.read_bytes(), 60)


class Buyer(Program):
    """The reference's SimpleBuyer, subscribed to the topic when the constructor returns."""

    def __init__(self, url: str, log_dir: Path, key: bytes, max_price: int) -> None:
        command = [
            sys.executable,
            KIT / "buyer.py",
            "--url",
            url,
            "--key",
            key.hex(),
            "--max-price",
            max_price,
        ]
        super().__init__("buyer", command, log_dir)
        self.wait_for("it has subscribed", lambda: self.events("started"))

    def events(self, kind: str) -> list[dict]:
        """What the buyer told of this kind: started, unwrapped or failed."""
        return [record for record in self.records(self.out) if record.get("event") == kind]

    def unwrapped(self, count: int, timeout: float = 30) -> list[dict]:
        """Wait until so many events are decrypted; fail at once if one could not be."""

        def enough() -> list[dict] | None:
            assert not (failed := self.events("failed")), failed
            done = self.events("unwrapped")
            return done if len(done) >= count else None

        return self.wait_for(f"{count} events are decrypted", enough, timeout)


class Seller(Program):
    """`xbr-seller run`, the program under test."""

    stdin: IO[bytes]

    def __init__(self, name: str, binary: Path, config: Path, log_dir: Path, **env: str) -> None:
        super().__init__(name, [binary, "run", "--config", config], log_dir, stdin=True, **env)
        assert self.process.stdin
        self.stdin = self.process.stdin

    def lines(self) -> list[dict]:
        """The log so far, each line with its fields beside `message` and `level`."""
        return [record | record.get("fields", {}) for record in self.records(self.err)]

    def logged(self, message: str) -> list[dict]:
        """The log lines with this message."""
        return [line for line in self.lines() if line.get("message") == message]

    def wait_started(self) -> dict:
        """The log line that tells that keys are offered and sold."""
        return self.wait_for("it has started", lambda: self.logged("started"))[0]

    def feed(self, *lines: str | bytes) -> None:
        """Write lines to its standard input."""
        data = b"".join((line.encode() if isinstance(line, str) else line) + b"\n" for line in lines)
        self.stdin.write(data)
        self.stdin.flush()
