"""SIGTERM: what devices sent is kept and acknowledged, everybody is sent away, exit code 0."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from tests.server.process.devices import Browser, Device
from tests.support.serving import API_KEY, Served, token
from tests.support.waiting import PATIENCE, wait_for

ENDS_WITHIN = 10.0
"""Seconds: a common supervisor kills after ten."""


def has_ended_well(server: Served) -> None:
    assert server.wait(ENDS_WITHIN) == 0
    assert "Traceback" not in server.log
    assert "ERROR" not in server.log


def is_draining(server: Served) -> None:
    wait_for(lambda: says_that_it_drains(server), "a draining server")


def says_that_it_drains(server: Served) -> bool:
    try:
        return server.ask("GET", "/ready").status == 503
    except OSError:  # on a busy machine it may be done before we ask
        return True


def dial(port: int, *, receive_buffer: int | None = None) -> socket.socket:
    client = socket.socket()
    if receive_buffer is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.settimeout(PATIENCE)
    client.connect(("127.0.0.1", port))
    return client


@contextmanager
def deaf(server: Served, aquarium: int) -> Iterator[None]:
    """Who never reads, and more for them than any buffer between us holds: zero windows.

    A WebSocket, an event stream, and one that asked for the whole history.
    """
    base = f"Host: 127.0.0.1:{server.port}\r\nAuthorization: Bearer {token()}\r\n"
    socket_ = (
        f"GET /ws/aquarium/{aquarium} HTTP/1.1\r\n{base}Connection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    events = f"/api/v1/channels/aquarium:{aquarium}"
    stream = f"GET {events}/events HTTP/1.1\r\n{base}\r\n"
    history = f"GET {events}/history?limit=300 HTTP/1.1\r\n{base}\r\n"
    with ExitStack() as stack:
        for asked, answer in ((socket_, b"HTTP/1.1 101"), (stream, b"HTTP/1.1 200")):
            client = stack.enter_context(closing(dial(server.port, receive_buffer=2048)))
            client.sendall(asked.encode())
            assert client.recv(12) == answer
        body = {"channel": f"aquarium:{aquarium}", "type": "note", "data": "x" * 60_000}
        for _ in range(60):
            said = server.ask("POST", "/api/publish", body, headers={"X-API-Key": API_KEY})
            assert said.status == 200
        client = stack.enter_context(closing(dial(server.port, receive_buffer=2048)))
        client.sendall(history.encode())
        assert client.recv(12) == b"HTTP/1.1 200"
        yield


@contextmanager
def halves(server: Served) -> Iterator[None]:
    """A request's head, requests' bodies, an MQTT login: each sent to its middle."""
    key = API_KEY.encode()
    head = b"POST /api/publish HTTP/1.1\r\nHost: x\r\nX-API-Key: " + key + b"\r\nContent-Le"
    form = b"POST /api/v1/auth/token HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nuser"
    with ExitStack() as stack:
        for half in (head, head + b"ngth: 100\r\n\r\n{", form):
            stack.enter_context(closing(dial(server.port))).sendall(half)
        stack.enter_context(closing(dial(server.mqtt_port))).sendall(b"\x10\x7f\x00")
        yield


def test_pending_readings_are_kept_and_acknowledged_and_all_are_sent_away(
    server: Served, aquarium: int
) -> None:
    key = server.device("pending", aquarium)
    values = [float(number) for number in range(10)]
    with (
        Browser.watching(server, aquarium) as browser,
        Browser.watching(server, aquarium) as another,
        Device.connected("pending", key, server.mqtt_port) as device,
    ):
        with server.locked():
            sent = [device.read(value) for value in values]
            device.is_heard()
            server.signal(signal.SIGTERM)
            is_draining(server)
            assert server.ask("GET", "/ready").body["problems"][0] == "draining"
            assert server.ask("GET", "/health").status == 200
            body = {"channel": "news", "data": 1}
            refused = server.ask("POST", "/api/publish", body, headers={"X-API-Key": API_KEY})
            assert (refused.status, refused.body["code"]) == (503, "not_available")
            assert refused.headers["retry-after"]
            assert not any(info.is_published() for info in sent)
        for info in sent:
            info.wait_for_publish(PATIENCE)
        assert (browser.left(), another.left()) == (3001, 3001)
        browser.saw(*values)
    has_ended_well(server)
    assert server.values(aquarium) == values


def test_nobody_holds_it_up(server: Served, aquarium: int) -> None:
    key = server.device("present", aquarium)
    with (
        Browser.watching(server, aquarium) as browser,
        Device.connected("present", key, server.mqtt_port),
        deaf(server, aquarium),
        halves(server),
    ):
        server.signal(signal.SIGTERM)
        assert browser.left() == 3001
        has_ended_well(server)


def test_a_second_signal_means_now(server: Served, aquarium: int) -> None:
    with deaf(server, aquarium):
        server.signal(signal.SIGINT)
        is_draining(server)
        server.signal(signal.SIGTERM)
        assert server.wait(4) == 0
    assert "Traceback" not in server.log
