"""Which sockets may be written to past their transports."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from cardume.hub.sockets import NO_FILENO
from cardume.transports.fileno import fileno_of
from tests.client.authority import Authority

Run = Callable[[Coroutine[Any, Any, tuple[int, int]]], tuple[int, int]]


async def _filenos(context: ssl.SSLContext | None) -> tuple[int, int]:
    """Of a server's transport, and of the socket under it."""
    made: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.set_result(transport)  # type: ignore[arg-type]

    listening = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, ssl=context)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        trusting = ssl.create_default_context() if context else None
        if trusting is not None:
            trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
        transport = await made
        found = fileno_of(transport), transport.get_extra_info("socket").fileno()
        writer.close()
        transport.abort()
        await asyncio.sleep(0)
    return found


RUNS = [asyncio.run, uvloop.run]


@pytest.mark.parametrize("run", RUNS)
def test_a_plain_socket_has_its_descriptor(run: Run) -> None:
    fileno, real = run(_filenos(None))
    assert fileno == real


@pytest.mark.parametrize("run", RUNS)
def test_one_whose_bytes_are_encrypted_has_none(run: Run, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Authority(tmp_path).server())
    fileno, real = run(_filenos(context))
    assert fileno == NO_FILENO != real


async def test_one_of_an_unknown_loop_has_none() -> None:
    """Whether its number is somebody else's by now, we do not know."""

    class Unknown(asyncio.Transport):
        pass

    assert fileno_of(Unknown()) == NO_FILENO
