"""Topic names and filters, MQTT §4.7: validity, matching, and who subscribed to what."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

MAX_BYTES: Final = 65_535
"""§4.7.3: a topic is at most this long once encoded."""
MAX_LEVELS: Final = 256
"""Ours: a filter costs one tree node per level, so an unbounded one is an unbounded price."""

SHARED: Final = "$share/"
"""5.0 §4.8.2: how a subscription begins that a group has together."""
LOCAL: Final = 4
"""A grant: the QoS in the lowest two bits; this one: also what the subscriber itself publishes;
and `packets.AS_PUBLISHED`."""

# Surrogates have no UTF-8 form (§1.5.3), U+0000 is forbidden (§4.7.3).
_NAME: Final = re.compile(r"[^+#\x00\ud800-\udfff]+")
_FILTER: Final = re.compile(
    r"(?:[^+#\x00/\ud800-\udfff]*|\+|#\Z)(?:/(?:[^+#\x00/\ud800-\udfff]*|\+|#\Z))*"
)

K = TypeVar("K", bound=Hashable)


def valid_topic(topic: str) -> bool:
    """Whether something may be published to `topic`."""
    return _NAME.fullmatch(topic) is not None and _fits(topic)


def valid_filter(topic_filter: str) -> bool:
    """Whether `topic_filter` may be subscribed to: wildcards only as whole levels, `#` last."""
    return (
        topic_filter != "" and _FILTER.fullmatch(topic_filter) is not None and _fits(topic_filter)
    )


def _fits(text: str) -> bool:
    if text.count("/") >= MAX_LEVELS:
        return False
    return len(text) * 4 <= MAX_BYTES or len(text.encode()) <= MAX_BYTES


def split_shared(name: str) -> tuple[str, str]:
    """Group and filter of a subscription; the group is empty where it is nobody else's.

    The filter is empty if the whole is no subscription (5.0 §4.8.2).
    """
    if not name.startswith(SHARED):
        return "", name
    group, _, topic_filter = name[len(SHARED) :].partition("/")
    if not group or "+" in group or "#" in group:
        return group, ""
    return group, topic_filter


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a (valid) filter selects a (valid) topic."""
    if topic[0] == "$" and topic_filter[0] in "+#":  # §4.7.2
        return False
    levels = topic.split("/")
    parts = topic_filter.split("/")
    for place, part in enumerate(parts):
        if part == "#":
            return True
        if place >= len(levels) or part not in ("+", levels[place]):
            return False
    return len(parts) == len(levels)


class _Node(Generic[K]):
    __slots__ = ("children", "holders")

    def __init__(self) -> None:
        self.children: dict[str, _Node[K]] = {}
        self.holders: dict[K, int] = {}


class SubscriptionTree(Generic[K]):
    """Filters by level, each with its holders and what was granted to them.

    `match` costs the levels of the topic times the wildcard branches that exist, whatever the
    number of subscriptions.
    """

    def __init__(self) -> None:
        self._root: _Node[K] = _Node()

    def add(self, topic_filter: str, holder: K, grant: int) -> None:
        """Enter a subscription, or change its grant (§3.8.4: the same filter replaces)."""
        node = self._root
        for level in topic_filter.split("/"):
            child = node.children.get(level)
            if child is None:
                child = node.children[level] = _Node()
            node = child
        node.holders[holder] = grant

    def remove(self, topic_filter: str, holder: K) -> bool:
        """Forget a subscription and every branch that held nothing else."""
        path = [self._root]
        levels = topic_filter.split("/")
        for level in levels:
            child = path[-1].children.get(level)
            if child is None:
                return False
            path.append(child)
        if path[-1].holders.pop(holder, None) is None:
            return False
        for depth in range(len(levels), 0, -1):
            if path[depth].holders or path[depth].children:
                break
            del path[depth - 1].children[levels[depth - 1]]
        return True

    def match(self, topic: str) -> dict[K, int]:
        """Every holder once, with the highest QoS and all flags of its matching filters."""
        found: dict[K, int] = {}
        nodes = [self._root]
        wild = topic[0] != "$"  # §4.7.2: leading wildcards do not see $SYS and its like
        for level in topic.split("/"):
            below: list[_Node[K]] = []
            for node in nodes:
                children = node.children
                if (child := children.get(level)) is not None:
                    below.append(child)
                if wild:
                    if (child := children.get("+")) is not None:
                        below.append(child)
                    if (child := children.get("#")) is not None:
                        _collect(child, found)
            if not below:
                return found
            nodes = below
            wild = True
        for node in nodes:
            _collect(node, found)
            # §4.7.1.2: `sport/#` also selects `sport` itself.
            if (child := node.children.get("#")) is not None:
                _collect(child, found)
        return found

    def __bool__(self) -> bool:
        return bool(self._root.children)


def _collect(node: _Node[K], found: dict[K, int]) -> None:
    for holder, grant in node.holders.items():
        held = found.get(holder, 0)
        found[holder] = max(held & 3, grant & 3) | (held | grant) & ~3
