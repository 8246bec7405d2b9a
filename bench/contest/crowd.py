"""The subscribers: orders to the program `crowd`, which holds them all."""

from __future__ import annotations

import json
import selectors
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contest.process import TargetError

PATIENCE = 30_000
"""Milliseconds without a publication after which the rest is lost."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where subscribers go, and what they say there."""

    port: int
    paths: tuple[str, ...]
    """Request targets, taken in turn: a token of its own for each, where there are tokens."""
    headers: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()
    """Said after the upgrade; `hex:...` is binary."""
    greeting: str = ""
    """Who was sent a frame with this has arrived; empty: whoever was upgraded."""
    ping: tuple[str, str] = ("", "")
    """A message of the server that is a ping, and what it is answered."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What all subscribers received since the last `zero`."""

    heard: int
    least: int
    most: int
    bytes: int
    reads: int
    lost: int
    first: int
    last: int
    p50: float
    p99: float
    max: float
    closes: dict[str, int]


class Crowd:
    """The subscribers of one server."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.here = 0

    def come(self, count: int) -> dict[str, Any]:
        """Have so many there: `seconds` it took, and how many were `refused` at first.

        Raises:
            TargetError: not all of them came.
        """
        came = self._ask(f"come {count}", 300.0)
        self.here = came["here"]
        if self.here < count:
            raise TargetError(
                f"{self.here:,} of {count:,} clients came: {came['complaint'] or 'no word'}"
            )
        return came

    def zero(self) -> None:
        self._ask("zero", 10.0)

    def expect(self, publications: int, nap: int = 0) -> None:
        """Begin to wait for so many to every subscriber; `heard` has the answer.

        With a `nap` they look only every so many microseconds.
        """
        self._say(f"heard {publications * self.here} {PATIENCE} {nap}")

    def heard(self) -> Heard:
        return Heard(**self._answer(600.0))

    def _ask(self, order: str, patience: float) -> dict[str, Any]:
        self._say(order)
        return self._answer(patience)

    def _say(self, order: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()

    def _answer(self, patience: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(patience):
                raise TargetError("the subscribers do not answer")
        line = self._process.stdout.readline()
        if not line:
            raise TargetError("the subscribers are gone")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def crowd(program: Path, address: Address, at_once: int = 256) -> Iterator[Crowd]:
    """Subscribers of one server, none there yet; gone afterwards.

    `at_once` is how many handshakes are under way at a time.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".paths") as paths:
        paths.write("\n".join(address.paths) + "\n")
        paths.flush()
        command = [str(program), "-p", str(address.port), "-f", paths.name]
        command += ["-w", str(at_once)]
        for header in address.headers:
            command += ["-h", header]
        for message in address.messages:
            command += ["-s", message]
        if address.greeting:
            command += ["-g", address.greeting]
        if address.ping[0]:
            command += ["-k", address.ping[0], "-K", address.ping[1]]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        try:
            yield Crowd(process)
        finally:
            process.kill()
            process.communicate()
