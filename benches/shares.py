"""Where the time goes: samples of a program, added up by what they belong to. It needs Linux's perf."""

import re
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

# The first that fits: what a sample's thread, place (k: kernel) and function say that it belongs to.
PARTS = [
    ("the store: writing and syncing the log", r"xbr-store\S* k "),
    ("the store: statements, codes of rows", r"xbr-store\S* \. "),
    ("the kernel: threads that wake each other, sockets", r"\S+ k "),
    ("recovering and signing (libsecp256k1)", r"\S+ \. .*secp256k1"),
    ("sealing and opening keys and payloads (libsodium)",
     r"\S+ \. (_?\._ladder_loop|fe25519|ge25519|safegcd|crypto_|sodium_|stream_|poly1305|sc25519|_?x25519|curve25519"
     r"|core_|salsa20|has_small_order|randombytes|blake2b_compress|.*sandy2x|\._)"),
    ("hashing messages (Keccak)", r"\S+ \. .*keccak"),
    ("SQLite, codes of rows", r"\S+ \. (sqlite3|.*rusqlite|.*xbr_store|.*blake2|pcache1|wal[A-Z]|unix[A-Z]|bt?ree)"),
    ("allocating and copying", r"\S+ \. (mi_|_mi_|malloc|free|cfree|calloc|realloc|_int_|unlink_chunk|__mem|mem(cpy|move|set|cmp))"),
    ("encoding, frames and routing", r"\S+ \. .*(cbor|serde|tungstenite|xbr_wamp|rmp|xbr_market::router|utf8|httparse)"),
    ("actors and tasks", r""),
]


def parts_of(command: list[Any], cores: int) -> list[tuple[str, float]]:
    """The parts of a command's time, in hundredths, the largest first. What its main thread does is left out: that
    thread measures."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "perf.data"
        record = ["taskset", "-c", f"0-{cores - 1}", "perf", "record", "-e", "cpu-clock", "-F", "1000", "-o", data, "--", *command]
        subprocess.run(list(map(str, record)), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        report = subprocess.run(
            ["perf", "report", "-i", str(data), "--stdio", "--no-children", "--sort", "comm,sym"],
            check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = defaultdict(float)
    main_thread = Path(str(command[0])).name[:15]
    for line in report.splitlines():
        sample = re.match(r"\s+([\d.]+)%\s+(\S+)\s+\[([.k])\]\s+(.*?)\s*$", line)
        if sample and not (sample[2] == main_thread and main_thread == "xbr-figures"):
            text = f"{sample[2]} {sample[3]} {sample[4]}"
            found[next(name for name, pattern in PARTS if re.match(pattern, text))] += float(sample[1])
    whole = sum(found.values())
    return sorted(((name, share / whole) for name, share in found.items()), key=lambda part: -part[1])
