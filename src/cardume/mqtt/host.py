"""What the connections of one listener share, and the words for the states they are in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from cardume.clock import Clock
from cardume.hub.rejects import Rejects
from cardume.mqtt.broker import Broker
from cardume.mqtt.codec.packets import Connect, Will
from cardume.mqtt.codec.properties import forwarded
from cardume.mqtt.faults import Faults
from cardume.mqtt.intake import Intake
from cardume.mqtt.limits import Limits
from cardume.mqtt.ports import Inbound
from cardume.mqtt.sessions.message import NEVER, Message
from cardume.mqtt.sessions.session import Session

if TYPE_CHECKING:
    from cardume.mqtt.connection import Connection

# Why nothing is read from a connection now.
LOGIN: Final = 1
INTAKE: Final = 2
CHOKED: Final = 4
TURN: Final = 8
ACKS: Final = 16
STOP: Final = 32
ENDED: Final = 64


class State(StrEnum):
    NEW = "new"
    LOGIN = "login"
    OPEN = "open"
    ENDED = "ended"


@dataclass(slots=True)
class Host:
    """The listener, as its connections see it."""

    loop: asyncio.AbstractEventLoop
    clock: Clock
    limits: Limits
    rejects: Rejects
    faults: Faults
    intake: Intake
    broker: Broker
    arm: Callable[[Connection, float], None]
    """Call `Connection.check` at this monotonic time, or a little later."""
    log_in: Callable[[Connection, Connect], asyncio.Task[None]]
    lost: Callable[[Connection], None]
    view: memoryview
    received: int = 0

    def publish_will(self, session: Session, will: Will) -> None:
        """Hand over the will of a client that is gone, and route it once it is kept.

        It is taken even beyond the intake's bound: there is one per session.
        """

        def settle(message: Inbound, kept: bool) -> None:
            if kept:
                expiry = will.properties.message_expiry
                expires = NEVER if expiry is None else self.clock.monotonic() + expiry
                said = forwarded(will.properties)
                self.broker.publish(
                    Message(will.topic, will.payload, will.qos, will.retain, said, expires)
                )

        message = Inbound(
            will.topic,
            will.payload,
            will.qos,
            False,
            False,
            session.name,
            None,
            session.user,
            self.clock.now(),
            True,
        )
        self.intake.offer(message, settle)
