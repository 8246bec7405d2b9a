"""One frame for all who missed the same, and never somebody else's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cardume.hub.hub import Hub
from cardume.hub.outbox import Frame
from cardume.hub.replayed import MAX_REPLAYED, Replayed
from cardume.testing import FakeClock
from cardume.wire.messages import Publication
from tests.support.peers import Nobody, Peer, declare


def a_publication(offset: int) -> Publication:
    return Publication(data=b"{}", time=0.0, offset=offset)


def test_a_frame_is_kept_for_the_publication_it_was_made_of() -> None:
    replayed, publication = Replayed(), a_publication(7)
    assert replayed.get(publication) is None
    frame = Frame(b"seven")
    replayed.put(publication, frame)
    assert replayed.get(publication) is frame


def test_the_same_offset_of_another_epoch_is_another_publication() -> None:
    replayed = Replayed()
    replayed.put(a_publication(7), Frame(b"before the restart"))
    assert replayed.get(a_publication(7)) is None


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, MAX_REPLAYED + 10)), max_size=30))
def test_it_never_holds_more_than_its_bound(told: list[tuple[int, int]]) -> None:
    replayed = Replayed()
    held: list[tuple[Publication, Frame]] = []
    for offset, size in told:
        publication, frame = a_publication(offset), Frame(bytes(size))
        replayed.put(publication, frame)
        held.append((publication, frame))
    found = [frame for publication, frame in held if replayed.get(publication) is frame]
    assert len(found) == len(replayed)
    assert sum(map(len, found)) <= MAX_REPLAYED


def queued(peer: Peer) -> list[Frame]:
    outbox, frames = peer.connection.outbox, []
    while (frame := outbox.take()) is not None:
        frames.append(frame)
    return frames


async def test_all_who_come_back_get_the_very_same_frames() -> None:
    hub = Hub(auth=Nobody(), clock=FakeClock())
    declare(hub, "board:{id}", history=10)
    async with hub:
        since = await hub.publish("board:1", "m", {"id": 0})
        for id in range(1, 4):
            await hub.publish("board:1", "m", {"id": id})
        peers = [Peer(hub, stalled=True) for _ in range(2)]
        for peer in peers:
            await peer.enter("board:1", since)
        first, second = map(queued, peers)
        assert len(first) == 4  # `connected`, and the three that were missed
        assert first[0] is not second[0]
        assert all(one is other for one, other in zip(first[1:], second[1:], strict=True))


async def test_a_filter_applies_to_shared_frames_too() -> None:
    hub = Hub(auth=Nobody(), clock=FakeClock())
    declare(hub, "board:{id}", history=10)
    async with hub:
        since = await hub.publish("board:1", "m", {"id": 0})
        await hub.publish("board:1", "m", {"id": 1})
        await hub.publish("board:1", "n", {"id": 2})
        everything, some = Peer(hub), Peer(hub)
        await everything.enter("board:1", since)
        await some.enter("board:1", since, frozenset({"n"}))
        assert [frame["type"] for frame in everything.frames] == ["connected", "m", "n"]
        assert [frame["type"] for frame in some.frames] == ["connected", "n"]
