"""Measures the link: readings from a real mosquitto at QoS 1 to the commit, and catching up.

    python3 run.py bench link              both, three times: about three minutes
    python3 run.py bench link --quick      once and shortly

flood    100 devices publish to the broker for a second, 50 readings of each under way: more than
         anybody stores in a second. Until the last one is stored; beside it the same, but for as
         long as it takes, into the listener of the same build.
catch-up The server is stopped (SIGSTOP) until the broker gives it up, and 1,000 devices publish
         what they would in ten minutes of that, one reading a minute. Then it goes on, while
         readings come live at 100 a second: how fast it catches up, and how late the live ones are.

`all equal` says that the stored readings are those that were sent, by count and by sum. mosquitto
has to be installed; its own CPU is not counted. With CARDUME_DATABASE_URL it is PostgreSQL that
stores them, in a database whose name begins with `bench` and which is emptied.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import table
from contest import install
from contest.process import free_port, running
from gadgets import Gadgets
from house import Device, House, house, sums
from peer import Peer, peer

WINDOW = 50
OUTAGE = 600.0
FLEET = 1000
LIVE_PER_SECOND = 100.0
GIVEN_UP_AFTER = 17.0
"""Seconds: 1.5 times our keepalive, and a little."""
PATIENCE = 120.0
BURST = 1.0
"""Seconds in which mosquitto takes 50,000 readings from us."""

Figures = dict[str, float]


@contextmanager
def broker() -> Iterator[int]:
    """A mosquitto on a free port, that keeps whatever is queued; its port."""
    program, port = install.program("mosquitto"), free_port()
    if program is None:
        raise SystemExit("mosquitto is not installed")
    with tempfile.TemporaryDirectory() as folder:
        lines = [f"listener {port} 127.0.0.1", "allow_anonymous true", "max_queued_messages 0"]
        file = Path(folder) / "mosquitto.conf"
        file.write_text("\n".join(lines) + "\n")
        with running([program, "-c", str(file)], port, Path(folder)):
            yield port


@contextmanager
def _linked(aquariums: int, devices_each: int) -> Iterator[tuple[House, list[Device], Peer]]:
    with (
        broker() as port,
        house(CARDUME_MQTT_URL=f"mqtt://127.0.0.1:{port}") as server,
        peer(Gadgets) as gadgets,
    ):
        devices = server.register(aquariums, devices_each)
        _connect(gadgets, port, devices)
        yield server, devices, gadgets


def _connect(gadgets: Peer, port: int, devices: list[Device]) -> None:
    keys = {device.device_id: device.key for device in devices}
    gadgets.ask("connect", port=port, keys=keys, variant="id")
    gadgets.ask("pace", per_second=1000.0, seconds=len(devices) / 1000)  # makes the sensors


def flood(seconds: float) -> Figures:
    with _linked(100, 1) as (server, devices, gadgets):
        linked = _flood(server, devices, gadgets, BURST)
    with house() as server, peer(Gadgets) as gadgets:
        devices = server.register(100, 1)
        _connect(gadgets, server.mqtt_port, devices)
        heard = _flood(server, devices, gadgets, seconds)
    return {
        "readings/s": linked["readings/s"],
        "server CPU µs/reading": linked["µs"],
        "listener readings/s": heard["readings/s"],
        "listener CPU µs/reading": heard["µs"],
        "all equal": min(linked["all equal"], heard["all equal"]),
    }


def _flood(server: House, devices: list[Device], gadgets: Peer, seconds: float) -> Figures:
    warm = len(devices)
    _wait(lambda: _count(server) == warm)
    cpu, began = server.cpu(), time.monotonic()
    sent = gadgets.ask("flood", window=WINDOW, seconds=seconds)
    _wait(lambda: _count(server) >= sent["sent"] + warm)
    lasted, spent = time.monotonic() - began, server.cpu() - cpu
    return {
        "readings/s": sent["sent"] / lasted,
        "µs": spent / sent["sent"] * 1e6,
        "all equal": float(_is_exact(server, devices, sent["by_device"])),
    }


def catch_up(seconds: float) -> Figures:
    with _linked(10, FLEET // 10) as (server, devices, gadgets):
        _wait(lambda: _count(server) == FLEET)
        os.kill(server.pid, signal.SIGSTOP)
        time.sleep(GIVEN_UP_AFTER)
        missed = gadgets.ask("pace", per_second=5000.0, seconds=FLEET * OUTAGE / 60 / 5000)
        cpu, began = server.cpu(), time.monotonic()
        os.kill(server.pid, signal.SIGCONT)
        live = gadgets.ask("pace", per_second=LIVE_PER_SECOND, seconds=seconds)
        _wait(lambda: _count(server) >= FLEET + missed["sent"] + live["sent"])
        spent = server.cpu() - cpu
        back, caught, delays = _course(server, began)
        total = missed["sent"] + live["sent"]
        return {
            "missed": missed["sent"],
            "first one after s": back,
            "catch-up messages/s": missed["sent"] / max(0.001, caught - back),
            "live p50 ms": delays[len(delays) // 2] * 1000,
            "live max ms": delays[-1] * 1000,
            "live at the end ms": _late_ones(server, began, seconds) * 1000,
            "server CPU µs/reading": spent / total * 1e6,
            "all equal": float(_is_exact(server, devices, live["by_device"])),
        }


def _course(server: House, began: float) -> tuple[float, float, list[float]]:
    """Seconds until the first and the last missed reading came, and the delays of the live ones.

    The value of a reading is the monotonic microsecond at which it was sent.
    """
    offset = time.time() - time.monotonic()
    rows = server.rows("SELECT value, received_at FROM readings ORDER BY received_at")
    came = [(value / 1e6, received - offset) for value, received in rows]
    missed = [at for sent, at in came if sent < began <= at]
    delays = sorted(at - sent for sent, at in came if sent >= began)
    return missed[0] - began, missed[-1] - began, delays


def _late_ones(server: House, began: float, seconds: float) -> float:
    """The median delay of what was sent in the last quarter."""
    offset = time.time() - time.monotonic()
    after = (began + seconds * 3 / 4) * 1e6
    rows = server.rows(f"SELECT value, received_at FROM readings WHERE value >= {after}")
    delays = sorted(received - offset - value / 1e6 for value, received in rows)
    return delays[len(delays) // 2]


def _is_exact(server: House, devices: list[Device], by_device: dict[str, tuple[int, int]]) -> bool:
    return server.stored() == sums(devices, by_device)


def _count(server: House) -> int:
    (row,) = server.rows("SELECT count(*) FROM readings")
    return int(row[0])


def _wait(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            raise SystemExit("in vain: not all readings were stored")
        time.sleep(0.1)


def main() -> None:
    """Run what was asked for, print markdown."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("modes", nargs="*", default=[], help="flood, catch-up")
    parser.add_argument("--quick", action="store_true", help="once, and 3 s instead of 10")
    given = parser.parse_args()
    seconds = 3.0 if given.quick else 10.0
    modes = {"flood": flood, "catch-up": catch_up}
    for name in given.modes or modes:
        print(f"\n### {name}\n", flush=True)
        runs = [modes[name](seconds) for _ in range(1 if given.quick else 3)]
        columns = table.gathered(runs)
        table.head([*columns])
        table.row(columns)


if __name__ == "__main__":
    main()
