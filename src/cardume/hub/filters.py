"""Which event types a subscriber wants. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from cardume.errors import Refused
from cardume.wire import codes

TypeFilter = frozenset[str] | None
"""None is no filter: every type passes. There is no empty filter."""

MAX_FILTER = 64
"""Event types in one filter."""


def type_filter(types: Iterable[str]) -> TypeFilter:
    """A filter for `types`; none of them is no filter."""
    return frozenset(types) or None


def with_types(current: TypeFilter, types: Iterable[str]) -> TypeFilter:
    """Add to the filter."""
    return type_filter((current or frozenset()) | frozenset(types))


def without_types(current: TypeFilter, types: Iterable[str] | None) -> TypeFilter:
    """Remove from the filter; None removes all of it."""
    if types is None or current is None:
        return None
    return type_filter(current - frozenset(types))


def bounded(types: TypeFilter) -> TypeFilter:
    """The filter itself.

    Raises:
        Refused: it is larger than `MAX_FILTER`.
    """
    if types is not None and len(types) > MAX_FILTER:
        raise Refused(codes.LIMIT_EXCEEDED, f"a filter holds at most {MAX_FILTER} event types")
    return types


def names(types: TypeFilter) -> tuple[str, ...]:
    """The filter as it is told to its owner."""
    return tuple(sorted(types or ()))
