"""The invariants of what a subscriber sees: I2, I3, I4, I7, I8, I10 and I11."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from cardume.wire.messages import ENVELOPE, Position
from tests.simulation.history import (
    Attempt,
    Cursor,
    Narrowed,
    Outcome,
    Saw,
    Session,
    Told,
    Wants,
)
from tests.simulation.ledger import Ledger, wants_of

BESIDE = 64
"""At most what type, key and tags of a message of ours weigh."""


class Gap(NamedTuple):
    """Something that should be there and is not."""

    session: Session
    position: Position
    first: bool
    """Whether it lies between the session's beginning and the first it saw."""

    def __str__(self) -> str:
        return f"{_who(self.session)} was never told {self.position}"


def walk(ledger: Ledger, session: Session, until: Position | None = None) -> Iterator[Gap | str]:
    """The gaps of a session, and in words what came twice or too late.

    With `until` it has to have come that far.
    """
    epoch, offset, saw = "", 0, False
    current = session.wants
    wants = [current]  # what held since the last sighting
    for event in session.events:
        if isinstance(event, Told):
            epoch, offset = event.position.epoch, event.position.offset
        elif isinstance(event, Narrowed):
            current = event.wants
            wants.append(current)
        elif isinstance(event, Saw | Cursor):
            if not epoch:
                yield f"{_who(session)} was told something before it was let in"
                return
            if event.offset < offset + isinstance(event, Saw):
                yield f"{_who(session)} was at {epoch}:{offset}, then came {event.offset}"
            # One gap is told once, however wide it is.
            for missing in range(offset + 1, event.offset + isinstance(event, Cursor)):
                if not ledger.excuses(session, Position(epoch, missing), wants):
                    yield Gap(session, Position(epoch, missing), not saw)
                    break
            offset, saw, wants = max(offset, event.offset), True, [current]
    if until is not None:
        for missing in range(offset + 1, until.offset + 1):
            if not ledger.excuses(session, Position(until.epoch, missing), wants):
                yield Gap(session, Position(until.epoch, missing), not saw)
                break


def in_order(ledger: Ledger) -> Iterator[str]:
    """I2: within a session the next offset follows, unless a filter kept something out."""
    for session in ledger.history.sessions:
        if ledger.history.rules[session.channel].history:
            for found in walk(ledger, session):
                if isinstance(found, str) or not (found.first and _recovered(session)):
                    yield str(found)
        else:
            ids = [event.id for event in session.events if isinstance(event, Saw)]
            yield from (
                f"{_who(session)} saw message {id} twice" for id in set(ids) if ids.count(id) > 1
            )


def resumed(ledger: Ledger) -> Iterator[str]:
    """I3: `recovered` is said of the place that was asked for, and all that was missed follows."""
    for session in ledger.history.sessions:
        told = session.told
        if told is None or not told.recovered:
            continue
        if session.since is None or not _follows(ledger, session, session.since, told.position):
            yield f"{_who(session)} asked for {session.since} and recovered {told.position}"
        for found in walk(ledger, session):
            if isinstance(found, Gap) and found.first:
                yield f"after recovered: {found}"


def _follows(ledger: Ledger, session: Session, since: Position, told: Position) -> bool:
    """Whether `told` is `since`, or beyond it by no more than the session's filter keeps out."""
    if told.epoch != since.epoch or told.offset < since.offset:
        return False
    between = (Position(told.epoch, n) for n in range(since.offset + 1, told.offset + 1))
    return all(ledger.excuses(session, place, [session.wants]) for place in between)


def complete(ledger: Ledger) -> Iterator[str]:
    """I4: what was accepted between the first and the last that a session saw, it saw."""
    accepted: dict[tuple[str, str], list[Attempt]] = {}
    for attempt in ledger.history.attempts:
        if attempt.outcome is Outcome.OK and attempt.position and not attempt.message.removes:
            place = (attempt.message.channel, attempt.position.epoch)
            accepted.setdefault(place, []).append(attempt)
    for session in ledger.history.sessions:
        told, last = session.told, session.position
        if told is None or last is None:
            continue
        seen = {event.id for event in session.events if isinstance(event, Saw)}
        wants = wants_of(session)
        for attempt in accepted.get((session.channel, last.epoch), []):
            position = attempt.position
            assert position is not None
            if (
                told.position.offset < position.offset <= last.offset
                and attempt.message.id not in seen
                and not ledger.excuses(session, position, wants)
            ):
                yield f"{_who(session)} passed {position} without message {attempt.message.id}"


def caught_up(ledger: Ledger) -> Iterator[str]:
    """I7: when all is well again, whoever is there is at the top."""
    for session in ledger.history.sessions:
        top = ledger.history.tops.get(session.channel)
        if not session.live or top is None:
            continue
        told = session.told
        if told is None or told.position.epoch != top.epoch:
            yield f"{_who(session)} is in another epoch than {top}"
            continue
        for found in walk(ledger, session, top):
            if isinstance(found, Gap):
                yield f"at the end, top {top}: {found}"


def own(ledger: Ledger) -> Iterator[str]:
    """I8: nobody is told of another channel, nor what its filter keeps out."""
    for session in ledger.history.sessions:
        current = session.wants
        wants = [current]
        for event in session.events:
            if isinstance(event, Narrowed):
                current = event.wants
                wants.append(current)
            if not isinstance(event, Saw):
                continue
            message = ledger.messages.get(event.id)
            if event.id and event.place != session.channel:
                yield f"{_who(session)} saw a message of {event.place}"
            if message is not None and not _any_passes(wants, message.id, ledger):
                yield f"{_who(session)} saw message {message.id}, which it did not ask for"
            wants = [current]


def not_lazy(ledger: Ledger) -> Iterator[str]:
    """I10: `recovered: false` is said only where history does not hold all that was missed."""
    for session in ledger.history.sessions:
        told, since = session.told, session.since
        if told is None or since is None or told.recovered or since.epoch != told.position.epoch:
            continue
        if since.offset <= told.position.offset and _holds(ledger, session, since, told):
            yield f"{_who(session)} was at {since} of {told.position}, and history held it all"


def _holds(ledger: Ledger, session: Session, since: Position, told: Told) -> bool:
    """Whether history held everything for sure; what nobody knows of might have been too large."""
    history, rule = ledger.history, ledger.history.rules[session.channel]
    missed = told.position.offset - since.offset
    if missed > min(rule.history, history.replay_limit):
        return False
    if ledger.removed(session.channel, since.epoch, told.position.offset) > since.offset:
        return False
    octets = 0
    oldest = told.clock
    when = {a.message.id: a.clock for a in reversed(history.attempts)}
    for offset in range(since.offset + 1, told.position.offset + 1):
        message = ledger.message_at(session.channel, since.epoch, offset)
        if message is None:
            return False
        octets += message.size
        oldest = min(oldest, when[message.id])
    octets += (ENVELOPE + BESIDE) * missed
    return octets <= min(rule.octets, history.replay_octets) and oldest >= told.clock - rule.ttl


def snapshots(ledger: Ledger) -> Iterator[str]:
    """I11: the snapshot of a keyed channel is the latest of each key at its position."""
    for session in ledger.history.sessions:
        told = session.told
        if told is None or told.keys is None:
            continue
        channel, position = session.channel, told.position
        if (channel, position) in ledger.history.removals:
            continue  # read before it was emptied, or after
        unsure = {message.key for message in ledger.loose[channel].values()}
        for key in {*told.keys, *ledger.keys(channel, position.epoch)} - unsure:
            latest = ledger.latest(channel, position.epoch, key, position.offset)
            expected = 0 if latest is None or latest.removes else latest.id
            if told.keys.get(key, 0) != expected:
                said = f"{key}: message {told.keys.get(key)}, not {expected}"
                yield f"{_who(session)} got at {position} {said}"


def _who(session: Session) -> str:
    return f"{session.client} on {session.channel}"


def _recovered(session: Session) -> bool:
    return session.told is not None and session.told.recovered


def _any_passes(wants: list[Wants], id: int, ledger: Ledger) -> bool:
    return any(one.passes(ledger.messages[id]) for one in wants)
