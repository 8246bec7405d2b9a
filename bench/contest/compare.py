"""Every target beside the floor, in one run: rounds of both in turn, figures by name.

While a target is measured, only it and the floor are up, each with as many subscribers. A round
of the floor comes right before a round of the target, and their quotient is the figure to read:
what else the machine does slows both.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contest.crowd import crowd
from contest.process import TargetError
from contest.rounds import Party, Round, arrive
from contest.targets import Target

BURST = 50
"""Publications in one request of a burst."""
DELIVERIES = 10_000
"""A second, for latency: the slowest peer is half busy with them."""
SETTLE = 1.0
"""Seconds until what a handshake needed for itself is given back."""

Figures = dict[str, list[float]]
Measures = frozenset[str]

MEASURES: Measures = frozenset({"fanout", "handshake", "idle", "latency"})


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure, and for how long."""

    measures: Measures
    rounds: int = 3
    seconds: float = 0.6
    """Of each round."""
    paced: float = 4.0
    """Seconds of publications at a rate, for latency."""


class Comparison:
    """One number of subscribers."""

    def __init__(self, programs: tuple[Path, Path], size: int, plan: Plan, floor: Target) -> None:
        self._programs = programs
        self._size = size
        self._plan = plan
        self._floor = floor
        self.figures: dict[str, Figures] = {}

    def run(self, targets: list[Target]) -> dict[str, str]:
        """Add a pass over all of them to `figures`; why some could not be measured."""
        absent = {}
        with self._party(self._floor) as floor:
            for target in targets:
                _say(f"{self._size:,} subscribers: {target.name}")
                try:
                    with self._party(target) as party:
                        self._visit(target.name, party, floor)
                except (TargetError, OSError) as error:
                    absent[target.name] = str(error)
        return absent

    @contextmanager
    def _party(self, target: Target) -> Iterator[Party]:
        """Its subscribers are there."""
        with target.start(self._size) as stage, crowd(self._programs[0], stage.address) as people:
            before = stage.memory()
            spent = arrive(stage, people, self._size)
            party = Party(stage, people)
            if "handshake" in self._plan.measures:
                self._note(target.name, "handshake µs", spent / self._size * 1e6)
            if "idle" in self._plan.measures:
                time.sleep(SETTLE)
                grown = stage.memory() - before
                self._note(target.name, "idle KiB", grown / self._size / 1024)
            yield party

    def _visit(self, name: str, party: Party, floor: Party) -> None:
        measures = self._plan.measures
        if not measures & {"fanout", "latency"}:
            return
        for one in (floor, party):
            one.warm()
        if "fanout" in measures:
            for _ in range(self._plan.rounds):
                self._fan_out(name, party, floor)
        if "latency" in measures:
            for who, one in ((self._floor.name, floor), (name, party)):
                heard = one.paced(DELIVERIES / self._size, self._plan.paced).heard
                self._note(who, "p50 ms", heard.p50)
                self._note(who, "p99 ms", heard.p99)

    def _fan_out(self, name: str, party: Party, floor: Party) -> None:
        seconds = self._plan.seconds
        least = floor.closed_loop(floor.fitting(seconds))
        self._pair(name, "closed loop", party.closed_loop(party.fitting(seconds)), least)
        if party.stage.batch is not None:
            requests = max(1, round(2 * party.fitting(seconds) / BURST))
            self._pair(name, "burst", party.burst(requests, BURST), least)
        least = floor.lock_step(floor.fitting(seconds))
        self._pair(name, "lock-step", party.lock_step(party.fitting(seconds)), least)

    def _pair(self, name: str, what: str, round: Round, floor: Round) -> None:
        self._note(name, f"{what} µs", round.cpu)
        self._note(name, f"{what} ratio", round.cpu / floor.cpu)
        self._note(name, f"{what} a second", round.rate)
        if what != "burst":
            self._note(self._floor.name, f"{what} µs", floor.cpu)
            self._note(self._floor.name, f"{what} a second", floor.rate)

    def _note(self, who: str, what: str, value: float) -> None:
        self.figures.setdefault(who, {}).setdefault(what, []).append(value)


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)
