"""The opening handshake (RFC 6455 §4.2), from the bytes of a request to those of an answer. Pure.

The request was parsed once already by the HTTP server that hands it to us, so it is well formed;
what is checked here is what makes it a WebSocket's. With the general code of `websockets` this
took 43 of the 200 us that a handshake may cost, like this it takes 6, and 3 where `Http` of
`cardume serve` hands on the head that it has read. That one glances at it here first.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Final, NamedTuple

from websockets.exceptions import InvalidHandshake
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.headers import build_extension, parse_extension

from cardume.wire.framing import WINDOW_BITS

Header = tuple[bytes, bytes]

MAX_HEAD: Final = 64 * 1024
"""Bytes of a request before its end."""

_HEAD = re.compile(
    rb"GET (/[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]*) HTTP/1\.1\r\n"
    rb"((?:[A-Za-z0-9\-_]+:[\t -~]*\r\n)+)\r\n"
)
_LINE = re.compile(rb"([^:]+):([^\r]*)\r\n")
_WISHES = (b"upgrade", b"keep-alive, upgrade")
"""Values of Connection: what clients send, and what Firefox sends."""
_ELSE = frozenset((b"content-length", b"expect", b"proxy-connection", b"transfer-encoding"))

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_DEFLATE = ServerPerMessageDeflateFactory(
    server_no_context_takeover=True,
    client_no_context_takeover=True,
    server_max_window_bits=WINDOW_BITS,
)


class Refusal(Exception):  # noqa: N818 - an answer
    """No handshake that can be accepted."""

    def __init__(self, status: HTTPStatus, reason: str, headers: Sequence[Header] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers


class Asked(NamedTuple):
    """A request to become a WebSocket."""

    target: bytes
    headers: list[Header]
    """Names in lower case, in their order."""
    key: bytes

    def all(self, name: bytes) -> list[bytes]:
        """Every value of a header."""
        return [value for header, value in self.headers if header == name]

    @property
    def subprotocols(self) -> list[str]:
        """What the client offers to speak."""
        offered = b",".join(self.all(b"sec-websocket-protocol")).decode("latin-1")
        return [name.strip() for name in offered.split(",") if name.strip()]


class Agreed(NamedTuple):
    """What was agreed on compression: the answer's header, and the bits of our window."""

    header: bytes
    bits: int


def glance(head: bytes) -> tuple[bytes, list[Header]] | None:
    """The target and the headers of a handshake as every client writes it.

    None says nothing: whatever is out of the ordinary is for a parser of HTTP to judge. In 5 us
    instead of its 15.
    """
    found = _HEAD.fullmatch(head)
    if found is None:
        return None
    target, lines = found.groups()
    headers = [(name.lower(), value.strip(b" \t")) for name, value in _LINE.findall(lines)]
    named = dict(headers)
    if len(named) != len(headers) or not _ELSE.isdisjoint(named):
        return None
    if named.get(b"connection", b"").lower() not in _WISHES:
        return None
    return (target, headers) if named.get(b"upgrade", b"").lower() == b"websocket" else None


def read(head: bytes) -> Asked:
    """The handshake in a request's head, its empty line included.

    Raises:
        Refusal: it asks for something else (400), or for another version (426).
    """
    lines = head.split(b"\r\n")
    parts = lines[0].split(b" ")
    headers = []
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            headers.append((name.lower(), value.strip()))
    if len(parts) != 3 or parts[0] != b"GET":
        raise Refusal(HTTPStatus.BAD_REQUEST, "a WebSocket begins with GET")
    return check(parts[1], headers)


def check(target: bytes, headers: list[Header]) -> Asked:
    """The handshake in a GET whose head somebody has read; names are in lower case.

    Raises:
        Refusal: as `read`.
    """
    keys = [value for name, value in headers if name == b"sec-websocket-key"]
    versions = [value for name, value in headers if name == b"sec-websocket-version"]
    if versions != [b"13"]:
        version = [(b"Sec-WebSocket-Version", b"13")]
        raise Refusal(HTTPStatus.UPGRADE_REQUIRED, "the version is 13", version)
    if len(keys) != 1 or not _is_key(keys[0]):
        raise Refusal(HTTPStatus.BAD_REQUEST, "Sec-WebSocket-Key has to be 16 bytes in base64")
    return Asked(target, headers, keys[0])


def accept(asked: Asked, headers: Iterable[Header]) -> bytes:
    """The answer that makes it a WebSocket."""
    token = base64.b64encode(hashlib.sha1(asked.key + _GUID, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n%b\r\n" % (token, _lines(headers))
    )


def refuse(status: int, headers: Iterable[Header], body: bytes) -> bytes:
    """An answer that does not, after which the connection ends."""
    try:
        phrase = HTTPStatus(status).phrase.encode()
    except ValueError:
        phrase = b""
    ours = (b"connection", b"content-length")
    said = [each for each in headers if each[0].lower() not in ours]
    if all(name.lower() != b"content-type" for name, _ in said):
        said.append((b"Content-Type", b"text/plain; charset=utf-8"))
    said += [(b"Content-Length", b"%d" % len(body)), (b"Connection", b"close")]
    return b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (status, phrase, _lines(said), body)


def compression(asked: Asked) -> Agreed | None:
    """What of the client's offers of compression we can take (RFC 7692 §7.1)."""
    offers = b", ".join(asked.all(b"sec-websocket-extensions")).decode("latin-1")
    if not offers:
        return None
    try:
        for name, parameters in parse_extension(offers):
            if name != _DEFLATE.name:
                continue
            try:
                answer, deflate = _DEFLATE.process_request_params(parameters, [])
            except InvalidHandshake:
                continue  # the next offer may do
            header = build_extension([(name, answer)]).encode()
            return Agreed(header, deflate.local_max_window_bits)
    except InvalidHandshake:
        pass  # it reads as no offer at all: the connection goes on without
    return None


def _is_key(key: bytes) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def _lines(headers: Iterable[Header]) -> bytes:
    return b"".join(b"%b: %b\r\n" % (name, value) for name, value in headers)
