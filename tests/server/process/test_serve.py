"""The listening socket, and how a start that fails is told."""

from __future__ import annotations

import logging
import socket
from contextlib import closing, suppress
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from cardume.errors import ConfigurationError
from cardume.server.serve import _Lifespan, bind


def test_who_binds_listens_so_that_nobody_else_can() -> None:
    with closing(bind("127.0.0.1", 0)) as mine:
        port = mine.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf":{port} .*with --port"):
            bind("127.0.0.1", port)
        socket.create_connection(("127.0.0.1", port)).close()


@pytest.mark.parametrize("host", ["192.0.2.1", "999.1.1.1", "a" * 70, "a..b", "\x00", "::2", ":"])
def test_an_address_that_is_not_ours(host: str) -> None:
    with pytest.raises(ConfigurationError, match="another address with --host"):
        bind(host, 0)


# -- a lifespan that fails ------------------------------------------------------------------


class Server:
    """The other end of a lifespan."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        return {"type": "lifespan.startup" if not self.sent else "lifespan.shutdown"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)


class Application:
    """Starlette's way: a failure is first sent with its traceback, then raised."""

    def __init__(self, error: Exception, *, starts: bool) -> None:
        self._error = error
        self._starts = starts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._starts:
            await send({"type": "lifespan.startup.complete"})
        stage = "shutdown" if self._starts else "startup"
        await send({"type": f"lifespan.{stage}.failed", "message": "Traceback …"})
        raise self._error


async def lived(error: Exception, *, starts: bool) -> tuple[_Lifespan, Any]:
    """The lifespan after `error`, and the last words that uvicorn would log."""
    server, lifespan = Server(), _Lifespan(Application(error, starts=starts))
    with suppress(ZeroDivisionError):
        await lifespan({"type": "lifespan"}, server.receive, server.send)
    return lifespan, server.sent[-1]


async def test_what_a_user_can_mend_is_kept_for_one_line(caplog: pytest.LogCaptureFixture) -> None:
    error = ConfigurationError("set it")
    lifespan, last = await lived(error, starts=False)
    assert lifespan.failure is error
    assert last == {"type": "lifespan.startup.failed", "message": ""}
    assert caplog.records == []


async def test_a_bug_that_keeps_it_from_starting_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lifespan, last = await lived(ZeroDivisionError(), starts=False)
    assert (lifespan.failure, last["message"]) == (None, "")
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


async def test_a_bug_at_the_end_is_logged_by_uvicorn(caplog: pytest.LogCaptureFixture) -> None:
    _, last = await lived(ZeroDivisionError(), starts=True)
    assert last["message"] == "Traceback …"
    assert caplog.records == []
