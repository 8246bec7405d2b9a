"""Measures what a reader that never reads costs the others on its channel.

    python3 run.py bench frozen                             100 readers, both dialects: 4 minutes
    python3 run.py bench frozen --readers 50 --pairs 1      once and shortly

A fresh server, one aquarium, 40 readings a second of 16 KiB each to everybody. For some seconds
all read; then one of them stops for good, and as much is published again. The server's kernel
takes up to 4 MiB for it (the readers' own only 64 KiB), the server 1 MiB more (`outbox_limit`),
then it is cut with 3008. That is a pair; the next one freezes another reader. A first pair is not
counted: memory has grown by then. Figures are medians of the others. Nothing is set for the bench
on the server's side.

Everybody else has to get every reading, in order, and nothing else; the one has to be gone, to be
counted as slow in `/metrics`, and its MiB has to be free again.
"""

from __future__ import annotations

import argparse
import time
from array import array
from statistics import median

from dialects import FLOOR, WHOLE, Figures, options, run, stage
from guests import Kind, Visit
from house import MIB, House
from peer import Peer
from speaker import Speaker

TEXT = "x" * 16_384
WINDOW = 65_536
SLOW = 3008
RATE = 40.0
"""Readings a second."""

IN_THE_END = "MiB more in the end"


def measure(given: argparse.Namespace, kind: Kind) -> Figures:
    """Some pairs on a fresh server."""
    with stage(given.folder, TEXT) as (server, guests, speaker, floor):
        token = server.signer.mint("reader", ttl=86_400.0, aquariums=[speaker.aquarium])
        place = (speaker.epoch, speaker.offset)
        visit = Visit(kind, server.port, speaker.aquarium, *place, missed=0, window=WINDOW)
        came = guests.ask("come", visit=visit, tokens=[token] * given.readers)
        party = Party(server, guests, speaker, given.seconds)
        # The first one is warm: buffers have grown, and history is full of these readings.
        pairs = [party.pair(number) for number in range(given.pairs + 1)][1:]
        figures = {name: median(pair[name] for pair in pairs) for name in pairs[0]}
        whole = all(pair[WHOLE] for pair in pairs) and figures[IN_THE_END] < 1
        return {
            **figures,
            WHOLE: float(not came["faults"] and whole),
            FLOOR: floor,
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
        before, closes = self._server.memory(), self._speaker.closes(SLOW)
        self._guests.ask("freeze", number=number)
        frozen = self.spend(until_cut=True)
        return {
            "p50 ms": free["p50"],
            "p99 ms": free["p99"],
            "p50 ms, one frozen": frozen["p50"],
            "p99 ms, one frozen": frozen["p99"],
            "p99 ratio": frozen["p99"] / free["p99"],
            "CPU ms/reading": free["cpu"],
            "CPU ms/reading, one frozen": frozen["cpu"],
            "cut after s (0: not yet)": self.left_after,
            "MiB more at most": (self.peak - before) / MIB,
            IN_THE_END: (self._server.memory() - before) / MIB,
            WHOLE: float(
                not free["faults"]
                and not frozen["faults"]
                and self.left_after > 0
                and self._speaker.closes(SLOW) == closes + 1
            ),
        }

    def spend(self, *, until_cut: bool = False) -> Figures:
        """Publish for so many seconds; what those who read say of it.

        `until_cut`: and for as long again, where it takes that, until somebody is gone.
        """
        began, audience, cpu = time.monotonic(), self._speaker.audience(), self._server.cpu()
        self.peak, self.left_after = 0, 0.0
        count = round(self._seconds * RATE)
        said = 0
        for number in range(2 * count if until_cut else count):
            if number >= count and self.left_after:
                break
            time.sleep(max(0.0, began + number / RATE - time.monotonic()))
            self._speaker.say(TEXT)
            said += 1
            self.peak = max(self.peak, self._server.memory())
            if number % 10 == 0 and not self.left_after and self._speaker.audience() < audience:
                self.left_after = time.monotonic() - began
        heard = self._guests.ask("heard", offset=self._speaker.offset)
        took = sorted(array("q", heard["latencies"]))
        return {
            "p50": took[len(took) // 2] / 1000,
            "p99": took[len(took) * 99 // 100] / 1000,
            "cpu": 1000 * (self._server.cpu() - cpu) / said,
            "faults": heard["faults"],
        }


def main() -> None:
    """Run it, print markdown; exit with 1 where it is not whole."""
    parser = options(__doc__)
    parser.add_argument("--readers", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each half of a pair")
    given = parser.parse_args()
    title = f"{given.readers} readers, {RATE:g} readings a second; median of {given.pairs} pairs"
    run(given, measure, title)


if __name__ == "__main__":
    main()
