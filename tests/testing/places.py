"""Applications to be tested with `cardume.testing`."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, HTTPException

from cardume import Centrifuge, CurrentIdentity, Hub, HubOptions, Identity, Rooms
from cardume.auth.tokens import build_verifier
from cardume.clock import Clock, SystemClock
from tests.support.house import SECRET


def make_hub(clock: Clock | None = None, **options: Any) -> Hub:
    """A hub with channels `room:*`, `board:*` and `quiet:*`, and the action `rename`."""
    clock = clock or SystemClock()
    verifier = build_verifier(clock=clock, secret=SECRET)
    hub = Hub(auth=verifier, clock=clock, options=HubOptions(**options))

    @hub.channel("room:{room_id}", path="/ws/room/{room_id}", history=100, presence=True)
    async def room(room_id: int, identity: Identity) -> None:
        if room_id == 13 and not identity.is_admin:
            raise HTTPException(403)

    async def snapshot(name: str) -> dict[str, Any]:
        return {"name": name}

    @hub.channel("board:{name}", path="/ws/board/{name}", history=100, snapshot=snapshot)
    async def board(name: str, identity: CurrentIdentity) -> None: ...

    @hub.channel("quiet:{name}", path="/ws/quiet/{name}")
    async def quiet(name: str, identity: Identity) -> None: ...

    @hub.action("rename")
    async def rename(identity: Identity, body: dict[str, Any]) -> dict[str, Any]:
        if not body["title"]:
            raise HTTPException(403, "a room has a title")
        await hub.publish("room:7", "renamed", body)
        return {"by": identity.sub, **body}

    return hub


def make_app(hub: Hub) -> FastAPI:
    """`hub` in all three dialects."""
    app = FastAPI()
    app.include_router(hub.router)
    app.include_router(Rooms(hub, rooms=["lounge"], events=["deploy_done"]).router)
    app.include_router(Centrifuge(hub).router)

    @app.post("/say/{room_id}")
    async def say(room_id: int, who: CurrentIdentity) -> dict[str, str]:
        return {"position": str(await hub.publish(f"room:{room_id}", "said", {"by": who.sub}))}

    return app
