"""What follows a commit: callbacks, then what was emitted, and a word to all where that fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

import msgspec

from cardume.errors import CardumeError

logger = logging.getLogger("cardume.storage")

EMITS_PER_TURN = 32
"""Publications after which the loop has a turn: connections write what they were given, and a large
batch does not look to them as if they had fallen behind."""


class Publish(Protocol):
    """`Hub.publish`, as far as storage needs it."""

    def __call__(
        self, channel: str, type: str | None, data: Any, /, *, key: str | None, source: str | None
    ) -> Awaitable[object]: ...


class Lose(Protocol):
    """`Hub.lose`: have everybody on a channel start over, from the snapshot."""

    def __call__(self, channel: str, /) -> Awaitable[object]: ...


class Emit(msgspec.Struct, frozen=True):
    """What to say on `channel` once the transaction is kept."""

    channel: str
    type: str
    data: Any
    key: str | None = None
    source: str | None = None


class Announcer:
    """Says what transactions emitted. Kept is kept: whatever fails here, whoever wrote must not
    take it for lost and write it again.
    """

    def __init__(self, publish: Publish, lose: Lose | None) -> None:
        self._publish = publish
        self._lose = lose

    async def follow(
        self, callbacks: Iterable[Callable[[], object]], emits: Iterable[Emit]
    ) -> None:
        """Run `callbacks`, then publish `emits`, in their order."""
        for callback in callbacks:
            try:
                callback()
            except Exception:
                logger.exception("what follows a commit failed")
        for number, emit in enumerate(emits, 1):
            if number % EMITS_PER_TURN == 0:
                await asyncio.sleep(0)
            try:
                await self._publish(
                    emit.channel, emit.type, emit.data, key=emit.key, source=emit.source
                )
            except Exception as error:
                _complain("a committed event was not published", error)
                await self._tell_of_the_gap(emit.channel)

    async def _tell_of_the_gap(self, channel: str) -> None:
        """No offset is missing where nothing was published: subscribers would never know."""
        if self._lose is None:
            return
        try:
            await self._lose(channel)
        except Exception as error:
            _complain("nor could those on its channel be told", error)


def _complain(what: str, error: Exception) -> None:
    bug = None if isinstance(error, CardumeError) else error
    logger.error("%s: %s", what, type(error).__name__, exc_info=bug)
