"""The app's HTTP API below ``/api/v1``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter

from cardume.apps.aquarium.app import STATE, Aquarium
from cardume.apps.aquarium.http import alerts, aquariums, devices, readings, rules


def router(app: Aquarium) -> APIRouter:
    """Addresses for `app`; including the router starts the app with the application."""

    @asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[dict[str, Any]]:
        async with app.running():
            yield {STATE: app}

    whole = APIRouter(prefix="/api/v1", lifespan=lifespan)
    for part in (aquariums, readings, devices, rules, alerts):
        whole.include_router(part.router)
    return whole
