"""Whatever is sent to the HTTP API, the fault is the sender's: no answer is a 5xx."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.crew import ADMIN, Crew

numbers = st.one_of(
    st.integers(-3, 120),
    st.sampled_from([2**31, 2**53, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**30, 10**400]),
    st.floats(allow_nan=True, allow_infinity=True),
)
ids = st.sampled_from(["agent_a_001", "agent_a_002", "task_000001", "proposal_000001"])
texts = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["a", "worker", "active", "paused", "\ud800", "\0", "x" * 300, "high"]),
    ids,
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
statuses = st.sampled_from(["active", "paused", "inactive", "stopped", "created", "failed", "open"])
actions = st.sampled_from(["start", "pause", "resume", "stop", "restart", "heartbeat", "dance"])
FIELDS = {
    "agent_type": st.one_of(st.just("a"), texts), "name": texts, "status": statuses,
    "capabilities": st.lists(texts, max_size=3), "config": st.dictionaries(texts, values),
    "lease_seconds": numbers, "action": actions, "task_type": texts, "priority": numbers,
    "payload": st.dictionaries(texts, values), "required_capability": texts,
    "max_attempts": numbers, "agent_id": ids, "result": values, "error": texts,
    "retry": st.booleans(), "reason": texts, "topic": texts, "value": values, "quorum": numbers,
    "deadline_seconds": numbers, "approve": st.booleans(),
}  # fmt: skip
# Bodies refuse members that they do not have, so that many at once would test that alone.
SHAPES = [
    ("agent_type", "name", "capabilities", "config", "lease_seconds"),
    ("name", "capabilities", "config", "lease_seconds", "status"),
    ("action",),
    ("task_type", "priority", "payload", "required_capability", "lease_seconds", "max_attempts"),
    ("agent_id",), ("result",), ("error", "retry"), ("reason",),
    ("topic", "value", "quorum", "deadline_seconds"),
    ("agent_id", "approve"),
]  # fmt: skip
bodies = st.one_of(
    *(
        st.fixed_dictionaries({}, optional={n: st.one_of(FIELDS[n], FIELDS[n], values) for n in of})
        for of in SHAPES
    ),
    values,
)
queries = st.fixed_dictionaries(
    {},
    optional={
        "limit": st.one_of(st.integers(1, 50), numbers),
        "cursor": st.one_of(
            texts,
            st.sampled_from(["MQ==", "Im0i", "WzEsMV0=", "W251bGxd", "MWU5OQ==", "IlxuIg==",
                             "WzFlMzAwLDFlMzAwXQ==", "OTIyMzM3MjAzNjg1NDc3NTgwOA=="]),
        ),
        "status": statuses,
        "agent_type": texts,
        "agent_id": texts,
        "task_type": texts,
        "decision": st.one_of(statuses, st.just("approved")),
    },
)  # fmt: skip
known = st.sampled_from(
    ["agents", "agents/agent_a_001", "agents/agent_a_001/actions", "coordination/election",
     "coordination/election/trigger", "coordination/status", "coordination/tasks",
     "coordination/consensus", "coordination/consensus/propose",
     "coordination/consensus/proposal_000001", "coordination/consensus/proposal_000001/votes",
     *(f"coordination/tasks/task_000001{step}"
       for step in ("", "/assign", "/start", "/complete", "/fail", "/cancel"))]
)  # fmt: skip
paths = st.tuples(known, st.lists(st.one_of(texts, numbers.map(str)), max_size=2)).map(
    lambda path: "/".join((path[0], *(quote(part, errors="replace") for part in path[1])))
)
methods = st.sampled_from(["GET", "GET", "POST", "POST", "POST", "PUT", "PATCH", "DELETE", "HEAD"])


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(method=methods, path=st.one_of(known, known, paths), query=queries, body=bodies)
async def test_no_request_is_our_fault(
    crew: Crew, method: str, path: str, query: dict[str, Any], body: Any
) -> None:
    if crew.app.watch.leases.get("agent_a_001") is None:
        await furnish(crew)
    if method == "DELETE" and path == "agents/agent_a_001":
        return  # later examples want it
    token = crew.token("root", role="admin")
    response = await crew.client.request(
        method,
        f"/{path}?{urlencode(query, errors='replace')}",
        content=json.dumps(body),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    assert response.status_code < 500, response.text
    if response.status_code >= 400 and response.status_code not in (400, 404, 405):
        assert response.headers["content-type"] == "application/problem+json"
    assert crew.storage.healthy


async def furnish(crew: Crew) -> None:
    await crew.agent("a")
    await crew.ok("POST", "/coordination/tasks", {"task_type": "a"}, **ADMIN)
    await crew.ok("POST", "/coordination/consensus/propose", {"topic": "a"}, **ADMIN)
