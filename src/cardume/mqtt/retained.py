"""The last retained message of each topic, §3.3.1.3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cardume.clock import Clock
from cardume.mqtt.sessions.message import NEVER, Message, Quota
from cardume.mqtt.topics import SubscriptionTree


class Retained:
    """Bounded by count and by bytes; in memory while the process lives."""

    def __init__(self, max_count: int, max_bytes: int, clock: Clock) -> None:
        self._max_count = max_count
        self._room = Quota(max_bytes)
        self._clock = clock
        self._messages: dict[str, Message] = {}
        self._soonest = NEVER
        """No message expires before."""

    def __len__(self) -> int:
        return len(self._messages)

    def keep(self, message: Message) -> bool:
        """Replace what the topic held; an empty payload only removes it. False: no room.

        Without room the old message goes too: late subscribers are better told nothing than
        something that is no longer so.
        """
        self._drop(message.topic)
        if not message.payload:
            return True
        if not self._fits(message):
            self._drop_expired()
            if not self._fits(message):
                return False
        self._room.take(message.weight)
        self._messages[message.topic] = message
        self._soonest = min(self._soonest, message.expires)
        return True

    def get(self, topic: str) -> Message | None:
        message = self._messages.get(topic)
        if message is not None and message.expires <= self._clock.monotonic():
            self._drop(topic)
            return None
        return message

    def select(self, filters: Mapping[str, int]) -> Iterator[tuple[str, int]]:
        """Topics that hold something for one of `filters`, each once, with the highest QoS.

        One pass over the store, however many wildcards are asked for.
        """
        tree: SubscriptionTree[None] = SubscriptionTree()
        wild = False
        for name, qos in filters.items():
            if "+" in name or "#" in name:
                wild = True
                tree.add(name, None, qos)
            elif name in self._messages:
                tree.add(name, None, qos)
        candidates = self._messages if wild else [n for n in filters if n in self._messages]
        for topic in candidates:
            for qos in tree.match(topic).values():
                yield topic, qos

    def _fits(self, message: Message) -> bool:
        return len(self._messages) < self._max_count and self._room.has(message.weight)

    def _drop(self, topic: str) -> None:
        old = self._messages.pop(topic, None)
        if old is not None:
            self._room.give(old.weight)

    def _drop_expired(self) -> None:
        now = self._clock.monotonic()
        if now < self._soonest:
            return
        for topic in [t for t, message in self._messages.items() if message.expires <= now]:
            self._drop(topic)
        self._soonest = min((m.expires for m in self._messages.values()), default=NEVER)
