"""A TCP proxy between an MQTT client and its server that can keep acknowledgements to itself."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

PUBLISH, PUBACK = 3, 4


class MqttProxy:
    """Listens on `port`. While `open` is not set, whoever comes is sent away."""

    def __init__(self, upstream: int) -> None:
        self.withhold = threading.Event()
        self.open = threading.Event()
        self.open.set()
        self.withheld: list[bytes] = []
        """PUBACKs that the client never got."""
        self.passed: list[bytes] = []
        """PUBACKs that it got."""
        self.published: list[bytes] = []
        """PUBLISH packets of the client, on their way to the server."""
        self._upstream = upstream
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._spawn(self._accept)

    @property
    def redelivered(self) -> list[bytes]:
        """Those with DUP = 1."""
        return [packet for packet in self.published if packet[0] & 0x08]

    def cut(self) -> None:
        """Break all connections."""
        for held in self._sockets:
            with contextlib.suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()
        for thread in self._threads:
            thread.join(10)
        for held in self._sockets:
            held.close()

    def _spawn(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            try:
                if not self.open.is_set():
                    raise ConnectionRefusedError
                server = socket.create_connection(("127.0.0.1", self._upstream))
            except OSError:
                client.close()
                continue
            self._sockets += [client, server]
            self._spawn(self._pump, client, server, self._from_client)
            self._spawn(self._pump, server, client, self._from_server)

    def _pump(
        self, source: socket.socket, sink: socket.socket, passes: Callable[[bytes], bool]
    ) -> None:
        buffer = b""
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                buffer += data
                while (size := _size(buffer)) is not None and len(buffer) >= size:
                    packet, buffer = buffer[:size], buffer[size:]
                    if passes(packet):
                        sink.sendall(packet)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _from_client(self, packet: bytes) -> bool:
        if packet[0] >> 4 == PUBLISH:
            self.published.append(packet)
        return True

    def _from_server(self, packet: bytes) -> bool:
        if packet[0] >> 4 != PUBACK:
            return True
        (self.withheld if self.withhold.is_set() else self.passed).append(packet)
        return not self.withhold.is_set()


def _size(buffer: bytes) -> int | None:
    """Bytes of the packet at the start of `buffer`, MQTT 3.1.1 §2.2.3."""
    length, shift = 0, 0
    for place, byte in enumerate(buffer[1:5], 2):
        length |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return place + length
    return None
