"""SUBSCRIBE and UNSUBSCRIBE (§3.8, §3.10): what is granted, and who hears a topic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from cardume.hub.rejects import Rejects
from cardume.mqtt.codec.packets import AS_PUBLISHED, NO_LOCAL, RETAIN_HANDLING, Subscribe
from cardume.mqtt.codec.reasons import REFUSED, Reason
from cardume.mqtt.limits import Limits
from cardume.mqtt.ports import Principal
from cardume.mqtt.retained import Retained
from cardume.mqtt.sessions.session import Session
from cardume.mqtt.shares import Shares
from cardume.mqtt.topics import LOCAL, SHARED, SubscriptionTree, split_shared

_IF_NEW: Final = 0x10
_NEVER: Final = 0x20
_NOBODY: Final[Mapping[Session, int]] = {}


class Subscriptions:
    """Everybody's, beside the copy that each session has of its own."""

    def __init__(self, limits: Limits, rejects: Rejects, retained: Retained) -> None:
        self._limits = limits
        self._rejects = rejects
        self._retained = retained
        self._tree: SubscriptionTree[Session] = SubscriptionTree()
        self._shares = Shares(limits.max_group)

    def subscribe(
        self, session: Session, principal: Principal, packet: Subscribe
    ) -> tuple[int, ...]:
        """Grant what may be granted; the SUBACK's reason codes, those of 5.0."""
        wanted: dict[str, int] = {}
        codes: list[int] = []
        for name, options in packet.filters:
            is_new = name not in session.subscriptions
            code = self._grant(session, principal, name, options)
            codes.append(code)
            if code >= REFUSED:
                continue
            self._identify(session, name, packet.properties.subscription_ids)
            handling = options & RETAIN_HANDLING
            unwanted = handling == _NEVER or (handling == _IF_NEW and not is_new)
            if not unwanted and not name.startswith(SHARED):  # §4.8.2: nothing retained for groups
                wanted[name] = code
        session.owe(self._retained.select(wanted))
        return tuple(codes)

    def unsubscribe(self, session: Session, names: Iterable[str]) -> tuple[int, ...]:
        """The UNSUBACK's reason codes."""
        return tuple(
            Reason.SUCCESS if self._remove(session, name) else Reason.NO_SUBSCRIPTION_EXISTED
            for name in names
        )

    def judge_again(self, session: Session, principal: Principal) -> None:
        """Rights may have shrunk while the client was away."""
        refused = [name for name in session.subscriptions if not _may(principal, name)]
        if refused:
            self._rejects.note("forbidden_filter", session.name, count=len(refused))
            self.unsubscribe(session, refused)
            session.forget_unsubscribed()

    def drop(self, session: Session) -> None:
        """It has ended."""
        self.unsubscribe(session, list(session.subscriptions))

    def match(self, topic: str) -> Mapping[Session, int]:
        """Who subscribed to `topic` for itself, and what was granted."""
        return self._tree.match(topic) if self._tree else _NOBODY

    def match_shared(self, topic: str) -> Sequence[tuple[str, Session, int]]:
        """Of each group with a share in `topic`: the subscription, whose turn it is, the grant."""
        return self._shares.match(topic) if self._shares else ()

    def _grant(self, session: Session, principal: Principal, name: str, options: int) -> int:
        held = session.subscriptions
        shared, topic_filter = split_shared(name)
        if not topic_filter:
            return Reason.BAD_FILTER
        if not _may(principal, name):
            self._rejects.note("forbidden_filter", session.name)
            if self._remove(session, name):
                session.forget_unsubscribed()
            return Reason.NOT_AUTHORIZED
        grant = options & (3 | AS_PUBLISHED) | (0 if options & NO_LOCAL else LOCAL)
        full = name not in held and len(held) >= self._limits.max_subscriptions
        if full or (shared and not self._shares.add(name, session, grant)):
            self._rejects.note("too_many_subscriptions", session.name)
            return Reason.QUOTA
        held[name] = grant
        if not shared:
            self._tree.add(name, session, grant)
        return options & 3

    def _remove(self, session: Session, name: str) -> bool:
        if session.subscriptions.pop(name, None) is None:
            return False
        self._identify(session, name, ())
        if name.startswith(SHARED):
            self._shares.remove(name, session)
        else:
            self._tree.remove(name, session)
        return True

    def _identify(self, session: Session, name: str, ids: tuple[int, ...]) -> None:
        if ids:
            session.identifiers = {**(session.identifiers or {}), name: ids[0]}
        elif session.identifiers is not None:
            session.identifiers.pop(name, None)
            session.identifiers = session.identifiers or None


def _may(principal: Principal, name: str) -> bool:
    """A share needs a right of its own beside that to its filter: it takes from the others."""
    shared, topic_filter = split_shared(name)
    return principal.may_subscribe(name) and not (
        shared and not principal.may_subscribe(topic_filter)
    )
