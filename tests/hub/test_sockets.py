"""The same bytes to many sockets in one call, and which sockets may be written to like that."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import sys
import threading
from array import array
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from cardume.hub import sockets
from tests.client.authority import Authority

Pairs = list[tuple[socket.socket, socket.socket]]
Run = Callable[[Coroutine[Any, Any, tuple[int, int]]], tuple[int, int]]


@pytest.fixture
def pairs() -> Iterator[Pairs]:
    made = [socket.socketpair() for _ in range(100)]
    for ours, _ in made:
        ours.setblocking(False)
    yield made
    for pair in made:
        for end in pair:
            end.close()


def filenos(pairs: Pairs) -> array[int]:
    return array("i", [ours.fileno() for ours, _ in pairs])


def test_where_it_is_tested_it_is_compiled() -> None:
    assert sockets.COMPILED


def test_where_nothing_was_compiled_no_descriptor_is_used() -> None:
    code = (
        "import sys; sys.modules['cardume.hub._sockets'] = None\n"
        "from cardume.hub import sockets\n"
        "print(sockets.COMPILED, sockets.fileno_of(None))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "-1"]


@pytest.mark.parametrize("many", [0, 1, 63, 64, 100])
def test_all_get_the_same(pairs: Pairs, many: int) -> None:
    assert sockets.send_each(filenos(pairs[:many]), b"hello") == []
    assert [theirs.recv(10) for _, theirs in pairs[:many]] == [b"hello"] * many


def test_what_did_not_fit_and_who_is_gone_are_named(pairs: Pairs) -> None:
    pairs[1][0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    pairs[2][1].close()
    data = bytes(range(250)) * 80
    ways = filenos(pairs[:4])
    ways.append(-1)
    short = dict(sockets.send_each(ways, data))
    taken = short.pop(1)
    assert short == {2: 0, 4: 0}
    assert 0 < taken < len(data)
    assert pairs[1][1].recv(len(data)) == data[:taken]
    while (again := dict(sockets.send_each(ways, b"x"))).get(1) != 0:
        pass  # until there is no room at all
    assert set(again) == {1, 2, 4}


def test_nothing_else_is_taken_for_filenos(pairs: Pairs) -> None:
    for wrong in (b"abcd", array("q", [1])):
        with pytest.raises(TypeError, match="C ints"):
            sockets.send_each(wrong, b"x")  # type: ignore[arg-type]


def test_others_run_while_many_are_written_to(pairs: Pairs) -> None:
    """The interpreter is not needed for it: a thread that waits for it has it meanwhile."""
    ways = array("i", [pairs[0][0].fileno()] * 200_000)
    ran = threading.Event()
    seen: list[bool] = []

    def other() -> None:
        while not ran.is_set():
            seen.append(True)

    thread = threading.Thread(target=other)
    thread.start()
    try:
        before = len(seen)
        sockets.send_each(ways, b"x")
        assert len(seen) > before
    finally:
        ran.set()
        thread.join()


# -- whose sockets ------------------------------------------------------------------------------


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
        found = sockets.fileno_of(transport), transport.get_extra_info("socket").fileno()
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
    assert fileno == sockets.NO_FILENO != real


async def test_one_of_an_unknown_loop_has_none() -> None:
    """Whether its number is somebody else's by now, we do not know."""

    class Unknown(asyncio.Transport):
        pass

    assert sockets.fileno_of(Unknown()) == sockets.NO_FILENO
