"""What commands do where a server has the database: they ask it, as an admin of its own.

A file has one writer (SQLite before 3.51.3 can corrupt a WAL that two connections write), so a
command beside a server goes through its HTTP API.
"""

from __future__ import annotations

import asyncio
import http.client
import ssl
import urllib.error
import urllib.request
from typing import Any

from cardume.clock import SystemClock
from cardume.errors import CardumeError
from cardume.server import tls
from cardume.server.console import said_with
from cardume.server.tokens import signer
from cardume.settings import Settings
from cardume.storage.owner import Owned, Owner, is_alive, look
from cardume.storage.process import this_process
from cardume.storage.sqlite import Sqlite
from cardume.storage.urls import backend_for
from cardume.wire import json

TIMEOUT = 15.0


async def owner_in_the_way(settings: Settings) -> Owner | None:
    """The server beside which nobody else may write: that of a file, while it lives."""
    backend = backend_for(settings.database_url)
    if not isinstance(backend, Sqlite):
        return None
    owner = await look(backend)
    if owner is None or not is_alive(owner, this_process(), one_machine=True):
        return None
    return owner


async def ask(settings: Settings, owner: Owner, method: str, path: str, body: Any) -> Any:
    """What the server answers to a request below ``/api/v1``.

    Raises:
        Owned: it cannot be asked; the message says what to do instead.
        CardumeError: it said no, and why.
    """
    minter = signer(settings, SystemClock())
    advice = f"stop it, or ask it yourself as an admin: {method} /api/v1{path}"
    # What its address means in another container, nobody here knows.
    is_near = owner.process.shares_pids_with(this_process())
    if minter is None or owner.address is None or not is_near:
        raise Owned(owner, advice)
    request = urllib.request.Request(
        f"{owner.address}/api/v1{path}",
        json.encode(body),
        {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {minter.mint('cardume', ttl=60, role='admin')}",
        },
        method=method,
    )
    try:
        return await asyncio.to_thread(_answer, request, tls.pinned(settings))
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 401:  # its secret is another than ours
                raise Owned(owner, advice) from None
            raise CardumeError(
                f"the server that has the database says {error.code}: {said_with(error)}"
            ) from None
    except (OSError, ValueError, http.client.HTTPException):
        raise Owned(owner, advice) from None


def _answer(request: urllib.request.Request, context: ssl.SSLContext | None) -> Any:
    with urllib.request.urlopen(request, timeout=TIMEOUT, context=context) as response:
        return json.parse(response.read())
