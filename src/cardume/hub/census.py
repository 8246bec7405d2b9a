"""Who is connected: by connection, by user, by address; and who may not be. Pure."""

from __future__ import annotations

from typing import Generic, TypeVar

C = TypeVar("C")


class Index(Generic[C]):
    """Values by a key that most often has one: then it costs one entry of a dict and no more."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[str, C | set[C]] = {}

    def add(self, key: str, value: C) -> None:
        held = self._held.get(key)
        if held is None:
            self._held[key] = value
        elif isinstance(held, set):
            held.add(value)
        elif held != value:
            self._held[key] = {held, value}

    def discard(self, key: str, value: C) -> None:
        held = self._held.get(key)
        if isinstance(held, set):
            held.discard(value)
            if len(held) == 1:
                self._held[key] = held.pop()
        elif held == value:
            del self._held[key]

    def of(self, key: str) -> list[C]:
        held = self._held.get(key)
        if held is None:
            return []
        return list(held) if isinstance(held, set) else [held]

    def count(self, key: str) -> int:
        held = self._held.get(key)
        if held is None:
            return 0
        return len(held) if isinstance(held, set) else 1

    def __len__(self) -> int:
        return len(self._held)


class Blocks:
    """Who is shut out, until when; `now` is monotonic seconds."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._until)

    def add(self, sub: str, seconds: float | None, now: float) -> None:
        """Shut `sub` out for `seconds`; None is until `lift`. The last word counts."""
        # Whoever blocks pays for forgetting: nothing else here has a reason to look at them all.
        self._until = {name: until for name, until in self._until.items() if until > now}
        self._until[sub] = float("inf") if seconds is None else now + seconds

    def lift(self, sub: str) -> bool:
        """Whether it was shut out."""
        return self._until.pop(sub, None) is not None

    def holds(self, sub: str, now: float) -> bool:
        return self._until.get(sub, 0.0) > now
