"""A listener on a free port, whose gatekeeper and handler the test steers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import settings

from cardume.clock import Clock, SystemClock
from cardume.errors import Unavailable
from cardume.mqtt.intake import Intake
from cardume.mqtt.limits import Limits
from cardume.mqtt.listener import Listener
from cardume.mqtt.ports import Inbound, Login
from tests.mqtt.clients import Raw

# A machine that is busy with something else is no fault of ours.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@dataclass(frozen=True)
class Device:
    """Writes below its own id, listens to its own commands; a service reads all."""

    name: str
    barred: set[str] = field(default_factory=set)
    generous: bool = False

    def may_publish(self, topic: str) -> bool:
        return self.name == "service" or topic.startswith(f"aquabook/{self.name}/")

    def may_subscribe(self, topic_filter: str) -> bool:
        own = (
            self.name == "service"
            or self.generous
            or topic_filter == f"aquabook/{self.name}/command"
        )
        return own and topic_filter not in self.barred


class Keeper:
    """Lets in whoever has its own name for a password."""

    def __init__(self) -> None:
        self.available = True
        self.barred: set[str] = set()
        """Filters that nobody may subscribe to any more."""
        self.generous = False
        """Whether devices may subscribe to anything."""
        self.answering = asyncio.Event()
        self.answering.set()

    async def authenticate(self, login: Login) -> Device | None:
        await self.answering.wait()
        if not self.available:
            raise Unavailable("the users cannot be read")
        if login.username is None or login.password != login.username.encode():
            return None
        return Device(login.username, self.barred, self.generous)


class Store:
    """A handler that keeps messages while it is `open`."""

    def __init__(self) -> None:
        self.messages: list[Inbound] = []
        self.batches: list[int] = []
        self.open = asyncio.Event()
        self.open.set()
        self.entered = 0
        self.faults: list[Exception] = []
        self.poison = b"poison"

    async def __call__(self, batch: Sequence[Inbound]) -> None:
        self.entered += 1
        await self.open.wait()
        if self.faults:
            raise self.faults.pop(0)
        if any(message.payload == self.poison for message in batch):
            raise ValueError(batch)
        self.messages += batch
        self.batches.append(len(batch))

    @property
    def payloads(self) -> list[bytes]:
        return [message.payload for message in self.messages]

    @property
    def wills(self) -> list[bytes]:
        return [message.payload for message in self.messages if message.will]


@dataclass
class House:
    listener: Listener
    intake: Intake
    store: Store
    keeper: Keeper

    @property
    def port(self) -> int:
        return self.listener.port

    @property
    def drops(self) -> dict[str, int]:
        return self.listener.stats().drops


Open = Callable[..., AbstractAsyncContextManager[House]]


@asynccontextmanager
async def open_house(
    clock: Clock | None = None, limits: Limits | None = None, max_pending: int = 4096
) -> AsyncIterator[House]:
    clock = clock or SystemClock()
    store, keeper = Store(), Keeper()
    intake = Intake(store, clock, max_pending=max_pending)
    listener = Listener("127.0.0.1", 0, keeper, intake, clock, limits)
    await listener.start()
    try:
        yield House(listener, intake, store, keeper)
    finally:
        store.open.set()
        keeper.answering.set()
        await listener.stop(2.0)
        await intake.drain(2.0)
        await Raw.hang_up()
        stats = listener.stats()
        assert stats.connections == 0
        assert stats.faults == 0


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with open_house() as opened:
        yield opened
