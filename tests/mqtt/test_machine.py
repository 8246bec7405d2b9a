"""Sessions against a model: whatever connections do, what was promised arrives, in order, in time.

QoS 1 at least once, QoS 2 exactly once; nothing once it has expired; never more than the window;
and every byte that was counted is given back.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cardume.hub.rejects import Rejects
from cardume.mqtt.broker import Broker
from cardume.mqtt.codec.decoder import Decoder
from cardume.mqtt.codec.packets import (
    LEVEL,
    LEVEL_5,
    Packet,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Subscribe,
)
from cardume.mqtt.limits import Limits
from cardume.mqtt.sessions.message import NEVER, Message
from cardume.mqtt.sessions.outlet import Terms
from cardume.mqtt.sessions.session import Session
from cardume.testing import FakeClock
from tests.mqtt.conftest import Device

FILTERS = ("a", "b", "+")
TOPICS = ("a", "b")


@dataclass
class Owed:
    """A message of QoS 1 or 2 that a session accepted."""

    payload: bytes
    qos: int
    expires: float


class Line:
    """A connection in memory."""

    def __init__(self, phone: Phone, terms: Terms) -> None:
        self.terms = terms
        self.choked = False
        self.open: set[int] = set()
        """Publishes that came over it and are not answered for good (5.0 §4.9)."""
        self._phone = phone
        self._decoder = Decoder(1 << 20, level=terms.level)

    def send(self, data: bytes) -> None:
        assert not self.choked
        for packet in self._decoder.feed(data):
            self._phone.hear(packet)

    def end(self, reason: str) -> None:
        assert reason == "takeover"
        self._phone.hang_up()


@dataclass(eq=False)
class Phone:
    """A client: what it knows survives its connections, its answers under way do not."""

    name: str
    broker: Broker
    clock: FakeClock
    line: Line | None = None
    session: Session | None = None
    got: list[tuple[bytes, int, float]] = field(default_factory=list)
    """First receptions: payload, QoS, when."""
    known: set[int] = field(default_factory=set)
    answers: list[Packet] = field(default_factory=list)
    owed: list[Owed] = field(default_factory=list)
    ends: float = NEVER

    def hear(self, packet: Packet) -> None:
        if isinstance(packet, Publish) and packet.qos and self.line is not None:
            self.line.open.add(packet.packet_id)
        match packet:
            case Publish(_, payload, 1, _, dup, packet_id):
                if not (dup and any(payload == known for known, _, _ in self.got)):
                    self.got.append((payload, 1, self.clock.monotonic()))
                self.answers.append(Puback(packet_id))
            case Publish(_, payload, 2, _, _, packet_id):
                if packet_id not in self.known:
                    self.known.add(packet_id)
                    self.got.append((payload, 2, self.clock.monotonic()))
                self.answers.append(Pubrec(packet_id))
            case Pubrel(packet_id):
                self.known.discard(packet_id)
                self.answers.append(Pubcomp(packet_id))
            case Publish():
                pass
            case _:
                raise AssertionError(packet)

    def answer(self, place: int) -> None:
        assert self.session is not None
        assert self.line is not None
        answer = self.answers.pop(place % len(self.answers))
        if isinstance(answer, Puback | Pubcomp):
            self.line.open.discard(answer.packet_id)
        match answer:
            case Puback(packet_id):
                self.session.acknowledge(packet_id)
            case Pubrec(packet_id):
                if self.session.acknowledge(packet_id, 2) or self.session.awaits_completion(
                    packet_id
                ):
                    self.hear(Pubrel(packet_id))
            case Pubcomp(packet_id):
                self.session.complete(packet_id)

    def remembers(self) -> bool:
        """Whether the broker must remember it."""
        return self.session is not None and self.ends > self.clock.monotonic()

    def dial(self, terms: Terms, *, clean: bool, expiry: int) -> None:
        expected = self.remembers() and not clean
        if not expected:
            self.forget()
        old, line = self.line, Line(self, terms)
        self.answers.clear()
        session, present = self.broker.attach(
            line, Device("service"), self.name, clean=clean, expiry=expiry
        )
        assert present is expected
        assert old is None or self.line is None, "a takeover ends the old connection"
        self.line, self.session, self.ends = line, session, NEVER
        session.pump()

    def hang_up(self) -> None:
        assert self.session is not None
        self.broker.detach(self.session)
        self.line = None
        self.answers.clear()
        self.ends = self.clock.monotonic() + self.session.expiry

    def forget(self) -> None:
        """Its session has ended: nothing is owed to it any more."""
        self.known.clear()
        self.got.clear()
        self.owed.clear()


class Sessions(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        limits = Limits(window=3, session_messages=10_000)
        rejects = Rejects(logging.getLogger("test"), self.clock)
        self.broker = Broker(limits, rejects, self.clock)
        self.phones = [Phone(name, self.broker, self.clock) for name in "12"]
        self.count = 0

    @initialize()
    def begin(self) -> None:
        """Most is to be seen with clients that are here and listen."""
        for who in (0, 1):
            self.connect(who, True, 600, LEVEL_5, 3)
            self.subscribe(who, "+", 2)

    phones_ = st.integers(0, 1)

    @rule(
        who=phones_,
        clean=st.booleans(),
        expiry=st.sampled_from([0, 60, 600]),
        level=st.sampled_from([LEVEL, LEVEL_5]),
        window=st.integers(1, 3),
    )
    def connect(self, who: int, clean: bool, expiry: int, level: int, window: int) -> None:
        phone = self.phones[who]
        if phone.line is not None and phone.session is not None:
            # A takeover: the session outlives the old connection if it is a lasting one.
            phone.ends = NEVER if phone.session.expiry else self.clock.monotonic()
        phone.dial(Terms(level, window), clean=clean, expiry=expiry)

    @rule(who=phones_)
    def drop(self, who: int) -> None:
        if self.phones[who].line is not None:
            self.phones[who].hang_up()

    @rule(who=phones_, name=st.sampled_from(FILTERS), qos=st.integers(0, 2))
    def subscribe(self, who: int, name: str, qos: int) -> None:
        phone = self.phones[who]
        if phone.line is not None and phone.session is not None:
            packet = Subscribe(1, ((name, qos),))
            codes = self.broker.subscriptions.subscribe(phone.session, Device("service"), packet)
            assert codes == (qos,)

    @rule(who=phones_, name=st.sampled_from(FILTERS))
    def unsubscribe(self, who: int, name: str) -> None:
        phone = self.phones[who]
        if phone.line is not None and phone.session is not None:
            self.broker.subscriptions.unsubscribe(phone.session, (name,))

    @rule(
        topic=st.sampled_from(TOPICS),
        qos=st.sampled_from([2, 1, 0]),
        expiry=st.sampled_from([None, 30, 90]),
        times=st.integers(1, 4),
    )
    def publish(self, topic: str, qos: int, expiry: int | None, times: int) -> None:
        for _ in range(times):
            self._publish(topic, qos, expiry)

    def _publish(self, topic: str, qos: int, expiry: int | None) -> None:
        self.count += 1
        payload = b"%d" % self.count
        expires = NEVER if expiry is None else self.clock.monotonic() + expiry
        for phone in self.phones:
            session = phone.session
            if session is not None and (phone.line is not None or phone.remembers()):
                grants = [
                    grant & 3
                    for name, grant in session.subscriptions.items()
                    if name in (topic, "+")
                ]
                if grants and (granted := min(qos, max(grants))):
                    phone.owed.append(Owed(payload, granted, expires))
        self.broker.publish(Message(topic, payload, qos, expires=expires))

    @rule(who=phones_, place=st.integers(0, 5), times=st.integers(1, 4))
    def answer(self, who: int, place: int, times: int) -> None:
        phone = self.phones[who]
        for _ in range(times):
            if phone.line is not None and phone.answers:
                phone.answer(place)

    @rule(who=phones_, choked=st.booleans())
    def choke(self, who: int, choked: bool) -> None:
        phone = self.phones[who]
        if phone.line is not None and phone.session is not None:
            phone.line.choked = choked
            phone.session.pump()

    @rule(seconds=st.sampled_from([1, 20, 61, 600]))
    def wait(self, seconds: int) -> None:
        asyncio.run(self.clock.advance(seconds))

    @invariant()
    def the_window_holds(self) -> None:
        for phone in self.phones:
            if phone.line is not None:
                assert len(phone.line.open) <= phone.line.terms.window

    @invariant()
    def only_the_remembered_are_parked(self) -> None:
        away = [phone for phone in self.phones if phone.line is None and phone.remembers()]
        assert self.broker.parked == len(away)

    def teardown(self) -> None:
        for phone in self.phones:
            if phone.line is not None or phone.remembers():
                self._settle(phone)
                phone.dial(Terms(), clean=True, expiry=0)
                phone.hang_up()
        assert self.broker._depot.room.used == 0
        assert not self.broker.subscriptions.match("a")

    def _settle(self, phone: Phone) -> None:
        """It comes back, reads and answers everything."""
        if phone.line is None:
            phone.dial(Terms(LEVEL_5, 2), clean=False, expiry=600)
        assert phone.line is not None
        assert phone.session is not None
        phone.line.choked = False
        phone.session.pump()
        while phone.answers:
            phone.answer(0)
        assert not phone.known
        now = self.clock.monotonic()
        first: dict[bytes, float] = {}
        for payload, qos, at in phone.got:
            assert qos == 1 or payload not in first, "exactly once"
            first.setdefault(payload, at)
        for owed in phone.owed:
            assert owed.payload in first or owed.expires <= now, "lost"
            assert first.get(owed.payload, 0.0) < owed.expires, "too late"
        order = [int(payload) for payload in first]
        assert order == sorted(order)


TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
