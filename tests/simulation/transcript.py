"""A history as lines of text, to be read and to be compared."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tests.simulation.history import Cursor, Ended, Event, History, Narrowed, Saw, Session, Told

_EPOCH = re.compile(r"\b[0-9a-f]{8}\b")


def transcript(history: History, *, channel: str | None = None) -> list[str]:
    """Everything that was noted, in its order; of one channel, if one is named."""
    lines: list[tuple[int, str]] = []
    for attempt in history.attempts:
        message = attempt.message
        if channel not in (None, message.channel):
            continue
        what = f"{message.channel} {message.type}" + (f" key {message.key}" if message.key else "")
        key = f" as {attempt.idempotency_key}" if attempt.idempotency_key else ""
        lines.append((attempt.began, f"publish message {message.id} on {what}{key}"))
        if attempt.ended is not None:
            where = f" {attempt.position}" if attempt.position else ""
            lines.append((attempt.ended, f"  message {message.id}: {attempt.outcome}{where}"))
    for number, session in enumerate(history.sessions):
        if channel in (None, session.channel):
            name = f"{session.client} #{number} {session.channel}"
            lines += [
                (event.at, f"    {name}: {_said(event, session)}") for event in session.events
            ]
    for name, top in history.removals:
        if channel in (None, name):
            lines.append((0, f"at some time, {name} was emptied at {top}"))
    lines.sort(key=lambda line: line[0])
    return named(f"{at:5} {text}" for at, text in lines)


def _said(event: Event, session: Session) -> str:
    match event:
        case Told():
            asked = f" for {session.since}" if session.since else ""
            return f"told {event.position} recovered {event.recovered}{asked} at {event.clock:g} s"
        case Saw():
            return f"saw {event.offset}, message {event.id}"
        case Narrowed():
            return f"filter {sorted(event.wants.types or ())}"
        case Cursor():
            return f"passed {event.offset}"
        case Ended():
            return f"ended {event.code}"


def named(lines: Iterable[str]) -> list[str]:
    """Epochs are drawn from the system: call them e1, e2… as they come."""
    names: dict[str, str] = {}

    def name(match: re.Match[str]) -> str:
        return names.setdefault(match[0], f"e{len(names) + 1}")

    return [_EPOCH.sub(name, line) for line in lines]
