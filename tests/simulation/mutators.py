"""Lies about a good history, each with the invariant that has to notice it.

A mutator changes a copy in place and says whether it found something to lie about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import NamedTuple

from cardume.wire.messages import Position
from tests.simulation.history import (
    Attempt,
    Event,
    History,
    Outcome,
    Saw,
    Session,
    Told,
    Wants,
)
from tests.simulation.ledger import Ledger, wants_of

Lie = Callable[[History, Random], bool]

NOBODY = 999_999
"""A message that nobody published."""


class Mutator(NamedTuple):
    name: str
    invariant: str
    lie: Lie


def copy_of(history: History) -> History:
    """A history that may be changed without harm to the first."""
    return replace(
        history,
        attempts=[replace(attempt) for attempt in history.attempts],
        sessions=[replace(session, events=list(session.events)) for session in history.sessions],
        pages=list(history.pages),
        tops=dict(history.tops),
        faults=list(history.faults),
    )


# -- where there is something to lie about --------------------------------------------------------


def _seen(history: History, random: Random) -> list[tuple[Session, int]]:
    """Sightings of what was accepted, none of which may be left out."""
    ledger = Ledger(history)
    accepted = {attempt.message.id for attempt in _ok(history, random)}
    found = [
        (session, index)
        for session in history.sessions
        if session.position and not history.rules[session.channel].conflates
        for index, event in enumerate(session.events)
        if isinstance(event, Saw) and event.id in accepted and _needed(ledger, session, event)
    ]
    random.shuffle(found)
    return found


def _needed(ledger: Ledger, session: Session, event: Saw) -> bool:
    assert session.position is not None
    return not ledger.excuses(
        session, Position(session.position.epoch, event.offset), wants_of(session)
    )


def _saw(session: Session, index: int) -> bool:
    return 0 <= index < len(session.events) and isinstance(session.events[index], Saw)


def _ok(history: History, random: Random) -> list[Attempt]:
    found = [a for a in history.attempts if a.outcome is Outcome.OK and a.position]
    random.shuffle(found)
    return found


def _told(history: History, random: Random) -> list[tuple[Session, int, Told]]:
    found = [
        (session, index, event)
        for session in history.sessions
        for index, event in enumerate(session.events)
        if isinstance(event, Told) and event.position
    ]
    random.shuffle(found)
    return found


def _put(session: Session, index: int, event: Event) -> bool:
    session.events[index] = event
    return True


# -- what a subscriber saw ------------------------------------------------------------------------


def _drop(history: History, random: Random) -> bool:
    for session, index in _seen(history, random):
        if _saw(session, index - 1) and _saw(session, index + 1):
            del session.events[index]
            return True
    return False


def _double(history: History, random: Random) -> bool:
    for session, index in _seen(history, random):
        session.events.insert(index, session.events[index])
        return True
    return False


def _swap(history: History, random: Random) -> bool:
    for session, index in _seen(history, random):
        if _saw(session, index + 1):
            events = session.events
            events[index], events[index + 1] = events[index + 1], events[index]
            return True
    return False


def _partial_replay(history: History, random: Random) -> bool:
    for session, index in _seen(history, random):
        before = session.events[index - 1]
        if isinstance(before, Told) and before.recovered and _saw(session, index + 1):
            del session.events[index]
            return True
    return False


def _false_recovered(history: History, random: Random) -> bool:
    for session, index, told in _told(history, random):
        if session.since not in (None, told.position) and not told.recovered:
            return _put(session, index, told._replace(recovered=True))
    return False


def _lazy(history: History, random: Random) -> bool:
    for session, index, told in _told(history, random):
        if told.recovered:
            return _put(session, index, told._replace(recovered=False))
    return False


def _stale_replay(history: History, random: Random) -> bool:
    """Of what was before the beginning, for somebody who was told to start over."""
    for session, index, told in _told(history, random):
        if not told.recovered and told.position.offset:
            event = Saw(told.at, told.position.offset, 0, session.channel)
            session.events.insert(index + 1, event)
            return True
    return False


def _swallow(history: History, random: Random) -> bool:
    """An accepted publish disappears, for everybody."""
    for session, index in _seen(history, random):
        event = session.events[index]
        assert isinstance(event, Saw)
        if len(wants_of(session)) > 1:
            continue
        if not (_saw(session, index - 1) and _saw(session, index + 1)):
            continue
        for other in history.sessions:
            other.events = [e for e in other.events if not isinstance(e, Saw) or e.id != event.id]
        return True
    return False


def _stall(history: History, random: Random) -> bool:
    for session, index in _seen(history, random):
        if session.live and not any(isinstance(e, Saw) for e in session.events[index + 1 :]):
            session.events = session.events[:index]
            return True
    return False


def _phantom(history: History, random: Random) -> bool:
    for session, index in _seen(history, random):
        event = session.events[index]
        assert isinstance(event, Saw)
        return _put(session, index, event._replace(id=NOBODY))
    return False


def _foreign(history: History, random: Random) -> bool:
    for session, index in _seen(history, random):
        event = session.events[index]
        assert isinstance(event, Saw)
        other = [a.message for a in history.attempts if a.message.channel != session.channel]
        if other:
            secret = random.choice(other)
            return _put(session, index, event._replace(id=secret.id, place=secret.channel))
    return False


def _unasked(history: History, random: Random) -> bool:
    for session, index in _seen(history, random):
        event = session.events[index]
        if len(wants_of(session)) == 1 and isinstance(event, Saw):
            session.wants = Wants(frozenset({"another"}))
            return True
    return False


def _too_early(history: History, random: Random) -> bool:
    for session, index in _seen(history, random):
        event = session.events[index]
        assert isinstance(event, Saw)
        return _put(session, index, event._replace(at=0))
    return False


def _snapshot(history: History, random: Random) -> bool:
    loose = Ledger(history).loose.values()
    unsure = {message.key for messages in loose for message in messages.values()}
    for session, index, told in _told(history, random):
        certain = [key for key in told.keys or () if key not in unsure]
        if certain and (session.channel, told.position) not in history.removals:
            keys = {**(told.keys or {}), random.choice(certain): NOBODY}
            return _put(session, index, told._replace(keys=keys))
    return False


def _page(history: History, random: Random) -> bool:
    for number, page in enumerate(history.pages):
        if len(page.items) > 2:
            items = (page.items[0], *page.items[2:])
            history.pages[number] = page._replace(items=items)
            return True
    return False


# -- what a publisher was told --------------------------------------------------------------------


def _reuse(history: History, random: Random) -> bool:
    accepted = _ok(history, random)
    for one, other in pairwise(accepted):
        same = one.message.channel == other.message.channel
        if same and one.position != other.position and one.message.id != other.message.id:
            one.position = other.position
            return True
    return False


def _wrong_epoch(history: History, random: Random) -> bool:
    ledger = Ledger(history)
    for attempt in _ok(history, random):
        assert attempt.position is not None
        if attempt.position.offset - 1 > len(ledger.loose[attempt.message.channel]):
            attempt.position = Position("elsewhere", attempt.position.offset)
            return True
    return False


def _refused_and_seen(history: History, random: Random) -> bool:
    for session, index in _seen(history, random):
        event = session.events[index]
        assert isinstance(event, Saw)
        for attempt in history.attempts:
            if attempt.message.id == event.id:
                attempt.outcome = Outcome.REFUSED
        return True
    return False


def _late_order(history: History, random: Random) -> bool:
    for one in _ok(history, random):
        for other in _ok(history, random):
            assert one.position is not None
            assert other.position is not None
            if (
                one.message.channel == other.message.channel
                and one.position.epoch == other.position.epoch
                and one.idempotency_key is None
                and other.idempotency_key is None
                and (one.ended or 0) < other.began
            ):
                for session in history.sessions:  # nobody saw who could tell
                    if session.channel == one.message.channel:
                        session.events.clear()
                one.position, other.position = other.position, one.position
                return True
    return False


def _accepted_twice(history: History, random: Random) -> bool:
    for one in _ok(history, random):
        for other in _ok(history, random):
            same = (one.message.channel, one.life) == (other.message.channel, other.life)
            if same and one.position != other.position and abs(other.done - one.done) < 100:
                one.idempotency_key = other.idempotency_key = "once"
                return True
    return False


def _false_conflict(history: History, random: Random) -> bool:
    for attempt in _ok(history, random):
        if attempt.idempotency_key is None:
            attempt.idempotency_key, attempt.outcome = "mine alone", Outcome.CONFLICT
            return True
    return False


MUTATORS = (
    Mutator("drop", "I2", _drop),
    Mutator("double", "I2", _double),
    Mutator("swap", "I2", _swap),
    Mutator("stale replay", "I2", _stale_replay),
    Mutator("partial replay", "I3", _partial_replay),
    Mutator("false recovered", "I3", _false_recovered),
    Mutator("swallow", "I4", _swallow),
    Mutator("stall", "I7", _stall),
    Mutator("phantom", "I5", _phantom),
    Mutator("too early", "I5", _too_early),
    Mutator("refused and seen", "I5", _refused_and_seen),
    Mutator("foreign", "I8", _foreign),
    Mutator("unasked", "I8", _unasked),
    Mutator("lazy", "I10", _lazy),
    Mutator("snapshot", "I11", _snapshot),
    Mutator("page", "I12", _page),
    Mutator("offset reuse", "I1", _reuse),
    Mutator("wrong epoch", "I1", _wrong_epoch),
    Mutator("late order", "I6", _late_order),
    Mutator("accepted twice", "I9", _accepted_twice),
    Mutator("false conflict", "I9", _false_conflict),
)
