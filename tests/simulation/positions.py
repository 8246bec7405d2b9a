"""The invariants of publishing: I1, I5, I6 and I9."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from tests.simulation.history import Attempt, History, Outcome, Saw
from tests.simulation.ledger import Ledger, Place, placings

WINDOW = 300.0
"""Seconds during which an idempotency key is remembered (docs/delivery.md, 5)."""


def one_to_one(ledger: Ledger) -> Iterator[str]:
    """I1: position and message belong to each other, and offsets are 1, 2, 3… without a hole."""
    history = ledger.history
    offsets: dict[tuple[str, str, int], int] = {}
    tops: defaultdict[tuple[str, str], int] = defaultdict(int)
    for (channel, epoch, offset), id in placings(history):
        first = ledger.at[channel, epoch, offset]
        if first != id:
            yield f"{channel} {epoch}:{offset} is message {first} and message {id}"
        known = offsets.setdefault((channel, epoch, id), offset)
        if known != offset:
            yield f"message {id} is at {channel} {epoch}:{known} and at {offset}"
        tops[channel, epoch] = max(tops[channel, epoch], offset)
    placed: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for channel, epoch, offset in ledger.at:
        placed[channel, epoch].add(offset)
    for (channel, epoch), top in tops.items():
        holes = top - len(placed[channel, epoch])
        if holes > len(ledger.loose[channel]):
            yield f"{channel} {epoch} has {holes} offsets up to {top} that nobody published"
    yield from _bodiless(ledger)


def _bodiless(ledger: Ledger) -> Iterator[str]:
    for session in ledger.history.sessions:
        epoch = "" if session.told is None else session.told.position.epoch
        for event in session.events:
            if not isinstance(event, Saw) or event.id or not epoch:
                continue
            message = ledger.message_at(session.channel, epoch, event.offset)
            if message is not None and not message.removes:
                place = f"{session.channel} {epoch}:{event.offset}"
                yield f"{place} is message {message.id} and a removal to {session.client}"


def published(ledger: Ledger) -> Iterator[str]:
    """I5: what was refused is never seen, nor what nobody said, nor anything before it was said."""
    attempts: defaultdict[int, list[Attempt]] = defaultdict(list)
    for attempt in ledger.history.attempts:
        attempts[attempt.message.id].append(attempt)
    for session in ledger.history.sessions:
        for event in session.events:
            if not isinstance(event, Saw) or not event.id:
                continue
            tried = attempts.get(event.id, [])
            if not tried:
                yield f"{session.client} saw message {event.id}, which nobody published"
            elif all(a.outcome in (Outcome.REFUSED, Outcome.CONFLICT) for a in tried):
                yield f"{session.client} saw message {event.id}, which was refused"
            elif min(a.began for a in tried) > event.at:
                yield f"{session.client} saw message {event.id} before it was published"


def real_time(ledger: Ledger) -> Iterator[str]:
    """I6: what was accepted before another was sent has the lower offset."""
    began: dict[Place, int] = {}
    ended: dict[Place, int] = {}
    for attempt in ledger.history.attempts:
        position = attempt.position
        if attempt.outcome is not Outcome.OK or not position or attempt.ended is None:
            continue
        place = (attempt.message.channel, position.epoch, position.offset)
        ended[place] = min(attempt.ended, ended.get(place, attempt.ended))
    first: dict[int, int] = {}
    for attempt in ledger.history.attempts:
        first.setdefault(attempt.message.id, attempt.began)
    for place, id in ledger.at.items():
        if id in first:
            began[place] = first[id]
    earliest: dict[tuple[str, str], tuple[int, Place]] = {}
    for place in sorted(began, key=lambda place: -place[2]):
        done, other = earliest.get(place[:2], (1 << 60, place))
        if done < began[place]:
            yield f"{_text(other)} was accepted before {_text(place)} was sent"
        if ended.get(place, 1 << 60) < done:
            earliest[place[:2]] = (ended[place], place)
    yield from _without_positions(ledger.history)


def _without_positions(history: History) -> Iterator[str]:
    """On channels without history, by what each client saw."""
    began: dict[int, int] = {}
    ended: dict[int, int] = {}
    for attempt in history.attempts:
        id = attempt.message.id
        began.setdefault(id, attempt.began)
        if attempt.outcome is Outcome.OK and attempt.ended is not None:
            ended.setdefault(id, attempt.ended)
    for session in history.sessions:
        if history.rules[session.channel].history:
            continue
        latest = 0
        for event in session.events:
            if not isinstance(event, Saw) or event.id not in began:
                continue
            if ended.get(event.id, latest) < latest:
                yield f"{session.client} saw message {event.id} after a later one"
            latest = max(latest, began[event.id])


def idempotent(ledger: Ledger) -> Iterator[str]:
    """I9: a key stands for one message and one position; another body with it is a conflict."""
    by_key: defaultdict[tuple[str, str, int], list[Attempt]] = defaultdict(list)
    for attempt in ledger.history.attempts:
        if attempt.idempotency_key is not None:
            named = (attempt.message.channel, attempt.idempotency_key, attempt.life)
            by_key[named].append(attempt)
    for (channel, key, _), attempts in by_key.items():
        accepted = [a for a in attempts if a.outcome is Outcome.OK]
        for one, other in pairwise(accepted):
            if other.done - one.clock >= WINDOW:
                continue
            if one.position != other.position or one.message.id != other.message.id:
                where = f"{one.position} and {other.position}"
                yield f"key {key} on {channel} was accepted twice: {where}"
        users = {a.message.id for a in attempts if a.outcome in (Outcome.OK, Outcome.UNKNOWN)}
        for attempt in attempts:
            if attempt.outcome is Outcome.CONFLICT and users <= {attempt.message.id}:
                yield f"key {key} on {channel} is a conflict, and nobody else used it"


def _text(place: Place) -> str:
    return f"{place[0]} {place[1]}:{place[2]}"
