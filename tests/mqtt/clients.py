"""The other end of the listener: raw sockets, mosquitto's tools, and a waiting that has an end."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import pytest

from cardume.mqtt.codec.decoder import Decoder
from cardume.mqtt.codec.encoder import encode
from cardume.mqtt.codec.packets import (
    LEVEL,
    LEVEL_5,
    Connack,
    Connect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Will,
)
from cardume.mqtt.codec.properties import NONE, Properties
from tests.support.waiting import PATIENCE as PATIENCE

P = TypeVar("P")

needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto_pub") is None or shutil.which("mosquitto_sub") is None,
    reason="mosquitto-clients is not installed",
)


async def until(condition: Callable[[], object], what: str = "") -> None:
    """Wait for `condition`; a test that waits in vain says for what."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"in vain: {what or condition}"
        await asyncio.sleep(0.005)


class Raw:
    """A client that sends exactly what it is told."""

    dialled: ClassVar[list[Raw]] = []
    welcome: Properties = NONE

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, level: int = LEVEL
    ) -> None:
        self._reader = reader
        self.writer = writer
        self.level = level
        self._decoder = Decoder(1 << 20, level=level)
        self._packets: deque[Packet] = deque()

    @classmethod
    async def dial(cls, port: int, *, receive_buffer: int | None = None, level: int = LEVEL) -> Raw:
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        raw = cls(*await asyncio.open_connection(sock=sock, limit=4096), level)
        cls.dialled.append(raw)
        return raw

    @classmethod
    async def hang_up(cls) -> None:
        """Close whatever a test left open."""
        while cls.dialled:
            raw = cls.dialled.pop()
            raw.cut()
            with contextlib.suppress(ConnectionError):
                await raw.writer.wait_closed()

    @classmethod
    async def login(
        cls,
        port: int,
        user: str = "tank",
        client_id: str | None = None,
        *,
        clean: bool = True,
        keepalive: int = 0,
        will: Will | None = None,
        present: bool = False,
        receive_buffer: int | None = None,
    ) -> Raw:
        """Connect as `user`, whose password is its name, and expect to be let in."""
        raw = await cls.dial(port, receive_buffer=receive_buffer)
        name = user if client_id is None else client_id
        await raw.send(Connect(name, clean, keepalive, user, user.encode(), will))
        assert await raw.next() == Connack(0, present)
        return raw

    @classmethod
    async def login_5(
        cls,
        port: int,
        user: str = "tank",
        client_id: str | None = None,
        *,
        clean: bool = True,
        keepalive: int = 60,
        will: Will | None = None,
        present: bool = False,
        receive_buffer: int | None = None,
        pairs: tuple[tuple[str, str], ...] = (),
        **asked: Any,
    ) -> Raw:
        """The same in MQTT 5.0, with these properties; `welcome` is what the server said."""
        raw = await cls.dial(port, receive_buffer=receive_buffer, level=LEVEL_5)
        name = user if client_id is None else client_id
        properties = Properties(user=pairs, **asked) if asked or pairs else NONE
        await raw.send(
            Connect(name, clean, keepalive, user, user.encode(), will, LEVEL_5, properties)
        )
        answer = await raw.next()
        assert isinstance(answer, Connack)
        assert (answer.code, answer.session_present) == (0, present)
        raw.welcome = answer.properties
        return raw

    async def send(self, *packets: Packet) -> None:
        await self.write(b"".join(encode(packet, self.level) for packet in packets))

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def read(self) -> bytes:
        """Whatever comes, as it comes; nothing at the end."""
        async with asyncio.timeout(PATIENCE):
            return await self._reader.read(65536)

    async def next(self) -> Packet:
        async with asyncio.timeout(PATIENCE):
            while not self._packets:
                data = await self._reader.read(65536)
                assert data, "the server closed the connection"
                self._packets.extend(self._decoder.feed(data))
        return self._packets.popleft()

    async def until(self, last: Packet) -> list[Packet]:
        """What came before `last`."""
        came: list[Packet] = []
        while (packet := await self.next()) != last:
            came.append(packet)
        return came

    async def quiet(self) -> None:
        """Nothing was sent to us: the answer to a ping is the next packet."""
        await self.send(Pingreq())
        assert await self.next() == Pingresp()

    async def subscribe(self, topic_filter: str, options: int = 0, id: int | None = None) -> int:
        """One filter, at a QoS or with all options of 5.0; the SUBACK's code."""
        said = NONE if id is None else Properties(subscription_ids=(id,))
        await self.send(Subscribe(77, ((topic_filter, options),), said))
        answer = await self.next()
        assert isinstance(answer, Suback)
        assert answer.packet_id == 77
        return answer.codes[0]

    async def publish(
        self, topic: str, payload: bytes, packet_id: int = 1, said: Properties = NONE
    ) -> None:
        """QoS 1, and wait for the acknowledgement."""
        await self.send(Publish(topic, payload, 1, packet_id=packet_id, properties=said))
        assert await self.next() == Puback(packet_id)

    async def exactly_once(self, topic: str, payload: bytes, packet_id: int = 1) -> None:
        """QoS 2, all four steps."""
        await self.send(Publish(topic, payload, 2, packet_id=packet_id))
        assert await self.next() == Pubrec(packet_id)
        await self.send(Pubrel(packet_id))
        assert await self.next() == Pubcomp(packet_id)

    async def published(self) -> Publish:
        """The next packet, a PUBLISH."""
        packet = await self.next()
        assert isinstance(packet, Publish), packet
        return packet

    async def closed(self) -> bool:
        """Whether the server closes, without another packet."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self._reader.read(65536) == b""
            except ConnectionResetError:
                return True

    def cut(self) -> None:
        """Vanish without DISCONNECT."""
        self.writer.transport.abort()


async def mosquitto(tool: str, port: int, *arguments: str, user: str = "tank") -> tuple[int, str]:
    """Run ``mosquitto_pub`` or ``mosquitto_sub``: its exit code, and what it printed."""
    running = await mosquitto_start(tool, port, *arguments, user=user)
    async with asyncio.timeout(PATIENCE):
        output, _ = await running.communicate()
    assert running.returncode is not None
    return running.returncode, output.decode()


async def mosquitto_start(
    tool: str, port: int, *arguments: str, user: str = "tank"
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        f"mosquitto_{tool}",
        *("-h", "127.0.0.1", "-p", str(port), "-u", user, "-P", user),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
