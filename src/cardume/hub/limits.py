"""How often is too often. Pure: `now` is monotonic seconds."""

from __future__ import annotations

from collections import deque


class TokenBucket:
    """`rate` a second on average, `burst` at once. A rate of 0 lets everything pass."""

    __slots__ = ("_at", "_tokens", "burst", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._at = now

    def take(self, now: float) -> bool:
        """Whether one more fits."""
        if self.rate <= 0:
            return True
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Strikes:
    """Counts what happened within the last `window` seconds; out at more than `allowed`."""

    __slots__ = ("_times", "allowed", "window")

    def __init__(self, allowed: int, window: float = 60.0) -> None:
        self.allowed = allowed
        self.window = window
        self._times: deque[float] | None = None
        """Made at the first: most connections have none, and a deque takes 760 bytes."""

    def add(self, now: float) -> bool:
        """Note one more. True: that was one too many."""
        times = self._times = self._times or deque()
        while times and times[0] <= now - self.window:
            times.popleft()
        times.append(now)
        return len(times) > self.allowed


class Conduct:
    """How one client keeps to what it may do."""

    __slots__ = ("bucket", "errors", "excess")

    def __init__(self, rate: float, burst: float, now: float, *, errors: int = 20) -> None:
        """`rate` messages a second, `burst` at once, and so many `errors` in a minute."""
        self.bucket = TokenBucket(rate, burst, now)
        self.excess = Strikes(allowed=10)
        """Messages beyond the rate."""
        self.errors = Strikes(allowed=errors)
        """Requests that were answered with one."""
