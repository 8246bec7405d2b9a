"""Reading what was said: by the hub's own code, and over HTTP by those who may be there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from fastapi import HTTPException
from fastapi.testclient import TestClient

from cardume.engines.memory import MemoryEngine
from cardume.errors import Invalid, Refused, Unavailable
from cardume.hub.entry import fitting
from cardume.hub.hub import Hub
from cardume.hub.options import HubOptions
from cardume.testing import FakeClock
from cardume.testing.clock import settle
from cardume.wire import codes
from cardume.wire.messages import Position, Publication, weight
from tests.support.house import House, token
from tests.support.peers import Nobody, Peer, declare


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    made = Hub(auth=Nobody(), clock=FakeClock(), options=HubOptions(outbox_limit=64_000))
    declare(made, "room:{id}", history=500)
    declare(made, "quiet")
    async with made:
        yield made


async def test_the_position_alone(hub: Hub) -> None:
    empty = await hub.history("room:1")
    assert (empty.position.offset, empty.publications) == (0, ())
    top = await hub.publish("room:1", "m", {})
    assert await hub.history("room:1") == (top, ())
    assert top.epoch == empty.position.epoch


async def test_pages_onwards_and_backwards(hub: Hub) -> None:
    for n in range(1, 8):
        top = await hub.publish("room:1", "m", {"n": n})
    first = await hub.history("room:1", limit=3)
    assert [p.offset for p in first.publications] == [1, 2, 3]
    assert first.position == top
    since = Position(top.epoch, 3)
    assert [p.offset for p in (await hub.history("room:1", since, 300)).publications] == [
        4,
        5,
        6,
        7,
    ]
    back = await hub.history("room:1", since, 300, reverse=True)
    assert [p.offset for p in back.publications] == [2, 1]
    assert [p.data for p in back.publications] == [b'{"n":2}', b'{"n":1}']


async def test_a_page_is_bounded_in_number_and_in_bytes(hub: Hub) -> None:
    for _ in range(400):
        await hub.publish("room:1", "m", {})
    page = await hub.history("room:1", limit=1000)
    assert len(page.publications) == 32_000 // weight(page.publications[0])
    declare(hub, "wide", history=100)
    for _ in range(20):
        await hub.publish("wide", "m", {"filling": "x" * 10_000})
    page = await hub.history("wide", limit=20)
    assert [p.offset for p in page.publications] == [1, 2, 3]
    assert page.position.offset == 20


async def test_no_page_has_more_than_300() -> None:
    async with Hub(auth=Nobody(), clock=FakeClock()) as hub:
        declare(hub, "room:{id}", history=500)
        for _ in range(400):
            await hub.publish("room:1", "m", {})
        assert len((await hub.history("room:1", limit=1000)).publications) == 300


def test_a_publication_larger_than_a_page_is_a_page() -> None:
    large = Publication(data=b"1" * 60_000, time=0.0)
    assert fitting((large, large), 32_000) == (large,)


async def test_a_place_that_is_not_known_is_said_with_the_current_one(hub: Hub) -> None:
    top = await hub.publish("room:1", "m", {})
    for lost in (Position("other", 1), Position(top.epoch, 2)):
        with pytest.raises(Refused) as caught:
            await hub.history("room:1", lost, 10)
        assert caught.value.code is codes.UNRECOVERABLE_POSITION
        assert caught.value.extra == {"epoch": top.epoch, "offset": 1}


async def test_removed_history_is_no_gap_for_who_was_up_to_date(hub: Hub) -> None:
    peer = await Peer(hub).enter("room:1")
    top = await hub.publish("room:1", "m", {})
    await hub.remove_history("room:1")
    assert await hub.history("room:1", limit=10) == (top, ())
    await hub.publish("room:1", "m", {})
    assert (peer.live, peer.offsets()) == (True, [1, 2])
    with pytest.raises(Refused):
        await hub.remove_history("nobody:declared")


async def test_where_there_is_nothing_to_read(hub: Hub) -> None:
    for channel, code in (("quiet", codes.NOT_AVAILABLE), ("nowhere", codes.UNKNOWN_CHANNEL)):
        with pytest.raises(Refused) as caught:
            await hub.history(channel)
        assert caught.value.code is code
    with pytest.raises(Invalid):
        await hub.history("no name!")
    with pytest.raises(Invalid):
        await hub.history("room:1", limit=-1)


async def test_an_engine_out_of_reach_is_said(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any) -> None:
        raise Unavailable("the engine is away")

    monkeypatch.setattr(hub.engine, "history", away)
    with pytest.raises(Unavailable):
        await hub.history("room:1", limit=1)


async def test_asking_for_names_that_nobody_uses_keeps_nothing(hub: Hub) -> None:
    async def none(id: str) -> None:
        raise HTTPException(404, "no such board")

    declare(hub, "board:{id}", history=5, snapshot=none)
    for n in range(50):
        await hub.history(f"room:{n}", limit=10)
        with pytest.raises(Refused):
            await Peer(hub).enter(f"board:{n}")
    await settle()
    assert isinstance(hub.engine, MemoryEngine)
    assert len(hub.engine._streams) == 0


# -- over HTTP --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site() -> Iterator[TestClient]:
    house = House()
    with TestClient(house.app) as client:
        assert client.portal is not None
        for n in (1, 2, 3):
            client.portal.call(house.hub.publish, "room:1", "said", {"n": n})
        client.portal.call(house.hub.publish, "vault:1", None, "secret")
        client.portal.call(house.hub.publish, "quiet:1", "m", {})
        yield client


def read(site: TestClient, channel: str, by: str | None = None, **asked: Any) -> Any:
    headers = {"Authorization": f"Bearer {by or token()}"}
    return site.get(f"/rt/api/v1/channels/{channel}/history", params=asked, headers=headers)


def test_history_over_http(site: TestClient) -> None:
    page = read(site, "room:1", limit=2).json()
    assert (page["channel"], page["offset"]) == ("room:1", 3)
    first = page["publications"][0]
    assert first.pop("timestamp").endswith("Z")
    assert first == {
        "offset": 1, "type": "said", "data": {"n": 1}, "source": None, "key": None, "tags": None,
    }  # fmt: skip
    rest = read(site, "room:1", since=f"{page['epoch']}:2").json()["publications"]
    assert [publication["data"] for publication in rest] == [{"n": 3}]
    newest = read(site, "room:1", reverse=True, limit=1).json()["publications"]
    assert [publication["offset"] for publication in newest] == [3]
    assert read(site, "room:1", limit=0).json()["publications"] == []


@pytest.mark.parametrize(
    ("channel", "asked", "status", "code"),
    [
        ("room:1", {"since": "old:1"}, 409, "unrecoverable"),
        ("room:1", {"since": "nonsense"}, 422, "invalid_fields"),
        ("room:1", {"limit": 301}, 422, "invalid_fields"),
        ("room:1", {"limit": -1}, 422, "invalid_fields"),
        ("room:x", {}, 422, "invalid_fields"),
        ("room:403", {}, 403, "permission_denied"),
        ("quiet:1", {}, 404, "not_found"),
        ("nowhere", {}, 404, "unknown_channel"),
        ("no name", {}, 422, "invalid_fields"),
    ],
)
def test_what_cannot_be_read(
    site: TestClient, channel: str, asked: dict[str, Any], status: int, code: str
) -> None:
    answer = read(site, channel, **asked)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


def test_who_may_read(site: TestClient) -> None:
    assert site.get("/rt/api/v1/channels/room:1/history").status_code == 401
    may, may_not = 404, 403  # nothing is kept there, which only those hear who may read it
    assert read(site, "vault:1", token("anna")).status_code == may
    assert read(site, "vault:1", token("eve")).status_code == may_not
    assert read(site, "vault:1", token("eve", channels=["vault:*"])).status_code == may
    assert read(site, "vault:1", token("eve", channels=["vault:2"])).status_code == may_not
