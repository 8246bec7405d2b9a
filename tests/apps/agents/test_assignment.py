"""The ranking of candidates is the rule, whatever agents and tasks there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert

from cardume.apps.agents.assignment import ranked
from cardume.storage.database import Storage, Write
from cardume.storage.tables import agents, tasks
from tests.support.databases import on_both

pytestmark = on_both

CAPABILITIES = ["a", "A", "ab", 'quo"te', "ünï", "50%", "null"]

crews = st.lists(
    st.tuples(
        st.sampled_from(["active", "active", "paused", "inactive", "stopped"]),
        st.lists(st.sampled_from(CAPABILITIES), max_size=3),
        st.sampled_from([1.0, 2.0, 3.0]),
    ),
    max_size=8,
)
holdings = st.lists(
    st.tuples(
        st.integers(0, 9),
        st.sampled_from(["created", "assigned", "started", "completed", "failed", "cancelled"]),
    ),
    max_size=12,
)


async def _nobody_listens(*_: Any, **__: Any) -> None:
    return None


@pytest.fixture
async def storage(database_url: str) -> AsyncIterator[Storage]:
    async with Storage(database_url, _nobody_listens) as storage:
        yield storage


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(crew=crews, held=holdings, wanted=st.none() | st.sampled_from([*CAPABILITIES, "none"]))
async def test_candidates_come_by_load_then_by_age_then_by_id(
    storage: Storage,
    crew: list[tuple[str, list[str], float]],
    held: list[tuple[int, str]],
    wanted: str | None,
) -> None:
    load = Counter(f"agent_{who}" for who, status in held if status in ("assigned", "started"))
    able = [
        (load[f"agent_{number}"], created_at, f"agent_{number}")
        for number, (status, capabilities, created_at) in enumerate(crew)
        if status == "active" and (wanted is None or wanted in capabilities)
    ]
    async with storage.write() as tx:
        await _furnish(tx, crew, held)
        got = list((await tx.execute(ranked(wanted))).scalars())
    assert got == [agent_id for *_, agent_id in sorted(able)]


async def _furnish(
    tx: Write, crew: list[tuple[str, list[str], float]], held: list[tuple[int, str]]
) -> None:
    await tx.execute(delete(agents))
    await tx.execute(delete(tasks))
    for number, (status, capabilities, created_at) in enumerate(crew):
        values = {
            "agent_id": f"agent_{number}",
            "agent_type": "worker",
            "status": status,
            "capabilities": capabilities,
            "config": {},
            "version": 1,
            "created_at": created_at,
            "created_by": "root",
            "updated_at": created_at,
        }
        await tx.execute(insert(agents).values(values))
    for who, status in held:
        values = {
            "task_type": "sweep",
            "priority": 50,
            "payload": {},
            "status": status,
            "agent_id": f"agent_{who}",
            "attempts": 1,
            "max_attempts": 3,
            "version": 1,
            "created_at": 0.0,
            "created_by": "root",
            "updated_at": 0.0,
        }
        await tx.execute(insert(tasks).values(values))
