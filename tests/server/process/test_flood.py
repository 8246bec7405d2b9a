"""A flood of nonsense is counted and answered, and the log stays a log."""

from __future__ import annotations

import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from cardume.hub.rejects import LOG_EVERY
from tests.support.serving import API_KEY, Served, served, token
from tests.support.waiting import PATIENCE

EACH = 20
"""How often each kind of nonsense comes."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("flood")
    with served(folder, CARDUME_LOG_LEVEL="info") as server:
        yield server


def frame(first: int, payload: bytes) -> bytes:
    """A client's frame, masked with nothing."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack("!H", size)
    return bytes([first]) + length + b"\0\0\0\0" + payload


HANDSHAKE = (
    f"GET /connection/websocket?token={token()} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
).encode()

POST = b"POST /api/publish HTTP/1.1\r\nHost: x\r\nX-API-Key: " + API_KEY.encode() + b"\r\n"

REQUESTS = [
    b"\x16\x03\x01\x02\x00\x01\xff" * 9,
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /" + b"x" * 20_000,
    b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 20_000,
    b"GET /%ff%00%zz?\x7f HTTP/1.1\r\nHost: \xff\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    POST + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n",
    POST + b"Content-Length: 9\r\n\r\n{\xff",
    POST + b"Content-Length: 3\r\nConnection: close\r\n\r\n{\xff}",
    POST + b"Content-Length: 99999999\r\nConnection: close\r\n\r\n",
    HANDSHAKE.replace(b"GET", b"POST"),
    HANDSHAKE.replace(b": 13", b": 99"),
    HANDSHAKE.replace(b"AAAA==", b"=="),
    HANDSHAKE.replace(b"/connection", b"/nowhere"),
    HANDSHAKE.replace(b"Host", b"Origin: https://evil.example\r\nHost"),
    HANDSHAKE.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: \xff\xfe, \xe9\r\n\r\n"),
]

FRAMES = [
    frame(0x81, b"\xff\xfe"),
    frame(0x81, b"\xed\xa0\x80"),
    frame(0x01, b"\xe2\x82") + frame(0x80, b"\x28"),
    frame(0x82, b"\x00"),
    frame(0x83, b""),
    frame(0xF1, b"{}"),
    frame(0x80, b"of nothing"),
    frame(0x88, b"\x03"),
    frame(0x88, struct.pack("!H", 1005)),
    frame(0x89, b"x" * 126),
    b"\x81\x05hello",
    b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    frame(0x81, b"x" * 60_000) * 3,
    frame(0x81, b"[" * 50_000),
    frame(0x81, b'{"id":1,"connect":{"token":"x.y.z"}}'),
    frame(0x81, b"{}\n" * 5000),
    frame(0x01, b"") + frame(0x00, b"") * 5000,
    frame(0x81, b"half of it")[:-5],
]


def send(port: int, *pieces: bytes) -> bytes:
    """All that is said to it, until the server hangs up or has nothing more to say."""
    with closing(socket.create_connection(("127.0.0.1", port), PATIENCE)) as client:
        said = b""
        with suppress(OSError):
            for piece in pieces:
                client.sendall(piece)
                if piece is HANDSHAKE:
                    said += client.recv(4096)
            client.shutdown(socket.SHUT_WR)
            while more := client.recv(65536):
                said += more
        return said


def test_it_says_little_and_no_traceback(server: Served) -> None:
    begun = time.monotonic()
    for _ in range(EACH):
        for request in REQUESTS:
            send(server.port, request)
        for nonsense in FRAMES:
            assert send(server.port, HANDSHAKE, nonsense).startswith(b"HTTP/1.1 101")
    assert server.ask("GET", "/health").status == 200
    log = server.log
    assert "Traceback" not in log
    assert "ERROR" not in log
    # Who came and went is said once each; of the rest a line per reason and ten seconds.
    more = [line for line in log.splitlines() if "connected" not in line]
    reasons = Counter(line.split()[3] for line in more)
    assert len(reasons) < EACH / 2, "\n".join(more)
    often = 1 + (time.monotonic() - begun) / LOG_EVERY
    assert max(reasons.values()) <= often, "\n".join(more)


def test_what_was_refused_is_counted(server: Served) -> None:
    numbers = server.ask("GET", "/metrics", headers={"X-API-Key": API_KEY}).body
    assert 'cardume_rejects_total{reason="bad_http"}' in numbers
    assert 'cardume_rejects_total{reason="head_too_large"}' in numbers
