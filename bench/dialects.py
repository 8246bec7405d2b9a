"""A measurement with guests, once for each dialect on a server of its own, and its table."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Never

import table
from floor import send_floor
from guests import KINDS, Guests, Kind
from house import House, house
from peer import Peer, peer
from speaker import KEY, Speaker

Figures = dict[str, float]
Measure = Callable[[argparse.Namespace, Kind], Figures]

WHOLE = "all whole"
"""The figure that says whether everybody was told what they should be."""
FLOOR = "send() floor µs"


def options(about: str | None) -> argparse.ArgumentParser:
    """A command line with what all of them take."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=about, formatter_class=layout)
    parser.add_argument("--dialect", choices=KINDS, action="append")
    parser.add_argument("--folder", type=Path, help="where the temporary database goes")
    return parser


@contextmanager
def stage(folder: Path | None, text: str) -> Iterator[tuple[House, Peer, Speaker, float]]:
    """A fresh server, where its guests will be, who has said `text` there, and the floor."""
    with house(folder, CARDUME_API_KEY=KEY) as server, peer(Guests) as guests:
        floor = send_floor()
        speaker = Speaker(server, server.register(1)[0].aquarium_id)
        speaker.say(text)
        yield server, guests, speaker, floor


def run(given: argparse.Namespace, measure: Measure, title: str) -> Never:
    """Run it for each dialect asked for, print markdown; exit with 1 where one is not whole."""
    runs = {kind: measure(given, kind) for kind in given.dialect or KINDS}
    print(f"{title}\n")
    table.head([*next(iter(runs.values()))], before=["dialect"])
    for kind, figures in runs.items():
        table.row(figures, before=[kind])
    raise SystemExit(0 if all(figures[WHOLE] for figures in runs.values()) else 1)
