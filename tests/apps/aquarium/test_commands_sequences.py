"""In any order of what can happen, a command only goes forward and is answered at most once."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cardume.mqtt.ports import Delivery
from cardume.testing import FakeClock
from tests.apps.aquarium.radio import Radio
from tests.support.peers import Peer
from tests.support.tank import Tank, data

DEVICES = itertools.count(1)
RANK = {"none": 0, "queued": 1, "sent": 2, "acknowledged": 3, "expired": 3}
LIFETIME = {"a": 20.0, "b": 60.0, "c": 400.0}
"""Seconds by the command's id."""

ids = st.sampled_from(sorted(LIFETIME))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), ids),
        st.tuples(st.just("answer"), st.tuples(ids, st.sampled_from(["ok", "failed"]))),
        st.tuples(st.just("birth"), st.just(None)),
        st.tuples(st.just("read"), st.just(None)),
        st.tuples(st.just("way"), st.sampled_from([*Delivery, "lost"])),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 6.0, 25.0, 70.0])),
        st.tuples(st.just("restart"), st.sampled_from([0.0, 30.0])),
    ),
    min_size=3,
    max_size=16,
)


class Story:
    """What happened to the commands of one device, as it has to be told in the end."""

    def __init__(self, device: str, clock: FakeClock) -> None:
        self.device = device
        self.clock = clock
        self.begun: dict[str, float] = {}
        self.results: dict[str, str] = {}
        self.said: dict[str, list[str]] = {id: [] for id in LIFETIME}
        self.viewer: Peer

    def is_open(self, id: str) -> bool:
        return id in self.begun and id not in self.results and not self.is_over(id)

    def is_over(self, id: str) -> bool:
        return self.clock.now() >= self.begun[id] + LIFETIME[id]

    async def live(self, tank: Tank, how: Delivery, steps: list[tuple[str, Any]]) -> Delivery:
        """One life of the hub; how the way to the device is at its end."""
        for id, said in self.said.items():  # in the lives before: each step once, in order
            events = await tank.events(self.device)
            assert said == [event["status"] for event in events if event["command_id"] == id]
        radio = Radio.of(tank, how)
        self.viewer = await tank.listen(1)
        await tank.passes(0.001)  # what ran out while it was away
        for what, value in steps:
            await self.do(tank, radio, what, value)
        await tank.quiet()
        await self.check(tank)
        return radio.how

    def ended(self) -> None:
        """A life is over: all that it had to say was said."""
        for event in data(self.viewer.of_type("device_command")):
            if event["device_id"] == self.device:
                self.said[event["id"]].append(event["status"])

    async def do(self, tank: Tank, radio: Radio, what: str, value: Any) -> None:
        match what:
            case "ask":
                body = {"command": "feed", "id": value, "expires_in": LIFETIME[value]}
                answer = await tank.call("POST", f"/devices/{self.device}/commands", body)
                assert answer.status_code == (200 if value in self.begun else 201)
                self.begun.setdefault(value, self.clock.now())
            case "answer":
                id, result = value
                if self.is_open(id):
                    self.results[id] = result
                await tank.hear(self.device, "command/result", {"id": id, "result": result})
            case "birth":
                await tank.hear(self.device, "availability", b"online")
            case "read":
                await tank.read(self.device)
            case "way" if value == "lost":
                tank.app.commands.unreachable()
                tank.app.commands.reachable()
            case "way":
                radio.how = value
                radio.take()
            case "wait":
                await tank.passes(value)

    async def check(self, tank: Tank) -> None:
        path = f"/devices/{self.device}/commands"
        shown = {item["id"]: item for item in (await tank.ok("GET", path))["items"]}
        assert shown.keys() == self.begun.keys()
        events = await tank.events(self.device)
        for id, command in shown.items():
            chain = [event for event in events if event["command_id"] == id]
            assert [event["state_version"] for event in chain] == list(range(1, len(chain) + 1))
            assert all(RANK[event["previous"]] < RANK[event["status"]] for event in chain)
            statuses = [event["status"] for event in chain]
            assert [event["previous"] for event in chain] == ["none", *statuses[:-1]]
            assert statuses.count("acknowledged") <= 1
            assert command["status"] == statuses[-1]
            assert command["result"] == self.results.get(id)
            if id in self.results:
                assert command["status"] == "acknowledged"
            else:
                assert (command["status"] == "expired") == self.is_over(id)


@settings(
    max_examples=7,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(log=steps)
async def test_a_command_goes_forward_and_is_answered_once(
    home: tuple[Path, FakeClock], log: list[tuple[str, Any]]
) -> None:
    path, clock = home
    story, how = Story(f"d{next(DEVICES)}", clock), Delivery.NO_SESSION
    life: list[tuple[str, Any]] = []
    lives = [life]
    for step in log:
        life.append(step)
        if step[0] == "restart":
            life = []
            lives.append(life)
    for number, life in enumerate([*lives, []]):
        async with Tank.running(path, clock) as tank:
            if number == 0:
                await tank.device(story.device, 1)
            how = await story.live(tank, how, life)
        story.ended()
        if life and life[-1][0] == "restart":
            await clock.advance(life[-1][1])
