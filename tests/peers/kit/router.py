#!/usr/bin/env python3
"""Run a real Crossbar router on 127.0.0.1 until it is interrupted.

It listens on a WebSocket port with CBOR, MessagePack and JSON, and with
--tls-port also on a TLS WebSocket port with a self-signed certificate
(WORKDIR/cert.pem, which a client takes as its root). Everybody may do
everything in the realm; who one is can be shown anonymously, or by the ticket
or the cryptosign key of keys.json.

Prints READY and the addresses when all of them accept connections. Stop it
with SIGINT or SIGTERM. The router's own log is WORKDIR/router.log.
"""

import argparse
import contextlib
import datetime
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HERE = Path(__file__).resolve().parent
MAX_MESSAGE_BYTES = (
    64 * 1024 * 1024
)  # the most that Crossbar can be told; its default of 1 MiB is in the tests' way


def make_certificate(workdir: Path) -> dict:
    """Make a key and a self-signed certificate; return Crossbar's TLS options."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = workdir / "key.pem", workdir / "cert.pem"
    pem = serialization.Encoding.PEM
    paths[0].write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    paths[1].write_bytes(certificate.public_bytes(pem))
    return {"key": str(paths[0]), "certificate": str(paths[1])}


def authentication(keys: dict) -> dict:
    """Crossbar's table of principals for every method."""
    people = [keys[who] for who in ("marketmaker", "seller", "buyer")]
    return {
        "anonymous": {"type": "static", "role": "anonymous"},
        "ticket": {
            "type": "static",
            "principals": {
                p["ticket"]["authid"]: {"role": p["role"], "ticket": p["ticket"]["ticket"]} for p in people
            },
        },
        "cryptosign": {
            "type": "static",
            "principals": {
                p["cryptosign"]["authid"]: {"role": p["role"], "authorized_keys": [p["cryptosign"]["pubkey"]]}
                for p in people
            },
        },
    }


def node_config(args: argparse.Namespace, keys: dict) -> dict:
    """The node configuration file."""
    everything = {
        "uri": "",
        "match": "prefix",
        "allow": {"call": True, "register": True, "publish": True, "subscribe": True},
        "disclose": {"caller": True, "publisher": True},
        "cache": True,
    }
    roles = ["anonymous"] + [keys[who]["role"] for who in ("marketmaker", "seller", "buyer")]
    web = {
        "type": "websocket",
        "serializers": ["cbor", "msgpack", "json"],
        "auth": authentication(keys),
        "options": {"max_message_size": MAX_MESSAGE_BYTES},
    }

    def tcp(port: int) -> dict:
        return {"type": "tcp", "interface": "127.0.0.1", "port": port}

    transports = [{"id": "websocket", "endpoint": tcp(args.port), **web}]
    if args.tls_port:
        tls = make_certificate(args.workdir)
        transports.append({"id": "websocket_tls", "endpoint": {**tcp(args.tls_port), "tls": tls}, **web})
    realm = {"name": args.realm, "roles": [{"name": role, "permissions": [everything]} for role in roles]}
    worker = {"type": "router", "id": "router1", "realms": [realm], "transports": transports}
    return {"version": 2, "controller": {}, "workers": [worker]}


def accepts(port: int) -> bool:
    """Whether someone accepts connections at this port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def stop(node: subprocess.Popen) -> None:
    """End the node: politely, then its whole process group by force."""
    with contextlib.suppress(ProcessLookupError):
        node.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            node.wait(timeout=10)
        os.killpg(node.pid, signal.SIGKILL)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workdir", type=Path, metavar="WORKDIR", help="directory for configuration and log")
    parser.add_argument(
        "port", type=int, metavar="PORT", nargs="?", default=8080, help="WebSocket port (default %(default)s)"
    )
    parser.add_argument("--tls-port", type=int, help="also listen for TLS WebSocket (wss) on this port")
    parser.add_argument("--realm", default="realm1")
    parser.add_argument(
        "--timeout", type=float, default=60, help="seconds it may take to start (default %(default)s)"
    )
    args = parser.parse_args()
    args.workdir = args.workdir.resolve()

    ports = [args.port] + ([args.tls_port] if args.tls_port else [])
    for port in filter(accepts, ports):
        sys.exit(f"router.py: port {port} is already taken")

    node_dir = args.workdir / ".crossbar"
    node_dir.mkdir(parents=True, exist_ok=True)
    (node_dir / "node.pid").unlink(missing_ok=True)
    keys = json.loads((HERE / "keys.json").read_text())
    (node_dir / "config.json").write_text(json.dumps(node_config(args, keys), indent=1))

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    log = args.workdir / "router.log"
    crossbar = Path(sys.executable).with_name("crossbar")
    with log.open("wb") as out:
        node = subprocess.Popen(
            [crossbar, "start", "--cbdir", node_dir, "--color", "false", "--loglevel", "warn"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + args.timeout
        while not all(map(accepts, ports)):
            if node.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"router.py: the router did not start; see {log}")
            time.sleep(0.1)
        urls = [f"ws://127.0.0.1:{args.port}/"] + (
            [f"wss://127.0.0.1:{args.tls_port}/"] if args.tls_port else []
        )
        print("READY", *urls, flush=True)
        return node.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        stop(node)


if __name__ == "__main__":
    sys.exit(main())
