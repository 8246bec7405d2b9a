"""The executions app on a real hub and a real database, and a viewer as the docs describe one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx2
from fastapi import APIRouter

from cardume.apps.executions import Executions, ExecutionsOptions, router
from cardume.wire.messages import Position
from tests.support.life import Life
from tests.support.peers import Peer

Json = Any
AT = "2026-11-20T12:00:00.123Z"


def line(seq: int, text: str | None = None, **more: Any) -> dict[str, Any]:
    spoken = f"line {seq}" if text is None else text
    return {"seq": seq, "stream": "stdout", "text": spoken, "at": AT, **more}


def lines(first: int, last: int, size: int = 0) -> list[dict[str, Any]]:
    """Lines `first` to `last`, each with about `size` characters."""
    return [line(seq, f"line {seq} ".ljust(size, ".")) for seq in range(first, last + 1)]


def seqs(found: Sequence[Json]) -> list[int]:
    return [each["seq"] for each in found]


class Works(Life):
    """One life of the executions app."""

    app: Executions

    def make(self, **options: Any) -> Executions:
        self.app = Executions(self.hub, self.storage, ExecutionsOptions(**options))
        return self.app

    @staticmethod
    def router(app: Any) -> APIRouter:
        return router(app)

    async def begin(self, name: str = "build", **more: Any) -> str:
        """A new execution of ana's; its id."""
        return (await self.begin_with_key(name, **more))[0]

    async def begin_with_key(self, name: str = "build", **more: Any) -> tuple[str, str]:
        """A new execution of ana's; its id and its runner's key."""
        made = await self.ok("POST", "/executions", {"name": name, **more})
        return made["execution_id"], made["runner_key"]

    async def with_key(
        self, key: str, method: str, path: str, body: Json = None, *, who: str | None = None
    ) -> httpx2.Response:
        """Ask with a runner's key; with a token only if somebody is named."""
        headers = {"X-Runner-Key": key}
        if who is not None:
            headers["Authorization"] = f"Bearer {self.token(who)}"
        return await self.client.request(method, f"{self.prefix}{path}", json=body, headers=headers)

    async def write(self, id: str, sent: Sequence[Json], **who: Any) -> Json:
        return await self.ok("POST", f"/executions/{id}/log", {"lines": list(sent)}, **who)

    async def raw(self, path: str, body: Any) -> httpx2.Response:
        """Post bytes, or an iterator of them, as ana."""
        headers = {
            "Authorization": f"Bearer {self.token()}",
            "Content-Type": "application/json",
        }
        return await self.client.post(f"{self.prefix}{path}", content=body, headers=headers)

    async def get(self, id: str) -> Json:
        return await self.ok("GET", f"/executions/{id}", who="vera")

    async def log(self, id: str, **query: int) -> Json:
        """A page."""
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        return await self.ok("GET", f"/executions/{id}/log?{asked}", who="vera")

    async def whole_log(self, id: str, limit: int = 1000) -> list[Json]:
        """All pages, forwards."""
        found: list[Json] = []
        after: int | None = 0
        while after is not None:
            page = await self.log(id, after=after, limit=limit)
            found += page["lines"]
            after = page["next"]
        return found

    async def watch(self, id: str) -> Peer:
        return await self.subscribe(f"execution:{id}")


class Viewer:
    """Keeps a log complete, however often its connection or the server goes away.

    It knows three rules: drop a `seq` it has, ask for what is between it and a snapshot by
    `?after=`, and for what is above by `?before=`.
    """

    def __init__(self, id: str) -> None:
        self.id = id
        self.lines: list[Json] = []
        self.status: str | None = None
        self.complete_above = False
        self._peer: Peer | None = None
        self._read = 0
        self._since: Position | None = None

    @property
    def first(self) -> int:
        return int(self.lines[0]["seq"]) if self.lines else 1

    @property
    def last(self) -> int:
        return int(self.lines[-1]["seq"]) if self.lines else 0

    async def connect(self, works: Works) -> None:
        """As a WebSocket with `?since=` of what was seen last."""
        await self.take(works)
        self.disconnect()
        peer = await Peer(works.hub).enter(f"execution:{self.id}", self._since)
        assert peer.live
        self._peer, self._read = peer, 0

    def disconnect(self) -> None:
        if self._peer is not None:
            self._peer.leave()
        self._peer = None

    async def take(self, works: Works) -> None:
        """Read the frames that came."""
        while self._peer is not None and self._read < len(self._peer.frames):
            frame = self._peer.frames[self._read]
            self._read += 1
            await self._frame(works, frame)

    async def _frame(self, works: Works, frame: Json) -> None:
        data = frame["data"]
        match frame["type"]:
            case "connected":
                self._since = Position(data["epoch"], data["offset"])
            case "snapshot":
                self.status = data["execution"]["status"]
                if self.lines:
                    await self._catch_up(works, data["first_seq"] - 1)
                self._append(data["lines"])
            case "log":
                self._append(data["lines"])
            case _:
                self.status = data["status"]
        if "channel" in frame:
            assert self._since is not None
            self._since = Position(self._since.epoch, frame["offset"])

    def _append(self, found: Sequence[Json]) -> None:
        self.lines += [each for each in found if not self.lines or each["seq"] > self.last]

    async def _catch_up(self, works: Works, last: int) -> None:
        while self.last < last:
            self._append((await works.log(self.id, after=self.last, limit=7))["lines"])

    async def scroll(self, works: Works, limit: int = 5) -> None:
        """One page further up."""
        if self.lines and not self.complete_above:
            page = await works.log(self.id, before=self.first, limit=limit)
            self.lines[:0] = page["lines"]
            self.complete_above = page["previous"] is None
