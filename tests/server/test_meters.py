"""What is measured beside the hub changes nothing of what the hub does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.types import Receive, Scope, Send

from cardume import ChannelOptions, Hub, HubOptions, Identity, Refused
from cardume.auth.tokens import build_verifier
from cardume.engines.memory import MemoryEngine
from cardume.hub.namespaces import Namespaces
from cardume.server import create_app
from cardume.server.compose import Composition
from cardume.server.meters import OTHER, SAMPLE, MeteredEngine, TimedHandshakes, Words
from cardume.server.metrics import Meters
from cardume.server.serve import in_front_of
from cardume.settings import Settings
from cardume.testing import FakeClock
from tests.support.house import SECRET
from tests.support.server import ENVIRONMENT


def metered(clock: FakeClock) -> tuple[Hub, MeteredEngine, Meters]:
    meters = Meters(clock)
    engine = meters.engine(MemoryEngine(clock))
    hub = Hub(
        auth=build_verifier(clock=clock, secret=SECRET),
        engine=engine,
        clock=clock,
        options=HubOptions(undeclared=ChannelOptions(history=10)),
    )

    @hub.channel("room:{id}", history=10)
    async def room(id: str, identity: Identity) -> None: ...

    engine.words = Words(hub.namespaces)
    return hub, engine, meters


def sampled(meters: Meters, name: str) -> float:
    found = meters.registry.get_sample_value(f"cardume_{name}_seconds_count")
    assert found is not None
    return found


async def test_publications_are_counted_once_they_are_accepted() -> None:
    hub, engine, _ = metered(FakeClock())
    async with hub:
        await hub.publish("room:1", data=1, idempotency_key="k")
        await hub.publish("room:2", data=1)
        with pytest.raises(Refused):
            await hub.publish("room:1", data=2, idempotency_key="k")
        await hub.publish("news:1", data=1)
        await hub.publish("news", data=1)
    assert engine.publications == {"room": 2, OTHER: 2}


async def test_all_that_an_engine_does_it_does_as_before() -> None:
    hub, _, _ = metered(FakeClock())
    async with hub:
        first = await hub.publish("room:1", data=1)
        past = await hub.history("room:1", limit=9)
        assert (past.position, len(past.publications)) == (first, 1)
        await hub.remove_history("room:1")
        assert (await hub.history("room:1", limit=9)).publications == ()


async def test_a_sample_is_the_time_until_the_writers_ran() -> None:
    clock = FakeClock()
    hub, _, meters = metered(clock)
    async with hub:
        for _ in range(SAMPLE - 1):
            await hub.publish("room:1", data=1)
        await asyncio.sleep(0)
        assert sampled(meters, "delivery") == 0
        await hub.publish("room:1", data=1)
        assert sampled(meters, "delivery") == 0  # nobody has written yet
        clock.step_wall(0.25)
        await asyncio.sleep(0)
        assert sampled(meters, "delivery") == 1
        assert meters.registry.get_sample_value("cardume_delivery_seconds_sum") == pytest.approx(
            0.25
        )
        clock.step_wall(-60)  # a clock that is set back is no negative time
        for _ in range(SAMPLE):
            await hub.publish("room:1", data=1)
        clock.step_wall(-60)
        await asyncio.sleep(0)
        assert meters.registry.get_sample_value("cardume_delivery_seconds_sum") == pytest.approx(
            0.25
        )


@given(names=st.lists(st.from_regex(r"[a-z]{1,3}(:[a-z]{1,3})?", fullmatch=True), max_size=50))
def test_words_are_those_that_somebody_declared(names: list[str]) -> None:
    hub, _, _ = metered(FakeClock())
    words = Words(hub.namespaces)
    assert {words.of(name) for name in ["room:1", *names]} <= {"room", OTHER}
    assert Words(Namespaces()).of("room:1") == OTHER


async def test_handshakes_pass_whole_and_some_are_timed() -> None:
    clock = FakeClock()
    meters = Meters(clock)
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await clock.advance(0.5)
        for type in ("websocket.accept", "websocket.send", "websocket.close"):
            await send({"type": type})

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    timed = TimedHandshakes(app, clock, meters.handshakes)
    for _ in range(2 * SAMPLE):
        await timed({"type": "websocket"}, receive, send)
        await timed({"type": "http"}, receive, send)
    assert len(sent) == 2 * SAMPLE * 2 * 3
    assert sampled(meters, "handshake") == 2
    assert meters.registry.get_sample_value("cardume_handshake_seconds_sum") == 1.0


def timed_once(app: Any, registry: CollectorRegistry) -> bool:
    """Whether of so many handshakes one is timed."""

    def count() -> float:
        return registry.get_sample_value("cardume_handshake_seconds_count") or 0.0

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)  # a function: TestClient takes other objects for ASGI 2

    before = count()
    client = TestClient(served)  # without a lifespan: nobody is let in
    for _ in range(SAMPLE):
        with pytest.raises(WebSocketDenialResponse), client.websocket_connect("/ws/nowhere"):
            pass
    return count() == before + 1


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return Settings()


def test_the_server_times_a_handshake_once(configured: Settings) -> None:
    composition = Composition(configured)
    assert timed_once(in_front_of(composition), composition.meters.registry)


def test_the_application_alone_times_a_handshake_once(configured: Settings) -> None:
    made = create_app()
    (timing,) = [layer for layer in made.user_middleware if "around" in repr(layer)]
    meters: Any = timing.cls
    assert timed_once(made, meters.__self__.registry)
