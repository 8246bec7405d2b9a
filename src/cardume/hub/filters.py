"""Which event types a subscriber wants. Pure."""

from __future__ import annotations

from collections.abc import Iterable

TypeFilter = frozenset[str] | None
"""None is no filter: every type passes. There is no empty filter."""


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
