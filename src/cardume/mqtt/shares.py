"""Shared subscriptions, 5.0 §4.8.2: each message of a filter to one member of a group, in turn."""

from __future__ import annotations

from cardume.mqtt.sessions.session import Session
from cardume.mqtt.topics import SubscriptionTree, split_shared


class Group:
    """Who shares one filter, the one whose turn it is first."""

    __slots__ = ("members", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.members: dict[Session, int] = {}

    def next(self) -> Session:
        """The member that gets the next message.

        One that is here and reads, else one that is here; else one of those away, for whom it is
        queued like any other message.
        """
        chosen = min(self.members, key=_reluctance)  # the first of the least reluctant
        self.members[chosen] = self.members.pop(chosen)
        return chosen


def _reluctance(session: Session) -> int:
    if session.outlet is None:
        return 2
    return 1 if session.outlet.choked else 0


class Shares:
    """All groups, by the filters they share."""

    def __init__(self, max_group: int) -> None:
        self._max_group = max_group
        self._tree: SubscriptionTree[Group] = SubscriptionTree()
        self._groups: dict[str, Group] = {}

    def add(self, name: str, session: Session, grant: int) -> bool:
        """Enter a member of ``$share/group/filter``; False: the group is full."""
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = Group(name)
            self._tree.add(split_shared(name)[1], group, 0)
        if session not in group.members and len(group.members) >= self._max_group:
            return False
        group.members[session] = grant
        return True

    def remove(self, name: str, session: Session) -> None:
        group = self._groups.get(name)
        if group is None:
            return
        group.members.pop(session, None)
        if not group.members:
            del self._groups[name]
            self._tree.remove(split_shared(name)[1], group)

    def match(self, topic: str) -> list[tuple[str, Session, int]]:
        """For each group that has a share in `topic`: the subscription, whose turn, the grant."""
        found = []
        for group in self._tree.match(topic):
            session = group.next()
            found.append((group.name, session, group.members[session]))
        return found

    def __bool__(self) -> bool:
        return bool(self._groups)
