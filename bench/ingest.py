"""Measures the way of a reading from MQTT QoS 1 to the commit and to the browsers.

    python3 run.py bench ingest            everything, three times: about six minutes
    python3 run.py bench ingest --quick    once and shortly: about a minute
    python3 run.py bench flood --variant id --seconds 10

What each figure means is in bench/README.md.
"""

from __future__ import annotations

import argparse
import platform
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import table
from browsers import Browsers
from floor import send_floor
from gadgets import VARIANTS, Gadgets
from house import MIB, Device, House, house, sums
from peer import Peer, peer

AQUARIUMS = 100
WINDOW = 50
SUBSCRIBERS = 100
IDLE = 500

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Run:
    """What the command line asked for."""

    repeat: int
    seconds: float
    variants: list[str]
    folder: Path | None
    command: list[str]


@contextmanager
def _scene(
    run: Run, variant: str, aquariums: int, devices_each: int, subscribers_each: int
) -> Iterator[tuple[House, list[Device], Peer, Peer]]:
    """A fresh server with its devices logged in and its subscribers greeted."""
    with house(run.folder, run.command) as server, peer(Gadgets) as gadgets, peer(Browsers) as web:
        devices = server.register(aquariums, devices_each)
        ids = sorted({device.aquarium_id for device in devices}) * subscribers_each
        web.ask("connect", port=server.port, token=server.token, aquariums=ids)
        keys = {device.device_id: device.key for device in devices}
        gadgets.ask("connect", port=server.mqtt_port, keys=keys, variant=variant)
        # The first reading of a device creates its sensor and an alert that it is online.
        first = gadgets.ask("pace", per_second=1000.0, seconds=len(devices) / 1000)
        web.ask("collect", expected=first["sent"] * subscribers_each, patience=3.0)
        yield server, devices, gadgets, web


def flood(run: Run, variant: str) -> Figures:
    """Closed loop: as many as go, over 100 aquariums with one device and one subscriber each."""
    return _flood(run, variant, AQUARIUMS, 1, 1)


def crowd(run: Run, variant: str) -> Figures:
    """Closed loop: one aquarium with ten devices and 100 subscribers."""
    return _flood(run, variant, 1, 10, SUBSCRIBERS)


def _flood(
    run: Run, variant: str, aquariums: int, devices_each: int, subscribers_each: int
) -> Figures:
    scene = _scene(run, variant, aquariums, devices_each, subscribers_each)
    with scene as (server, devices, gadgets, web):
        before = server.cpu()
        sent = gadgets.ask("flood", window=WINDOW, seconds=run.seconds)
        expected = sent["sent"] * subscribers_each
        got = web.ask("collect", expected=expected, patience=3.0)
        spent = server.cpu() - before
        return {
            "readings/s": sent["acknowledged"] / sent["seconds"],
            "deliveries/s": got["readings"] / sent["seconds"],
            "server CPU µs/reading": spent / sent["acknowledged"] * 1e6,
            "server CPU %": spent / sent["seconds"] * 100,
            "superseded %": 100 * server.superseded() / expected,
            "all equal": float(_is_exact(devices, sent, got, server)),
        }


def paced(run: Run, variant: str, per_second: float = 1000.0) -> Figures:
    """Fixed rate over 100 aquariums: how long from the device's write to the browser's read."""
    with _scene(run, variant, AQUARIUMS, 1, 1) as (server, devices, gadgets, web):
        before = server.cpu()
        sent = gadgets.ask("pace", per_second=per_second, seconds=2 * run.seconds)
        got = web.ask("collect", expected=sent["sent"], patience=3.0)
        spent = server.cpu() - before
        latencies = sorted(memoryview(got["latencies"]).cast("q"))
        return {
            "readings/s": sent["acknowledged"] / sent["seconds"],
            "p50 ms": latencies[len(latencies) // 2] / 1000,
            "p99 ms": latencies[len(latencies) * 99 // 100] / 1000,
            "max ms": latencies[-1] / 1000,
            "server CPU µs/reading": spent / sent["acknowledged"] * 1e6,
            "all equal": float(_is_exact(devices, sent, got, server)),
        }


def rest(run: Run, variant: str) -> Figures:
    """Memory: after the start, and what an idle WebSocket and an idle device add."""
    with house(run.folder, run.command) as server, peer(Gadgets) as gadgets, peer(Browsers) as web:
        started = server.memory()
        devices = server.register(1, IDLE)
        registered = server.memory()
        ids = [devices[0].aquarium_id] * IDLE
        web.ask("connect", port=server.port, token=server.token, aquariums=ids)
        watched = server.memory()
        keys = {device.device_id: device.key for device in devices}
        gadgets.ask("connect", port=server.mqtt_port, keys=keys, variant=variant)
        heard = server.memory()
        before, began = server.cpu(), time.monotonic()
        time.sleep(run.seconds)
        idle = (server.cpu() - before) / (time.monotonic() - began)
        return {
            "RSS after start MiB": started / MIB,
            f"RSS with {IDLE} + {IDLE} MiB": heard / MIB,
            "KiB per idle WebSocket": (watched - registered) / IDLE / 1024,
            "KiB per idle device": (heard - watched) / IDLE / 1024,
            "idle CPU %": idle * 100,
        }


def _is_exact(
    devices: list[Device], sent: dict[str, Any], got: dict[str, Any], server: House
) -> bool:
    """Sent, acknowledged, stored and delivered are the same readings: by count and by sum.

    What the server says that it superseded for readers who were behind is missing, and no more.
    """
    wanted = sums(devices, sent["by_device"])
    short = [
        (wanted[id][0] - count, wanted[id][1] - total)
        for id, browsers in got["by_aquarium"].items()
        for count, total in browsers
    ]
    missing = sum(count for count, _ in short)
    known = missing == server.superseded() and all(count >= 0 for count, _ in short)
    delivered = known and all(total == 0 for count, total in short if count == 0)
    return delivered and sent["acknowledged"] == sent["sent"] and server.stored() == wanted


MODES: dict[str, Callable[[Run, str], Figures]] = {
    "flood": flood,
    "paced": paced,
    "crowd": crowd,
    "rest": rest,
}


def _measure(name: str, run: Run) -> None:
    mode = MODES[name]
    variants = run.variants if name == "flood" else run.variants[:1]
    print(f"\n### {name}: {(mode.__doc__ or '').splitlines()[0]}\n", flush=True)
    heading = False
    for variant in variants:
        runs, floors = [], []
        for _ in range(run.repeat):
            floors.append(send_floor())
            runs.append(mode(run, variant))
        columns = table.gathered(runs) | {"send() floor µs": floors}
        if not heading:
            table.head([*columns], before=["payload"])
            heading = True
        table.row(columns, before=[variant])


def main() -> None:
    """Run what was asked for, print markdown."""
    layout = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("modes", nargs="*", default=[], help=", ".join(MODES))
    parser.add_argument("--quick", action="store_true", help="once, and 3 s instead of 10")
    parser.add_argument("--repeat", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--variant", choices=VARIANTS, action="append", dest="variants")
    parser.add_argument("--folder", type=Path, help="where the temporary database goes")
    parser.add_argument("--under", default="", help="a command to run the server under")
    given = parser.parse_args()
    if unknown := [name for name in given.modes if name not in MODES]:
        parser.error(f"no mode {unknown[0]!r}; there is: {', '.join(MODES)}")
    run = Run(
        repeat=given.repeat or (1 if given.quick else 3),
        seconds=given.seconds or (3.0 if given.quick else 10.0),
        variants=given.variants or list(VARIANTS),
        folder=given.folder,
        command=given.under.split(),
    )
    print(
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"{platform.system()} {platform.machine()}; median (min–max) of {run.repeat}"  # noqa: RUF001
    )
    for name in given.modes or MODES:
        _measure(name, run)


if __name__ == "__main__":
    main()
