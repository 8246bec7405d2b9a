"""Commands: asking a device to do something, and what became of it."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from cardume.apps.aquarium.app import CurrentAquarium
from cardume.apps.aquarium.commands_model import OPEN, CommandStatus, CommandView, NewCommand
from cardume.storage.tables import device_commands
from cardume.transports.fastapi import CurrentIdentity
from cardume.transports.paging import Cursor, Limit, Page, page, position
from cardume.transports.problems import ProblemRoute

router = APIRouter(prefix="/devices", route_class=ProblemRoute, tags=["commands"])


@router.post("/{device_id}/commands", status_code=201)
async def send_command(
    device_id: str,
    body: NewCommand,
    app: CurrentAquarium,
    who: CurrentIdentity,
    response: Response,
) -> CommandView:
    """201 and the command, queued: it is kept, and sent as soon as the device can be reached.

    Again with the same `id`: 200 and the command as it is now.
    """
    view, is_new = await app.commands.create(who, device_id, body)
    if not is_new:
        response.status_code = 200
    return view


@router.get("/{device_id}/commands")
async def list_commands(
    device_id: str,
    app: CurrentAquarium,
    who: CurrentIdentity,
    status: Annotated[CommandStatus | Literal["open"] | None, Query()] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[CommandView]:
    """The newest first. `open` is queued or sent."""
    device = await app.catalogue.find_device(who, device_id)
    before = position(cursor, int)
    where = [device_commands.c.device_id == device_id]
    if before is not None:
        where.append(device_commands.c.number < before)
    if status is not None:
        wanted = OPEN if status == "open" else (status,)
        where.append(device_commands.c.status.in_(wanted))
    found = page(
        await app.commands.page_of(device, where, limit + 1), limit, lambda numbered: numbered[0]
    )
    return {"items": [view for _, view in found["items"]], "next": found["next"]}


@router.get("/{device_id}/commands/{command_id}")
async def get_command(
    device_id: str, command_id: str, app: CurrentAquarium, who: CurrentIdentity
) -> CommandView:
    return await app.commands.get(who, device_id, command_id)
