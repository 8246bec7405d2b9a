"""Presence on the channels of this node: who is there, told to those who asked to hear it.

A leave is announced when the channel's grace is over; whoever comes back before never left.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

from cardume.hub.roll import Roll
from cardume.hub.schedule import LeaseTimer
from cardume.wire.messages import Member

if TYPE_CHECKING:
    from cardume.hub.subscription import Subscription

Announce = Callable[[str, Member, bool], None]
"""Called with the channel, the member, and whether it came."""

Absence = tuple[str, str]
"""A channel, and the name of a member of it."""

Expire = Callable[[list[Absence]], Awaitable[None]]


class Count(NamedTuple):
    """How many are on a channel."""

    clients: int
    users: int


class Presence:
    """The rolls of all channels that have anybody on them."""

    def __init__(self, timer: Callable[[Expire], LeaseTimer[Absence]], announce: Announce) -> None:
        self._rolls: dict[str, Roll] = {}
        self._absences = timer(self._expired)
        self._away: dict[str, dict[str, None]] = {}
        """The channels that a connection, which is still there itself, is absent from."""
        self._announce = announce

    def members(self, channel: str) -> dict[str, Member]:
        roll = self._rolls.get(channel)
        return {} if roll is None else roll.members

    def count(self, channel: str) -> Count:
        roll = self._rolls.get(channel)
        return Count(0, 0) if roll is None else Count(len(roll), roll.users)

    def arrive(self, subscription: Subscription) -> None:
        """A subscriber was told where it stands: it is here."""
        channel, connection = subscription.channel.name, subscription.connection
        identity = connection.identity
        info = identity.claims.get("info") if subscription.info is None else subscription.info
        roll = self._rolls.setdefault(channel, Roll())
        member, is_new = roll.arrive(Member(connection.id, identity.sub, info))
        subscription.member = member
        self._settle(connection.id, channel)
        if is_new:
            self._announce(channel, member, True)
        else:
            self._absences.drop((channel, member.connection_id))

    def depart(self, subscription: Subscription, grace: float, *, lost: bool) -> None:
        """A subscriber is gone: for good after `grace` seconds.

        `lost`: with its connection, so that another one may take its place.
        """
        member, channel = subscription.member, subscription.channel.name
        roll = self._rolls.get(channel)
        if member is None or roll is None or not roll.depart(member.connection_id, lost=lost):
            return  # it was never told, or outlived the hub that knew it
        subscription.member = None
        if grace > 0:
            if not lost:
                self._away.setdefault(subscription.connection.id, {})[channel] = None
            self._absences.touch_in((channel, member.connection_id), grace)
        else:
            self._forget(channel, member.connection_id)

    def lose(self, connection_id: str) -> None:
        """A connection ended: others of its user may take the places that it had left before."""
        for channel in self._away.pop(connection_id, ()):
            roll = self._rolls.get(channel)
            if roll is not None:
                roll.lose(connection_id)

    def clear(self) -> None:
        """Forget everybody, and tell nobody: the hub is about to stop."""
        for channel, roll in self._rolls.items():
            for name in roll.members:
                self._absences.drop((channel, name))
        self._rolls.clear()
        self._away.clear()

    async def _expired(self, absences: list[Absence]) -> None:
        for absence in absences:
            if absence not in self._absences:  # it came and left again meanwhile
                self._forget(*absence)

    def _forget(self, channel: str, name: str) -> None:
        roll = self._rolls.get(channel)
        holder = None if roll is None else roll.holder(name)
        member = None if roll is None else roll.forget(name)
        if roll is None or member is None:
            return
        if holder is not None:
            self._settle(holder, channel)
        if not roll:
            del self._rolls[channel]
        self._announce(channel, member, False)

    def _settle(self, connection_id: str, channel: str) -> None:
        away = self._away.get(connection_id)
        if away is not None:
            away.pop(channel, None)
            if not away:
                del self._away[connection_id]
