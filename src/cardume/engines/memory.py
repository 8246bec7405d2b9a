"""The engine of one process: streams in memory, delivery in the same call.

Its epochs die with the process. A client that comes back after a restart is told
`recovered: false` and reloads the snapshot, which is why an announcement lost between commit
and publish needs no table of its own here.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict

import msgspec

from cardume.clock import Clock, SystemClock
from cardume.engines.base import IDEMPOTENCY_WINDOW, Deliver, KeyReused, Page, Replay, Retention
from cardume.engines.stream import Stream
from cardume.errors import Unavailable
from cardume.wire.messages import Position, Publication

KEEP_IDLE = 10.0
"""An idle stream is forgotten after this many times its history's age, and an hour at least."""

MAX_KEYS = 500_000
"""Idempotency keys held at once, about 150 MB; beyond it a keyed publish is refused, not risked."""

_SWEEP_EVERY = 256


class _Accepted(msgspec.Struct, frozen=True, gc=False):
    digest: bytes
    position: Position
    until: float


class MemoryEngine:
    """`cardume.engines.base.Engine` for one process."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._deliver: Deliver = _nowhere
        self._streams: OrderedDict[str, tuple[Stream, Retention]] = OrderedDict()
        self._keys: OrderedDict[tuple[str, str], _Accepted] = OrderedDict()
        self._subscribed: set[str] = set()
        self._appended = 0
        self._secret = secrets.token_bytes(16)
        self._forgotten = 0
        """Streams with anything in them that were forgotten: no name has its old epoch again."""

    async def start(self, deliver: Deliver) -> None:
        self._deliver = deliver

    async def stop(self) -> None:
        self._deliver = _nowhere

    async def publish(
        self,
        channel: str,
        publication: Publication,
        retention: Retention | None,
        idempotency_key: str | None = None,
    ) -> Position:
        digest = b""
        if idempotency_key is not None:
            digest = _digest(publication)
            earlier = self._accepted(channel, idempotency_key, digest)
            if earlier is not None:
                return earlier
        position = Position()
        if retention is not None:
            now = self._clock.monotonic()
            stream = self._stream(channel, retention, now)
            publication = stream.append(publication, retention, now)
            position = stream.position
        if idempotency_key is not None:
            until = self._clock.monotonic() + IDEMPOTENCY_WINDOW
            self._keys[channel, idempotency_key] = _Accepted(digest, position, until)
        self._deliver(channel, publication, position)
        return position

    async def replay(
        self, channel: str, since: Position | None, retention: Retention, limit: int
    ) -> Replay:
        now = self._clock.monotonic()
        return self._look_at(channel, retention, now).replay(since, retention, limit, now)

    async def history(
        self,
        channel: str,
        since: Position | None,
        retention: Retention,
        limit: int,
        reverse: bool,
    ) -> Page:
        now = self._clock.monotonic()
        stream = self._look_at(channel, retention, now)
        return stream.page(since, retention, limit, reverse, now)

    async def latest(self, channel: str, retention: Retention) -> Page:
        return self._look_at(channel, retention, self._clock.monotonic()).latest()

    async def remove(self, channel: str) -> None:
        held = self._streams.get(channel)
        if held is not None:
            held[0].clear()

    async def skip(self, channel: str, retention: Retention) -> Position:
        stream = self._stream(channel, retention, self._clock.monotonic())
        stream.skip()
        return stream.position

    async def subscribe(self, channel: str) -> None:
        self._subscribed.add(channel)

    async def unsubscribe(self, channel: str) -> None:
        self._subscribed.discard(channel)
        held = self._streams.get(channel)
        if held is not None and held[0].top == 0:
            del self._streams[channel]

    def _look_at(self, channel: str, retention: Retention, now: float) -> Stream:
        """The stream of a reader; asking for a name that nobody uses keeps nothing."""
        if channel in self._streams or channel in self._subscribed:
            return self._stream(channel, retention, now)
        return Stream(self._epoch_of(channel), now)

    def _epoch_of(self, channel: str) -> str:
        """The epoch of a stream that is not there: the same until anything was forgotten."""
        named = b"%d %b" % (self._forgotten, channel.encode())
        return hashlib.blake2b(named, key=self._secret, digest_size=4).hexdigest()

    def _stream(self, channel: str, retention: Retention, now: float) -> Stream:
        self._appended += 1
        if self._appended % _SWEEP_EVERY == 0:
            self._forget_idle(now)
        held = self._streams.get(channel)
        if held is None:
            stream = Stream(self._epoch_of(channel), now)
        else:
            stream = held[0]
            self._streams.move_to_end(channel)
        self._streams[channel] = (stream, retention)
        return stream

    def _forget_idle(self, now: float) -> None:
        """Look at the few least recently used streams; a channel's name is no reason to grow."""
        for channel in [name for name, _ in zip(self._streams, range(_SWEEP_EVERY), strict=False)]:
            stream, retention = self._streams[channel]
            idle = now - stream.idle_since > max(3600.0, KEEP_IDLE * retention.ttl)
            # The latest of a key is kept until it is taken away: it is nobody's past.
            if idle and not stream.keys and channel not in self._subscribed:
                del self._streams[channel]
                self._forgotten += 1
            else:
                # Still within its time: trim it and let others come to the front.
                stream.trim(retention, now)
                self._streams.move_to_end(channel)

    def _accepted(self, channel: str, key: str, digest: bytes) -> Position | None:
        now = self._clock.monotonic()
        while self._keys and next(iter(self._keys.values())).until <= now:
            self._keys.popitem(last=False)
        earlier = self._keys.get((channel, key))
        if earlier is None:
            if len(self._keys) >= MAX_KEYS:
                raise Unavailable("too many idempotency keys in flight")
            return None
        if earlier.digest != digest:
            raise KeyReused
        return earlier.position


def _nowhere(_channel: str, _publication: Publication, _position: Position) -> None:
    """Where a stopped engine delivers."""


def _digest(publication: Publication) -> bytes:
    tags = sorted((publication.tags or {}).items())
    body = [publication.type, publication.key, publication.source, tags]
    return hashlib.blake2b(msgspec.json.encode(body) + publication.data, digest_size=16).digest()
