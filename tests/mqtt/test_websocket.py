"""The listener behind a WebSocket: frames are bytes, whoever sends them, however they are cut."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import paho.mqtt.client as paho
import pytest
import uvicorn
from paho.mqtt.enums import CallbackAPIVersion
from starlette.types import Message, Receive, Scope, Send
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from cardume.mqtt.codec.decoder import Decoder
from cardume.mqtt.codec.encoder import encode
from cardume.mqtt.codec.packets import (
    Connack,
    Connect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Subscribe,
    Will,
)
from cardume.mqtt.doors.websocket import READ_AHEAD, serve
from cardume.mqtt.limits import Limits
from cardume.server.front.protocols import Http
from cardume.testing import FakeClock
from cardume.transports.uvicorn import WebSocketProtocol
from tests.mqtt.clients import PATIENCE, until
from tests.mqtt.conftest import House, open_house

READING = "aquabook/tank/reading"
COMMAND = "aquabook/tank/command"
MQTT = Subprotocol("mqtt")
LOGIN = Connect("tank", username="tank", password=b"tank")


@asynccontextmanager
async def webbed(house: House) -> AsyncIterator[int]:
    """A real server in front of the listener; its port."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await serve(house.listener, scope, receive, send)

    config = uvicorn.Config(
        app,
        port=0,
        http=Http,
        ws=WebSocketProtocol,
        lifespan="off",
        log_config=None,
        access_log=False,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    await until(lambda: server.started)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await serving


class Web:
    """A client that frames its packets as it is told."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self._decoder = Decoder(1 << 20)
        self._packets: deque[Packet] = deque()

    async def send(self, *packets: Packet, size: int | None = None) -> None:
        data = b"".join(map(encode, packets))
        for at in range(0, len(data), size or len(data)):
            await self.socket.send(data[at : at + (size or len(data))])

    async def next(self) -> Packet:
        async with asyncio.timeout(PATIENCE):
            while not self._packets:
                data = await self.socket.recv()
                assert isinstance(data, bytes)
                self._packets.extend(self._decoder.feed(data))
        return self._packets.popleft()

    async def closed(self) -> int:
        """The code of the close frame, which is the next that comes."""
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(ConnectionClosed) as closed:
                await self.socket.recv()
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code


@asynccontextmanager
async def dialled(port: int, *, login: Connect | None = LOGIN) -> AsyncIterator[Web]:
    async with connect(f"ws://127.0.0.1:{port}/mqtt", subprotocols=[MQTT]) as socket:
        web = Web(socket)
        if login is not None:
            await web.send(login)
            assert await web.next() == Connack(0)
        yield web


async def test_paho_publishes_and_hears_its_commands(house: House) -> None:
    heard: list[bytes] = []
    client = paho.Client(
        CallbackAPIVersion.VERSION2, "tank", transport="websockets", protocol=paho.MQTTv311
    )
    client.username_pw_set("tank", "tank")
    client.on_message = lambda _client, _data, message: heard.append(bytes(message.payload))
    async with webbed(house) as port:
        client.connect_async("127.0.0.1", port)
        client.loop_start()
        try:
            await until(client.is_connected)
            client.subscribe(COMMAND, 1)
            receipts = [client.publish(READING, b"%d" % n, qos=1) for n in range(50)]
            await until(lambda: all(receipt.is_published() for receipt in receipts))
            await until(lambda: house.listener.publish(COMMAND, bytes(60_000), qos=1))
            await until(lambda: heard)
        finally:
            client.disconnect()
            client.loop_stop()
    assert house.store.payloads == [b"%d" % n for n in range(50)]
    assert heard == [bytes(60_000)]
    assert house.drops == {}


@pytest.mark.parametrize("size", [1, 7, None])
async def test_packets_begin_and_end_anywhere_in_frames(house: House, size: int | None) -> None:
    readings = [Publish(READING, b"%d" % n * 50, 1, packet_id=n) for n in (1, 2, 3)]
    async with webbed(house) as port, dialled(port, login=None) as web:
        await web.send(LOGIN, *readings, Pingreq(), size=size)
        answers = [await web.next() for _ in range(5)]
    assert answers[0] == Connack(0)
    assert {*answers[1:]} == {Puback(1), Puback(2), Puback(3), Pingresp()}
    assert [p for p in answers if isinstance(p, Puback)] == [Puback(1), Puback(2), Puback(3)]


async def test_only_the_subprotocol_mqtt_is_served(house: House) -> None:
    async with webbed(house) as port:
        url = f"ws://127.0.0.1:{port}/mqtt"
        for offered in (None, [Subprotocol("mqttv3.1")], [Subprotocol("MQTT")]):
            with pytest.raises(InvalidStatus) as refused:
                await connect(url, subprotocols=offered)
            assert refused.value.response.status_code == 400
            assert b"offer the WebSocket subprotocol mqtt" in refused.value.response.body
        both = [Subprotocol("mqttv3.1"), MQTT]
        async with connect(url, subprotocols=both) as socket:
            assert socket.subprotocol == "mqtt"
    assert house.drops == {"wrong_subprotocol": 3}


async def test_a_text_frame_ends_it_and_the_will_is_published(house: House) -> None:
    will = Will("aquabook/tank/availability", b"offline")
    login = Connect("tank", username="tank", password=b"tank", will=will)
    async with webbed(house) as port, dialled(port, login=login) as web:
        await web.socket.send("hello")
        assert await web.closed() == 1003
    await until(lambda: house.store.wills == [b"offline"])
    assert house.drops == {"text_frame": 1}


async def test_who_vanishes_leaves_a_will_and_who_says_goodbye_does_not(house: House) -> None:
    will = Will("aquabook/tank/availability", b"offline")
    login = Connect("tank", username="tank", password=b"tank", will=will)
    async with webbed(house) as port:
        async with dialled(port, login=login) as web:
            web.socket.transport.abort()
        await until(lambda: house.store.wills == [b"offline"])
        async with dialled(port, login=login) as web:
            await web.socket.send(b"\xe0\x00")
            assert await web.closed() == 1000
        await until(lambda: not house.listener.stats().connections)
    assert house.store.wills == [b"offline"]


async def test_one_too_many_is_told_to_come_again() -> None:
    async with open_house(limits=Limits(max_connections=1)) as house:
        async with webbed(house) as port, dialled(port), dialled(port, login=None) as second:
            assert await second.closed() == 1013
        assert house.drops == {"too_many_connections": 1}


async def test_bad_packets_and_silence_end_as_on_a_socket() -> None:
    clock = FakeClock()
    async with open_house(clock) as house, webbed(house) as port:
        async with dialled(port, login=None) as web:
            await web.socket.send(b"GET / HTTP/1.1")
            assert await web.closed() == 1000
        await until(lambda: not house.listener.stats().connections)
        async with dialled(port, login=None) as web:
            await until(lambda: house.listener.stats().connections == 1)
            await clock.advance(10.5)
            assert await web.closed() == 1000
        assert house.drops == {"no_connect": 1, "connect_timeout": 1}


async def test_the_listener_that_stops_sends_them_away() -> None:
    async with open_house() as house, webbed(house) as port, dialled(port) as web:
        stopping = asyncio.create_task(house.listener.stop(5.0))
        assert await web.closed() == 1000
        await stopping
        async with dialled(port, login=None) as late:
            assert await late.closed() == 1013


# -- flow control, at the seam of ASGI -------------------------------------------------------------


class Server:
    """An ASGI server under the test's hands: what comes is queued, what goes waits for `open`."""

    def __init__(self) -> None:
        self.taken = 0
        self.sent: list[Message] = []
        self.open = asyncio.Event()
        self.open.set()
        self._coming: deque[bytes] = deque()
        self._came = asyncio.Event()
        self._gone = False
        self._task: asyncio.Task[None] | None = None

    def begin(self, house: House) -> None:
        scope = {"type": "websocket", "subprotocols": ["mqtt"], "client": ("192.0.2.1", 4711)}
        self._task = asyncio.create_task(serve(house.listener, scope, self.receive, self.send))

    def feed(self, *data: bytes) -> None:
        self._coming.extend(data)
        self._came.set()

    def leave(self) -> None:
        self._gone = True
        self._came.set()

    async def ended(self) -> None:
        assert self._task is not None
        async with asyncio.timeout(PATIENCE):
            await self._task

    async def receive(self) -> Message:
        while not self._coming:
            if self._gone:
                return {"type": "websocket.disconnect", "code": 1006}
            self._came.clear()
            await self._came.wait()
        self.taken += 1
        return {"type": "websocket.receive", "bytes": self._coming.popleft()}

    async def send(self, message: Message) -> None:
        await self.open.wait()
        self.sent.append(message)

    @property
    def types(self) -> list[str]:
        return [message["type"].removeprefix("websocket.") for message in self.sent]

    @property
    def bytes(self) -> int:
        return sum(len(message.get("bytes") or b"") for message in self.sent)


async def test_nothing_more_is_received_while_the_intake_is_full() -> None:
    async with open_house(max_pending=4) as house:
        house.store.open.clear()
        server = Server()
        server.begin(house)
        payload = bytes(1000)
        server.feed(encode(LOGIN))
        await until(lambda: "send" in server.types, "the CONNACK")
        packets = [encode(Publish(READING, payload, 1, packet_id=n)) for n in range(1, 201)]
        server.feed(*packets)
        await until(lambda: server.taken > 4)
        for _ in range(50):
            await asyncio.sleep(0)
        ahead = READ_AHEAD // len(packets[0])
        assert server.taken <= 1 + 4 + ahead + 2
        house.store.open.set()
        await until(lambda: len(house.store.messages) == 200)
        server.feed(b"\xe0\x00")
        await server.ended()
        assert server.types[-1] == "close"


async def test_frames_of_one_byte_are_bounded_by_their_number() -> None:
    async with open_house(max_pending=2) as house:
        house.store.open.clear()
        server = Server()
        server.begin(house)
        server.feed(encode(LOGIN), *[encode(Publish(READING, b"1"))] * 2)
        await until(lambda: house.store.entered)
        server.feed(*[bytes((byte,)) for byte in encode(Publish(READING, bytes(3000)))])
        for _ in range(2000):
            await asyncio.sleep(0)
        assert server.taken < 400
        house.store.open.set()
        await until(lambda: len(house.store.messages) == 3)
        server.leave()
        await server.ended()


async def test_a_held_client_is_still_heard_when_it_leaves() -> None:
    async with open_house(max_pending=1) as house:
        house.store.open.clear()
        server = Server()
        server.begin(house)
        server.feed(encode(LOGIN), encode(Publish(READING, b"1", 1, packet_id=1)))
        await until(lambda: house.store.entered)
        server.feed(encode(Publish(READING, b"2", 1, packet_id=2)))
        server.leave()
        await server.ended()
        assert house.listener.stats().connections == 0


async def test_a_large_frame_is_taken_in_pieces_between_which_others_have_their_turn() -> None:
    async with open_house() as house:
        server, other = Server(), Server()
        for each in (server, other):
            each.begin(house)
        server.feed(encode(LOGIN))
        other.feed(encode(Connect("reef", username="reef", password=b"reef")))
        await until(lambda: "send" in server.types and "send" in other.types)
        many = b"".join(encode(Publish(READING, bytes(100))) for _ in range(2000))
        server.feed(many)
        other.feed(encode(Publish("aquabook/reef/reading", b"mine")))
        await until(lambda: len(house.store.messages) == 2001)
        place = [m.principal for m in house.store.messages].index("reef")
        assert place < 2000 / 2
        for each in (server, other):
            each.leave()
            await each.ended()


async def test_a_reader_that_does_not_read_is_bounded_and_then_cut() -> None:
    clock = FakeClock()
    limits = Limits(outbound=64_000)
    async with open_house(clock, limits) as house:
        server = Server()
        server.begin(house)
        server.feed(encode(LOGIN), encode(Subscribe(1, ((COMMAND, 0),))))
        await until(lambda: server.types == ["accept", "send", "send"])
        server.open.clear()
        before = server.bytes
        for _ in range(30):
            house.listener.publish(COMMAND, bytes(8000))
            await asyncio.sleep(0)
        assert 0 < house.drops["qos0_slow_reader"] < 30
        server.open.set()
        await until(lambda: server.bytes > before, "what was kept for it")
        assert server.bytes - before <= 64_000
        server.open.clear()
        for _ in range(30):
            house.listener.publish(COMMAND, bytes(8000))
            await asyncio.sleep(0)
        await clock.advance(10.5)
        await server.ended()
        assert house.drops["slow_reader"] == 1


async def test_a_close_that_nobody_reads_is_given_up() -> None:
    clock = FakeClock()
    async with open_house(clock) as house:
        server = Server()
        server.begin(house)
        server.feed(encode(LOGIN))
        await until(lambda: "send" in server.types)
        server.open.clear()
        assert house.listener.disconnect("tank") == 1
        await clock.advance(6.0)
        await server.ended()
        assert house.listener.stats().connections == 0


async def test_a_server_that_raises_is_a_client_that_left(house: House) -> None:
    server = Server()

    async def broken() -> Message:
        if not server.taken:
            return await server.receive()
        raise OSError("gone")

    scope = {"type": "websocket", "subprotocols": ["mqtt"], "client": None}
    server.feed(encode(LOGIN))
    async with asyncio.timeout(PATIENCE):
        await serve(house.listener, scope, broken, server.send)
    assert house.listener.stats().connections == 0


async def test_it_leaves_nothing_behind(house: House) -> None:
    """No cycle, for the garbage collector looks rarely: what ended is freed at once."""
    server = Server()
    gc.disable()
    try:
        server.begin(house)
        server.feed(encode(LOGIN), encode(Pingreq()))
        await until(lambda: server.bytes >= 6)
        (left,) = [weakref.ref(each.wire) for each in house.listener._connections]
        server.leave()
        await server.ended()
        await until(lambda: left() is None, "its memory")
    finally:
        gc.enable()
