from __future__ import annotations

import asyncio
import logging

import pytest

from cardume.hub.rejects import Rejects
from cardume.mqtt.codec.decoder import Decoder
from cardume.mqtt.codec.packets import Publish
from cardume.mqtt.limits import Limits
from cardume.mqtt.retained import Retained
from cardume.mqtt.sessions.depot import Depot
from cardume.mqtt.sessions.frames import Frames
from cardume.mqtt.sessions.message import Message, Quota
from cardume.mqtt.sessions.outlet import Terms
from cardume.mqtt.sessions.session import Session
from cardume.testing import FakeClock


class Tape:
    """An outlet that keeps what was sent."""

    def __init__(self) -> None:
        self.choked = False
        self.terms = Terms(window=3)
        self.sent: list[Publish] = []
        self._decoder = Decoder(1 << 20)

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
    clock = FakeClock()
    return Depot(limits, rejects, Retained(10, 10_000, clock), Quota(20_000), clock)


@pytest.fixture
def session(depot: Depot) -> Session:
    return Session("tank", "c", depot=depot, expiry=60)


def deliver(session: Session, message: Message) -> None:
    """To a subscription at QoS 1."""
    session.deliver(Frames(message, FakeClock()), 1)


def message(number: int) -> Message:
    return Message("t", b"%d" % number, 1)


def test_the_window_opens_with_acknowledgements(session: Session, depot: Depot) -> None:
    tape = Tape()
    session.attach(tape)
    for number in range(8):
        deliver(session, message(number))
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
    deliver(session, message(0))
    deliver(session, message(1))
    session.acknowledge(first.sent[0].packet_id)
    session.detach()
    deliver(session, message(2))
    session.attach(second)
    session.pump()
    assert [(p.payload, p.dup) for p in second.sent] == [(b"1", True), (b"2", False)]
    assert second.sent[0].packet_id == first.sent[1].packet_id


def test_the_queue_is_bounded_and_counted(session: Session, depot: Depot) -> None:
    for number in range(7):
        deliver(session, message(number))
    assert depot.rejects.counts == {"session_queue_full": 2}
    session.discard()
    assert depot.room.used == 0
    deliver(session, Message("t", bytes(20_000), 1))
    assert depot.rejects.counts == {"session_queue_full": 3}


def test_all_sessions_share_one_bound(depot: Depot) -> None:
    depot.room.limit = 500
    for name in "ab":
        session = Session(name, name, depot=depot, expiry=60)
        deliver(session, Message("t", bytes(300), 1))
    assert depot.rejects.counts == {"session_queue_full": 1}


def test_a_choked_outlet_gets_no_more(session: Session, depot: Depot) -> None:
    tape = Tape()
    session.attach(tape)
    tape.choked = True
    deliver(session, message(0))
    assert tape.sent == []
    tape.choked = False
    session.pump()
    assert tape.payloads == [b"0"]
    session.detach()
    deliver(session, Message("t", b"live"))
    assert depot.rejects.counts == {"qos0_while_away": 1}


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


def test_qos_0_makes_room_the_oldest_first_and_then_newcomers_have_to_go(
    session: Session, depot: Depot
) -> None:
    tape = Tape()
    session.attach(tape)
    tape.choked = True
    for number in range(3):
        deliver(session, Message("t", b"zero %d" % number))
    for number in range(4):
        deliver(session, message(number))
    assert depot.rejects.counts == {"qos0_slow_reader": 2}
    deliver(session, Message("t", b"zero 3"))  # takes the place of the last one
    deliver(session, message(4))
    deliver(session, message(5))
    assert depot.rejects.counts == {"qos0_slow_reader": 4, "session_queue_full": 1}
    tape.choked = False
    session.pump()
    assert tape.payloads == [b"0", b"1", b"2"]  # as many as the window takes
    session.acknowledge(1)
    assert tape.payloads[3:] == [b"3"]


def test_qos_0_does_not_wait_for_a_full_window(session: Session) -> None:
    tape = Tape()
    session.attach(tape)
    for number in range(4):
        deliver(session, message(number))
    deliver(session, Message("t", b"zero"))
    tape.choked = True
    deliver(session, Message("t", b"later"))
    tape.choked = False
    session.pump()
    assert tape.payloads == [b"0", b"1", b"2", b"zero", b"later"]


def test_what_waits_at_qos_0_does_not_wait_for_a_client_that_left(
    session: Session, depot: Depot
) -> None:
    tape = Tape()
    session.attach(tape)
    tape.choked = True
    deliver(session, Message("t", b"zero"))
    deliver(session, message(1))
    session.detach()
    assert depot.rejects.counts == {"qos0_while_away": 1}
    session.attach(again := Tape())
    session.pump()
    assert again.payloads == [b"1"]
    session.acknowledge(1)
    assert depot.room.used == 0


def test_what_expired_makes_room(session: Session, depot: Depot) -> None:
    clock = depot.clock
    assert isinstance(clock, FakeClock)
    for number in range(5):
        deliver(session, Message("t", b"%d" % number, 1, expires=clock.monotonic() + number + 1))
    asyncio.run(clock.advance(2))
    deliver(session, message(5))
    assert depot.rejects.counts == {"message_expired": 2}
    session.attach(tape := Tape())
    session.pump()
    assert tape.payloads == [b"2", b"3", b"4"]
    session.discard()
    assert depot.room.used == 0


def test_what_is_answered_late_is_not_sent_again(session: Session) -> None:
    session.attach(first := Tape())
    for number in range(3):
        deliver(session, message(number))
    session.detach()
    session.attach(second := Tape())
    session.acknowledge(first.sent[1].packet_id)
    session.pump()
    assert [packet.payload for packet in second.sent] == [b"0", b"2"]
