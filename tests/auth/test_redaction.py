from __future__ import annotations

import asyncio
import logging
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from hypercorn.logging import AccessLogAtoms
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.logging import AccessFormatter
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from cardume.auth.redaction import MARK, SERVER_LOGGERS, TokenRedactor, install, redact
from tests.auth.forge import b64, token

JWT = token()


@pytest.mark.parametrize(
    ("line", "redacted"),
    [
        ("GET /ws?token=abc HTTP/1.1", f"GET /ws?token={MARK} HTTP/1.1"),
        ("/ws?a=1&token=abc&b=2", f"/ws?a=1&token={MARK}&b=2"),
        ("/ws?TOKEN=abc", f"/ws?TOKEN={MARK}"),
        ("/cb#access_token=abc;x", f"/cb#access_token={MARK};x"),
        ("/x?api_key=abc&b", f"/x?api_key={MARK}&b"),
        ("/x?next=%2Fws%3Ftoken%3Dabc", f"/x?next=%2Fws%3Ftoken%3D{MARK}"),
        ("Authorization: Bearer abc", f"Authorization: {MARK}"),
        ("sent Bearer abc, then", f"sent Bearer {MARK}, then"),
        ("bearer, abc.d.e", f"bearer, {MARK}"),
        ("X-API-Key: abc", f"X-API-Key: {MARK}"),
        ('{"token": "abc", "id": 5}', f'{{"token": "{MARK}", "id": 5}}'),
        ('{"password":"abc"}', f'{{"password":"{MARK}"}}'),
        (f"see {JWT} here", f"see {MARK} here"),
        (f"x{JWT}", f"x{MARK}"),
        (f"'{JWT}'", f"'{MARK}'"),
        (f"a.b.{JWT}", f"a.b.{MARK}"),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.", MARK),
        ("GET /ws/aquarium/7?since=a:1 HTTP/1.1", "GET /ws/aquarium/7?since=a:1 HTTP/1.1"),
        ("the token has expired", "the token has expired"),
        ("invalid token: expired", "invalid token: expired"),
        ("tokens=5 keys=3", "tokens=5 keys=3"),
        ("file.name.txt eyJ", "file.name.txt eyJ"),
        ("forbearer of ill", "forbearer of ill"),
        ("", ""),
    ],
)
def test_what_is_redacted(line: str, redacted: str) -> None:
    assert redact(line) == redacted


@given(st.text(), st.binary(min_size=1), st.text())
def test_no_jwt_survives(before: str, payload: bytes, after: str) -> None:
    secret = f"eyJhbGciOiJIUzI1NiJ9.{b64(payload)}.{b64(bytes(32))}"
    assert secret not in redact(f"{before}{secret}{after}")
    assert secret not in redact(f"{before}?token={secret}&{after}")


@given(st.text())
def test_once_is_enough(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "piece",
    [
        "eyJ",
        "eyJ.",
        "eyJa.",
        "a.",
        "token=",
        "bearer ",
        "bearer",
        " ",
        '"token":',
        "authorization:",
    ],
)
def test_it_is_linear(piece: str) -> None:
    line = "bearer" + piece * (400_000 // len(piece))
    started = time.thread_time()
    redact(line)
    assert time.thread_time() - started < 1


def formatted(msg: object, *args: object, **extra: Any) -> str:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, msg, args, None)
    record.__dict__.update(extra)
    assert TokenRedactor().filter(record)
    return logging.Formatter().format(record)


class Frame:
    """As `websockets` logs them: an object that becomes text late."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return f"TEXT '{self._text}'"

    def __repr__(self) -> str:
        return f"Frame({self._text})"


class Stubborn:
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("msg", "args", "line"),
    [
        (f"got {JWT}", (), f"got {MARK}"),
        ("got %s and %d", (JWT, 5), f"got {MARK} and 5"),
        ("got %s", (JWT.encode(),), f"got {MARK.encode()!r}"),
        ("token=%s for %s in %d", ("abc", "x", 5), f"token={MARK} for {MARK} in 5"),
        ("< %s: %s", ("Authorization", "Basic YTpi"), f"< Authorization: {MARK}"),
        ("< %s: %s", ("X-API-Key", "abc"), f"< X-API-Key: {MARK}"),
        ("< %s: %s", ("Host", "hub.example"), "< Host: hub.example"),
        (
            "< %s: %s",
            ("Sec-WebSocket-Protocol", f"bearer, {JWT}"),
            f"< Sec-WebSocket-Protocol: bearer, {MARK}",
        ),
        ("< %s", (Frame(f'{{"token":"{JWT}"}}'),), f'< TEXT \'{{"token":"{MARK}"}}\''),
        ("< %r", (Frame(JWT),), f"< \"TEXT '{MARK}'\""),
        (
            "headers %s",
            ([("authorization", f"Bearer {JWT}")],),
            f"headers [('authorization', 'Bearer {MARK}')]",
        ),
        ("%s", (("a", JWT),), f"('a', '{MARK}')"),
        ("%(a)s %(n)d", ({"a": f"/?token={JWT}", "n": 3},), f"/?token={MARK} 3"),
        ("nothing %s %d%%", ("here", 5), "nothing here 5%"),
        (f"both {JWT} %s", ("x",), f"both {MARK} x"),
        (Frame(JWT), (), f"TEXT '{MARK}'"),
        ("100%", (), "100%"),
    ],
)
def test_records(msg: object, args: tuple[object, ...], line: str) -> None:
    assert formatted(msg, *args) == line


def test_the_callers_own_mistake_stays_his() -> None:
    with pytest.raises(TypeError):
        formatted("%s", "a", JWT)
    with pytest.raises(RuntimeError, match="no text"):
        formatted("%s", Stubborn())


def test_the_arguments_of_the_caller_are_not_changed() -> None:
    given_ = {"a": f"token={JWT}"}
    assert JWT not in formatted("%(a)s", given_)
    assert given_["a"].endswith(JWT)


def test_tracebacks() -> None:
    try:
        raise ValueError(f"bad {JWT}")
    except ValueError:
        line = formatted("failed", exc_info=sys.exc_info())
    assert JWT not in line
    assert f"ValueError: bad {MARK}" in line
    assert "Traceback" in line


def test_texts_that_were_made_before() -> None:
    line = formatted("failed", exc_text=f"trace {JWT}", stack_info=f"stack {JWT}")
    assert JWT not in line
    assert line.count(MARK) == 2


def test_a_traceback_without_a_secret_is_left_to_the_formatter() -> None:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "failed", (), None)
    try:
        raise ValueError("plain")
    except ValueError:
        record.exc_info = sys.exc_info()
    TokenRedactor().filter(record)
    assert record.exc_text is None


def test_uvicorns_twin_of_the_message() -> None:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "x", (), None)
    record.__dict__["color_message"] = f"x {JWT}"
    TokenRedactor().filter(record)
    assert record.__dict__["color_message"] == f"x {MARK}"


def test_a_hostile_method_does_not_break_uvicorns_formatter() -> None:
    args = ("127.0.0.1:1", "BEARER", "/x", "1.1", 200)
    record = logging.LogRecord(
        "uvicorn.access", logging.INFO, "", 1, '%s - "%s %s HTTP/%s" %d', args, None
    )
    TokenRedactor().filter(record)
    line = AccessFormatter("%(client_addr)s %(request_line)s %(status_code)s").format(record)
    assert "200" in line


def test_hypercorns_atoms() -> None:
    scope: Any = {
        "type": "http",
        "headers": [(b"authorization", f"Bearer {JWT}".encode())],
        "http_version": "1.1",
        "client": ("127.0.0.1", 1),
        "method": "GET",
        "query_string": f"token={JWT}".encode(),
        "path": "/ws",
        "scheme": "http",
    }
    response: Any = {"status": 200, "headers": []}
    atoms = AccessLogAtoms(scope, response, 0.1)
    line = formatted('%(h)s "%(R)s" %(q)s %({authorization}i)s %(s)s %(none)s', atoms)
    assert JWT not in line
    assert line == f'127.0.0.1:1 "GET /ws?token={MARK} 1.1" token={MARK} Bearer {MARK} 200 -'


def test_install_and_uninstall() -> None:
    names = ("cardume.test.a", "cardume.test.b")
    first, second = install(names), install(names)
    loggers = [logging.getLogger(name) for name in names]
    assert [len(logger.filters) for logger in loggers] == [1, 1]
    second()
    assert [len(logger.filters) for logger in loggers] == [1, 1]
    first()
    first()
    assert [len(logger.filters) for logger in loggers] == [0, 0]


# -- a real uvicorn ---------------------------------------------------------------------------


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(0)
        self.lines: list[str] = []
        self._plain = logging.Formatter()
        self._access = AccessFormatter("%(client_addr)s %(request_line)s", use_colors=False)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self._plain.format(record))
        if record.name == "uvicorn.access":
            self.lines.append(self._access.format(record))


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    loggers = [logging.getLogger(name) for name in SERVER_LOGGERS]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    yield handler
    for logger, (level, propagate) in zip(loggers, before, strict=True):
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        if scope["path"] == "/boom":
            raise ValueError(f"cannot read {scope['query_string'].decode()}")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})
        return
    await receive()
    if scope["path"] == "/refused":
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept", "subprotocol": "bearer"})
    message = await receive()
    await send({"type": "websocket.send", "text": message["text"]})
    await receive()


async def ask(port: int, target: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        request = f"GET {target} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {JWT}\r\n"
        writer.write(f"{request}connection: close\r\n\r\n".encode())
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def visit(port: int) -> None:
    assert b" 200 " in await ask(port, f"/page?token={JWT}&x=1")
    assert b" 500 " in await ask(port, f"/boom?token={JWT}")
    address = f"ws://127.0.0.1:{port}"
    async with connect(
        f"{address}/ws/aquarium/7?token={JWT}",
        subprotocols=[Subprotocol("bearer"), Subprotocol(JWT)],
        additional_headers={"Authorization": f"Bearer {JWT}", "X-API-Key": "k" * 43},
    ) as client:
        await client.send(f'{{"type":"refresh","data":{{"token":"{JWT}"}}}}')
        await client.recv()
    with pytest.raises(Exception, match="403"):
        async with connect(f"{address}/refused?token={JWT}"):
            pass


@pytest.mark.parametrize("http", ["h11", "httptools"])
@pytest.mark.parametrize("level", ["info", "debug"])
async def test_a_real_uvicorn(http: Any, level: str, lines: Lines) -> None:
    uninstall = install()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, http=http, log_config=None, log_level=level, lifespan="off")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            async with asyncio.timeout(20):
                while not server.started:  # noqa: ASYNC110 - uvicorn offers no event
                    await asyncio.sleep(0.005)
                await visit(listening.getsockname()[1])
        finally:
            server.should_exit = True
            await serving
            uninstall()
    said = "\n".join(lines.lines)
    assert f"/ws/aquarium/7?token={MARK}" in said
    assert f"/refused?token={MARK}" in said
    assert f"/page?token={MARK}&x=1" in said
    assert f"ValueError: cannot read token={MARK}" in said
    assert JWT not in said
    assert "k" * 43 not in said
    payload, signature = JWT.split(".")[1:]
    assert payload not in said
    assert signature not in said
