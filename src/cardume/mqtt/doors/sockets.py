"""The listening sockets of one listener, and those who are turned away at them."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from typing import Final

from cardume.errors import ConfigurationError

BACKLOG: Final = 1024

Door = Callable[[], asyncio.BaseProtocol]
"""Makes the protocol of a new socket."""

log = logging.getLogger("cardume.mqtt")


class Sockets:
    """In the order in which they were opened."""

    def __init__(self) -> None:
        self._servers: list[asyncio.Server] = []

    def __bool__(self) -> bool:
        return bool(self._servers)

    async def open(self, door: Door, host: str, port: int, setting: str) -> None:
        """Listen.

        Raises:
            ConfigurationError: the port cannot be had; the message says what to do.
        """
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(door, host, port, reuse_address=True, backlog=BACKLOG)
        except OSError as error:
            raise ConfigurationError(
                f"the MQTT listener cannot listen on {host}:{port} ({_reason(error)}): "
                f"stop what else uses that port, or choose another with {setting}"
            ) from error
        self._servers.append(server)
        log.info("listening for MQTT on %s:%d", host, server.sockets[0].getsockname()[1])

    def port(self, place: int) -> int | None:
        """The port in use, also when it was asked for as 0; None: it is not open."""
        if len(self._servers) <= place or not self._servers[place].sockets:
            return None
        port: int = self._servers[place].sockets[0].getsockname()[1]
        return port

    def close(self) -> None:
        """Accept nobody any more."""
        for server in self._servers:
            server.close()

    async def closed(self) -> None:
        """Wait until those who came are gone, too."""
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()


def _reason(error: OSError) -> str:
    # asyncio's own words name the address once more. A resolver has numbers of its own.
    if error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return error.strerror or str(error)


class Turned(asyncio.Protocol):
    """A connection over the cap: closed before a byte is read."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
