from __future__ import annotations

import logging

import pytest

from cardume.hub.rejects import Rejects
from cardume.mqtt.decoder import Decoder
from cardume.mqtt.limits import Limits
from cardume.mqtt.message import Message, Quota
from cardume.mqtt.packets import Publish, encode_publish
from cardume.mqtt.retained import Retained
from cardume.mqtt.sessions import Depot, Session
from cardume.testing import FakeClock


class Tape:
    """An outlet that keeps what was sent."""

    def __init__(self) -> None:
        self.choked = False
        self.room = 1 << 20
        self.sent: list[Publish] = []
        self._decoder = Decoder(1 << 20)

    def fits(self, size: int) -> bool:
        return size <= self.room

    def send(self, data: bytes) -> None:
        for packet in self._decoder.feed(data):
            assert isinstance(packet, Publish)
            self.sent.append(packet)

    def end(self, reason: str) -> None:
        raise AssertionError(reason)

    @property
    def payloads(self) -> list[bytes]:
        return [packet.payload for packet in self.sent]


@pytest.fixture
def depot() -> Depot:
    limits = Limits(window=3, session_messages=5, session_bytes=10_000)
    rejects = Rejects(logging.getLogger("test"), FakeClock())
    return Depot(limits, rejects, Retained(10, 10_000), Quota(20_000))


@pytest.fixture
def session(depot: Depot) -> Session:
    return Session("tank", "c", clean=False, depot=depot)


def message(number: int) -> Message:
    return Message("t", b"%d" % number, 1)


def test_the_window_opens_with_acknowledgements(session: Session, depot: Depot) -> None:
    tape = Tape()
    session.attach(tape)
    for number in range(8):
        session.queue(message(number))
    assert tape.payloads == [b"0", b"1", b"2"]
    session.acknowledge(99)
    session.acknowledge(tape.sent[1].packet_id)
    assert tape.payloads == [b"0", b"1", b"2", b"3"]
    for _ in range(9):
        for packet in list(tape.sent):
            session.acknowledge(packet.packet_id)
    assert tape.payloads == [b"%d" % n for n in range(8)]
    assert depot.room.used == 0


def test_what_was_not_acknowledged_comes_again_first(session: Session) -> None:
    first, second = Tape(), Tape()
    session.attach(first)
    session.queue(message(0))
    session.queue(message(1))
    session.acknowledge(first.sent[0].packet_id)
    session.detach()
    session.queue(message(2))
    session.attach(second)
    session.pump()
    assert [(p.payload, p.dup) for p in second.sent] == [(b"1", True), (b"2", False)]
    assert second.sent[0].packet_id == first.sent[1].packet_id


def test_the_queue_is_bounded_and_counted(session: Session, depot: Depot) -> None:
    for number in range(7):
        session.queue(message(number))
    assert depot.rejects.counts == {"session_queue_full": 2}
    session.discard()
    assert depot.room.used == 0
    session.queue(Message("t", bytes(20_000), 1))
    assert depot.rejects.counts == {"session_queue_full": 3}


def test_all_sessions_share_one_bound(depot: Depot) -> None:
    depot.room.limit = 500
    for name in "ab":
        Session(name, name, clean=False, depot=depot).queue(Message("t", bytes(300), 1))
    assert depot.rejects.counts == {"session_queue_full": 1}


def test_a_choked_outlet_gets_no_more(session: Session, depot: Depot) -> None:
    tape = Tape()
    session.attach(tape)
    tape.choked = True
    session.queue(message(0))
    assert tape.sent == []
    tape.choked = False
    session.pump()
    assert tape.payloads == [b"0"]
    frame = encode_publish(Publish("t", b"live"))
    tape.room = 0
    session.write(frame)
    session.detach()
    session.write(frame)
    assert depot.rejects.counts == {"qos0_slow_reader": 1, "qos0_while_away": 1}


def test_an_older_retained_message_never_follows_a_newer_live_one(
    session: Session, depot: Depot
) -> None:
    tape = Tape()
    session.attach(tape)
    depot.retained.keep(Message("t", b"old", 1))
    tape.choked = True
    session.owe([("t", 1)])
    depot.retained.keep(Message("t", b"new", 1))
    tape.choked = False
    session.pump()
    assert [(p.payload, p.retain, p.qos) for p in tape.sent] == [(b"new", True, 1)]


def test_retained_messages_respect_the_window(session: Session, depot: Depot) -> None:
    tape = Tape()
    session.attach(tape)
    for number in range(6):
        depot.retained.keep(Message(f"t{number}", b"x", 1))
    session.owe((f"t{number}", 1) for number in range(6))
    session.pump()
    assert len(tape.sent) == 3
    for packet in list(tape.sent):
        session.acknowledge(packet.packet_id)
    assert len(tape.sent) == 6
