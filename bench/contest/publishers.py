"""Who publishes: over HTTP as a service would, or over MQTT where a broker has no HTTP.

One connection that stays, and a closed loop: the next publication goes once the last was answered.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from contest.process import TargetError

SIZE = 128
"""Bytes of a publication's data."""


def dated(number: int) -> bytes:
    """A JSON object of 128 bytes, with the moment in it (CLOCK_MONOTONIC, nanoseconds)."""
    start = b'{"t":%d,"i":%d,"p":"' % (time.monotonic_ns(), number)
    return start + b"x" * (SIZE - len(start) - 2) + b'"}'


IDLE = 2.0
"""Seconds after which a connection is dialled again: some servers hang up after five."""


class Publisher(Protocol):
    def publish(self, data: bytes) -> None:
        """Returns once the server has answered."""

    def close(self) -> None: ...


class Http:
    """POST, one request after the other on one connection."""

    def __init__(
        self,
        port: int,
        path: str,
        headers: Sequence[str] = (),
        body: Callable[[bytes], bytes] = lambda data: data,
        kind: str = "application/json",
    ) -> None:
        self._port = port
        self._socket = _dial(port)
        self._used = time.monotonic()
        lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Content-Type: {kind}"]
        self._head = "\r\n".join([*lines, *headers, "Content-Length: "]).encode()
        self._body = body
        self._held = b""

    def publish(self, data: bytes) -> None:
        self.post(self._body(data))

    def post(self, body: bytes) -> bytes:
        """The answer's body.

        Raises:
            TargetError: it was not a 2xx.
        """
        if time.monotonic() - self._used > IDLE:
            self._socket.close()
            self._socket = _dial(self._port)
        self._socket.sendall(self._head + b"%d\r\n\r\n" % len(body) + body)
        head = self._until(b"\r\n\r\n")
        self._used = time.monotonic()
        if not head[9:10] == b"2":
            raise TargetError(f"publish was answered {head[:200]!r}")
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            return self._chunks()
        at = lower.find(b"content-length:")
        return self._take(int(lower[at + 15 :].split(b"\r", 1)[0])) if at >= 0 else b""

    def close(self) -> None:
        self._socket.close()

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self._until(b"\r\n"), 16):
            body += self._take(size + 2)[:-2]
        self._take(2)
        return body

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._held:
            self._more()
        found, self._held = self._held.split(mark, 1)
        return found

    def _take(self, size: int) -> bytes:
        while len(self._held) < size:
            self._more()
        taken, self._held = self._held[:size], self._held[size:]
        return taken

    def _more(self) -> None:
        data = self._socket.recv(65_536)
        if not data:
            raise TargetError("the server hung up on the publisher")
        self._held += data


class Mqtt:
    """MQTT 3.1.1 at QoS 1: PUBACK is the answer."""

    CONNECT = b"\x10\x0c\0\4MQTT\4\2\0\0\0\0"

    def __init__(self, port: int, topic: bytes) -> None:
        self._socket = _dial(port)
        self._topic = len(topic).to_bytes(2, "big") + topic
        self._socket.sendall(self.CONNECT)
        self._read(4)

    def publish(self, data: bytes) -> None:
        rest = self._topic + b"\0\1" + data
        size = (
            bytes((len(rest) & 127 | 128, len(rest) >> 7))
            if len(rest) > 127
            else bytes((len(rest),))
        )
        self._socket.sendall(b"\x32" + size + rest)
        self._read(4)

    def close(self) -> None:
        self._socket.close()

    def _read(self, size: int) -> None:
        while size:
            data = self._socket.recv(size)
            if not data:
                raise TargetError("the broker hung up on the publisher")
            size -= len(data)


def _dial(port: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=60)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made
