"""What the process asks of Python and of the system."""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from typer.testing import CliRunner, Result

from cardume.hub import sockets
from cardume.server import process
from cardume.server.cli import app
from cardume.server.serve import bind
from tests.support.server import ENVIRONMENT, cardume
from tests.support.waiting import START

Command = Callable[..., Result]

LISTENING_BACKLOG = 28
"""Where Linux's tcp_info has it."""


def python(lines: str, *, files: str | None = None) -> str:
    """What a process of its own prints, that may have so many `files` open: soft, and hard."""
    limit = f"ulimit -S -n {files.split()[0]}; ulimit -H -n {files.split()[1]};" if files else ""
    done = subprocess.run(
        ["sh", "-c", f'{limit} exec "$0" -c "$1"', sys.executable, lines],
        capture_output=True,
        text=True,
        timeout=START,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_heap_is_settled() -> None:
    lines = (
        "import gc; from cardume.server import process; process.settle_heap();"
        "print(gc.get_freeze_count() > 1000, gc.get_threshold(), gc.isenabled())"
    )
    assert python(lines) == f"True {process.GC_THRESHOLDS} True"


def test_it_asks_for_as_many_files_as_there_are() -> None:
    lines = (
        "import resource; from cardume.server import process;"
        "print(process.max_connections(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    assert python(lines, files="200 400") == "360 400"


@pytest.mark.parametrize(
    ("limits", "raised", "expected"),
    [
        ((256, -1), True, process._UNBOUNDED),
        ((256, -1), False, 256),
        ((-1, -1), True, process._UNBOUNDED),
        ((1024, 1024), False, 1024),
    ],
)
def test_a_system_without_a_bound(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], raised: bool, expected: int
) -> None:
    """As macOS has it: the hard limit is none, and yet not any number may be asked for."""

    def setrlimit(_kind: int, _limits: Any) -> None:
        if not raised:
            raise ValueError

    monkeypatch.setattr(resource, "RLIM_INFINITY", -1)
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: limits)
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    assert process.open_files() == expected


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`cardume`, in an empty folder of a server that was set up."""
    monkeypatch.chdir(tmp_path)
    for name, value in {**ENVIRONMENT, "CARDUME_PORT": "0", "CARDUME_MQTT_PORT": "0"}.items():
        monkeypatch.setenv(name, value)
    return lambda *arguments: CliRunner().invoke(app, arguments)


def test_the_doctor_and_the_start_say_that_files_are_too_few(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARDUME_MAX_CONNECTIONS", "100000000")
    examined = command("doctor")
    assert examined.exit_code == 1
    (line,) = [line for line in examined.stdout.splitlines() if line.startswith("FAIL")]
    assert "open files" in line
    assert "ulimit -n" in line
    # In a process of its own: it configures logging.
    with socket.create_server(("127.0.0.1", 0)) as taken:  # so that it ends
        port = str(taken.getsockname()[1])
        wanted = {"CARDUME_MAX_CONNECTIONS": "100000000"}
        started = cardume("serve", "--port", port, cwd=Path.cwd(), **wanted)
    assert "not for the 100000000 of CARDUME_MAX_CONNECTIONS" in started.stderr.splitlines()[0]


def test_the_doctor_says_what_it_runs_on(command: Command) -> None:
    said = command("doctor").stdout
    assert "ok   event loop: uvloop" in said
    assert "ok   open files: " in said
    assert "ok   backlog: " in said
    assert "ok   fan-out: all sockets in one call" in said


def test_without_a_compiler_the_doctor_says_so(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "COMPILED", False)
    assert "ok   fan-out: a call for each socket" in command("doctor").stdout


def test_without_uvloop_both_say_so(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "find_spec", lambda name: None if name == "uvloop" else name)
    assert "ok   event loop: asyncio's own; uvloop does" in command("doctor").stdout
    (remark,) = process.remarks(None)
    assert "pip install uvloop" in remark


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_crowd_may_wait_and_what_is_small_goes_at_once(loop: Any) -> None:
    options: list[int] = []

    class Noting(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted = transport.get_extra_info("socket")
            options.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            transport.close()

    async def serve() -> None:
        listening = bind("127.0.0.1", 0)
        server = await asyncio.get_running_loop().create_server(
            Noting, sock=listening, backlog=process.BACKLOG
        )
        info = listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        assert struct.unpack_from("I", info, LISTENING_BACKLOG) == (process.backlog(),)
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        assert await reader.read() == b""
        writer.close()
        server.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(serve())
    assert options == [1]
