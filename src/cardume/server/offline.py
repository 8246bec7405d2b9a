"""What commands do to the database: themselves, or through the server that has its file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from cardume.auth.secrets import new_key
from cardume.clock import SystemClock
from cardume.devices.names import is_device_id
from cardume.devices.store import register
from cardume.errors import ConfigurationError
from cardume.server.accounts import Accounts
from cardume.server.through import ask, owner_in_the_way
from cardume.settings import Settings
from cardume.storage.database import Storage
from cardume.storage.tables import aquariums, devices


async def add_user(settings: Settings, name: str, password: str, *, admin: bool) -> None:
    """Add a user, or replace one.

    Raises:
        ConfigurationError: no usable name.
    """
    if not 0 < len(name) <= 255 or not name.isprintable():
        raise ConfigurationError("a user's name has 1 to 255 printable characters")
    owner = await owner_in_the_way(settings)
    if owner is not None:
        body = {"password": password, "admin": admin}
        await ask(settings, owner, "PUT", f"/users/{quote(name, safe='')}", body)
        return
    async with _storage(settings) as storage:
        accounts = Accounts(storage, None)
        await accounts.add(name, password, admin=admin, now=SystemClock().now())


async def add_device(
    settings: Settings,
    device_id: str,
    aquarium_id: int,
    name: str | None,
    interval: float | None,
) -> str:
    """Register a device; its key.

    Raises:
        ConfigurationError: no usable id, a taken one, or no such aquarium.
    """
    if is_device_id(device_id) is None:
        raise ConfigurationError("a device id is 1 to 64 of A-Z a-z 0-9 _ -")
    if interval is not None and not 1 <= interval <= 86_400:
        raise ConfigurationError("--interval is between 1 and 86400 seconds")
    owner = await owner_in_the_way(settings)
    if owner is not None:
        body: dict[str, Any] = {"device_id": device_id, "aquarium_id": aquarium_id, "name": name}
        body["expected_interval_seconds"] = interval
        answer = await ask(settings, owner, "POST", "/devices", body)
        return str(answer["key"])
    key = new_key()
    async with _storage(settings) as storage:
        try:
            async with storage.write() as tx:
                await register(
                    tx,
                    device_id=device_id,
                    aquarium_id=aquarium_id,
                    key=key,
                    now=SystemClock().now(),
                    name=name,
                    expected_interval=interval,
                )
        except IntegrityError:
            raise ConfigurationError(await _why_not(storage, device_id, aquarium_id)) from None
    return key


async def _why_not(storage: Storage, device_id: str, aquarium_id: int) -> str:
    async with storage.read() as connection:
        taken = select(devices.c.device_id).where(devices.c.device_id == device_id)
        if (await connection.execute(taken)).first() is not None:
            return f"device {device_id} is registered already; delete it first to get a new key"
        known = (await connection.scalars(select(aquariums.c.id))).all()
    there = f"there is {', '.join(map(str, known))}" if known else "there is none yet"
    return f"no aquarium {aquarium_id}; {there} (POST /api/v1/aquariums makes one)"


@asynccontextmanager
async def _storage(settings: Settings) -> AsyncIterator[Storage]:
    async with Storage(settings.database_url, _publish_nothing) as storage:
        yield storage


async def _publish_nothing(
    channel: str, type: str | None, data: object, /, *, key: str | None, source: str | None
) -> None:
    """Commands announce nothing."""
