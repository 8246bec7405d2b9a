"""The runner's key: it speaks for one execution when the token that began it has expired.

A command may run for ten hours and a token live for one. Whoever shows the key counts as the
creator, for this execution and the calls that ask for `ReportingIdentity`; what an execution that
has ended refuses, it refuses to the key as well.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.security import APIKeyHeader

from cardume.apps.executions import store
from cardume.apps.executions.app import CurrentExecutions, Executions
from cardume.apps.executions.lives import Runner
from cardume.auth.identity import Identity
from cardume.auth.secrets import key_matches
from cardume.errors import Refused
from cardume.transports.fastapi import CurrentHub, current_identity
from cardume.transports.requests import Bearer

HEADER = "X-Runner-Key"

# For the API's description: one of the two will do.
_runner_key = APIKeyHeader(
    name=HEADER,
    scheme_name="RunnerKey",
    description="What `POST /executions` answered, for that one execution.",
    auto_error=False,
)


async def reporting_identity(
    execution_id: str,
    request: Request,
    hub: CurrentHub,
    app: CurrentExecutions,
    key: Annotated[str | None, Depends(_runner_key)],
    _shown: Bearer,
) -> Identity:
    """Who reports: the execution's creator by its key, else whose token it is, or 401.

    A key that is shown has to fit, even beside a good token.
    """
    if key is None:
        return await current_identity(request, hub, None)
    runner = await _runner_of(app, execution_id)
    # Unknown ids answer alike: who holds no key learns nothing about them.
    if runner is None or not key_matches(key, runner.key_hash):
        raise HTTPException(
            401, f"{HEADER} is not the key of this execution", {"WWW-Authenticate": "Bearer"}
        )
    return Identity(runner.created_by)


ReportingIdentity = Annotated[Identity, Depends(reporting_identity)]


async def _runner_of(app: Executions, execution_id: str) -> Runner | None:
    # From memory while it runs: a runner is heard even when the database does not answer.
    held = app.lives.runner(execution_id)
    if held is not None:
        return held
    try:
        async with app.storage.read() as connection:
            row = await store.find(connection, execution_id)
    except Refused:
        return None
    return Runner(row.created_by, row.key_hash)
