"""Who is here, who listens to what, and what goes to whom. Knows no sockets and no handler."""

from __future__ import annotations

from collections.abc import Callable

from cardume.clock import Clock
from cardume.hub.rejects import Rejects
from cardume.mqtt.codec.packets import Will
from cardume.mqtt.limits import Limits
from cardume.mqtt.ports import Principal
from cardume.mqtt.retained import Retained
from cardume.mqtt.sessions.depot import Depot
from cardume.mqtt.sessions.frames import Frames
from cardume.mqtt.sessions.message import NEVER, Message, Quota
from cardume.mqtt.sessions.outlet import Outlet
from cardume.mqtt.sessions.parked import Parked
from cardume.mqtt.sessions.receipts import Receipt
from cardume.mqtt.sessions.session import Session
from cardume.mqtt.subscriptions import Subscriptions
from cardume.mqtt.topics import LOCAL

OnWill = Callable[[Session, Will], None]


class Broker:
    """Sessions by (user, client id), their subscriptions, and the retained messages."""

    def __init__(self, limits: Limits, rejects: Rejects, clock: Clock) -> None:
        self.retained = Retained(limits.retained_messages, limits.retained_bytes, clock)
        self.on_will: OnWill = lambda session, will: None
        """Told of a will whose time has come."""
        self._limits = limits
        self._rejects = rejects
        self._clock = clock
        room = Quota(limits.all_sessions_bytes)
        self._depot = Depot(limits, rejects, self.retained, room, clock)
        self.subscriptions = Subscriptions(limits, rejects, self.retained)
        self._sessions: dict[tuple[str, str], Session] = {}
        self._parked = Parked(clock, self._fall_due)
        self._present: dict[str, set[Session]] = {}

    @property
    def sent(self) -> int:
        """Publishes written to clients."""
        return self._depot.sent

    @property
    def parked(self) -> int:
        """Persistent sessions whose client is away."""
        return len(self._parked)

    def present(self, user: str) -> list[Session]:
        """The sessions of `user` that are connected."""
        return list(self._present.get(user, ()))

    def attach(
        self, outlet: Outlet, principal: Principal, client_id: str, *, clean: bool, expiry: int = 0
    ) -> tuple[Session, bool]:
        """The session for a client that was let in, and whether it was remembered (§3.2.2.1.1).

        A connection that holds it is ended first, so its will goes ahead of anything new. `clean`
        forgets an earlier session; `expiry` is how many seconds this one outlives the connection.
        """
        key = (principal.name, client_id)
        session = self._sessions.get(key)
        if session is not None and session.outlet is not None:
            session.outlet.end("takeover")
            session = self._sessions.get(key)
        if session is not None and clean:
            self._discard(session)
            session = None
        present = session is not None
        if session is None:
            session = self._sessions[key] = Session(*key, depot=self._depot)
        else:
            self._parked.remove(session)
            self._take_will(session)  # §3.1.3.2.2: back in time
            self.subscriptions.judge_again(session, principal)
        session.expiry = expiry
        session.attach(outlet)
        self._present.setdefault(session.user, set()).add(session)
        return session, present

    def detach(self, session: Session, will: Will | None = None) -> None:
        """The client of `session` is gone, and leaves a will or not."""
        session.detach()
        here = self._present[session.user]
        here.discard(session)
        if not here:
            del self._present[session.user]
        if session.expiry:
            self._park(session)
        else:
            self._discard(session)
        if will is not None and not self._hold_will(session, will):
            self.on_will(session, will)

    def forget(self, user: str) -> None:
        """End the sessions of `user` whose client is away."""
        for session in [s for s in self._sessions.values() if s.user == user and s.outlet is None]:
            self._discard(session)

    def publish(
        self,
        message: Message,
        source: Session | None = None,
        *,
        user: str = "",
        receipt: Receipt | None = None,
    ) -> int:
        """Hand a message to everybody who subscribed; how many sessions that were.

        Each gets it at the lower of both QoS (§3.8.4). `receipt` hears of those of `user`.
        """
        if message.retain and not self.retained.keep(message):
            self._rejects.note("retained_full")
        holders = self.subscriptions.match(message.topic)
        shared = self.subscriptions.match_shared(message.topic)
        if not holders and not shared:
            return 0
        count = len(shared)
        frames = Frames(message, self._clock)
        for session, grant in holders.items():
            if session is not source or grant & LOCAL:
                count += 1
                told = receipt if receipt is not None and session.user == user else None
                session.deliver(frames, grant, receipt=told)
        for name, session, grant in shared:
            session.deliver(frames, grant, shared=name)
        return count

    def close(self) -> None:
        """No session ends any more, and no will is published."""
        self._parked.close()

    def _park(self, session: Session) -> None:
        session.ends = self._clock.monotonic() + session.expiry
        self._parked.add(session)
        if len(self._parked) > self._limits.max_parked:
            self._rejects.note("parked_session_evicted")
            self._discard(self._parked.oldest())

    def _fall_due(self, session: Session) -> None:
        now = self._clock.monotonic()
        if session.ends <= now:
            self._discard(session)
            return
        if session.will_due <= now:
            self._publish_will(session)
        self._parked.watch(session)

    def _discard(self, session: Session) -> None:
        del self._sessions[session.user, session.client_id]
        self._parked.remove(session)
        self.subscriptions.drop(session)
        session.discard()
        self._publish_will(session)

    def _hold_will(self, session: Session, will: Will) -> bool:
        """Keep a delayed will; False: it is due at once, or there is no room for it."""
        delay = min(will.properties.will_delay or 0, session.expiry)
        if not delay or not self._depot.room.take(will.weight):
            return False
        session.will, session.will_due = will, self._clock.monotonic() + delay
        self._parked.watch(session)
        return True

    def _take_will(self, session: Session) -> Will | None:
        will, session.will, session.will_due = session.will, None, NEVER
        if will is not None:
            self._depot.room.give(will.weight)
        return will

    def _publish_will(self, session: Session) -> None:
        will = self._take_will(session)
        if will is not None:
            self.on_will(session, will)
