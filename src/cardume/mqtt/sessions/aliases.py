"""Topic aliases of one client (5.0 §3.3.2.3.4): numbers that stand for topics it named before."""

from __future__ import annotations

from cardume.errors import Invalid


class AliasFault(Invalid):
    """A number out of range or never given (`bad_alias`), or too much to remember."""

    def __init__(self, reason: str) -> None:
        super().__init__("a topic alias that cannot be used")
        self.reason = reason


class Aliases:
    """Bounded by count and by bytes."""

    __slots__ = ("_max_bytes", "_max_count", "_size", "_topics")

    def __init__(self, max_count: int, max_bytes: int) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._topics: dict[int, str] = {}
        self._size = 0

    def resolve(self, alias: int, topic: str) -> str:
        """The topic of a publish that says `alias`; one that names a topic, too, renames it.

        Raises:
            AliasFault: the connection has to end.
        """
        if not 1 <= alias <= self._max_count:
            raise AliasFault("bad_alias")
        if not topic:
            held = self._topics.get(alias)
            if held is None:
                raise AliasFault("bad_alias")
            return held
        size = self._size + len(topic.encode()) - len(self._topics.get(alias, "").encode())
        if size > self._max_bytes:
            raise AliasFault("alias_quota")
        self._topics[alias] = topic
        self._size = size
        return topic
