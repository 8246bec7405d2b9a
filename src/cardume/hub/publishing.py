"""What is said on channels, and what was said on them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

from cardume.engines.base import KeyReused, StateFull
from cardume.errors import HubNotRunning, Invalid, Refused, Unavailable
from cardume.hub.core import Core
from cardume.hub.entry import fitting
from cardume.wire import codes, json
from cardume.wire.messages import Position, Publication, check_tags, check_texts, weight

_told: ContextVar[list[int] | None] = ContextVar("cardume_told", default=None)
"""Where a publish that wants to know counts the connections its publication goes to."""

logger = logging.getLogger("cardume.hub")


class Announced(NamedTuple):
    """A publication that was accepted."""

    position: Position
    delivered_to: int
    """Connections of this node that it was queued for, each channel's filter counted."""


class History(NamedTuple):
    """A page of what was said on a channel."""

    position: Position
    """The channel's top when it was read: where the page does not reach it, there is more."""
    publications: tuple[Publication, ...]


class Publishing(Core):
    """The publishers' side of a hub."""

    async def publish(
        self,
        channel: str,
        type: str | None = None,
        data: Any = None,
        *,
        key: str | None = None,
        tags: Mapping[str, str] | None = None,
        source: str | None = None,
        idempotency_key: str | None = None,
    ) -> Position:
        """Publish `data`, anything with a JSON form, on `channel`.

        Returns its position; the empty one on a channel without history. A publish that
        returned before another was called has the lower offset. Cancelling it leaves open
        whether it happened: repeat it with the same `idempotency_key`.

        Raises:
            HubNotRunning: outside the lifespan.
            Invalid: no channel's name, no JSON, a text of over 255 characters, or a type that
                is the hub's own on that channel.
            Refused: unknown channel (102), the key was used with another body (409), larger than
                half an outbox or more than a keyed channel can hold (106).
            Unavailable: the engine did not keep it.
        """
        if self._entered == 0:
            raise HubNotRunning
        options = self.options_of(channel)
        # Before it has a place in the stream: what cannot be encoded later would be a silent gap.
        if type in options.reserved:
            raise Invalid(f"type {type!r} is the hub's own")
        check_texts(type=type, key=key, source=source, idempotency_key=idempotency_key)
        publication = Publication(
            data=json.encode(data),
            time=self.clock.now(),
            type=type,
            source=source,
            key=key,
            tags=None if tags is None else check_tags(tags),
        )
        most = self.options.outbox_limit // 2
        if weight(publication) > most:
            # It would cut every subscriber, and whoever resumes, again and again.
            self.rejects.note("publication_too_large", channel)
            raise Refused(
                codes.LIMIT_EXCEEDED, f"a publication takes at most {most} bytes: half an outbox"
            )
        try:
            position = await self.engine.publish(
                channel, publication, options.retention, idempotency_key
            )
        except KeyReused:
            raise Refused(codes.CONFLICT, "this key was used with another body") from None
        except StateFull:
            self.rejects.note("keys_full", channel)
            raise Refused(
                codes.LIMIT_EXCEEDED, "the channel's state is full: remove keys by publishing null"
            ) from None
        self.stats.publications += 1
        return position

    def publish_sync(
        self,
        channel: str,
        type: str | None = None,
        data: Any = None,
        *,
        key: str | None = None,
        tags: Mapping[str, str] | None = None,
        source: str | None = None,
        idempotency_key: str | None = None,
        timeout: float = 10.0,
    ) -> Position:
        """As `publish`, from a thread that is not the hub's: FastAPI's `def` endpoints, workers.

        Raises:
            RuntimeError: called on the hub's own loop, which would wait for itself.
            Unavailable: no answer within `timeout` seconds; whether it happened is open.
        """
        loop = self._loop
        if loop is None:
            raise HubNotRunning
        if _running_loop() is loop:
            raise RuntimeError(
                "publish_sync would block the hub's own loop: use `await hub.publish(…)` here"
            )
        publishing = self.publish(
            channel,
            type,
            data,
            key=key,
            tags=tags,
            source=source,
            idempotency_key=idempotency_key,
        )
        try:
            future = asyncio.run_coroutine_threadsafe(publishing, loop)
        except RuntimeError:  # the loop was closed meanwhile
            publishing.close()
            raise HubNotRunning from None
        try:
            return future.result(timeout)
        except TimeoutError:
            future.cancel()
            raise Unavailable("no answer in time: repeat it with an idempotency key") from None

    async def announce(
        self,
        channel: str,
        type: str | None = None,
        data: Any = None,
        *,
        key: str | None = None,
        source: str | None = None,
    ) -> Announced:
        """As `publish`, and say how many connections of this node got it.

        A subscriber whose history is being read counts: it will get it. Through an engine of
        several nodes the count is of those that were told before the engine answered.
        """
        told: list[int] = []
        before = _told.set(told)
        try:
            position = await self.publish(channel, type, data, key=key, source=source)
        finally:
            _told.reset(before)
        logger.debug("%s on %s to %d connections", ascii(type), channel, sum(told))
        return Announced(position, sum(told))

    async def history(
        self,
        channel: str,
        since: Position | None = None,
        limit: int = 0,
        reverse: bool = False,
    ) -> History:
        """What was said on `channel`: after `since` the oldest first, or before it backwards.

        Without `since` it begins at the oldest that is kept, or backwards at the newest. At most
        `limit` publications, 300, or half an outbox of them; 0 asks for the position alone. A
        `since` of an empty epoch is taken for one of the current epoch.

        Raises:
            Invalid: no channel's name, or a negative limit.
            Refused: unknown channel (102), no history there (108), or `since` is of another
                epoch, from the future, or before what is kept (112).
            Unavailable: the engine is out of reach.
        """
        retention = self.options_of(channel).retention
        if retention is None:
            raise Refused(codes.NOT_AVAILABLE, f"no history is kept on {channel!r}")
        if limit < 0:
            raise Invalid("limit is how many publications at most; 0 asks for the position alone")
        limit = min(limit, self.options.replay_limit)
        top, found = await self.engine.history(channel, since, retention, limit, reverse)
        if found is None:
            raise Refused(codes.UNRECOVERABLE_POSITION, epoch=top.epoch, offset=top.offset)
        return History(top, fitting(found, self.options.outbox_limit // 2))

    async def remove_history(self, channel: str) -> None:
        """Forget what was said on `channel`, and the latest of every key. Offsets go on.

        Who was at the top is up to date and stays so; who was behind starts over.

        Raises:
            Invalid: no channel's name.
            Refused: unknown channel (102).
            Unavailable: the engine is out of reach.
        """
        self.options_of(channel)
        await self.engine.remove(channel)

    async def lose(self, channel: str) -> None:
        """Have everybody on `channel` start over (3010): what should be said there will not be.

        For a change that is kept where no publication can tell it: the snapshot does. What was
        said before is no longer resumed from.

        Raises:
            Invalid: no channel's name.
            Refused: unknown channel (102).
            Unavailable: the engine is out of reach.
        """
        retention = self.options_of(channel).retention
        top = Position() if retention is None else await self.engine.skip(channel, retention)
        here = self._roster.get(channel)
        if here is not None:
            here.lose(top)

    def _deliver(self, channel: str, publication: Publication, position: Position) -> None:
        here = self._roster.get(channel)
        if here is not None:
            count = here.deliver(publication, position)
            told = _told.get()
            if told is not None:
                told.append(count)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
