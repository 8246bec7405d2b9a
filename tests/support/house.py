"""A FastAPI app with every kind of channel, for suites that run over real servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Path

from cardume import CurrentHub, CurrentIdentity, Hub, HubOptions, Identity
from cardume.auth.signer import TokenSigner
from cardume.auth.tokens import build_verifier
from cardume.clock import Clock, SystemClock

SECRET = "for tests only, and long enough to be accepted"
OUTBOX = 256 * 1024


def token(sub: str = "anna", *, ttl: float = 300, **claims: Any) -> str:
    """A token that the house accepts."""
    return TokenSigner(SECRET, SystemClock()).mint(sub, ttl=ttl, **claims)


def clearance() -> str:
    return "low"


def make_hub(clock: Clock | None = None, **options: Any) -> Hub:
    clock = clock or SystemClock()
    return Hub(
        auth=build_verifier(clock=clock, secret=SECRET),
        clock=clock,
        options=HubOptions(**{"outbox_limit": OUTBOX, "messages_per_minute": 0, **options}),
    )


class House:
    """The app, its hub, and the loop it runs on."""

    def __init__(self, *, prefix: str = "/rt", clock: Clock | None = None) -> None:
        self.hub = make_hub(clock)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.app = FastAPI(lifespan=self._lifespan)
        _rooms(self.hub)
        self.app.include_router(self.hub.router, prefix=prefix)
        _boards(self.hub)  # declared after the router was included
        _http(self.app)

    @asynccontextmanager
    async def _lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        self.loop = asyncio.get_running_loop()
        yield


def _rooms(hub: Hub) -> None:
    @hub.channel("room:{room_id}", path="/ws/room/{room_id}", history=10, presence=True)
    async def room(room_id: Annotated[int, Path(ge=1)], identity: Identity) -> None:
        if room_id in (401, 403, 404, 410, 429):
            raise HTTPException(room_id)
        if room_id == 500:
            raise ZeroDivisionError

    @hub.channel("quiet:{name}", path="/ws/quiet/{name}")
    def quiet(name: str) -> None: ...

    @hub.action("echo")
    async def echo(identity: Identity, body: dict[str, Any]) -> dict[str, Any]:
        return {"by": identity.sub, **body}


def _boards(hub: Hub) -> None:
    async def snapshot(board_id: str) -> dict[str, Any]:
        if board_id == "gone":
            raise HTTPException(404)
        if board_id == "huge":
            return {"filling": "x" * OUTBOX}
        return {"board": board_id}

    @hub.channel("board:{board_id}", path="/ws/board/{board_id}", history=10, snapshot=snapshot)
    async def board(board_id: str, identity: Identity) -> None: ...

    @hub.channel("vault:{name}", path="/ws/vault/{name}")
    async def vault(
        name: str, identity: CurrentIdentity, level: Annotated[str, Depends(clearance)]
    ) -> None:
        if identity.sub != "anna":
            raise HTTPException(403)


def _http(app: FastAPI) -> None:
    @app.post("/say/{room_id}")
    async def say(room_id: int, hub: CurrentHub, identity: CurrentIdentity) -> dict[str, Any]:
        position = await hub.publish(f"room:{room_id}", "said", {"by": identity.sub})
        return {"offset": position.offset}
