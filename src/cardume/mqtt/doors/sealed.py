"""One MQTT client behind TLS: a filter between its socket and its connection, by OpenSSL on memory.

The loop's own TLS makes the connection before the handshake and never tells it of one that
failed; a client costs 24 KiB with it on uvloop and 281 on asyncio, and 18 here.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

from cardume.mqtt.connection import Connection
from cardume.mqtt.doors.wire import READ_AT_ONCE

if TYPE_CHECKING:
    from cardume.mqtt.doors.tls import Handshakes

_REASONS: Final = {
    "NO_SHARED_CIPHER": "tls_version",
    "UNSUPPORTED_PROTOCOL": "tls_version",
    "WRONG_VERSION_NUMBER": "tls_not_spoken",
    "HTTP_REQUEST": "tls_not_spoken",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "tls_client_certificate",
    "CERTIFICATE_VERIFY_FAILED": "tls_client_certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "tls_not_trusted",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "tls_not_trusted",
    "SSLV3_ALERT_BAD_CERTIFICATE": "tls_not_trusted",
}
"""OpenSSL's words for what operators can mend; anything else is counted as ``tls_handshake``."""


class Sealed(asyncio.BufferedProtocol, asyncio.Transport):
    """One client: to its socket a protocol, to its connection a transport."""

    __slots__ = (
        "_closing",
        "_connection",
        "_door",
        "_failed",
        "_incoming",
        "_outgoing",
        "_reading",
        "_socket",
        "_tls",
    )

    _socket: asyncio.Transport
    _tls: ssl.SSLObject

    def __init__(self, door: Handshakes) -> None:
        asyncio.Transport.__init__(self)
        self._door = door
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._connection: Connection | None = None
        self._reading = True
        self._closing = False
        self._failed = False

    @property
    def peer(self) -> str:
        address = self._socket.get_extra_info("peername")
        return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else "?"

    # -- what the socket says ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast("asyncio.Transport", transport)
        context = self._door.begin(self)
        if context is None:
            self._failed = True
            self._socket.abort()
            return
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._door.view

    def buffer_updated(self, nbytes: int) -> None:
        if not self._failed:
            self._incoming.write(self._door.view[:nbytes])
            self._advance()

    def eof_received(self) -> None:
        """The socket closes itself after this."""

    def pause_writing(self) -> None:
        if self._connection is not None:
            self._connection.pause_writing()

    def resume_writing(self) -> None:
        if self._connection is not None:
            self._connection.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        connection, self._connection = self._connection, None  # which holds us: a cycle
        if connection is not None:
            connection.connection_lost(exc)
            return
        self._door.end(self)
        if not self._failed:
            self._door.note("tls_left", self.peer)

    # -- the handshake -----------------------------------------------------------------------------

    def _advance(self) -> None:
        if self._connection is None and not self._shake():
            return
        self._open()

    def _shake(self) -> bool:
        """One step; whether the handshake is done and somebody is there to talk to."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError as error:
            self._fail(_REASONS.get(error.reason, "tls_handshake"))
            return False
        self._flush()
        self._door.end(self)
        connection = self._door.accept()
        if connection is None:
            self._failed = True
            self.close()
            return False
        self._connection = connection
        connection.connection_made(self)
        return True

    def _fail(self, reason: str) -> None:
        self._failed = True
        self._door.note(reason, self.peer)
        self._flush()  # the alert says why
        self._socket.close()
        self._door.linger(self)

    def check(self, now: float) -> None:
        """The handshake took too long, or the alert after it."""
        if not self._failed:
            self._failed = True
            self._door.note("tls_timeout", self.peer)
        self._socket.abort()

    # -- what the connection reads -----------------------------------------------------------------

    def _open(self) -> None:
        """Decrypt what is there, as long as the connection wants it."""
        try:
            while self._reading and not self._closing and self._connection is not None:
                data = self._tls.read(READ_AT_ONCE)
                if not data:
                    break
                self._connection.receive(data)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:  # its close_notify
            self._socket.close()
        except ssl.SSLError:
            self._door.note("tls_broken", self.peer)
            self._socket.abort()
        self._flush()  # answers to key updates

    def is_reading(self) -> bool:
        return self._reading

    def pause_reading(self) -> None:
        self._reading = False
        self._socket.pause_reading()

    def resume_reading(self) -> None:
        self._reading = True
        self._socket.resume_reading()
        if self._incoming.pending or self._tls.pending():
            self._door.loop.call_soon(self._open)

    # -- what the connection writes ----------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing:
            return
        view = memoryview(data)
        try:
            while view:
                view = view[self._tls.write(view) :]
        except ssl.SSLError:
            self._door.note("tls_broken", self.peer)
            self._socket.abort()
        self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending and not self._socket.is_closing():
            self._socket.write(self._outgoing.read())

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._socket.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._socket.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._socket.get_extra_info(name, default)

    # -- the end -----------------------------------------------------------------------------------

    def is_closing(self) -> bool:
        return self._closing or self._socket.is_closing()

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        with suppress(ssl.SSLError):  # ours is said; theirs nobody waits for
            self._tls.unwrap()
        self._flush()
        self._socket.close()

    def abort(self) -> None:
        self._closing = self._failed = True
        self._socket.abort()
