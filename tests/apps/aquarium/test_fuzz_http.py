"""Whatever is sent to the HTTP API, the fault is the sender's: no answer is a 5xx."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cardume.alerts.lifecycle import AlertState, Severity
from tests.support.tank import Tank

numbers = st.one_of(
    st.integers(-3, 9),
    st.sampled_from([2**31, 2**53, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**30, 10**400]),
    st.floats(allow_nan=True, allow_infinity=True),
)
moments = st.sampled_from(
    ["2026-11-18T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "now", "1e9",
     "2026-11-18T00:00:00", "1970-01-01T00:00:00.000001Z"]
)  # fmt: skip
texts = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["probe", "ana", "temperature", "reef", "owner", "\ud800", "\0", "x" * 300]),
    moments,
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
FIELDS = {
    "name": texts, "kind": texts, "role": texts, "value": numbers,
    "metric": st.sampled_from(["temperature", "ph", "X"]),
    "unit": texts, "measured_at": moments, "note": texts, "device_id": texts,
    "aquarium_id": st.sampled_from([1, 1, 2**63, "1"]), "expected_interval_seconds": numbers,
    "sensor_id": numbers, "low": numbers, "high": numbers, "low_critical": numbers,
    "high_critical": numbers, "severity": st.sampled_from([*Severity, "x"]), "deadband": numbers,
    "for_seconds": numbers, "clear_seconds": numbers, "enabled": st.booleans(), "until": moments,
    "reason": texts, "command": texts, "params": values, "expires_in": numbers, "id": texts,
}  # fmt: skip
bodies = st.one_of(
    st.fixed_dictionaries({}, optional={n: st.one_of(v, v, values) for n, v in FIELDS.items()}),
    values,
)
queries = st.fixed_dictionaries(
    {},
    optional={
        "metric": st.sampled_from(["temperature", "ph"]),
        "from": moments,
        "to": moments,
        "points": st.one_of(st.integers(1, 50), numbers),
        "limit": st.one_of(st.integers(1, 50), numbers),
        "cursor": st.one_of(texts, st.sampled_from(["MQ==", "Im0i", "WzEsMV0=", "W251bGxd",
                                                    "MWU5OQ==", "WzFlMzAwLDFlMzAwXQ=="])),
        "aquarium_id": st.one_of(st.just(1), numbers),
        "state": st.sampled_from([*AlertState, "open", "x"]),
        "severity": st.sampled_from([*Severity, "x"]),
    },
)  # fmt: skip
ids = st.one_of(st.just("1"), numbers.map(str), texts)
paths = st.tuples(
    st.sampled_from(["aquariums", "devices", "alert-rules", "alerts"]),
    st.lists(
        st.one_of(
            ids,
            st.sampled_from(
                ["overview", "members", "readings", "status", "events", "commands", "ack", "shelve"]
            ),
        ),
        max_size=3,
    ),
).map(lambda path: "/".join((path[0], *(quote(p, errors="replace") for p in path[1]))))
known = st.sampled_from(
    ["aquariums", "aquariums/1", "aquariums/1/overview", "aquariums/1/readings", "devices",
     "aquariums/1/members/ana", "aquariums/1/members/eva", "devices/probe", "devices/probe/status",
     "devices/probe/events", "devices/probe/commands", "alert-rules", "alert-rules/1", "alerts",
     "alerts/1/ack", "alerts/1/shelve"]
)  # fmt: skip
methods = st.sampled_from(["GET", "GET", "POST", "POST", "PUT", "PATCH", "DELETE", "HEAD"])


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(method=methods, path=st.one_of(known, known, paths), query=queries, body=bodies)
async def test_no_request_is_our_fault(
    tank: Tank, method: str, path: str, query: dict[str, Any], body: Any
) -> None:
    if method == "DELETE" and path in ("aquariums/1", "devices/probe"):
        return  # later examples want them
    token = tank.token("root", role="admin")
    response = await tank.client.request(
        method,
        f"/api/v1/{path}?{urlencode(query, errors='replace')}",
        content=json.dumps(body),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    assert response.status_code < 500, response.text
    if response.status_code >= 400 and response.status_code not in (400, 404, 405):
        assert response.headers["content-type"] == "application/problem+json"
    await tank.read("probe", 25.0)  # whatever rules there are now, devices are still heard
    assert tank.storage.healthy
