"""What can be known of where each message is, from acknowledgements and from sightings."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator

from cardume.wire.messages import Position
from tests.simulation.history import History, Message, Narrowed, Outcome, Saw, Session, Wants

Place = tuple[str, str, int]
"""Channel, epoch, offset."""


class Ledger:
    """An index over a history; it judges nothing."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.messages = {a.message.id: a.message for a in history.attempts}
        self.at: dict[Place, int] = {}
        """The first id that somebody placed there."""
        for place, id in placings(history):
            self.at.setdefault(place, id)
        self._keys: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
        for (channel, epoch, offset), id in self.at.items():
            message = self.messages.get(id)
            if message is not None and message.key is not None:
                self._keys[channel, epoch, message.key].append(offset)
        for offsets in self._keys.values():
            offsets.sort()
        placed = {(channel, id) for (channel, _, _), id in self.at.items()}
        lives: defaultdict[int, set[int]] = defaultdict(set)
        for attempt in history.attempts:
            lives[attempt.message.id].add(attempt.life)
        self.loose: defaultdict[str, dict[int, Message]] = defaultdict(dict)
        """Messages that may be somewhere, by channel: nobody knows."""
        for attempt in history.attempts:
            message = attempt.message
            known = (message.channel, message.id) in placed and len(lives[message.id]) == 1
            if attempt.outcome is Outcome.UNKNOWN and not known:
                self.loose[message.channel][message.id] = message

    def message_at(self, channel: str, epoch: str, offset: int) -> Message | None:
        return self.messages.get(self.at.get((channel, epoch, offset), 0))

    def latest(self, channel: str, epoch: str, key: str, offset: int) -> Message | None:
        """The message of `key` as of `offset`."""
        offsets = self._keys.get((channel, epoch, key), [])
        found = bisect_right(offsets, offset)
        if not found or offsets[found - 1] <= self.removed(channel, epoch, offset):
            return None
        return self.message_at(channel, epoch, offsets[found - 1])

    def removed(self, channel: str, epoch: str, offset: int) -> int:
        """The last offset that was taken out of history while it stood at `offset` or before."""
        tops = (top for name, top in self.history.removals if name == channel)
        return max((t.offset for t in tops if t.epoch == epoch and t.offset <= offset), default=0)

    def keys(self, channel: str, epoch: str) -> Iterator[str]:
        return (key for name, life, key in self._keys if (name, life) == (channel, epoch))

    def excuses(self, session: Session, position: Position, wants: Iterable[Wants]) -> bool:
        """Whether a session may go without what is at `position`.

        `wants` are the filters that held somewhere between what it saw before and after.
        """
        rule = self.history.rules[session.channel]
        filters = list(wants)
        message = self.message_at(session.channel, position.epoch, position.offset)
        if message is not None:
            return self._spares(session, position, filters, message)
        # Only what nobody acknowledged can be there.
        return any(
            not all(w.passes(one) for w in filters) or (rule.conflates and one.key is not None)
            for one in self.loose[session.channel].values()
        )

    def _spares(
        self, session: Session, position: Position, filters: list[Wants], message: Message
    ) -> bool:
        if not all(w.passes(message) for w in filters):
            return True
        if not self.history.rules[session.channel].conflates or message.key is None:
            return False
        # Superseded: a newer one of its key is on its way, and it is judged in its turn.
        every = wants_of(session)
        later = self._keys[session.channel, position.epoch, message.key]
        newer = [
            self.message_at(session.channel, position.epoch, offset)
            for offset in later[bisect_right(later, position.offset) :]
        ]
        newer += [m for m in self.loose[session.channel].values() if m.key == message.key]
        return any(m is not None and any(w.passes(m) for w in every) for m in newer)


def placings(history: History) -> Iterator[tuple[Place, int]]:
    """Every statement that a message is at a place. Those without a body are nobody's."""
    for attempt in history.attempts:
        if attempt.outcome is Outcome.OK and attempt.position:
            place = (attempt.message.channel, attempt.position.epoch, attempt.position.offset)
            yield place, attempt.message.id
    for session in history.sessions:
        told = session.told
        if told is None or not told.position:
            continue
        for event in session.events:
            if isinstance(event, Saw) and event.id:
                yield (session.channel, told.position.epoch, event.offset), event.id
    for page in history.pages:
        for offset, id in page.items:
            if id:
                yield (page.channel, page.top.epoch, offset), id


def wants_of(session: Session) -> list[Wants]:
    """All filters that a session ever had."""
    return [session.wants, *(e.wants for e in session.events if isinstance(e, Narrowed))]
