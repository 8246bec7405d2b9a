"""What became of a message to one user: told by its sessions, read by who sent it."""

from __future__ import annotations

from collections.abc import Callable

from cardume.mqtt.ports import Delivery


class Receipt:
    """One message under way to a user, however many of its sessions get a copy.

    The first acknowledgement counts. Any other end counts when no copy is under way any more.
    """

    __slots__ = ("_copies", "_tell", "state")

    def __init__(self, tell: Callable[[Delivery], None] | None = None) -> None:
        self.state = Delivery.NO_SESSION
        self._copies = 0
        self._tell = tell

    @property
    def settled(self) -> bool:
        """Whether no copy is under way (any more)."""
        return self.state.final or self._copies <= 0

    def kept(self) -> None:
        """A copy waits for its client."""
        self._copies += 1
        if self.state is Delivery.NO_SESSION:
            self._become(Delivery.QUEUED)

    def written(self, *, final: bool) -> None:
        """A copy is on its way; at QoS 0 nobody will ever answer."""
        if final:
            self.ended(Delivery.SENT)
        elif self.state is Delivery.QUEUED:
            self._become(Delivery.SENT)

    def ended(self, how: Delivery) -> None:
        """Nothing more will happen to a copy."""
        self._copies -= 1
        if how is Delivery.ACKNOWLEDGED or self._copies <= 0:
            self._become(how)

    def _become(self, state: Delivery) -> None:
        if self.state.final:
            return
        self.state = state
        if self._tell is not None:
            self._tell(state)
