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
from cardume.mqtt.faults import Faults
from cardume.mqtt.intake import Intake
from cardume.mqtt.limits import Limits
from cardume.mqtt.packets import Connect

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
