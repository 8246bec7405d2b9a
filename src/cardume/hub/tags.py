"""Which publications a subscriber wants, by their tags. Pure.

The filter is Centrifugo's `FilterNode`: a comparison of one tag, or and/or/not over others. It
is parsed once into values that compare and hash, so that subscribers who ask for the same share
one evaluation a publication.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from cardume.errors import Invalid
from cardume.wire.messages import MAX_TEXT, Publication, check_texts

MAX_NODES = 64
"""Comparisons and operators in one filter."""

MAX_VALUES = 64
"""Values that one comparison takes."""

TYPE = "type"
"""The tag under which a filter sees the type of a publication that has one."""

Tags = Mapping[str, str]

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?", re.ASCII)


class TagFilter(Protocol):
    """A part of a filter, and a whole one: immutable, hashable."""

    def matches(self, tags: Tags) -> bool:
        """Whether a publication with `tags` passes."""

    def __hash__(self) -> int: ...


class Compare(msgspec.Struct, frozen=True):
    """A tag and a text. What is not there is equal to nothing."""

    key: str
    comparison: str
    value: str = ""

    def matches(self, tags: Tags) -> bool:
        return _COMPARISONS[self.comparison](tags.get(self.key), self.value)


class Measure(msgspec.Struct, frozen=True):
    """A tag and a number. A tag that is no number is neither more nor less."""

    key: str
    comparison: str
    value: Decimal

    def matches(self, tags: Tags) -> bool:
        number = _number(tags.get(self.key))
        return number is not None and _MEASURES[self.comparison](number, self.value)


class Among(msgspec.Struct, frozen=True):
    """A tag and a set of texts."""

    key: str
    values: frozenset[str]

    def matches(self, tags: Tags) -> bool:
        return tags.get(self.key) in self.values


class Every(msgspec.Struct, frozen=True):
    """All of them."""

    nodes: tuple[TagFilter, ...]

    def matches(self, tags: Tags) -> bool:
        return all(node.matches(tags) for node in self.nodes)


class Either(msgspec.Struct, frozen=True):
    """One of them at least."""

    nodes: tuple[TagFilter, ...]

    def matches(self, tags: Tags) -> bool:
        return any(node.matches(tags) for node in self.nodes)


class Not(msgspec.Struct, frozen=True):
    """What the other one keeps out."""

    node: TagFilter

    def matches(self, tags: Tags) -> bool:
        return not self.node.matches(tags)


def tags_of(publication: Publication) -> Tags:
    """The tags that a filter sees: the publication's own, and its type."""
    own = publication.tags or {}
    return own if publication.type is None else {**own, TYPE: publication.type}


def parse(node: Any) -> TagFilter:
    """The filter in a decoded `FilterNode`.

    Raises:
        Invalid: it is none, or larger than `MAX_NODES`.
    """
    return _Parser().parse(node)


class _Parser:
    def __init__(self) -> None:
        self._nodes = 0

    def parse(self, node: Any) -> TagFilter:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise Invalid(f"a tags filter holds at most {MAX_NODES} nodes")
        if not isinstance(node, Mapping):
            raise Invalid("a node of a tags filter is an object")
        op = node.get("op") or ""
        if op == "":
            return _leaf(node)
        nodes = node.get("nodes")
        if not isinstance(nodes, list) or not nodes:
            raise Invalid("`nodes` is a list of one node at least")
        if op == "not":
            if len(nodes) > 1:
                raise Invalid("`not` has one node")
            return Not(self.parse(nodes[0]))
        if op not in ("and", "or"):
            raise Invalid("`op` is and, or, not, or absent for a comparison")
        children = tuple(map(self.parse, nodes))
        return Every(children) if op == "and" else Either(children)


def _leaf(node: Mapping[str, Any]) -> TagFilter:
    key, comparison = node.get("key"), node.get("cmp")
    value, values = node.get("val") or "", node.get("vals") or []
    if not isinstance(key, str) or not key or not isinstance(comparison, str):
        raise Invalid("a comparison has a `key` and a `cmp`")
    if not isinstance(value, str) or not _are_texts(values):
        raise Invalid(f"`val` is text, `vals` a list of at most {MAX_VALUES} texts")
    check_texts(key=key, val=value)
    if comparison in ("in", "nin"):
        return _among(key, comparison, value, values)
    if values:
        raise Invalid(f"`{comparison}` takes no `vals`")
    if comparison in ("ex", "nex"):
        if value:
            raise Invalid(f"`{comparison}` takes no `val`")
        return Compare(key, comparison)
    if comparison in _MEASURES:
        number = _number(value)
        if number is None:
            raise Invalid(f"`{comparison}` compares with a decimal number as text")
        return Measure(key, comparison, number)
    if comparison not in _COMPARISONS:
        known = ", ".join([*_COMPARISONS, "in", "nin", *_MEASURES])
        raise Invalid(f"`cmp` is one of: {known}")
    if not value:
        raise Invalid(f"`{comparison}` needs a `val`")
    return Compare(key, comparison, value)


def _among(key: str, comparison: str, value: str, values: list[str]) -> TagFilter:
    if not values or value:
        raise Invalid(f"`{comparison}` takes `vals`, one at least, and no `val`")
    among = Among(key, frozenset(values))
    return among if comparison == "in" else Not(among)


def _are_texts(values: Any) -> bool:
    if not isinstance(values, list) or len(values) > MAX_VALUES:
        return False
    return all(isinstance(value, str) and len(value) <= MAX_TEXT for value in values)


def _number(text: str | None) -> Decimal | None:
    if text is None or _NUMBER.fullmatch(text) is None:
        return None
    return Decimal(text)


_COMPARISONS: dict[str, Callable[[str | None, str], bool]] = {
    "eq": lambda held, value: held == value,
    "neq": lambda held, value: held != value,
    "ex": lambda held, _value: held is not None,
    "nex": lambda held, _value: held is None,
    "sw": lambda held, value: held is not None and held.startswith(value),
    "ew": lambda held, value: held is not None and held.endswith(value),
    "ct": lambda held, value: held is not None and value in held,
}

_MEASURES: dict[str, Callable[[Decimal, Decimal], bool]] = {
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}
