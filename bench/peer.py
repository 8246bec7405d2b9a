"""A load process: it obeys orders that come over a pipe, and answers each with one object."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import uvloop

_spawn = multiprocessing.get_context("spawn")

PATIENCE = 120.0
"""Seconds until an answer that does not come is an error."""

Serve = Callable[..., Awaitable[Any]]


class Peer:
    """The process at the other end."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def ask(self, order: str, **arguments: Any) -> Any:
        """Send an order and wait for its answer."""
        self.tell(order, **arguments)
        return self.answer()

    def tell(self, order: str, **arguments: Any) -> None:
        self._pipe.send((order, arguments))

    def answer(self) -> Any:
        if not self._pipe.poll(PATIENCE):
            raise SystemExit("a load process does not answer")
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer


@contextmanager
def peer(crew: Callable[[], Any]) -> Iterator[Peer]:
    """A process whose orders are the async methods of `crew()`."""
    ours, theirs = _spawn.Pipe()
    process = _spawn.Process(target=_run, args=(crew, theirs), daemon=True)
    process.start()
    try:
        yield Peer(ours)
    finally:
        process.terminate()
        process.join()


def _run(crew: Callable[[], Any], pipe: Connection) -> None:
    uvloop.run(_obey(crew(), pipe))


async def _obey(crew: Any, pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    while True:
        order, arguments = await loop.run_in_executor(None, pipe.recv)
        try:
            answer = await getattr(crew, order)(**arguments)
        except Exception as error:
            answer = error
        pipe.send(answer)
