"""A hub of another process: the same verbs, over its server API.

For workers, scripts and other services. The calls of a hub that speak of its own connections
(`connection`, `drain`, …) have no twin here.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from msgspec import Raw

from cardume.client import answers
from cardume.client.answers import Outcome
from cardume.client.calls import Calls
from cardume.client.http import Authorities
from cardume.hub.presence import Count
from cardume.hub.publishing import History
from cardume.wire import json
from cardume.wire.messages import Member, Position

TIMEOUT = 10.0


class HubClient:
    """The server API at `url`, called with `api_key`.

    Every method is a coroutine; `publish_sync` and `call_sync` are for code without a loop. Where
    nobody answers, or the server says 5xx, a call is repeated `retries` times within `timeout`
    seconds. Publications carry an idempotency key of their own for it, which the server keeps for
    five minutes: with ``retries=0`` they carry none. `connections` calls at most run at once.

    At an `https://` address the server has to show a certificate for its name. `ca` is the PEM
    file of those who may have signed it, in place of the system's; an `ssl.SSLContext` decides
    by itself.

    Raises, in all of its calls:
        Refused: the server declined, with the code that the hub itself raises.
        Invalid: it makes no sense: no channel's name, no JSON.
        Unavailable: no answer. Repeat it with the same idempotency key.
        Unreachable: so, and nothing was sent: no such name, or nobody listens at `url`.
        ConfigurationError: what is at `url` is no server API, or its certificate is not to be
            trusted. It is not tried again.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        timeout: float = TIMEOUT,
        retries: int = 2,
        connections: int = 8,
        ca: Authorities = None,
    ) -> None:
        self._calls = Calls(
            url, api_key, timeout=timeout, retries=retries, connections=connections, ca=ca
        )
        self._threads = ThreadPoolExecutor(connections, "cardume-client")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def aclose(self) -> None:
        """Wait for the calls that run, then let go of the connections."""
        await asyncio.get_running_loop().run_in_executor(None, self.close)

    def close(self) -> None:
        """As `aclose`, where no loop runs."""
        self._threads.shutdown()
        self._calls.close()

    # -- publishing -------------------------------------------------------------------------

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
        """As `Hub.publish`."""
        asked = self._publication(type, data, key, tags, source, idempotency_key)
        result = await self._call("publish", channel=channel, **asked)
        return answers.read(result, Position)

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
    ) -> Position:
        """As `publish`, and blocks until it is answered."""
        asked = self._publication(type, data, key, tags, source, idempotency_key)
        body = json.encode({"channel": channel, **asked})
        return answers.read(answers.result_of(self._calls.post("publish", body)), Position)

    async def broadcast(
        self,
        channels: Iterable[str],
        type: str | None = None,
        data: Any = None,
        *,
        key: str | None = None,
        tags: Mapping[str, str] | None = None,
        source: str | None = None,
        idempotency_key: str | None = None,
    ) -> list[Outcome]:
        """The same on up to 1000 channels: for each its position, or the exception it raised."""
        asked = self._publication(type, data, key, tags, source, idempotency_key)
        result = await self._call("broadcast", channels=list(channels), **asked)
        return answers.outcomes_of(result)

    # -- channels ---------------------------------------------------------------------------

    async def history(
        self,
        channel: str,
        since: Position | None = None,
        limit: int = 0,
        reverse: bool = False,
    ) -> History:
        """As `Hub.history`."""
        asked = {"limit": limit, "since": _place(since), "reverse": reverse}
        return answers.history_of(await self._call("history", channel=channel, **asked))

    async def history_remove(self, channel: str) -> None:
        """Forget what was said on a channel; offsets go on counting."""
        await self._call("history_remove", channel=channel)

    async def presence(self, channel: str) -> dict[str, Member]:
        """As `Hub.presence`."""
        return answers.members_of(await self._call("presence", channel=channel))

    async def presence_stats(self, channel: str) -> Count:
        """As `Hub.presence_stats`."""
        result = await self._call("presence_stats", channel=channel)
        stats = answers.read(result, answers.Stats)
        return Count(stats.num_clients, stats.num_users)

    async def channels(self, pattern: str = "") -> dict[str, int]:
        """Channels with subscribers, by a glob such as ``room:*``, and how many each has."""
        return answers.channels_of(await self._call("channels", pattern=pattern))

    async def info(self) -> list[dict[str, Any]]:
        """What each node has on it, in Centrifugo's names (`num_clients`, …)."""
        return answers.read(await self._call("info"), answers.Info).nodes

    # -- users ------------------------------------------------------------------------------

    async def subscribe(
        self,
        user: str,
        channel: str,
        *,
        client: str | None = None,
        info: Any = None,
        since: Position | None = None,
    ) -> None:
        """Put a user's connections, or the one that is `client`, on a channel.

        `info` is what others there know of it, `since` from where it is told what it missed.
        """
        asked = {"client": client, "info": info, "recover_since": _place(since)}
        await self._call("subscribe", user=user, channel=channel, **asked)

    async def unsubscribe(self, user: str, channel: str, *, client: str | None = None) -> None:
        """Take a user's connections, or the one that is `client`, off a channel."""
        await self._call("unsubscribe", user=user, channel=channel, client=client)

    async def disconnect(
        self,
        user: str,
        *,
        client: str | None = None,
        code: int = 0,
        reason: str = "",
        except_: Sequence[str] = (),
    ) -> None:
        """Send a user away, but for the clients in `except_`; without a `code` with 3503."""
        how = {"code": code, "reason": reason}
        await self._call(
            "disconnect", user=user, client=client, disconnect=how, whitelist=list(except_)
        )

    async def refresh(
        self,
        user: str,
        *,
        client: str | None = None,
        expired: bool = False,
        expire_at: float | None = None,
    ) -> None:
        """Let a user's connections end now (`expired`), or at `expire_at` (Unix seconds)."""
        at = None if expire_at is None else math.ceil(expire_at)
        await self._call("refresh", user=user, client=client, expired=expired, expire_at=at)

    async def block_user(self, user: str, seconds: float | None = None) -> None:
        """Send a user away and shut it out for `seconds`; None: until `unblock_user`."""
        at = None if seconds is None else math.ceil(time.time() + seconds)
        await self._call("block_user", user=user, expire_at=at)

    async def unblock_user(self, user: str) -> None:
        """Let a user in again."""
        await self._call("unblock_user", user=user)

    # -- any call ---------------------------------------------------------------------------

    async def batch(
        self, commands: Iterable[Mapping[str, Any]], *, parallel: bool = False
    ) -> list[Any]:
        """Up to 1000 commands, ``{method: parameters}``, in one call.

        For each its result, decoded, or the exception that it raised.
        """
        body = json.encode({"commands": list(map(self._keyed, commands)), "parallel": parallel})
        return answers.replies_of(await self._post("batch", body))

    def call_sync(self, method: str, **parameters: Any) -> Any:
        """Any method by its name, with Centrifugo's parameters; its result, decoded. It blocks."""
        body = json.encode(_given(parameters))
        return answers.read(answers.result_of(self._calls.post(method, body)), object)

    async def _call(self, method: str, **parameters: Any) -> Raw:
        # Encoded here and not in the thread: the caller may change what it gave us.
        return answers.result_of(await self._post(method, json.encode(_given(parameters))))

    async def _post(self, method: str, body: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._calls.post, method, body)

    def _publication(
        self,
        type: str | None,
        data: Any,
        key: str | None,
        tags: Mapping[str, str] | None,
        source: str | None,
        idempotency_key: str | None,
    ) -> dict[str, Any]:
        asked = _given({"type": type, "key": key, "tags": tags, "source": source})
        idempotency_key = idempotency_key or self._fresh_key()
        if idempotency_key is not None:
            asked["idempotency_key"] = idempotency_key
        return {"data": Raw(json.encode(data)), **asked}

    def _fresh_key(self) -> str | None:
        return secrets.token_urlsafe(12) if self._calls.retries else None

    def _keyed(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """A command that may be repeated."""
        made = dict(command)
        for method in ("publish", "broadcast"):
            if method in made and self._calls.retries:
                made[method] = {"idempotency_key": self._fresh_key(), **made[method]}
        return made


def _given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if value is not None}


def _place(position: Position | None) -> dict[str, Any] | None:
    if position is None:
        return None
    return {"epoch": position.epoch, "offset": position.offset}
