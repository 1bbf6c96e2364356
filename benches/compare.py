#!/usr/bin/env python3
"""Measure the seller and the reference side by side, and write the figures into docs/performance.md.

scripts/compare builds what is needed and calls this. Both sides take turns, so that whatever else the machine does
hits both alike; figures are medians. The tables go between the markers of the document, the text around them stays.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs/performance.md"
PYTHON = ROOT / ".peers/venv/bin/python"
KIT = ROOT / "tests/peers/kit"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
PRICE = 10**15


def ticks() -> list[int]:
    """What the processors have been doing since they began, by kind: user, nice, system, idle, iowait, irq, softirq, steal."""
    return [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]


BEGAN, LOAD = ticks(), os.getloadavg()[0]


def say(text: str) -> None:
    print(f"compare: {text}", file=sys.stderr, flush=True)


def run(*command: Any, cores: int | None = None, **options: Any) -> str:
    pin = ["taskset", "-c", ",".join(map(str, range(cores)))] if cores else []
    done = subprocess.run([*pin, *map(str, command)], stdout=subprocess.PIPE, text=True, check=True, **options)
    return done.stdout


def figures(*arguments: Any, **options: Any) -> dict:
    return json.loads(run(TARGET / "xbr-figures", *arguments, **options))


def reference(*arguments: Any) -> dict:
    return json.loads(run(PYTHON, ROOT / "benches/reference.py", *arguments))


def median_of(all_of_them: list[Any]) -> Any:
    """The median of each number in structures of the same shape."""
    first = all_of_them[0]
    if isinstance(first, dict):
        return {key: median_of([one[key] for one in all_of_them]) for key in first}
    if isinstance(first, list):
        return [median_of(list(column)) for column in zip(*all_of_them, strict=True)]
    if isinstance(first, bool) or not isinstance(first, int | float) or all(one == first for one in all_of_them):
        return first
    return statistics.median(all_of_them)


def table(head: list[str], rows: list[list[str]]) -> str:
    ruler = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ruler, *rows])


def duration(ns: float) -> str:
    if ns < 1000:
        return f"{ns:.0f} ns"
    if ns < 100_000:
        return f"{ns / 1e3:.2f} µs"
    return f"{ns / 1e3:.0f} µs" if ns < 1e6 else f"{ns / 1e6:.2f} ms"


def size_of(size: int) -> str:
    return f"{size} B" if size < 1024 else f"{size // 1024} KiB" if size < 2**20 else f"{size >> 20} MiB"


def verdict(met: bool) -> str:
    return "met" if met else "**missed**"


def wrap_tables(rounds: int) -> Iterator[tuple[str, str]]:
    say("wrapping")
    ours, theirs = [], []
    for _ in range(rounds):
        theirs.append(reference("--rounds", 5, "--sells", 1)["wrap"])
        ours.append(figures("wrap", "--rounds", 5)["wrap"])
    rows, raw_rows = [], []
    limits = {64: (3, None), 1024: (3, 1.25), 65536: (1.3, 1.03), 1048576: (1.3, None)}
    for our, their in zip(median_of(ours), median_of(theirs), strict=True):
        size = our["size"]
        ratio = their["one_caller_ns"] / our["one_caller_ns"]
        at_least, at_most = limits[size]
        rows.append([size_of(size), duration(their["one_caller_ns"]), duration(our["one_caller_ns"]), f"{ratio:.1f} ×",
                     f"{at_least} ×", verdict(ratio >= at_least)])
        parts = " + ".join(duration(our[part]) for part in ("encode_ns", "nonce_ns", "seal_ns"))
        many, batch = our["many_callers_cpu_ns"] / our["raw_ns"], our["batch_ns"] / our["raw_kept_ns"]
        raw_rows.append([size_of(size), parts, f"{duration(our['raw_ns'])}; {duration(our['raw_kept_ns'])}",
                         f"{duration(our['many_callers_cpu_ns'])} ({many:.2f} ×)",
                         f"{duration(our['batch_ns'])} ({batch:.2f} ×)", f"{our['many_callers_per_s']:,.0f}",
                         f"{at_most} ×" if at_most else "", verdict(max(many, batch) <= at_most) if at_most else ""])
    yield "wrap", table(["payload", "reference", "ours", "ratio", "target", ""], rows)
    yield "wrap-raw", table(["payload", "encode + nonce + seal", "in turn; kept", "64 callers, CPU each", "batch of 64",
                             "64 callers, per s", "target", ""], raw_rows)


def sell_tables(rounds: int) -> Iterator[tuple[str, str]]:
    say("selling in process")
    theirs, slow, ours, bare = [], [], {1: [], 2: []}, {1: [], 2: []}
    for _ in range(rounds):
        theirs.append(reference("--rounds", 3)["sell"])
        slow.append(reference("--rounds", 1, "--sells", 40, "--without-coincurve")["sell"])
        for cores, measured in ours.items():
            # So many that the beginning and the end, when fewer than 64 are in flight, count little.
            measured.append(figures("sell", "--rounds", 1, "--sales", 20_000, cores=cores))
            floor = figures("bare", "--rounds", 1, "--sales", 20_000 // cores, "--series", 100, cores=cores)
            bare[cores].append(floor["sale"])
    fast, installed = median_of(theirs), median_of(slow)
    yield "sell-reference", table(
        ["reference, in memory", "sales/s", "p50", "p99"],
        [[name, f"{one['per_s']:,.0f}", *(f"{one['latency'][p]:.2f} ms" for p in ("p50_ms", "p99_ms"))]
         for name, one in (("with coincurve", fast), ("as installed", installed))],
    )
    rows, parts, floors = [], [], []
    for cores, measured in ours.items():
        ours_now, floor = median_of(measured), median_of(bare[cores])
        primitives, total = ours_now["primitives"], floor["primitives_us"]
        parts.append([str(cores), *(f"{primitives[part]:.1f} µs" for part in primitives),
                      f"{sum(primitives.values()):.1f} µs", f"{total:.1f} µs"])
        floors.append([str(cores), f"{floor['durable_us']:.0f} µs", f"{floor['per_s']:,.0f}",
                       f"{total / cores * floor['per_s'] / 1e6:.0%}", f"{floor['per_s'] / fast['per_s']:.1f} ×"])
        for row in ours_now["sell"]:
            ratio, share = row["per_s"] / fast["per_s"], total / cores * row["per_s"] / 1e6
            wanted = {1: 5, 2: 9}[cores]
            is_target = row["store"] == "sqlite" and row["in_flight"] > 1
            latency = row["latency"]
            rows.append([f"{row['store']}, {row['in_flight']} in flight", str(cores), f"{row['per_s']:,.0f}",
                         f"{ratio:.1f} ×", f"{row['cpu_us']:.0f} µs", f"{share:.0%}",
                         f"{latency['p50_ms']:.2f} / {latency['p99_ms']:.2f} ms",
                         f"{wanted} ×, 80%" if is_target else "",
                         verdict(ratio >= wanted and share >= 0.8) if is_target else ""])
    yield "sell", table(["ours", "cores", "sales/s", "to coincurve", "CPU", "of the primitives", "p50 / p99", "target", ""],
                        rows)
    yield "primitives", table(["cores", "digest", "recover", "seal", "sign", "sum", "in turn"], parts)
    yield "bare", table(["cores", "CPU", "sales/s", "of the primitives", "to coincurve"], floors)


def rotate_table(rounds: int) -> Iterator[tuple[str, str]]:
    say("rotating 1,000 to 10,000 series")
    sizes = (1000, 3000, 5000, 10_000)
    signed: dict[int, list] = {series: [] for series in sizes}
    unsigned: dict[int, list] = {series: [] for series in sizes}
    bare, too_slow = [], set()
    for _ in range(rounds):
        bare.append(figures("bare", "--rounds", 3, "--sales", 100)["rotation_us"])
        for series in [series for series in sizes if series not in too_slow]:
            command = ["rotate", "--series", series, "--seconds", 5]
            try:
                signed[series].append(figures(*command, timeout=60)["rotate"])
                unsigned[series].append(figures(*command, "--unsigned", timeout=60)["rotate"])
            except subprocess.TimeoutExpired:
                too_slow.add(series)
    rows = []
    for series in sizes:
        if series in too_slow:
            rows.append([f"{series:,}", "not all were added within a minute", "", "", "", "", "", "", verdict(False)])
            continue
        one, other = median_of(signed[series]), median_of(unsigned[series])
        met = one["late_per_mille"] <= 10 and one["cores"] < 0.5
        rows.append([f"{series:,}", f"{one['rotations']:,.0f}", f"{one['late']['p50_ms']:.1f} ms",
                     f"{one['late']['p99_ms']:.1f} ms", f"{one['late_per_mille']:.0f} ‰", f"{other['cores']:.2f}",
                     f"{one['cores']:.2f}", f"{statistics.median(bare) * series / 1e6:.2f}", verdict(met)])
    yield "rotate", table(["series", "rotations in 5 s", "late, p50", "p99", "50 ms late or more", "cores, without signatures",
                           "cores", "without actors", ""], rows)


def archive_table(rounds: int) -> Iterator[tuple[str, str]]:
    say("archives of 1,000 to 1,000,000 keys")
    with tempfile.TemporaryDirectory(dir=ROOT / "target") as parent:
        measured: dict[int, list] = {}
        for keys in (1000, 100_000, 1_000_000):
            for number in range(rounds):
                folder = Path(parent) / f"{keys}-{number}"
                folder.mkdir()
                make = [TARGET / "xbr-figures", "archive", "--keys", keys, "--folder", folder, "--make"]
                subprocess.run(list(map(str, make)), check=False)
        # What was written is on its way to the disk, where the sales would wait behind it.
        os.sync()
        for number in range(rounds):
            for keys in (1000, 100_000, 1_000_000):
                command = ["archive", "--keys", keys, "--folder", Path(parent) / f"{keys}-{number}", "--sales", 2000]
                measured.setdefault(keys, []).append(figures(*command)["archive"])
    rows = []
    for keys, all_of_them in measured.items():
        one = median_of(all_of_them)
        # To the small one of the same round.
        pairs = list(zip(all_of_them, measured[1000], strict=True))
        latency = statistics.median(big["latency"]["p50_ms"] / small["latency"]["p50_ms"] for big, small in pairs)
        rate = statistics.median(big["per_s"] / small["per_s"] for big, small in pairs)
        met = max(latency, 1 / rate) <= 1.2 and one["resident_mb"] < 100 and one["open_ms"] < 1000
        rows.append([f"{keys:,}", f"{one['latency']['p50_ms']:.2f} ms ({latency:.2f} ×)",
                     f"{one['per_s']:,.0f} ({rate:.2f} ×)",
                     f"{one['resident_mb']:.0f} MB", f"{one['open_ms']:.1f} ms", verdict(met)])
    yield "archive", table(["keys", "sale alone, p50", "sales/s, 64 in flight", "resident", "opens after a kill in", ""], rows)


def market_table(rounds: int) -> Iterator[tuple[str, str]]:
    say("the whole market in one process")
    rows = []
    for cores in (1, 2):
        rates, costs = [], []
        for _ in range(rounds):
            summary = json.loads(run(TARGET / "xbr-seller", "demo", "--sales", 20_000, "--json", cores=cores,
                                     stderr=subprocess.DEVNULL))
            assert summary["agree"], summary
            rates.append(summary["sales_per_second"])
            # The machine changes its speed: what the cryptography of a sale takes just now tells by how much.
            part = figures("sell", "--rounds", 1, "--sales", 100, "--durable", cores=cores)["primitives"]
            costs.append(4 * (part["sign_us"] + part["recover_us"]) + 2 * part["seal_us"])
        rate, cost = statistics.median(rates), statistics.median(costs)
        share = statistics.median(rate * cost / cores / 1e6 for rate, cost in zip(rates, costs, strict=True))
        rows.append([str(cores), f"{rate:,.0f}", f"{min(rates):,.0f} to {max(rates):,.0f}", f"{cost:.0f} µs", f"{share:.0%}",
                     *(["3,000", verdict(rate >= 3000)] if cores == 2 else ["", ""])])
    yield "market", table(["cores", "sales/s", "in all rounds", "cryptography of a sale", "its share", "target", ""], rows)


def load(url: str, folder: Path, seller: Callable[[], Any]) -> list[dict]:
    """What the load generator measures of a seller that begins when there is a market maker."""
    from channel import eth_key
    from common import KEYS
    from processes import Program
    from provider import write_secret

    folder.mkdir()
    key_file = write_secret(folder / "market.key", eth_key("marketmaker").hex())
    options = ["--json", "--in-flight", "1,16,64", "--duration", "3s", "--warm-up", "20", "--amount", "1000000"]
    where = ["--url", url, "--realm", KEYS["market"]["realm"], "--key-file", key_file]
    bench = Program("bench", [TARGET / "xbr-seller", "bench", *where, *options], folder, RUST_LOG="info")
    bench.wait_for("it waits", lambda: any(r.get("message") == "waiting for an offer" for r in bench.records(bench.err)))
    running = seller()
    try:
        assert bench.exit_code(90) == 0, bench.err.read_text()
        return json.loads(bench.out.read_bytes())["levels"]
    finally:
        running.kill()


def idle(pid: int, seconds: int = 10) -> tuple[float, float]:
    """What a process has in memory (MB), and how much of a core it uses."""
    def cpu() -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])
    before = cpu()
    time.sleep(seconds)
    used = (cpu() - before) / os.sysconf("SC_CLK_TCK") / seconds
    resident = re.search(r"VmRSS:\s*(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(resident[1]) * 1024 / 1e6, used


def crossbar_table(_: int) -> Iterator[tuple[str, str]]:
    say("selling through Crossbar")
    os.environ["XBR_SELLER_BIN"] = str(TARGET / "xbr-seller")
    sys.path[:0] = [str(ROOT / "tests/peers"), str(KIT)]
    from processes import Program, Router
    from provider import Market, Provider

    without = "import sys; sys.modules['coincurve'] = None; import runpy; sys.path.insert(0, {kit!r});" \
        " sys.argv[0] = {path!r}; runpy.run_path({path!r}, run_name='__main__')"
    without = without.format(kit=str(KIT), path=str(KIT / "seller.py"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        router = Router(folder / "router")
        price = ["--price", str(PRICE), "--events", "1", "--count", "1000000", "--quiet"]

        def python(*command: Any) -> Program:
            key = os.urandom(32).hex()
            return Program("reference", [PYTHON, *command, "--url", router.url, "--key", key, *price], folder)

        try:
            levels = {"reference as installed": load(router.url, folder / "a", lambda: python("-c", without)),
                      "reference with coincurve": load(router.url, folder / "b", lambda: python(KIT / "seller.py"))}
            with Provider(Market(router, None, None), folder, interval="1h", price="0.001") as provider:
                levels["ours, durable"] = load(router.url, folder / "c", provider.start)
            own = json.loads(run(TARGET / "xbr-seller", "bench", "--json", "--duration", "3s", "--dir", folder))["levels"]
        finally:
            router.stop()
    levels["ours, durable, its own router"] = own
    rows = [[name, *(f"{level['sales_per_second']:,.0f} ({level['latency_us']['p50'] / 1e3:.1f} ms)" for level in found)]
            for name, found in levels.items()]
    met = all(our["sales_per_second"] >= their["sales_per_second"] for our, their
              in zip(levels["ours, durable"], levels["reference with coincurve"], strict=True))
    yield "crossbar", table(["sales/s (p50)", "1 in flight", "16", "64"], rows) + f"\n\nAt least the reference: {verdict(met)}."


def idle_table(_: int) -> Iterator[tuple[str, str]]:
    say("an idle service")
    os.environ["XBR_SELLER_BIN"] = str(TARGET / "xbr-seller")
    sys.path[:0] = [str(ROOT / "tests/peers"), str(KIT)]
    from processes import MarketMaker, Router
    from provider import Market, Provider

    with tempfile.TemporaryDirectory() as name:
        router = Router(Path(name) / "router")
        maker = MarketMaker(router.url, Path(name))
        try:
            with Provider(Market(router, maker, None), Path(name), interval="1h") as provider:
                seller = provider.start()
                time.sleep(2)
                resident, cores = idle(seller.process.pid)
        finally:
            maker.kill()
            router.stop()
    met = resident < 30 and cores < 0.005
    yield "idle", table(["resident", "of a core", "target", ""],
                        [[f"{resident:.1f} MB", f"{cores:.1%}", "30 MB, nothing to speak of", verdict(met)]])


def profile_tables(_: int) -> Iterator[tuple[str, str]]:
    from shares import parts_of

    for name, command in (
        ("sell-profile", ["xbr-figures", "sell", "--rounds", 1, "--sales", 40_000, "--durable"]),
        ("market-profile", ["xbr-seller", "demo", "--sales", 10_000, "--json"]),
        ("rotate-profile", ["xbr-figures", "rotate", "--series", 10_000, "--seconds", 20]),
    ):
        say(f"profile of {command[0]} {command[1]}")
        parts = parts_of([TARGET / command[0], *command[1:]], cores=2)
        yield name, table(["what", "of the time"], [[what, f"{share:.1%}"] for what, share in parts])


def machine() -> Iterator[tuple[str, str]]:
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    versions = run(PYTHON, "-m", "pip", "freeze", "--disable-pip-version-check")
    wanted = ("autobahn", "xbr", "crossbar", "coincurve", "PyNaCl", "eth-keys", "cbor2")
    peers = [line.replace("==", " ") for line in versions.splitlines() if line.split("==")[0] in wanted]
    commit = run("git", "-C", ROOT, "describe", "--always", "--dirty").strip()
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    spent = [now - before for now, before in zip(ticks(), BEGAN, strict=True)]
    yield "machine", "\n".join([
        f"- {cpu[1] if cpu else platform.processor()}, {os.cpu_count()} cores, {int(memory[1]) / 1e6:.0f} GB;"
        f" {platform.system()} {platform.release()}",
        f"- {run('rustc', '--version').strip()}; Python {platform.python_version()}; {', '.join(peers)}",
        f"- {time.strftime('%Y-%m-%d')}, at {commit}; load before: {LOAD:.2f};"
        f" of the processors' time the host took {spent[7] / sum(spent):.1%}",
    ])


def write(found: dict[str, str]) -> None:
    text = DOCUMENT.read_text()
    for name, content in found.items():
        block = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text, count = block.subn(lambda match, content=content: f"{match[1]}{content}\n{match[2]}", text)
        if not count:
            sys.exit(f"compare: {DOCUMENT} has no marker <!-- {name} -->")
    DOCUMENT.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts: dict[str, Callable[[int], Iterator[tuple[str, str]]]] = {
        "wrap": wrap_tables, "sell": sell_tables, "crossbar": crossbar_table,
        "market": market_table, "idle": idle_table, "rotate": rotate_table, "archive": archive_table,
        "profile": profile_tables, "machine": lambda _: machine(),
    }
    parser.add_argument("part", nargs="*", choices=[[], *parts], help=f"what to measure: {', '.join(parts)} (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="each side's turns (default %(default)s)")
    parser.add_argument("--print", action="store_true", help="print the tables, and leave the document as it is")
    args = parser.parse_args()
    found: dict[str, str] = {}
    for part in args.part or parts:
        for name, content in parts[part](args.rounds):
            found[name] = content
            print(f"\n{name}\n{content}", flush=True)
    if not args.print:
        write(found)
        say(f"wrote {DOCUMENT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
