"""PyPI `centrifuge-python`, in JSON, against a place of ours."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cardume.wire import codes
from tests.clients.place import Place
from tests.support.house import token
from tests.support.waiting import until

pytest.importorskip("centrifuge", reason="centrifuge-python is not installed")
sdk: Any = importlib.import_module("centrifuge")


class Recorder:
    """Every callback of the SDK, by its name."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Callable[[Any], Awaitable[None]]:
        if not name.startswith("on_"):
            raise AttributeError(name)

        async def note(ctx: Any) -> None:
            self.calls.append((name[3:], ctx))

        return note

    def named(self, name: str) -> list[Any]:
        return [ctx for called, ctx in self.calls if called == name]

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


class Session:
    """One client and what happened to it."""

    def __init__(self, place: Place, sub: str, **options: Any) -> None:
        self.events = Recorder()
        self.sub = sub

        async def get_token() -> str:
            return token(sub)

        self.client = sdk.Client(
            f"ws://127.0.0.1:{place.wire.port}/connection/websocket",
            events=self.events,
            min_reconnect_delay=0.02,
            max_reconnect_delay=0.1,
            **{"get_token": get_token, **options},
        )

    def on(self, channel: str, **options: Any) -> tuple[Any, Recorder]:
        """A subscription and what happened to it."""
        events = Recorder()
        return self.client.new_subscription(channel, events=events, **options), events


@asynccontextmanager
async def session(place: Place, sub: str = "anna", **options: Any) -> AsyncIterator[Session]:
    before = asyncio.all_tasks()
    made = Session(place, sub, **options)
    try:
        yield made
    finally:
        await made.client.disconnect()
        # It closes its sockets in tasks that it waits for no more.
        left = asyncio.all_tasks() - before
        if left:
            await asyncio.wait(left, timeout=5)


async def told(place: Place, channel: str, *messages: dict[str, Any]) -> None:
    """Publish on the loop of the place."""
    for message in messages:
        await asyncio.to_thread(place.run, place.hub.publish(channel, **message))


async def test_connect_subscribe_hear_ask_and_say(place: Place) -> None:
    async with session(place) as here:
        sub, events = here.on("room:p1", join_leave=True)
        await sub.subscribe()
        await here.client.connect()
        await sub.ready()
        (greeting,) = events.named("subscribed")
        assert greeting.data == {"snapshot": {"room": "p1"}}
        assert (greeting.recoverable, greeting.was_recovering) == (True, False)
        await told(place, "room:p1", {"type": "said", "data": {"n": 1}, "tags": {"lang": "pt"}})
        await sub.publish({"n": 2})
        await until(lambda: len(events.named("publication")) == 2, "two publications")
        typed, bare = (ctx.pub for ctx in events.named("publication"))
        assert (typed.data["type"], typed.data["data"]) == ("said", {"n": 1})
        assert typed.tags == {"lang": "pt", "type": "said"}
        assert (bare.data, bare.info.user) == ({"n": 2}, "anna")
        presence = await sub.presence()
        assert [one.user for one in presence.clients.values()] == ["anna"]
        stats = await sub.presence_stats()
        assert (stats.num_clients, stats.num_users) == (1, 1)
        history = await sub.history(limit=1, reverse=True)
        assert (history.offset, history.publications[0].data) == (2, {"n": 2})
        answer = await here.client.rpc("echo", {"a": 1})
        assert answer.data == {"by": "anna", "a": 1}
        with pytest.raises(sdk.ReplyError) as refused:
            await here.client.rpc("fly", {})
        assert refused.value.code == 104
        assert events.named("join")[0].info.user == "anna"


async def test_a_cut_wire(place: Place) -> None:
    async with session(place) as here:
        sub, events = here.on("room:p2")
        await sub.subscribe()
        await here.client.connect()
        await sub.ready()
        await told(place, "room:p2", {"data": 1})
        await until(lambda: events.named("publication"), "the first")
        place.soon(place.wire.cut)
        await until(lambda: len(events.named("subscribing")) == 2, "it notices")
        await told(place, "room:p2", {"data": 2}, {"type": "said", "data": 3}, {"data": 4})
        place.soon(place.wire.mend)
        await until(lambda: len(events.named("subscribed")) == 2, "it is back")
        again = events.named("subscribed")[1]
        assert (again.was_recovering, again.recovered, again.data) == (True, True, None)
        await told(place, "room:p2", {"data": 5})
        await until(lambda: len(events.named("publication")) == 5, "the rest")
        offsets = [ctx.pub.offset for ctx in events.named("publication")]
        assert offsets == [1, 2, 3, 4, 5]


async def test_tokens_are_refreshed_before_they_end(place: Place) -> None:
    asked: list[str] = []

    async def connection_token() -> str:
        asked.append("connection")
        return token("brief", ttl=3)

    async def subscription_token(channel: str) -> str:
        asked.append("subscription")
        return token("brief", ttl=3, channel=channel)

    async with session(place, "brief", get_token=connection_token) as here:
        sub, events = here.on("vault:p3", get_token=subscription_token)
        await sub.subscribe()
        await here.client.connect()
        await sub.ready()
        await until(lambda: asked.count("connection") > 2 < asked.count("subscription"), "again")
        assert here.events.names() == ["connecting", "connected"]
        assert events.names() == ["subscribing", "subscribed"]


async def test_a_token_that_has_ended_is_asked_for_again(place: Place) -> None:
    ended = token("late", ttl=0.001)
    async with session(place, "late", token=ended) as here:
        await here.client.connect()
        await until(lambda: here.events.named("connected"), "it connects")
        assert [ctx.error.code for ctx in here.events.named("error")] == [109]


async def test_who_may_not_come_does_not_come_again(place: Place) -> None:
    async with session(place, token="nonsense", get_token=None) as here:
        await here.client.connect()
        await until(lambda: here.events.named("disconnected"), "it gives up")
        assert here.events.named("disconnected")[0].code == 3500


async def test_channels_that_are_closed_to_it(place: Place) -> None:
    async with session(place) as here:
        closed, events = here.on("room:closed")
        unknown, others = here.on("nobody:1")
        await here.client.connect()
        await closed.subscribe()
        await unknown.subscribe()
        await until(lambda: events.named("unsubscribed") and others.named("unsubscribed"))
        assert events.named("unsubscribed")[0].code == 103
        assert others.named("unsubscribed")[0].code == 102


async def test_a_terminal_code_ends_it_another_one_brings_it_back(place: Place) -> None:
    async with session(place, "sent-away") as here:
        await here.client.connect()
        place.soon(place.hub.close_user, "sent-away", codes.FORCE_RECONNECT)
        await until(lambda: len(here.events.named("connected")) == 2, "it is back")
        place.soon(place.hub.close_user, "sent-away")
        await until(lambda: here.events.named("disconnected"), "it is gone")
        assert here.events.named("disconnected")[0].code == 3503
        await asyncio.sleep(0.3)  # three times as long as it would wait
        assert here.events.names()[-1] == "disconnected"


async def test_only_the_tags_that_it_wants(place: Place) -> None:
    async with session(place) as here:
        wanted = sdk.Filter.is_in("type", ["said", "sung"])
        sub, events = here.on("room:p8", tags_filter=wanted)
        await sub.subscribe()
        await here.client.connect()
        await sub.ready()
        messages = [{"type": type, "data": type} for type in ("said", "done", "sung")]
        await told(place, "room:p8", *messages)
        await until(lambda: len(events.named("publication")) == 2, "two publications")
        heard = [ctx.pub.data["data"] for ctx in events.named("publication")]
        assert heard == ["said", "sung"]
