"""Aquariums, their members, their overview."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path
from sqlalchemy import delete, insert, select, update
from typing_extensions import TypedDict

from cardume.apps.aquarium.app import Aquarium, CurrentAquarium
from cardume.apps.aquarium.catalogue import Catalogue
from cardume.apps.aquarium.overview import AquariumView, Overview, aquarium_view
from cardume.apps.aquarium.presets import TARGETS, Kind
from cardume.apps.aquarium.views import channel_of
from cardume.errors import Refused
from cardume.storage.database import Write
from cardume.storage.tables import aquariums, members, targets
from cardume.transports.bodies import Body, Name, Patch
from cardume.transports.fastapi import CurrentIdentity
from cardume.transports.paging import Cursor, Limit, Page, page, position
from cardume.transports.problems import ProblemRoute
from cardume.wire import codes
from cardume.wire.messages import rfc3339

router = APIRouter(prefix="/aquariums", route_class=ProblemRoute, tags=["aquariums"])

Sub = Annotated[str, Path(min_length=1, max_length=255)]


class NewAquarium(Body):
    name: Name
    kind: Kind = Kind.FRESHWATER


class AquariumPatch(Patch):
    name: Name = ""


class Membership(Body):
    role: Literal["owner", "member"] = "member"


class Member(TypedDict):
    sub: str
    role: str


@router.get("")
async def list_aquariums(
    app: CurrentAquarium, who: CurrentIdentity, limit: Limit = 100, cursor: Cursor = None
) -> Page[AquariumView]:
    """The aquariums you may see."""
    after = position(cursor, int) or 0
    ids = sorted(id for id in app.catalogue.visible(who) if id > after)[: limit + 1]
    async with app.storage.read() as connection:
        query = select(aquariums).where(aquariums.c.id.in_(ids)).order_by(aquariums.c.id)
        found = [aquarium_view(row) for row in await connection.execute(query)]
    return page(found, limit, lambda aquarium: aquarium["id"])


@router.post("", status_code=201)
async def create_aquarium(
    body: NewAquarium, app: CurrentAquarium, who: CurrentIdentity
) -> AquariumView:
    """You become its owner; target ranges are preset by kind."""
    now = app.hub.clock.now()
    values = {"name": body.name, "kind": body.kind, "created_at": now, "created_by": who.sub}
    async with app.storage.write() as tx:
        key = (await tx.execute(insert(aquariums).values(**values))).inserted_primary_key
        assert key is not None
        id: int = key[0]
        await tx.execute(insert(members).values(aquarium_id=id, sub=who.sub, role="owner"))
        await _preset_targets(tx, id, body.kind)
        tx.on_commit(lambda: _created(app.catalogue, id, who.sub, body.kind))
    return {"id": id, "name": body.name, "kind": body.kind, "created_at": rfc3339(now)}


@router.get("/{aquarium_id}")
async def get_aquarium(
    aquarium_id: int, app: CurrentAquarium, who: CurrentIdentity
) -> AquariumView:
    app.catalogue.check_member(who, aquarium_id)
    async with app.storage.read() as connection:
        query = select(aquariums).where(aquariums.c.id == aquarium_id)
        row = (await connection.execute(query)).first()
    if row is None:
        raise Refused(codes.NOT_FOUND, f"no aquarium {aquarium_id}")
    return aquarium_view(row)


@router.patch("/{aquarium_id}")
async def update_aquarium(
    aquarium_id: int, body: AquariumPatch, app: CurrentAquarium, who: CurrentIdentity
) -> AquariumView:
    values = body.model_dump(exclude_unset=True)
    async with app.storage.write() as tx:
        app.catalogue.check_owner(who, aquarium_id)
        if values:
            same = aquariums.c.id == aquarium_id
            await tx.execute(update(aquariums).where(same).values(**values))
    return await get_aquarium(aquarium_id, app, who)


@router.delete("/{aquarium_id}", status_code=204)
async def delete_aquarium(aquarium_id: int, app: CurrentAquarium, who: CurrentIdentity) -> None:
    """With its devices, readings and alerts."""
    async with app.storage.write() as tx:
        app.catalogue.check_owner(who, aquarium_id)
        await tx.execute(delete(aquariums).where(aquariums.c.id == aquarium_id))
        tx.on_commit(lambda: _deleted(app, aquarium_id))


@router.get("/{aquarium_id}/overview")
async def get_overview(aquarium_id: int, app: CurrentAquarium, who: CurrentIdentity) -> Overview:
    """The same as the snapshot on `/ws/aquarium/{aquarium_id}`."""
    app.catalogue.check_member(who, aquarium_id)
    return await app.overview(aquarium_id)


@router.get("/{aquarium_id}/members")
async def list_members(
    aquarium_id: int,
    app: CurrentAquarium,
    who: CurrentIdentity,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[Member]:
    app.catalogue.check_member(who, aquarium_id)
    after = position(cursor, str) or ""
    held = sorted(app.catalogue.members[aquarium_id].items())
    found: list[Member] = [{"sub": sub, "role": role} for sub, role in held if sub > after]
    return page(found[: limit + 1], limit, lambda member: member["sub"])


@router.get("/{aquarium_id}/members/{sub:path}")
async def get_member(
    aquarium_id: int, sub: Sub, app: CurrentAquarium, who: CurrentIdentity
) -> Member:
    app.catalogue.check_member(who, aquarium_id)
    role = app.catalogue.members[aquarium_id].get(sub)
    if role is None:
        raise Refused(codes.NOT_FOUND, "no such member")
    return {"sub": sub, "role": role}


@router.put("/{aquarium_id}/members/{sub:path}")
async def put_member(
    aquarium_id: int, sub: Sub, body: Membership, app: CurrentAquarium, who: CurrentIdentity
) -> Member:
    """Members are keyed by the token's `sub`; nobody needs an account here."""
    async with app.storage.write() as tx:
        app.catalogue.check_owner(who, aquarium_id)
        held = app.catalogue.members[aquarium_id]
        if body.role != "owner":
            _check_owner_left(held, sub)
        await _remove_member(tx, aquarium_id, sub)
        await tx.execute(insert(members).values(aquarium_id=aquarium_id, sub=sub, role=body.role))
        tx.on_commit(lambda: held.update({sub: body.role}))
    return {"sub": sub, "role": body.role}


@router.delete("/{aquarium_id}/members/{sub:path}", status_code=204)
async def delete_member(
    aquarium_id: int, sub: Sub, app: CurrentAquarium, who: CurrentIdentity
) -> None:
    """An owner removes anybody, a member themselves."""
    async with app.storage.write() as tx:
        if sub == who.sub:
            app.catalogue.check_member(who, aquarium_id)
        else:
            app.catalogue.check_owner(who, aquarium_id)
        held = app.catalogue.members[aquarium_id]
        if sub not in held:
            raise Refused(codes.NOT_FOUND, "no such member")
        _check_owner_left(held, sub)
        await _remove_member(tx, aquarium_id, sub)
        tx.on_commit(lambda: _excluded(app, aquarium_id, sub))


def _check_owner_left(held: dict[str, str], leaving: str) -> None:
    owners = {sub for sub, role in held.items() if role == "owner"}
    if owners == {leaving}:
        raise Refused(codes.CONFLICT, "an aquarium keeps at least one owner")


async def _remove_member(tx: Write, aquarium_id: int, sub: str) -> None:
    same = (members.c.aquarium_id == aquarium_id, members.c.sub == sub)
    await tx.execute(delete(members).where(*same))


async def _preset_targets(tx: Write, aquarium_id: int, kind: Kind) -> None:
    rows = [
        {"aquarium_id": aquarium_id, "metric": metric, **target._asdict()}
        for metric, target in TARGETS[kind].items()
    ]
    await tx.execute(insert(targets), rows)


def _created(catalogue: Catalogue, aquarium_id: int, owner: str, kind: Kind) -> None:
    catalogue.members[aquarium_id] = {owner: "owner"}
    for metric, target in TARGETS[kind].items():
        catalogue.units[aquarium_id, metric] = target.unit


def _deleted(app: Aquarium, aquarium_id: int) -> None:
    for device in app.devices.of(aquarium_id):
        app.forget_device(device.device_id)
    app.catalogue.remove_aquarium(aquarium_id)
    app.hub.close_channel(channel_of(aquarium_id), codes.NOT_AVAILABLE_CLOSE)


def _excluded(app: Aquarium, aquarium_id: int, sub: str) -> None:
    """Whoever is no member any more stops listening now, not when the token ends."""
    held = app.catalogue.members[aquarium_id]
    held.pop(sub, None)
    app.hub.close_channel(
        channel_of(aquarium_id),
        codes.PERMISSION_DENIED_CLOSE,
        where=lambda identity: (
            identity.sub == sub
            and not app.catalogue.sees_all(identity)
            and not app.catalogue.is_member(identity, aquarium_id)
        ),
    )
