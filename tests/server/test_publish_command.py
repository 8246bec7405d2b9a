"""`cardume publish` where something answers that is no server of ours: one line, no traceback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cardume.server.cli import app
from tests.client.faulty import Reply, faulty
from tests.support.server import API_KEY


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CARDUME_API_KEY", API_KEY)


def fails(url: str) -> str:
    """The one line it fails with."""
    result = CliRunner().invoke(app, ["publish", "--url", url, "room:1", "1"])
    assert result.exit_code == 1, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("cardume: ")
    return line


@contextmanager
def saying(answer: bytes) -> Iterator[str]:
    """The URL of somebody who answers whoever comes first with just that, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer_one() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        thread = threading.Thread(target=answer_one)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join(10)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
    ],
    ids=["no HTTP", "cut short"],
)
def test_who_speaks_something_else_is_named(answer: bytes) -> None:
    with saying(answer) as url:
        assert f"what answers at {url}/api/publish is not Cardume" in fails(url)


def test_a_refusal_that_is_cut_short_still_has_its_status() -> None:
    with saying(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 100\r\n\r\n{}") as url:
        assert "the server answered 400: Bad Request" in fails(url)


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[]", b"{}", b'{"error":"no"}', b'{"result":1}', b'{"result":{"epoch":1}}'],
)
def test_an_answer_of_another_shape_is_named(body: bytes) -> None:
    with faulty(Reply(body=body)) as server:
        assert f"what answers at {server.url}/api/publish is not Cardume" in fails(server.url)
