"""Any order of what can happen to a device keeps the promises of the device table."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cardume.testing import FakeClock
from tests.support.tank import Tank

NUMBERS = itertools.count(1)

BLIP = [
    ("read", b'{"temperature":1}', "live"),
    ("availability", b"offline", "will"),
    ("wait", 15.0, ""),
]
"""Online, then offline: again before the alert has cleared it is the same trouble once more."""


steps = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.just(b'{"temperature":1}'), st.just("live")),
        st.tuples(
            st.just("availability"),
            st.sampled_from([b"online", b"offline", b'{"state":"online","session":1}',
                             b'{"state":"offline","session":2}', b"sleeping"]),
            st.sampled_from(["live", "will", "replay"]),
        ),
        st.tuples(st.just("wait"), st.sampled_from([1.0, 15.0, 61.0, 150.0, 301.0]), st.just("")),
        st.tuples(st.just("step"), st.sampled_from([-3600.0, 3600.0]), st.just("")),
        st.tuples(st.just("restart"), st.just(0.0), st.just("")),
    ),
    max_size=14,
)  # fmt: skip


@settings(
    max_examples=9,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(log=steps)
@example(log=[*BLIP, *BLIP, ("restart", 0.0, ""), *BLIP, ("wait", 301.0, ""), *BLIP])
async def test_events_alternate_and_at_most_one_alert_of_a_trouble_is_open(
    home: tuple[Path, FakeClock], log: list[tuple[str, Any, str]]
) -> None:
    path, clock = home
    device = f"d{next(NUMBERS)}"
    async with Tank.running(path, clock) as tank:
        await tank.device(device, 1)
    lives = [list(part) for restart, part in itertools.groupby(log, lambda s: s[0] == "restart")]
    for life in lives or [[]]:
        async with Tank.running(path, clock) as tank:
            for what, value, how in life:
                await _do(tank, device, what, value, how)
            await _check(tank, device)


async def _do(tank: Tank, device: str, what: str, value: Any, how: str) -> None:
    match what:
        case "wait":
            await tank.passes(value)
        case "step":
            tank.clock.step_wall(value)
        case "read":
            await tank.hear(device, "reading", value)
        case "availability":
            await tank.hear(device, what, value, will=how == "will", replay=how == "replay")


async def _check(tank: Tank, device: str) -> None:
    events = await tank.events(device)
    versions = [event["state_version"] for event in events]
    assert versions == list(range(1, len(events) + 1))
    chain = [(event["previous"], event["status"]) for event in events]
    assert all(previous != status for previous, status in chain)
    assert [status for _, status in chain[:-1]] == [previous for previous, _ in chain[1:]]
    known = await tank.status(device)
    assert known["status"] == (chain[-1][1] if chain else "never_seen")
    assert known["state_version"] == len(events)
    alerts = [alert for alert in await tank.alerts() if alert["device_id"] == device]
    still_open = [a for a in alerts if a["cleared_at"] is None]
    assert len(still_open) <= 1
    assert {alert["kind"] for alert in still_open} <= {"device_offline"}
    if known["status"] == "offline":
        assert len(still_open) == 1
    offline = sum(status == "offline" for _, status in chain)
    troubles = [a for a in alerts if a["kind"] == "device_offline"]
    assert sum(alert["occurrences"] for alert in troubles) == offline
