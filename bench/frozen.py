"""Measures what a reader that never reads costs the others on its channel.

    python3 run.py bench frozen                             1,000 readers, both dialects: 4 minutes
    python3 run.py bench frozen --readers 200 --pairs 1     once and shortly

A fresh server, one aquarium, 20 readings a second of 4 KiB each to everybody. For some seconds
all read; then one of them stops for good, and as much is published again. The kernel takes some
2 MB for it, the server up to 1 MiB more (`outbox_limit`), then it is cut; without an answer to a
ping it is as well. That is a pair; the next one freezes another reader. Figures are medians of
the pairs. Nothing is set for the bench.

Everybody else has to get every reading, in order, and nothing else.
"""

from __future__ import annotations

import argparse
import time
from array import array
from pathlib import Path
from statistics import median

from floor import send_floor
from guests import KINDS, Guests, Kind, Visit
from house import MIB, House, house
from peer import Peer, peer
from speaker import KEY, Speaker

TEXT = "x" * 4096
RATE = 20.0
"""Readings a second."""

Figures = dict[str, float]


def measure(given: argparse.Namespace, kind: Kind) -> Figures:
    """Some pairs on a fresh server."""
    with house(given.folder, CARDUME_API_KEY=KEY) as server, peer(Guests) as guests:
        floor = send_floor()
        aquarium = server.register(1)[0].aquarium_id
        speaker = Speaker(server, aquarium)
        speaker.say(TEXT)
        token = server.signer.mint("reader", ttl=86_400.0, aquariums=[aquarium])
        place = (speaker.epoch, speaker.offset)
        visit = Visit(kind, server.port, aquarium, *place, missed=0)
        came = guests.ask("come", visit=visit, tokens=[token] * given.readers)
        party = Party(server, guests, speaker, given.seconds)
        party.spend()  # warm: buffers have grown, and history is full of these readings
        pairs = [party.pair(number) for number in range(given.pairs)]
        return {
            **{name: median(pair[name] for pair in pairs) for name in pairs[0]},
            "all whole": float(not came["faults"] and all(pair["all whole"] for pair in pairs)),
            "send() floor µs": floor,
        }


class Party:
    """A server, its readers, and who speaks to them."""

    def __init__(self, server: House, guests: Peer, speaker: Speaker, seconds: float) -> None:
        self._server = server
        self._guests = guests
        self._speaker = speaker
        self._seconds = seconds
        self.peak = 0
        self.left_after = 0.0
        """Seconds until the hub had one connection less; 0: it did not."""

    def pair(self, number: int) -> Figures:
        """The same time without and with a frozen reader."""
        free = self.spend()
        before = self._server.memory()
        self._guests.ask("freeze", number=number)
        frozen = self.spend(until_cut=True)
        return {
            "p50 ms": free["p50"],
            "p99 ms": free["p99"],
            "p50 ms, one frozen": frozen["p50"],
            "p99 ms, one frozen": frozen["p99"],
            "p99 ratio": frozen["p99"] / free["p99"],
            "cut after s (0: not yet)": self.left_after,
            "MiB more at most": (self.peak - before) / MIB,
            "MiB more in the end": (self._server.memory() - before) / MIB,
            "all whole": float(not free["faults"] and not frozen["faults"]),
        }

    def spend(self, *, until_cut: bool = False) -> Figures:
        """Publish for so many seconds; what those who read say of it.

        `until_cut`: and for as long again, where it takes that, until somebody is gone.
        """
        began, audience = time.monotonic(), self._speaker.audience()
        self.peak, self.left_after = 0, 0.0
        count = round(self._seconds * RATE)
        for number in range(2 * count if until_cut else count):
            if number >= count and self.left_after:
                break
            time.sleep(max(0.0, began + number / RATE - time.monotonic()))
            self._speaker.say(TEXT)
            self.peak = max(self.peak, self._server.memory())
            if number % 10 == 0 and not self.left_after and self._speaker.audience() < audience:
                self.left_after = time.monotonic() - began
        heard = self._guests.ask("heard", offset=self._speaker.offset)
        took = sorted(array("q", heard["latencies"]))
        return {
            "p50": took[len(took) // 2] / 1000,
            "p99": took[len(took) * 99 // 100] / 1000,
            "faults": heard["faults"],
        }


def main() -> None:
    """Run it, print markdown; exit with 1 where a reader missed something."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--readers", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each half of a pair")
    parser.add_argument("--dialect", choices=KINDS, action="append")
    parser.add_argument("--folder", type=Path, help="where the temporary database goes")
    given = parser.parse_args()
    kinds = given.dialect or KINDS
    runs = {kind: measure(given, kind) for kind in kinds}
    print(f"{given.readers} readers, {RATE:g} readings a second; median of {given.pairs} pairs\n")
    print("| dialect | " + " | ".join(runs[kinds[0]]) + " |")
    print("|---" * (1 + len(runs[kinds[0]])) + "|")
    for kind, run in runs.items():
        print(f"| {kind} | " + " | ".join(_cell(*figure) for figure in run.items()) + " |")
    raise SystemExit(0 if all(run["all whole"] for run in runs.values()) else 1)


def _cell(name: str, value: float) -> str:
    if name == "all whole":
        return "yes" if value else "**NO**"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
