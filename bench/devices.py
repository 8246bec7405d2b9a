"""Measures thousands of connected devices: their storm, their sleep, and a few who speak.

    python3 run.py bench devices                              5,000 by TCP, TLS, WebSocket: 4 min
    python3 run.py bench devices --devices 500 --seconds 3 --way tcp          once and shortly

A fresh server for each way in. All devices connect as fast as they are taken, 256 at a time; each
has a will and subscribes to its commands. Then they rest with pings, half a keep-alive of 60 s
apart; then the next of them says a reading, at a fixed rate, while the others rest on (a first
one of each went ahead, for it creates the sensor); and 1 in 100 has promised a keep-alive of 6 s
and says nothing: exactly those have to be cut.

*KiB/device* is the growth of the server's resident memory from before the storm. Server CPU is
user and system time of the whole process. TLS is 1.3 with a P-256 key.

The last column is yes where all came in, every ping was answered, every reading was acknowledged
and stored once, and nobody was cut but the silent.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import table
from floor import send_floor
from house import Device, House, house
from peer import Peer, peer
from sleepers import MUTE, Sleepers, Way

WAYS: tuple[Way, ...] = ("tcp", "tls", "websocket")
KEEPALIVE = 60
TANKS = 50


def measure(given: argparse.Namespace, way: Way) -> dict[str, float]:
    """One way in, on a fresh server."""
    floor = send_floor()
    with certificate() as pem, house(given.folder, None, **_settings(way, pem)) as server:
        devices = server.register(TANKS, -(-given.devices // TANKS))[: given.devices]
        with peer(Sleepers) as sleepers:
            figures = _measured(given, way, server, sleepers, devices)
    return figures | {"send() floor µs": floor}


def _measured(
    given: argparse.Namespace, way: Way, server: House, sleepers: Peer, devices: list[Device]
) -> dict[str, float]:
    count = len(devices)
    mute = {device.device_id for device in devices[:: given.mute_every]}
    keepalives = [MUTE if d.device_id in mute else KEEPALIVE for d in devices]
    keys = {device.device_id: device.key for device in devices}
    port = {"tcp": server.mqtt_port, "tls": server.tls_port, "websocket": server.port}[way]
    empty, before = server.memory(), server.cpu()
    came = sleepers.ask(
        "come", way=way, port=port, keys=keys, keepalives=keepalives, at_once=given.at_once
    )
    arrived = server.cpu() - before
    time.sleep(1.0)
    each = (server.memory() - empty) / count / 1024
    resting = _idle(server, given.seconds)
    first = sleepers.ask("speak", per_second=given.rate, count=count - len(mute))
    before, began = server.cpu(), time.monotonic()
    said = sleepers.ask("speak", per_second=given.rate, count=int(given.rate * given.seconds))
    spoken = server.cpu() - before - resting * (time.monotonic() - began)
    time.sleep(MUTE * 1.5 + 1.0)
    there = sleepers.ask("present")
    took = sorted(array("q", said["took"]))
    return {
        "seconds": came["seconds"],
        "CPU µs/connect": arrived / count * 1e6,
        "KiB/device": each,
        "CPU % at rest": resting * 100,
        "CPU µs/reading": spoken / said["sent"] * 1e6,
        "PUBACK p50 ms": took[len(took) // 2] / 1000,
        "p99 ms": took[len(took) * 99 // 100] / 1000,
        "turned away": came["turned away"],
        "silent and cut": float(len(there["gone"])),
        "all well": float(
            set(there["gone"]) == mute
            and there["pongs"] >= there["pings"] - given.devices / 20
            and len(took) == said["sent"]
            and first["sent"] + said["sent"] == sum(n for n, _ in server.stored().values())
        ),
    }


def _idle(server: House, seconds: float) -> float:
    """CPU seconds a second while they only ping."""
    before, began = server.cpu(), time.monotonic()
    time.sleep(seconds)
    return (server.cpu() - before) / (time.monotonic() - began)


@contextmanager
def certificate() -> Iterator[Path]:
    """A key and a certificate that are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="cardume-bench-") as folder:
        pem = Path(folder) / "pem"
        made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        command = [*made.split(), "-subj", "/CN=127.0.0.1", "-keyout", str(pem)]
        certificate = subprocess.run(command, check=True, capture_output=True).stdout
        with pem.open("ab") as file:
            file.write(certificate)
        yield pem


def _settings(way: Way, pem: Path) -> dict[str, str]:
    if way != "tls":
        return {}
    files: dict[str, Any] = {"CARDUME_MQTT_TLS_CERT": pem, "CARDUME_MQTT_TLS_KEY": pem}
    return {"CARDUME_MQTT_TLS_PORT": "0", **{name: str(path) for name, path in files.items()}}


def main() -> None:
    """Run it, print markdown; exit with 1 where something was not well."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--devices", type=int, default=5000)
    parser.add_argument("--at-once", type=int, default=256, help="handshakes under way")
    parser.add_argument("--rate", type=float, default=500.0, help="readings a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="of rest, and of readings")
    parser.add_argument("--mute-every", type=int, default=100)
    parser.add_argument("--way", choices=WAYS, action="append")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the temporary database goes")
    given = parser.parse_args()
    print(f"{given.devices} devices; {given.rate:g} readings a second; {given.repeat} runs\n")
    fine = heading = True
    for way in given.way or WAYS:
        runs = [measure(given, way) for _ in range(given.repeat)]
        if heading:
            table.head([*runs[0]], before=["way in"])
            heading = False
        table.row(table.gathered(runs), before=[way])
        fine &= all(run["all well"] for run in runs)
    raise SystemExit(0 if fine else 1)


if __name__ == "__main__":
    main()
