"""Who is on one channel, and who may just be changing trains. Pure.

A member that leaves stays on the roll until `forget`. If it comes back before, nothing happened:
by the same connection, or by another one of the same user where the connection was lost. The one
that comes back takes over the name under which the others know it.
"""

from __future__ import annotations

import msgspec

from cardume.wire.messages import Member


class Roll:
    """Members by the connection that they came with first; counting them is O(1)."""

    __slots__ = ("_absent", "_holders", "_lost", "_members", "_names", "_users")

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}
        self._users: dict[str, int] = {}
        """How many members each user has."""
        self._names: dict[str, str] = {}
        """By the connection that came last, as whom it counts; `_holders` the other way round."""
        self._holders: dict[str, str] = {}
        self._absent: set[str] = set()
        self._lost: dict[str, dict[str, None]] = {}
        """By user, the absent whose connections will not come back, the longest gone first."""

    def __len__(self) -> int:
        return len(self._members)

    @property
    def users(self) -> int:
        return len(self._users)

    @property
    def members(self) -> dict[str, Member]:
        """A copy, by the members' names; the absent are there until they are forgotten."""
        return dict(self._members)

    def arrive(self, member: Member) -> tuple[Member, bool]:
        """Somebody came. Returns as whom it counts from now on, and whether that is news."""
        connection_id = member.connection_id
        name = self._place_of(member)
        is_new = name is None
        if name is None:
            name = member.connection_id
            self._users[member.user] = self._users.get(member.user, 0) + 1
        else:
            self._found(name, member.user)
            del self._names[self._holders[name]]
            member = msgspec.structs.replace(member, connection_id=name)
        self._members[name] = member
        self._holders[name] = connection_id
        self._names[connection_id] = name
        return member, is_new

    def depart(self, name: str, *, lost: bool) -> bool:
        """A member left; `lost` says that its connection did not survive it. False: no member."""
        member = self._members.get(name)
        if member is None:
            return False
        self._absent.add(name)
        if lost:
            self.lose(self._holders[name])
        return True

    def lose(self, connection_id: str) -> None:
        """A connection will not come back: if it is absent, another one may take its place."""
        name = self._names.get(connection_id)
        if name is None or name not in self._absent:
            return
        user = self._members[name].user
        if user:  # nobody can tell the nameless apart
            self._lost.setdefault(user, {})[name] = None

    def holder(self, name: str) -> str | None:
        """The connection that came last as `name`."""
        return self._holders.get(name)

    def forget(self, name: str) -> Member | None:
        """Strike an absent member off. None: it is not absent, or was never here."""
        if name not in self._absent:
            return None
        member = self._members.pop(name)
        del self._names[self._holders.pop(name)]
        self._found(name, member.user)
        self._users[member.user] -= 1
        if not self._users[member.user]:
            del self._users[member.user]
        return member

    def _place_of(self, member: Member) -> str | None:
        own = self._names.get(member.connection_id)
        if own is not None and own in self._absent:
            return own
        return next(iter(self._lost.get(member.user, ())), None)

    def _found(self, name: str, user: str) -> None:
        self._absent.discard(name)
        lost = self._lost.get(user)
        if lost is not None:
            lost.pop(name, None)
            if not lost:
                del self._lost[user]
