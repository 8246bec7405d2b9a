"""Sessions whose client is away, and what falls due for them: a delayed will, their own end."""

from __future__ import annotations

from collections.abc import Callable

from cardume.clock import Clock, TimerHandle
from cardume.hub.leases import Leases
from cardume.mqtt.sessions.message import NEVER
from cardume.mqtt.sessions.session import Session


class Parked:
    """In the order in which their clients left, behind one timer.

    `on_due` is called with a session whose `will_due` or `ends` has come.
    """

    def __init__(self, clock: Clock, on_due: Callable[[Session], None]) -> None:
        self._clock = clock
        self._on_due = on_due
        self._sessions: dict[Session, None] = {}
        self._leases: Leases[Session] = Leases()
        self._timer: TimerHandle | None = None
        self._wakes_at = NEVER

    def __len__(self) -> int:
        return len(self._sessions)

    def add(self, session: Session) -> None:
        self._sessions[session] = None
        self.watch(session)

    def watch(self, session: Session) -> None:
        """Its times have changed."""
        self._leases.touch(session, min(session.will_due, session.ends))
        self._arm()

    def remove(self, session: Session) -> None:
        self._sessions.pop(session, None)
        self._leases.drop(session)

    def oldest(self) -> Session:
        return next(iter(self._sessions))

    def close(self) -> None:
        """Nothing falls due any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._wakes_at = None, -NEVER

    def _arm(self) -> None:
        due = self._leases.next_deadline()
        if due is None or due >= self._wakes_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._wakes_at = due
        delay = max(0.0, due - self._clock.monotonic())
        self._timer = self._clock.call_later(delay, self._wake)

    def _wake(self) -> None:
        self._timer, self._wakes_at = None, NEVER
        for session in self._leases.expire(self._clock.monotonic()):
            self._on_due(session)
        self._arm()
