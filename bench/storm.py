"""Measures a reconnect storm: all clients are cut at once, miss some publications and come back.

    python3 run.py bench storm                             5,000 clients, both dialects: 1-2 minutes
    python3 run.py bench storm --clients 500 --storms 3    once and shortly

A fresh server and one aquarium. Each client has a token of its own whose claim lets it in, and
its connection is cut without a close frame. Then ten readings are published, and all come back
with the place they know, as fast as the server takes them: 256 handshakes under way at a time.
The server's own limits hold (`handshakes_per_second` is 2,000, and as many at once); whoever is
turned away with 429 comes again, and is counted. Every figure is the median of the storms.

Every client has to be told `recovered: true` and to get the ten, in order, and nothing else.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any

from msgspec.structs import replace

from dialects import FLOOR, WHOLE, Figures, options, run, stage
from guests import Kind, Visit
from house import MIB, House
from peer import Peer
from speaker import Speaker

TEXT = "x" * 150


def measure(given: argparse.Namespace, kind: Kind) -> Figures:
    """Some storms on a fresh server."""
    with stage(given.folder, TEXT) as (server, guests, speaker, floor):
        aquarium = speaker.aquarium
        tokens = [
            server.signer.mint(f"user{number}", ttl=86_400.0, aquariums=[aquarium])
            for number in range(given.clients)
        ]
        place = (speaker.epoch, speaker.offset)
        storm = Storm(server, guests, tokens)
        visit = Visit(kind, server.port, aquarium, *place, missed=0, at_once=given.at_once)
        return storm.measure(visit, speaker, given) | {FLOOR: floor}


class Storm:
    """A server, its clients, and what happens to them."""

    def __init__(self, server: House, guests: Peer, tokens: list[str]) -> None:
        self._server = server
        self._guests = guests
        self._tokens = tokens
        self._files = server.files()

    def measure(self, visit: Visit, speaker: Speaker, given: argparse.Namespace) -> Figures:
        empty = self._server.memory()
        quiet = self._come(visit)
        full = self._server.memory()
        storms = []
        for _ in range(given.storms):
            cut = self._cut()
            visit = replace(visit, offset=speaker.offset, missed=given.missed)
            for _ in range(given.missed):
                speaker.say(TEXT)
            storms.append(self._come(visit) | {"cut": cut})
        return {
            "seconds": median(storm["seconds"] for storm in storms),
            "server CPU µs/client": median(storm["spent"] for storm in storms),
            "of it without anything missed": quiet["spent"],
            "µs to forget one": median(storm["cut"] for storm in storms),
            "KiB/connection": (full - empty) / len(self._tokens) / 1024,
            "MiB more in the end": (self._server.memory() - full) / MIB,
            "turned away": sum(storm["refused"] for storm in storms),
            WHOLE: float(not any(storm["faults"] for storm in [quiet, *storms])),
        }

    def _come(self, visit: Visit) -> dict[str, Any]:
        """All of them; `spent` is the server's CPU in microseconds for each."""
        before = self._server.cpu()
        came: dict[str, Any] = self._guests.ask("come", visit=visit, tokens=self._tokens)
        spent = self._server.cpu() - before
        return came | {"spent": spent / len(self._tokens) * 1e6}

    def _cut(self) -> float:
        """Everybody at once; the server's CPU in microseconds until it has forgotten each."""
        before = self._server.cpu()
        self._guests.ask("leave")
        while self._server.files() > self._files:
            time.sleep(0.02)
        time.sleep(0.2)
        return (self._server.cpu() - before) / len(self._tokens) * 1e6


def main() -> None:
    """Run it, print markdown; exit with 1 where a client was told too little or too much."""
    parser = options(__doc__)
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--storms", type=int, default=5)
    parser.add_argument("--missed", type=int, default=10)
    parser.add_argument("--at-once", type=int, default=256, help="handshakes under way")
    given = parser.parse_args()
    title = f"{given.clients} clients, {given.missed} missed; median of {given.storms} storms"
    run(given, measure, title)


if __name__ == "__main__":
    main()
