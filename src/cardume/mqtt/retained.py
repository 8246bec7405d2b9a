"""The last retained message of each topic, §3.3.1.3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cardume.mqtt.message import Message, Quota
from cardume.mqtt.topics import SubscriptionTree


class Retained:
    """Bounded by count and by bytes; in memory while the process lives."""

    def __init__(self, max_count: int, max_bytes: int) -> None:
        self._max_count = max_count
        self._room = Quota(max_bytes)
        self._messages: dict[str, Message] = {}

    def __len__(self) -> int:
        return len(self._messages)

    def keep(self, message: Message) -> bool:
        """Replace what the topic held; an empty payload only removes it. False: no room.

        Without room the old message goes too: late subscribers are better told nothing than
        something that is no longer so.
        """
        old = self._messages.pop(message.topic, None)
        if old is not None:
            self._room.give(old.weight)
        if not message.payload:
            return True
        if len(self._messages) >= self._max_count or not self._room.take(message.weight):
            return False
        self._messages[message.topic] = message
        return True

    def get(self, topic: str) -> Message | None:
        return self._messages.get(topic)

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
