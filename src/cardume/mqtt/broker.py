"""Who is here, who listens to what, and what goes to whom. Knows no sockets and no handler."""

from __future__ import annotations

from collections.abc import Sequence

from cardume.hub.rejects import Rejects
from cardume.mqtt.limits import Limits
from cardume.mqtt.message import Message, Quota
from cardume.mqtt.packets import REFUSED, Publish, encode_publish
from cardume.mqtt.ports import Principal
from cardume.mqtt.retained import Retained
from cardume.mqtt.sessions import Depot, Outlet, Session
from cardume.mqtt.topics import SubscriptionTree

_Key = tuple[str, str]


class Broker:
    """Sessions by (user, client id), their subscriptions, and the retained messages."""

    def __init__(self, limits: Limits, rejects: Rejects) -> None:
        self.retained = Retained(limits.retained_messages, limits.retained_bytes)
        self._limits = limits
        self._rejects = rejects
        self._depot = Depot(limits, rejects, self.retained, Quota(limits.all_sessions_bytes))
        self._tree: SubscriptionTree[Session] = SubscriptionTree()
        self._sessions: dict[_Key, Session] = {}
        self._parked: dict[_Key, None] = {}
        """In the order in which their clients left."""
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
        self, outlet: Outlet, principal: Principal, client_id: str, *, clean: bool
    ) -> tuple[Session, bool]:
        """The session for a client that was let in, and whether it was remembered (§3.2.2.2).

        A connection that holds it is ended first, so its will goes ahead of anything new.
        """
        key = (principal.name, client_id)
        session = self._sessions.get(key)
        if session is not None and session.outlet is not None:
            session.outlet.end("takeover")
            session = self._sessions.get(key)
        if session is not None and clean:
            self._discard(key)
            session = None
        present = session is not None
        if session is None:
            session = Session(*key, clean=clean, depot=self._depot)
            self._sessions[key] = session
        else:
            self._judge_again(session, principal)
            self._parked.pop(key, None)
        session.attach(outlet)
        self._present.setdefault(session.user, set()).add(session)
        return session, present

    def detach(self, session: Session) -> None:
        """The client of `session` is gone."""
        session.detach()
        here = self._present[session.user]
        here.discard(session)
        if not here:
            del self._present[session.user]
        key = (session.user, session.client_id)
        if session.clean:
            self._discard(key)
            return
        self._parked[key] = None
        if len(self._parked) > self._limits.max_parked:
            self._rejects.note("parked_session_evicted")
            self._discard(next(iter(self._parked)))

    def subscribe(
        self, session: Session, principal: Principal, filters: Sequence[tuple[str, int]]
    ) -> tuple[int, ...]:
        """Grant what may be granted, at QoS 1 at most; the SUBACK's return codes."""
        granted: dict[str, int] = {}
        codes: list[int] = []
        for name, asked in filters:
            code = self._grant(session, principal, name, min(asked, 1))
            codes.append(code)
            if code != REFUSED:
                granted[name] = code
        session.owe(self.retained.select(granted))
        return tuple(codes)

    def unsubscribe(self, session: Session, filters: Sequence[str]) -> None:
        for name in filters:
            if session.subscriptions.pop(name, None) is not None:
                self._tree.remove(name, session)

    def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool) -> int:
        """Hand a message to everybody who subscribed; how many sessions that were.

        Subscribers receive it with RETAIN 0, at the lower of both QoS (§3.3.1.3, §3.8.4).
        """
        if retain and not self.retained.keep(Message(topic, payload, qos)):
            self._rejects.note("retained_full")
        holders = self._tree.match(topic) if self._tree else None
        if not holders:
            return 0
        frame: bytes | None = None
        message = Message(topic, payload, qos)
        for session, granted in holders.items():
            if qos and granted:
                session.queue(message)
            else:
                if frame is None:
                    frame = encode_publish(Publish(topic, payload))
                session.write(frame)
        return len(holders)

    def _grant(self, session: Session, principal: Principal, name: str, qos: int) -> int:
        held = session.subscriptions
        if not principal.may_subscribe(name):
            self._rejects.note("forbidden_filter", session.name)
            if name in held:
                self.unsubscribe(session, (name,))
                session.forget_unsubscribed()
            return REFUSED
        if name not in held and len(held) >= self._limits.max_subscriptions:
            self._rejects.note("too_many_subscriptions", session.name)
            return REFUSED
        held[name] = qos
        self._tree.add(name, session, qos)
        return qos

    def _judge_again(self, session: Session, principal: Principal) -> None:
        """Rights may have shrunk while the client was away."""
        refused = [n for n in session.subscriptions if not principal.may_subscribe(n)]
        if refused:
            self._rejects.note("forbidden_filter", session.name, count=len(refused))
            self.unsubscribe(session, refused)
            session.forget_unsubscribed()

    def _discard(self, key: _Key) -> None:
        session = self._sessions.pop(key)
        self._parked.pop(key, None)
        self.unsubscribe(session, list(session.subscriptions))
        session.discard()
