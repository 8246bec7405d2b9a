"""`cardume exec`, the whole: announce, run, read, deliver, and exit as the command did."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from cardume.errors import ConfigurationError
from cardume.runner.client import Client, printable
from cardume.runner.delivery import Delivery, Pace
from cardume.runner.execution import Execution, lacks_card
from cardume.runner.process import KILL_AFTER, Forwarding, NotStarted, Process
from cardume.runner.reader import LINGER, Reader
from cardume.runner.spool import Spool

TOKEN = "CARDUME_TOKEN"

_LEAVE_WITHIN = 6.0
"""Seconds for the request under way when nobody wants to wait any more."""


@dataclass(frozen=True, slots=True)
class Options:
    """What may be changed; times are seconds."""

    pace: Pace = field(default_factory=Pace)
    kill_after: float = KILL_AFTER
    linger: float = LINGER


def run(
    command: Sequence[str],
    url: str,
    *,
    name: str | None = None,
    card_id: str | None = None,
    ca: str | None = None,
    options: Options | None = None,
) -> int:
    """Run `command` here, show it at the server at `url`; its exit code. Main thread only.

    `ca` is a PEM file of those who may sign the server's certificate, in place of the system's.
    The token is CARDUME_TOKEN; the command does not inherit it, for it could print it.

    Raises:
        ConfigurationError: no server takes it, so the command was not run.
    """
    if not command or not command[0]:
        raise ConfigurationError("no command: cardume exec -- COMMAND")
    _hold_standard_streams()
    env = dict(os.environ)
    client = Client(url, env.pop(TOKEN, None), ca=ca)
    line = shlex.join(command)
    try:
        execution = _announce(client, name or line, line, card_id)
        return _Run(client, execution, options or Options()).run(command, env)
    finally:
        client.close()


def _announce(client: Client, name: str, command: str, card_id: str | None) -> Execution:
    execution = Execution.create(client, name, command, card_id)
    say(f"watch {execution.url}")
    if card_id is not None and lacks_card(client, card_id):
        say(f"no card {printable(card_id)} at the server (--card); the command runs all the same")
    client.use_key(execution.key)
    return execution


class _Run:
    """One command under one execution."""

    def __init__(self, client: Client, execution: Execution, options: Options) -> None:
        self._client = client
        self._options = options
        self._spool = Spool()
        self._process: Process | None = None
        self._early: list[int] = []
        self._cancelled = False
        self._ended = False
        self._leaving = False
        self._delivery = Delivery(
            execution, self._spool, options.pace, say=say, cancelled=self._cancel
        )

    def run(self, command: Sequence[str], env: dict[str, str]) -> int:
        with Forwarding(self._signal):
            self._delivery.start()
            message, lines = None, 0
            try:
                self._process = Process(command, env)
            except NotStarted as error:
                message, code = str(error), error.exit_code
                say(message)
            else:
                code, lines = self._read(self._process)
            self._ended = True
            self._delivery.finish(code, message)
            self._wait()
            self._account(lines)
        return code

    def _read(self, process: Process) -> tuple[int, int]:
        reader = Reader(process.pipes(), self._spool, say=say)
        reader.start()
        for number in self._early:
            process.signal(number)
        if self._cancelled:  # perhaps before there was a process
            process.terminate(self._options.kill_after)
        process.wait()
        grace = self._options.kill_after if self._cancelled else 0.0
        reader.command_ended(self._options.linger + grace)
        reader.join()
        self._ended = True
        return process.reap(), reader.lines

    def _wait(self) -> None:
        while self._delivery.running and not self._leaving:
            self._delivery.join(1.0)
        self._delivery.join(_LEAVE_WITHIN)

    def _signal(self, number: int) -> None:
        if number == signal.SIGCONT:
            if self._process is not None:
                self._process.resume()
        elif self._ended:  # only delivering is left, and somebody does not want to wait for it
            self._leaving = True
            self._delivery.give_up()
            self._client.abort()
        elif self._process is None:
            self._early.append(number)
        else:
            self._process.signal(number)

    def _cancel(self) -> None:
        """A viewer did; on the delivery's thread."""
        self._cancelled = True
        if self._process is not None:
            self._process.terminate(self._options.kill_after)

    def _account(self, lines: int) -> None:
        if self._delivery.over:
            return
        missing = lines - self._delivery.accepted
        if missing > 0:
            say(f"{missing} of {lines} lines were not delivered")
        elif not self._delivery.reported:
            say("how the command ended was not delivered")


def _hold_standard_streams() -> None:
    """One that came closed must not become a socket or a pipe, for we write to its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def say(message: str) -> None:
    """To the person who runs the command."""
    with suppress(OSError):
        os.write(2, f"cardume: {message}\n".encode(errors="replace"))
