"""A wire between a client and the listener that a test can look at, hold and cut."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PUBLISH, PUBACK = 3, 4
DUP = 0x08


class Proxy:
    """Forwards both ways; packets are told apart by their fixed header alone, MQTT §2.2."""

    def __init__(self) -> None:
        self.target: int | None = None
        """The listener's port; None refuses whoever comes."""
        self.withholding = False
        """Whether PUBACKs are kept from the client."""
        self.withheld = 0
        self.first = 0
        """PUBLISH packets that the client sent for the first time."""
        self.again = 0
        """PUBLISH packets that came with DUP."""
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        port: int = self._server.server_address[1]
        return port

    @classmethod
    @contextmanager
    def running(cls, target: int) -> Iterator[Proxy]:
        proxy = cls()
        proxy.target = target
        thread = threading.Thread(target=proxy._server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.target = None
            proxy._server.shutdown()
            proxy._server.server_close()
            thread.join()

    def _handler(self) -> type[socketserver.BaseRequestHandler]:
        proxy = self

        class Wire(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                proxy._carry(self.request)

        return Wire

    def _carry(self, client: socket.socket) -> None:
        if self.target is None:
            return
        try:
            server = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            return
        back = threading.Thread(target=_pump, args=(server, client, self._from_server), daemon=True)
        with server:
            back.start()
            _pump(client, server, self._from_client)
            back.join()

    def _from_client(self, packet: bytes) -> bytes:
        if packet[0] >> 4 == PUBLISH:
            if packet[0] & DUP:
                self.again += 1
            else:
                self.first += 1
        return packet

    def _from_server(self, packet: bytes) -> bytes:
        if packet[0] >> 4 == PUBACK and self.withholding:
            self.withheld += 1
            return b""
        return packet


def _pump(source: socket.socket, sink: socket.socket, see: Callable[[bytes], bytes]) -> None:
    """Carry until one of the two is gone; then so is the other."""
    held = bytearray()
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            held += data
            sink.sendall(b"".join(map(see, _packets(held))))
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _packets(held: bytearray) -> Iterator[bytes]:
    """Take whole packets off the front: one byte, the length in sevens of bits, the rest."""
    while len(held) > 1:
        length, at = 0, 1
        while at < len(held):
            length |= (held[at] & 0x7F) << 7 * (at - 1)
            at += 1
            if not held[at - 1] & 0x80:
                break
        else:
            return
        if len(held) < at + length:
            return
        yield bytes(held[: at + length])
        del held[: at + length]
